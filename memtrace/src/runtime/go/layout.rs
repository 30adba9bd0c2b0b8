//! Where the figures are inside of the runtime's variables. Offsets in bytes.

/// How a version of Go keeps its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Since 1.19.
    Controller(Controller),
    /// Up to 1.15.
    Central(Central),
}

/// Since 1.19: six figures in `runtime.gcController`, and the same ones, in other sums, in `runtime.memstats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// In `runtime.gcController`, type `gcControllerState`.
    pub heap_in_use: u32,
    pub heap_released: u32,
    pub heap_free: u32,
    pub total_alloc: u32,
    pub total_free: u32,
    pub mapped_ready: u32,
    /// In `runtime.memstats`, type `mstats`: where its parts of `Sys` are that are neither heap nor in the shards.
    pub other_sys: [u32; 6],
    pub num_gc: u32,
    pub shards: Shards,
}

/// `mstats.heapStats.stats`: three `heapStatsDelta`, whose sums count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// In `runtime.memstats`.
    pub at: u32,
    /// Of one of the three.
    pub size: u32,
    /// In one of them.
    pub committed: u32,
    pub released: u32,
    pub in_heap: u32,
    pub in_stacks: u32,
    pub in_work_bufs: u32,
    /// Not in every version.
    pub in_ptr_scalar_bits: Option<u32>,
}

/// Up to 1.15: `runtime.memstats`, and the counts of objects in `runtime.mheap_` and in the caches of the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Central {
    /// In `runtime.memstats`, type `mstats`.
    pub heap_sys: u32,
    pub heap_idle: u32,
    pub heap_in_use: u32,
    pub heap_released: u32,
    pub stacks_in_use: u32,
    /// The parts of `Sys` that are neither heap nor stacks in use.
    pub other_sys: [u32; 6],
    pub num_gc: u32,
    /// In `runtime.mheap_`, type `mheap`.
    pub pages_in_use: u32,
    pub large_alloc: u32,
    pub large_free: u32,
    /// 67 counts of freed objects, by size class.
    pub small_free: u32,
    /// 134 `mcentral`s, each in as many bytes as `central_size`.
    pub central: u32,
    pub central_size: u32,
    /// In one of them: objects that were allocated, as if the spans that are cached were full.
    pub allocated: u32,
    /// In type `p`: the pointer to its `mcache`.
    pub cache: u32,
    /// In type `mcache`: what was freed and is not in `mheap_` yet.
    pub local_large_free: u32,
    pub local_small_free: u32,
}
