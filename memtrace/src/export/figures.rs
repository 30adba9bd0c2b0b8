//! The figures of a tick, in a fixed order: what a table has as columns, and a trace as tracks.

use crate::model::{CgroupFigures, GoFigures, Tick};

/// A figure of a tick.
pub struct Figure {
    /// Its name in the capture file, what it is part of first: `rss_bytes`, `go_heap_inuse_bytes`. Bytes, or a count where the name
    /// does not end in `_bytes`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it is, in a line.
    pub help: &'static str,
    /// What it counts from.
    pub since: Since,
    /// Its value; `None` where the tick does not have it.
    pub value: fn(&Tick) -> Option<i128>,
}

impl Figure {
    /// Whether it is in bytes; else it is a count.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.name.ends_with("_bytes")
    }
}

/// What a figure counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It is a state.
    Now,
    /// It counts from the tick before.
    LastTick,
    /// It counts from a time before the capture.
    Before,
}

fn go(tick: &Tick, figure: fn(&GoFigures) -> Option<u64>) -> Option<i128> {
    tick.go.as_ref().and_then(figure).map(i128::from)
}

fn cgroup(tick: &Tick, figure: fn(&CgroupFigures) -> Option<u64>) -> Option<i128> {
    tick.cgroup.as_ref().and_then(figure).map(i128::from)
}

const fn state(
    name: &'static str,
    title: &'static str,
    help: &'static str,
    value: fn(&Tick) -> Option<i128>,
) -> Figure {
    Figure {
        name,
        title,
        help,
        since: Since::Now,
        value,
    }
}

const fn count(
    name: &'static str,
    title: &'static str,
    help: &'static str,
    since: Since,
    value: fn(&Tick) -> Option<i128>,
) -> Figure {
    Figure {
        name,
        title,
        help,
        since,
        value,
    }
}

