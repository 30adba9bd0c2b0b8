//! The catalogue of figures: all that a tick or a span has, and what tables, traces and charts call it.

use super::Span;
use crate::model::{CgroupFigures, GoFigures, Tick};

/// A figure of a tick and of a span.
#[derive(Debug)]
pub struct Figure {
    /// Its name in the capture file, prefixed with the group it is in: `rss_bytes`, `go_heap_inuse_bytes`. The unit is bytes if it
    /// ends in `_bytes`; otherwise it is a count.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// One line that explains it.
    pub help: &'static str,
    /// The time it counts from.
    pub since: Since,
    /// Only some ticks read it: a chart marks each reading.
    pub rare: bool,
    /// When a chart draws it before anyone asks.
    pub shown: Shown,
    value: Value,
}

/// The time a figure counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It is a state.
    Now,
    /// The tick before.
    LastTick,
    /// A time before the capture.
    Before,
}

/// When a chart draws a figure before anyone asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Never.
    OnRequest,
    /// If it was ever above 0.
    IfAny,
    /// Whenever it is known.
    Always,
}

/// Where a figure's value stands.
#[derive(Debug)]
enum Value {
    /// In the tick and the span themselves.
    Own(fn(&Tick) -> Option<i128>, fn(&Span) -> Option<i128>),
    /// In their Go figures.
    Go(fn(&GoFigures) -> Option<u64>),
    /// In their cgroup figures.
    Cgroup(fn(&CgroupFigures) -> Option<u64>),
}

impl Figure {
    const fn of(name: &'static str, title: &'static str, help: &'static str, value: Value) -> Self {
        Self {
            name,
            title,
            help,
            since: Since::Now,
            rare: false,
            shown: Shown::OnRequest,
            value,
        }
    }

    const fn new(
        name: &'static str,
        title: &'static str,
        help: &'static str,
        tick: fn(&Tick) -> Option<i128>,
        span: fn(&Span) -> Option<i128>,
    ) -> Self {
        Self::of(name, title, help, Value::Own(tick, span))
    }

    const fn go(
        name: &'static str,
        title: &'static str,
        help: &'static str,
        value: fn(&GoFigures) -> Option<u64>,
    ) -> Self {
        Self::of(name, title, help, Value::Go(value))
    }

    const fn cgroup(
        name: &'static str,
        title: &'static str,
        help: &'static str,
        value: fn(&CgroupFigures) -> Option<u64>,
    ) -> Self {
        Self::of(name, title, help, Value::Cgroup(value))
    }

    const fn since(self, since: Since) -> Self {
        Self { since, ..self }
    }

    const fn rare(self) -> Self {
        Self { rare: true, ..self }
    }

    const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// Returns true if it is in bytes; otherwise it is a count.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.name.ends_with("_bytes")
    }

    /// Returns the name without its unit: `rss`, `go_heap_inuse`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.name.strip_suffix("_bytes").unwrap_or(self.name)
    }

    /// Returns the title without the runtime's name: `HeapInuse`.
    #[must_use]
    pub fn short_title(&self) -> &'static str {
        self.title.strip_prefix("Go ").unwrap_or(self.title)
    }

    /// Returns its value at a tick; `None` if the tick does not have it.
    #[must_use]
    pub fn of_tick(&self, tick: &Tick) -> Option<i128> {
        match self.value {
            Value::Own(value, _) => value(tick),
            Value::Go(value) => tick.go.as_ref().and_then(value).map(i128::from),
            Value::Cgroup(value) => tick.cgroup.as_ref().and_then(value).map(i128::from),
        }
    }

    /// Returns its value in a span; `None` if the span does not have it.
    #[must_use]
    pub fn of_span(&self, span: &Span) -> Option<i128> {
        match self.value {
            Value::Own(_, value) => value(span),
            Value::Go(value) => span.go.as_ref().and_then(value).map(i128::from),
            Value::Cgroup(value) => span.cgroup.as_ref().and_then(value).map(i128::from),
        }
    }
}

