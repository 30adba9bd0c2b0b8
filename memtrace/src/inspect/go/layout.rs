//! Where the figures are inside of the runtime's variables. Offsets in bytes.

use super::dwarf::Structures;
use crate::inspect::InspectError;

/// How a version of Go keeps its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Since 1.19.
    Controller(Controller),
    /// 1.16 to 1.18.
    Shards(Memstats),
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

/// 1.16 to 1.18: all of it in `runtime.memstats`, type `mstats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memstats {
    pub heap_sys: u32,
    pub heap_in_use: u32,
    pub heap_released: u32,
    /// The parts of `Sys` that are neither heap nor in the shards.
    pub other_sys: [u32; 6],
    pub num_gc: u32,
    pub shards: Shards,
    /// In one of the shards: bytes of large objects.
    pub large_alloc: u32,
    pub large_free: u32,
    /// 68 counts of small objects, by size class.
    pub small_alloc: u32,
    pub small_free: u32,
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

/// The layout that the runtime's structures have, by the names of their fields.
///
/// # Errors
///
/// Where a field is missing: another version.
pub fn from_structures(structures: &Structures) -> Result<Layout, InspectError> {
    let has = |structure: &str, member: &str| {
        structures
            .get(structure)
            .is_some_and(|structure| structure.members.contains_key(member))
    };
    if has("runtime.gcControllerState", "mappedReady") {
        controller(structures).map(Layout::Controller)
    } else if has("runtime.mstats", "heap_idle") {
        central(structures).map(Layout::Central)
    } else if has("runtime.mstats", "heap_inuse") && has("runtime.mstats", "heapStats") {
        memstats(structures).map(Layout::Shards)
    } else {
        Err("this version keeps its figures in a way that memtrace does not know".into())
    }
}

fn controller(structures: &Structures) -> Result<Controller, InspectError> {
    let six = |member| field(structures, "runtime.gcControllerState", member);
    let memstats = |member| field(structures, "runtime.mstats", member);
    Ok(Controller {
        heap_in_use: six("heapInUse")?,
        heap_released: six("heapReleased")?,
        heap_free: six("heapFree")?,
        total_alloc: six("totalAlloc")?,
        total_free: six("totalFree")?,
        mapped_ready: six("mappedReady")?,
        other_sys: [
            memstats("stacks_sys")?,
            memstats("mspan_sys")?,
            memstats("mcache_sys")?,
            memstats("buckhash_sys")?,
            memstats("gcMiscSys")?,
            memstats("other_sys")?,
        ],
        num_gc: memstats("numgc")?,
        shards: shards(structures)?,
    })
}

fn shards(structures: &Structures) -> Result<Shards, InspectError> {
    let one = |member| field(structures, "runtime.heapStatsDelta", member);
    let begin = field(structures, "runtime.mstats", "heapStats")?;
    Ok(Shards {
        at: begin.saturating_add(field(structures, "runtime.consistentHeapStats", "stats")?),
        size: structures
            .get("runtime.heapStatsDelta")
            .map_or(0, |structure| structure.size),
        committed: one("committed")?,
        released: one("released")?,
        in_heap: one("inHeap")?,
        in_stacks: one("inStacks")?,
        in_work_bufs: one("inWorkBufs")?,
        in_ptr_scalar_bits: one("inPtrScalarBits").ok(),
    })
}

fn memstats(structures: &Structures) -> Result<Memstats, InspectError> {
    let memstats = |member| field(structures, "runtime.mstats", member);
    let one = |member| field(structures, "runtime.heapStatsDelta", member);
    Ok(Memstats {
        heap_sys: memstats("heap_sys")?,
        heap_in_use: memstats("heap_inuse")?,
        heap_released: memstats("heap_released")?,
        other_sys: [
            memstats("stacks_sys")?,
            memstats("mspan_sys")?,
            memstats("mcache_sys")?,
            memstats("buckhash_sys")?,
            memstats("gcMiscSys")?,
            memstats("other_sys")?,
        ],
        num_gc: memstats("numgc")?,
        shards: shards(structures)?,
        large_alloc: one("largeAlloc")?,
        large_free: one("largeFree")?,
        small_alloc: one("smallAllocCount")?,
        small_free: one("smallFreeCount")?,
    })
}

fn central(structures: &Structures) -> Result<Central, InspectError> {
    let memstats = |member| field(structures, "runtime.mstats", member);
    let heap = |member| field(structures, "runtime.mheap", member);
    let central = heap("central")?;
    // The table ends where the next field begins.
    let all = heap("spanalloc")?.saturating_sub(central);
    if !all.is_multiple_of(SPAN_CLASSES) {
        return Err(missing("runtime.mheap", "central"));
    }
    Ok(Central {
        heap_sys: memstats("heap_sys")?,
        heap_idle: memstats("heap_idle")?,
        heap_in_use: memstats("heap_inuse")?,
        heap_released: memstats("heap_released")?,
        stacks_in_use: memstats("stacks_inuse")?,
        other_sys: [
            memstats("stacks_sys")?,
            memstats("mspan_sys")?,
            memstats("mcache_sys")?,
            memstats("buckhash_sys")?,
            memstats("gc_sys")?,
            memstats("other_sys")?,
        ],
        num_gc: memstats("numgc")?,
        pages_in_use: heap("pagesInUse")?,
        large_alloc: heap("largealloc")?,
        large_free: heap("largefree")?,
        small_free: heap("nsmallfree")?,
        central,
        central_size: all / SPAN_CLASSES,
        allocated: field(structures, "runtime.mcentral", "nmalloc")?,
        cache: field(structures, "runtime.p", "mcache")?,
        local_large_free: field(structures, "runtime.mcache", "local_largefree")?,
        local_small_free: field(structures, "runtime.mcache", "local_nsmallfree")?,
    })
}

/// With pointers and without, of each of 67 size classes.
const SPAN_CLASSES: u32 = 134;

fn field(structures: &Structures, structure: &str, member: &str) -> Result<u32, InspectError> {
    structures
        .get(structure)
        .and_then(|structure| structure.members.get(member))
        .copied()
        .ok_or_else(|| missing(structure, member))
}

fn missing(structure: &str, member: &str) -> InspectError {
    format!("its {structure} has no {member} as memtrace knows it").into()
}