/// All of them.
pub const FIGURES: &[Figure] = &[
    state(
        "rss_bytes",
        "RSS",
        "RSS: anonymous, file and shared memory that is resident",
        |tick| Some(tick.rss_bytes.into()),
    ),
    state("anon_bytes", "anon", "Anonymous part of RSS", |tick| {
        Some(tick.anon_bytes.into())
    }),
    state("file_bytes", "file", "File part of RSS", |tick| {
        Some(tick.file_bytes.into())
    }),
    state(
        "shmem_bytes",
        "shmem",
        "Shared memory part of RSS",
        |tick| Some(tick.shmem_bytes.into()),
    ),
    state(
        "swap_bytes",
        "swap",
        "Swapped out, not part of RSS",
        |tick| Some(tick.swap_bytes.into()),
    ),
    state("vm_bytes", "VM", "Size of the address space", |tick| {
        tick.vm_bytes.map(i128::from)
    }),
    state(
        "lazyfree_bytes",
        "LazyFree",
        "Given back with MADV_FREE, and still in RSS",
        |tick| tick.lazyfree_bytes.map(i128::from),
    ),
    state(
        "anon_huge_bytes",
        "AnonHugePages",
        "In anonymous huge pages",
        |tick| tick.anon_huge_bytes.map(i128::from),
    ),
    state(
        "unexplained_bytes",
        "unexplained",
        "RSS that the kernel shows and no cause explains",
        |tick| tick.unexplained_bytes.map(i128::from),
    ),
    state(
        "unexplained_bound_bytes",
        "unexplained, bound",
        "How much moved while the figures were compared",
        |tick| tick.unexplained_bound_bytes.map(i128::from),
    ),
    count("faults", "faults", "Page faults", Since::LastTick, |tick| {
        tick.faults.map(i128::from)
    }),
    state(
        "go_sys_bytes",
        "Go Sys",
        "Go's Sys: address space obtained from the kernel",
        |tick| go(tick, |go| go.sys_bytes),
    ),
    state(
        "go_heap_sys_bytes",
        "Go HeapSys",
        "Go's HeapSys: of it for the heap",
        |tick| go(tick, |go| go.heap_sys_bytes),
    ),
    state(
        "go_heap_alloc_bytes",
        "Go HeapAlloc",
        "Go's HeapAlloc: allocated objects",
        |tick| go(tick, |go| go.heap_alloc_bytes),
    ),
    state(
        "go_heap_inuse_bytes",
        "Go HeapInuse",
        "Go's HeapInuse: spans with objects",
        |tick| go(tick, |go| go.heap_inuse_bytes),
    ),
    state(
        "go_heap_released_bytes",
        "Go HeapReleased",
        "Go's HeapReleased: given back, or never touched",
        |tick| go(tick, |go| go.heap_released_bytes),
    ),
    state(
        "go_heap_idle_bytes",
        "Go HeapIdle",
        "Go's HeapIdle: spans without objects",
        |tick| go(tick, |go| go.heap_idle_bytes),
    ),
    state(
        "go_stack_inuse_bytes",
        "Go StackInuse",
        "Go's StackInuse: stacks of goroutines",
        |tick| go(tick, |go| go.stack_inuse_bytes),
    ),
    count(
        "go_num_gc",
        "Go NumGC",
        "Go's NumGC: finished cycles of the collector",
        Since::Before,
        |tick| go(tick, |go| go.num_gc),
    ),
    state(
        "cgroup_usage_bytes",
        "cgroup usage",
        "Usage of the memory cgroup",
        |tick| cgroup(tick, |cgroup| cgroup.usage_bytes),
    ),
    state(
        "cgroup_working_set_bytes",
        "cgroup working set",
        "Its usage less inactive file pages, as Kubernetes reckons",
        |tick| cgroup(tick, |cgroup| cgroup.working_set_bytes),
    ),
    state(
        "cgroup_anon_bytes",
        "cgroup anon",
        "Its anonymous memory, without tmpfs",
        |tick| cgroup(tick, |cgroup| cgroup.anon_bytes),
    ),
    state(
        "cgroup_file_bytes",
        "cgroup file",
        "Its page cache, with tmpfs",
        |tick| cgroup(tick, |cgroup| cgroup.file_bytes),
    ),
    state(
        "cgroup_shmem_bytes",
        "cgroup shmem",
        "Its tmpfs and shared memory",
        |tick| cgroup(tick, |cgroup| cgroup.shmem_bytes),
    ),
    state(
        "cgroup_inactive_file_bytes",
        "cgroup inactive file",
        "Its inactive file pages",
        |tick| cgroup(tick, |cgroup| cgroup.inactive_file_bytes),
    ),
    state(
        "cgroup_kernel_bytes",
        "cgroup kernel",
        "Kernel memory charged to it",
        |tick| cgroup(tick, |cgroup| cgroup.kernel_bytes),
    ),
    state(
        "cgroup_swap_bytes",
        "cgroup swap",
        "Its swap in use",
        |tick| cgroup(tick, |cgroup| cgroup.swap_bytes),
    ),
    count(
        "cgroup_pglazyfree",
        "cgroup pglazyfree",
        "Pages given to MADV_FREE in the memory cgroup",
        Since::Before,
        |tick| cgroup(tick, |cgroup| cgroup.pglazyfree),
    ),
    count(
        "cgroup_pglazyfreed",
        "cgroup pglazyfreed",
        "Those of them that the kernel took back",
        Since::Before,
        |tick| cgroup(tick, |cgroup| cgroup.pglazyfreed),
    ),
    count(
        "cgroup_oom_kills",
        "cgroup OOM kills",
        "Processes that were OOM-killed in the memory cgroup",
        Since::Before,
        |tick| cgroup(tick, |cgroup| cgroup.oom_kills),
    ),
    count(
        "cgroup_limit_hits",
        "cgroup limit hits",
        "How often usage of the memory cgroup met the limit",
        Since::Before,
        |tick| cgroup(tick, |cgroup| cgroup.limit_hits),
    ),
];