/// RSS.
pub static RSS: Figure = Figure::new(
    "rss_bytes",
    "RSS",
    "RSS: anonymous, file and shared memory that is resident",
    |tick| Some(tick.rss_bytes.into()),
    |span| Some(span.rss_bytes.into()),
)
.shown(Shown::Always);
static ANON: Figure = Figure::new(
    "anon_bytes",
    "anon",
    "Anonymous part of RSS",
    |tick| Some(tick.anon_bytes.into()),
    |span| Some(span.anon_bytes.into()),
);
static FILE: Figure = Figure::new(
    "file_bytes",
    "file",
    "File part of RSS",
    |tick| Some(tick.file_bytes.into()),
    |span| Some(span.file_bytes.into()),
);
static SHMEM: Figure = Figure::new(
    "shmem_bytes",
    "shmem",
    "Shared memory part of RSS",
    |tick| Some(tick.shmem_bytes.into()),
    |span| Some(span.shmem_bytes.into()),
);
/// Swap.
pub static SWAP: Figure = Figure::new(
    "swap_bytes",
    "swap",
    "Swapped out, not part of RSS",
    |tick| Some(tick.swap_bytes.into()),
    |span| Some(span.swap_bytes.into()),
)
.shown(Shown::IfAny);
/// Size of the address space.
pub static VM: Figure = Figure::new(
    "vm_bytes",
    "VM",
    "Size of the address space",
    |tick| tick.vm_bytes.map(i128::from),
    |span| span.vm_bytes.map(i128::from),
);
/// `LazyFree`.
pub static LAZYFREE: Figure = Figure::new(
    "lazyfree_bytes",
    "LazyFree",
    "Given back with MADV_FREE, and still in RSS",
    |tick| tick.lazyfree_bytes.map(i128::from),
    |span| span.lazyfree_bytes.map(i128::from),
)
.rare();
/// RSS less `LazyFree`, at the same tick. Derived, so no figure of the file.
pub static RSS_LESS_LAZYFREE: Figure = Figure::new(
    "rss_less_lazyfree_bytes",
    "RSS - LazyFree",
    "What the program still holds; at the ticks that read LazyFree",
    |tick| Some(i128::from(tick.rss_bytes) - i128::from(tick.lazyfree_bytes?)),
    |span| span.rss_less_lazyfree_bytes.map(i128::from),
)
.rare()
.shown(Shown::Always);
static ANON_HUGE: Figure = Figure::new(
    "anon_huge_bytes",
    "AnonHugePages",
    "In anonymous huge pages",
    |tick| tick.anon_huge_bytes.map(i128::from),
    |span| span.anon_huge_bytes.map(i128::from),
)
.rare();
static UNEXPLAINED: Figure = Figure::new(
    "unexplained_bytes",
    "unexplained",
    "RSS that the kernel shows and no cause explains",
    |tick| tick.unexplained_bytes.map(i128::from),
    |_| None,
);
static UNEXPLAINED_BOUND: Figure = Figure::new(
    "unexplained_bound_bytes",
    "unexplained, bound",
    "How much moved while the figures were compared",
    |tick| tick.unexplained_bound_bytes.map(i128::from),
    |_| None,
);
/// Page faults.
pub static FAULTS: Figure = Figure::new(
    "faults",
    "faults",
    "Page faults",
    |tick| tick.faults.map(i128::from),
    |span| span.faults.map(i128::from),
)
.since(Since::LastTick);
static GO_SYS: Figure = Figure::go(
    "go_sys_bytes",
    "Go Sys",
    "Go's Sys: address space obtained from the kernel",
    |go| go.sys_bytes,
);
static GO_HEAP_SYS: Figure = Figure::go(
    "go_heap_sys_bytes",
    "Go HeapSys",
    "Go's HeapSys: of it for the heap",
    |go| go.heap_sys_bytes,
);
static GO_HEAP_ALLOC: Figure = Figure::go(
    "go_heap_alloc_bytes",
    "Go HeapAlloc",
    "Go's HeapAlloc: allocated objects",
    |go| go.heap_alloc_bytes,
);
/// Go's `HeapInuse`.
pub static GO_HEAP_INUSE: Figure = Figure::go(
    "go_heap_inuse_bytes",
    "Go HeapInuse",
    "Go's HeapInuse: spans with objects",
    |go| go.heap_inuse_bytes,
)
.shown(Shown::Always);
/// Go's `HeapReleased`.
pub static GO_HEAP_RELEASED: Figure = Figure::go(
    "go_heap_released_bytes",
    "Go HeapReleased",
    "Go's HeapReleased: given back, or never touched",
    |go| go.heap_released_bytes,
)
.shown(Shown::Always);
static GO_HEAP_IDLE: Figure = Figure::go(
    "go_heap_idle_bytes",
    "Go HeapIdle",
    "Go's HeapIdle: spans without objects",
    |go| go.heap_idle_bytes,
);
static GO_STACK_INUSE: Figure = Figure::go(
    "go_stack_inuse_bytes",
    "Go StackInuse",
    "Go's StackInuse: stacks of goroutines",
    |go| go.stack_inuse_bytes,
);
/// Go's `NumGC`.
pub static GO_NUM_GC: Figure = Figure::go(
    "go_num_gc",
    "Go NumGC",
    "Go's NumGC: finished cycles of the collector",
    |go| go.num_gc,
)
.since(Since::Before);
static CGROUP_USAGE: Figure = Figure::cgroup(
    "cgroup_usage_bytes",
    "cgroup usage",
    "Usage of the memory cgroup",
    |cgroup| cgroup.usage_bytes,
)
.rare();
static CGROUP_WORKING_SET: Figure = Figure::cgroup(
    "cgroup_working_set_bytes",
    "cgroup working set",
    "Its usage less inactive file pages, as Kubernetes reckons",
    |cgroup| cgroup.working_set_bytes,
)
.rare();
static CGROUP_ANON: Figure = Figure::cgroup(
    "cgroup_anon_bytes",
    "cgroup anon",
    "Its anonymous memory, without tmpfs",
    |cgroup| cgroup.anon_bytes,
);
static CGROUP_FILE: Figure = Figure::cgroup(
    "cgroup_file_bytes",
    "cgroup file",
    "Its page cache, with tmpfs",
    |cgroup| cgroup.file_bytes,
);
static CGROUP_SHMEM: Figure = Figure::cgroup(
    "cgroup_shmem_bytes",
    "cgroup shmem",
    "Its tmpfs and shared memory",
    |cgroup| cgroup.shmem_bytes,
);
static CGROUP_INACTIVE_FILE: Figure = Figure::cgroup(
    "cgroup_inactive_file_bytes",
    "cgroup inactive file",
    "Its inactive file pages",
    |cgroup| cgroup.inactive_file_bytes,
);
static CGROUP_KERNEL: Figure = Figure::cgroup(
    "cgroup_kernel_bytes",
    "cgroup kernel",
    "Kernel memory charged to it",
    |cgroup| cgroup.kernel_bytes,
);
static CGROUP_SWAP: Figure = Figure::cgroup(
    "cgroup_swap_bytes",
    "cgroup swap",
    "Its swap in use",
    |cgroup| cgroup.swap_bytes,
);
static CGROUP_PGLAZYFREE: Figure = Figure::cgroup(
    "cgroup_pglazyfree",
    "cgroup pglazyfree",
    "Pages given to MADV_FREE in the memory cgroup",
    |cgroup| cgroup.pglazyfree,
)
.since(Since::Before);
static CGROUP_PGLAZYFREED: Figure = Figure::cgroup(
    "cgroup_pglazyfreed",
    "cgroup pglazyfreed",
    "Those of them that the kernel took back",
    |cgroup| cgroup.pglazyfreed,
)
.since(Since::Before);
static CGROUP_OOM_KILLS: Figure = Figure::cgroup(
    "cgroup_oom_kills",
    "cgroup OOM kills",
    "Processes that were OOM-killed in the memory cgroup",
    |cgroup| cgroup.oom_kills,
)
.since(Since::Before);
static CGROUP_LIMIT_HITS: Figure = Figure::cgroup(
    "cgroup_limit_hits",
    "cgroup limit hits",
    "How often usage of the memory cgroup met the limit",
    |cgroup| cgroup.limit_hits,
)
.since(Since::Before);

