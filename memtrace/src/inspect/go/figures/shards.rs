//! Go 1.16 to 1.18: `runtime.memstats` alone, as `updatememstats` in `runtime/mstats.go` sums it up.

use super::{Block, MOST, PAGE, Variables, sizes::SIZES};
use crate::{
    inspect::{InspectError, Memory, go::layout::Memstats},
    model::GoFigures,
};

/// `None` where they do not add up, or lie where they cannot.
pub fn shards(
    layout: &Memstats,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Option<GoFigures>, InspectError> {
    let shards = layout.shards;
    let to = layout
        .other_sys
        .into_iter()
        .chain([
            layout.heap_sys,
            layout.heap_in_use,
            layout.heap_released,
            layout.num_gc,
            shards.at.saturating_add(shards.size.saturating_mul(3)),
        ])
        .max()
        .unwrap_or(0)
        .saturating_add(8);
    let memstats = Block::read(memory, variables.memstats, 0, to)?;
    if memstats.word(layout.heap_sys) == Some(0) {
        return Err(InspectError::NotStarted);
    }
    Ok(figures(layout, &memstats))
}

/// The checks are the runtime's own, which it makes with the world stopped.
fn figures(layout: &Memstats, memstats: &Block) -> Option<GoFigures> {
    let [system, in_use, released] =
        memstats.words([layout.heap_sys, layout.heap_in_use, layout.heap_released])?;
    let shards = layout.shards;
    // Each may be negative; their sum is not.
    let sum = |field: u32| -> Option<u64> {
        let mut sum = 0_u64;
        for shard in 0..3 {
            let at = shards.at.checked_add(shards.size.checked_mul(shard)?)?;
            sum = sum.wrapping_add(memstats.word(at.checked_add(field)?)?);
        }
        Some(sum)
    };
    let small = |field: u32| -> Option<u64> {
        let mut bytes = 0_u64;
        for (class, size) in (0..).zip(SIZES) {
            let count = sum(field.checked_add(8 * class)?)?;
            bytes = bytes.wrapping_add(count.wrapping_mul(size));
        }
        Some(bytes)
    };
    let stacks = sum(shards.in_stacks)?;
    let scalar_bits = shards.in_ptr_scalar_bits.map_or(Some(0), sum)?;
    let work_bufs = sum(shards.in_work_bufs)?;
    let mut other = 0;
    for part in memstats.words(layout.other_sys)? {
        other += (part < MOST).then_some(part)?;
    }
    let allocated = sum(layout.large_alloc)?
        .wrapping_add(small(layout.small_alloc)?)
        .wrapping_sub(sum(layout.large_free)?)
        .wrapping_sub(small(layout.small_free)?);
    let sane = [system, in_use, released, stacks, scalar_bits, work_bufs]
        .iter()
        .all(|&figure| figure < MOST);
    if !sane {
        return None;
    }
    let manual = stacks + scalar_bits + work_bufs;
    let idle = system.checked_sub(in_use)?;
    let adds_up = sum(shards.in_heap)? == in_use
        && sum(shards.released)? == released
        && sum(shards.committed)? == system.checked_sub(released)? + manual
        && released <= idle
        && allocated <= in_use
        && in_use.is_multiple_of(PAGE)
        && stacks.is_multiple_of(PAGE);
    adds_up.then_some(GoFigures {
        sys_bytes: Some(system + other + manual),
        heap_sys_bytes: Some(system),
        heap_alloc_bytes: Some(allocated),
        heap_inuse_bytes: Some(in_use),
        heap_released_bytes: Some(released),
        heap_idle_bytes: Some(idle),
        stack_inuse_bytes: Some(stacks),
        num_gc: Some(u64::from(memstats.half(layout.num_gc)?)),
    })
}
