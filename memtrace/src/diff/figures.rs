//! Everything that is a number, and no cause.

use super::{
    Figure, Group, Quantity, Subject, Unit, lengths,
    quantity::{Seconds, signed},
};
use crate::model::{CgroupFigures, GoFigures, Returned};

/// A number, and how to find it in a capture.
type Of<T> = (&'static str, &'static str, Unit, fn(&T) -> Option<i64>);

/// The same of the capture itself.
type OfSubject = (
    &'static str,
    &'static str,
    Unit,
    fn(&Subject<'_>) -> Option<i64>,
);

/// Go's own figures.
const GO: [Of<GoFigures>; 8] = [
    ("go.heap_alloc_bytes", "HeapAlloc", Unit::Bytes, |go| {
        signed(go.heap_alloc_bytes)
    }),
    ("go.heap_inuse_bytes", "HeapInuse", Unit::Bytes, |go| {
        signed(go.heap_inuse_bytes)
    }),
    ("go.heap_idle_bytes", "HeapIdle", Unit::Bytes, |go| {
        signed(go.heap_idle_bytes)
    }),
    (
        "go.heap_released_bytes",
        "HeapReleased",
        Unit::Bytes,
        |go| signed(go.heap_released_bytes),
    ),
    ("go.heap_sys_bytes", "HeapSys", Unit::Bytes, |go| {
        signed(go.heap_sys_bytes)
    }),
    ("go.stack_inuse_bytes", "StackInuse", Unit::Bytes, |go| {
        signed(go.stack_inuse_bytes)
    }),
    ("go.sys_bytes", "Sys", Unit::Bytes, |go| {
        signed(go.sys_bytes)
    }),
    ("go.num_gc", "NumGC", Unit::Count, |go| signed(go.num_gc)),
];

const CGROUP: [Of<CgroupFigures>; 4] = [
    ("cgroup.usage_bytes", "usage", Unit::Bytes, |group| {
        signed(group.usage_bytes)
    }),
    (
        "cgroup.working_set_bytes",
        "working set",
        Unit::Bytes,
        |group| signed(group.working_set_bytes),
    ),
    ("cgroup.swap_bytes", "swap", Unit::Bytes, |group| {
        signed(group.swap_bytes)
    }),
    ("cgroup.oom_kills", "OOM kills", Unit::Count, |group| {
        signed(group.oom_kills)
    }),
];

const RETURNED: [Of<Returned>; 4] = [
    (
        "returned.released_bytes",
        "given back",
        Unit::Bytes,
        |returned| returned.released_bytes,
    ),
    (
        "returned.lazily_freed_bytes",
        "lazily freed",
        Unit::Bytes,
        |returned| signed(returned.lazily_freed_bytes),
    ),
    (
        "returned.discarded_bytes",
        "discarded",
        Unit::Bytes,
        |returned| returned.discarded_bytes,
    ),
    (
        "returned.reacquired_bytes",
        "taken again",
        Unit::Bytes,
        |returned| returned.reacquired_bytes,
    ),
];

/// All figures. Of those that neither side knows, none.
pub(super) fn figures(a: &Subject<'_>, b: &Subject<'_>, seconds: Option<Seconds>) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut push = |name: &str, title: &str, group, unit, quantity: Quantity| {
        if quantity.a.is_some() || quantity.b.is_some() {
            figures.push(Figure {
                name: name.to_owned(),
                title: title.to_owned(),
                group,
                unit,
                quantity,
            });
        }
    };
    // Sampled figures may each be off by as much.
    let bound = |subject: &Subject<'_>| {
        let bound = subject.epoch().summary.rss_sampling_bound_bytes;
        bound.unwrap_or(0)
    };
    let bound = bound(a).saturating_add(bound(b));
    for (name, title, unit, find) in MEMORY {
        let quantity = Quantity::level(find(a), find(b), unit, bound);
        push(name, title, Group::Memory, unit, quantity);
    }
    let faults = |subject: &Subject<'_>| {
        let faults = &subject.epoch().summary.faults;
        signed(faults.user)?.checked_add(signed(faults.kernel)?)
    };
    // How often is the question, however long it lasted.
    let quantity = Quantity::grown(faults(a), faults(b), Unit::Count, lengths(a, b));
    push(
        "faults",
        "page faults",
        Group::Activity,
        Unit::Count,
        quantity,
    );
    for (name, title, unit, find) in RETURNED {
        let find = |subject: &Subject<'_>| find(subject.epoch().summary.returned.as_ref()?);
        let quantity = Quantity::grown(find(a), find(b), unit, seconds);
        push(name, title, Group::Activity, unit, quantity);
    }
    for (name, title, unit, find) in GO {
        let find = |subject: &Subject<'_>| find(&subject.trend.go_last()?.value);
        let quantity = Quantity::level(find(a), find(b), unit, 0);
        push(name, title, Group::Go, unit, quantity);
    }
    for (name, title, unit, find) in CGROUP {
        let find =
            |subject: &Subject<'_>| find(subject.epoch().summary.cgroup.as_ref()?.end.as_ref()?);
        let quantity = Quantity::level(find(a), find(b), unit, 0);
        push(name, title, Group::Cgroup, unit, quantity);
    }
    figures
}

/// RSS and what is beside it. What a process that has ended leaves behind is 0, and says nothing.
const MEMORY: [OfSubject; 7] = [
    (
        "rss_start_bytes",
        "RSS at the start",
        Unit::Bytes,
        |subject| Some(subject.epoch().summary.rss_start_bytes),
    ),
    (
        "rss_highest_seen_bytes",
        "highest RSS",
        Unit::Bytes,
        |subject| Some(subject.epoch().summary.rss_highest_seen_bytes),
    ),
    ("rss_end_bytes", "RSS at the end", Unit::Bytes, |subject| {
        alive(subject).then(|| subject.epoch().summary.rss_end_bytes)
    }),
    ("lazyfree_bytes", "LazyFree", Unit::Bytes, lazyfree),
    (
        "rss_less_lazyfree_bytes",
        "RSS - LazyFree",
        Unit::Bytes,
        |subject| {
            let rss = alive(subject).then(|| subject.epoch().summary.rss_end_bytes)?;
            rss.checked_sub(lazyfree(subject)?)
        },
    ),
    ("swap_bytes", "swapped out", Unit::Bytes, |subject| {
        alive(subject).then(|| subject.epoch().summary.end.swap_bytes)
    }),
    ("anon_huge_bytes", "AnonHugePages", Unit::Bytes, |subject| {
        signed(subject.epoch().summary.anon_huge_bytes)
    }),
];

fn alive(subject: &Subject<'_>) -> bool {
    !subject.is_over()
}

fn lazyfree(subject: &Subject<'_>) -> Option<i64> {
    signed(subject.epoch().summary.lazyfree_bytes)
}