/// All figures of a tick, in the order of a table's columns and a trace's tracks.
pub static FIGURES: &[&Figure] = &[
    &RSS,
    &ANON,
    &FILE,
    &SHMEM,
    &SWAP,
    &VM,
    &LAZYFREE,
    &ANON_HUGE,
    &UNEXPLAINED,
    &UNEXPLAINED_BOUND,
    &FAULTS,
    &GO_SYS,
    &GO_HEAP_SYS,
    &GO_HEAP_ALLOC,
    &GO_HEAP_INUSE,
    &GO_HEAP_RELEASED,
    &GO_HEAP_IDLE,
    &GO_STACK_INUSE,
    &GO_NUM_GC,
    &CGROUP_USAGE,
    &CGROUP_WORKING_SET,
    &CGROUP_ANON,
    &CGROUP_FILE,
    &CGROUP_SHMEM,
    &CGROUP_INACTIVE_FILE,
    &CGROUP_KERNEL,
    &CGROUP_SWAP,
    &CGROUP_PGLAZYFREE,
    &CGROUP_PGLAZYFREED,
    &CGROUP_OOM_KILLS,
    &CGROUP_LIMIT_HITS,
];

/// The figures that charts draw, in the order of their legends.
pub static LINES: &[&Figure] = &[
    &RSS,
    &RSS_LESS_LAZYFREE,
    &LAZYFREE,
    &VM,
    &SWAP,
    &ANON_HUGE,
    &ANON,
    &FILE,
    &SHMEM,
    &GO_SYS,
    &GO_HEAP_SYS,
    &GO_HEAP_ALLOC,
    &GO_HEAP_INUSE,
    &GO_HEAP_RELEASED,
    &GO_HEAP_IDLE,
    &CGROUP_USAGE,
    &CGROUP_WORKING_SET,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_stands_for_one_figure() {
        for list in [FIGURES, LINES] {
            let names: BTreeSet<_> = list.iter().map(|figure| figure.name).collect();
            assert_eq!(names.len(), list.len());
        }
    }

    #[test]
    fn a_line_is_a_figure_of_a_tick_or_derived_from_two() {
        let tables: BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        let others = LINES.iter().filter(|line| !tables.contains(line.name));
        let others: Vec<_> = others.map(|line| line.name).collect();
        assert_eq!(others, [RSS_LESS_LAZYFREE.name]);
    }
}
