//! Up to Go 1.15: `runtime.memstats`, whose sums are brought up to date by `ReadMemStats` alone, so they are computed here as
//! `updatememstats` in `runtime/mstats.go` does.

use super::{Block, MOST, PAGE, Variables, sizes::SIZES};
use crate::{
    inspect::{InspectError, Memory, go::layout::Central},
    model::GoFigures,
};

/// Size classes, that of large objects included.
const CLASSES: u32 = 67;

/// Bytes of an object, by class: those of later versions, less one that came with 1.16.
fn sizes() -> impl Iterator<Item = u64> {
    SIZES.into_iter().filter(|&size| size != 24)
}

/// Most values of `GOMAXPROCS` that are believed.
const MOST_PROCESSORS: u64 = 1 << 12;

/// `None` where they do not add up, or lie where they cannot.
pub fn central(
    layout: &Central,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Option<GoFigures>, InspectError> {
    // Counts move from the caches to the heap when a collection ends: what is the same before and after was not moved between.
    let before = heap(layout, variables, memory)?;
    let allocated = allocated(layout, variables, memory)?;
    let to = layout
        .other_sys
        .into_iter()
        .chain([
            layout.heap_sys,
            layout.heap_idle,
            layout.heap_in_use,
            layout.heap_released,
            layout.stacks_in_use,
            layout.num_gc,
        ])
        .max()
        .unwrap_or(0)
        .saturating_add(8);
    let memstats = Block::read(memory, variables.memstats, 0, to)?;
    let after = heap(layout, variables, memory)?;
    if memstats.word(layout.heap_sys) == Some(0) {
        return Err(InspectError::NotStarted);
    }
    Ok((|| {
        let (before, after) = (before?, after?);
        if before != after {
            return None;
        }
        figures(layout, &memstats, &after, allocated?)
    })())
}

/// What `runtime.mheap_` says.
#[derive(PartialEq, Eq)]
struct Heap {
    in_use: u64,
    large_alloc: u64,
    /// Of large objects and of small ones.
    freed: u64,
}

fn heap(
    layout: &Central,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Option<Heap>, InspectError> {
    let all = [
        layout.pages_in_use,
        layout.large_alloc,
        layout.large_free,
        layout.small_free,
    ];
    let from = all.into_iter().min().unwrap_or(0);
    let to = all
        .into_iter()
        .max()
        .unwrap_or(0)
        .saturating_add(8 * CLASSES);
    let block = Block::read(memory, variables.heap, from, to)?;
    Ok((|| {
        let pages = block.word(layout.pages_in_use)?;
        Some(Heap {
            in_use: pages.checked_mul(PAGE)?,
            large_alloc: block.word(layout.large_alloc)?,
            freed: block
                .word(layout.large_free)?
                .wrapping_add(small(&block, layout.small_free)?),
        })
    })())
}

/// Bytes of 67 counts of small objects.
fn small(block: &Block, at: u32) -> Option<u64> {
    let mut bytes = 0_u64;
    // Class 0 is that of the large ones.
    for (class, size) in (0..).zip(sizes()).skip(1) {
        let count = block.word(at.checked_add(8 * class)?)?;
        bytes = bytes.wrapping_add(count.wrapping_mul(size));
    }
    Some(bytes)
}

/// Bytes of small objects that were allocated, less what the processors' caches know to be free.
fn allocated(
    layout: &Central,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Option<u64>, InspectError> {
    // Two of each size class: with pointers and without.
    let count = 2 * CLASSES;
    let end = layout.central_size.saturating_mul(count);
    let central = Block::read(
        memory,
        variables.heap.wrapping_add(u64::from(layout.central)),
        0,
        end,
    )?;
    let mut bytes = 0_u64;
    for (class, size) in (0..).zip(sizes()) {
        for scan in 0..2 {
            let at = layout
                .central_size
                .saturating_mul(2 * class + scan)
                .saturating_add(layout.allocated);
            let Some(objects) = central.word(at) else {
                return Ok(None);
            };
            bytes = bytes.wrapping_add(objects.wrapping_mul(size));
        }
    }
    for cache in caches(layout, variables, memory)? {
        let from = layout.local_large_free.min(layout.local_small_free);
        let to = layout
            .local_large_free
            .max(layout.local_small_free)
            .saturating_add(8 * CLASSES);
        let cache = Block::read(memory, cache, from, to)?;
        let freed = cache
            .word(layout.local_large_free)
            .zip(small(&cache, layout.local_small_free));
        let Some((large, small)) = freed else {
            return Ok(None);
        };
        bytes = bytes.wrapping_sub(large).wrapping_sub(small);
    }
    Ok(Some(bytes))
}

/// The addresses of the processors' caches.
fn caches(
    layout: &Central,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Vec<u64>, InspectError> {
    let slice = Block::read(memory, variables.processors, 0, 16)?;
    let [array, count] = slice.words([0, 8]).unwrap_or_default();
    if count > MOST_PROCESSORS {
        return Err(format!("Go would have {count} processors").into());
    }
    let count = count as u32;
    let array = Block::read(memory, array, 0, 8 * count)?;
    let mut caches = Vec::new();
    for index in 0..count {
        let Some(processor) = array.word(8 * index) else {
            continue;
        };
        let processor = Block::read(
            memory,
            processor,
            layout.cache,
            layout.cache.saturating_add(8),
        )?;
        // None while the processor is made or given up.
        caches.extend(processor.word(layout.cache).filter(|&cache| cache != 0));
    }
    Ok(caches)
}

fn figures(layout: &Central, memstats: &Block, heap: &Heap, allocated: u64) -> Option<GoFigures> {
    let [sys, idle, in_use, released, stacks] = memstats.words([
        layout.heap_sys,
        layout.heap_idle,
        layout.heap_in_use,
        layout.heap_released,
        layout.stacks_in_use,
    ])?;
    let mut other = 0;
    for part in memstats.words(layout.other_sys)? {
        other += (part < MOST).then_some(part)?;
    }
    let allocated = allocated
        .wrapping_add(heap.large_alloc)
        .wrapping_sub(heap.freed);
    let adds_up = [sys, idle, in_use, released, stacks]
        .iter()
        .all(|&figure| figure < MOST)
        && sys == in_use + idle
        && released <= idle
        && in_use == heap.in_use
        && allocated <= in_use
        && stacks.is_multiple_of(PAGE);
    adds_up.then_some(GoFigures {
        sys_bytes: Some(sys + stacks + other),
        heap_sys_bytes: Some(sys),
        heap_alloc_bytes: Some(allocated),
        heap_inuse_bytes: Some(in_use),
        heap_released_bytes: Some(released),
        heap_idle_bytes: Some(idle),
        stack_inuse_bytes: Some(stacks),
        num_gc: Some(u64::from(memstats.half(layout.num_gc)?)),
    })
}
