//! Since Go 1.19: the six figures of `runtime.gcController`, checked against `runtime.memstats`.

use super::{Block, MOST, PAGE, Variables};
use crate::{
    inspect::{InspectError, Memory, go::layout::Controller},
    model::GoFigures,
};

/// `None` where they do not add up, or lie where they cannot.
pub fn controller(
    layout: &Controller,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<Option<GoFigures>, InspectError> {
    let six = [
        layout.heap_in_use,
        layout.heap_released,
        layout.heap_free,
        layout.total_alloc,
        layout.total_free,
        layout.mapped_ready,
    ];
    let from = six.into_iter().min().unwrap_or(0);
    let to = six.into_iter().max().unwrap_or(0).saturating_add(8);
    let controller = Block::read(memory, variables.controller, from, to)?;
    let shards_end = layout
        .shards
        .size
        .saturating_mul(3)
        .saturating_add(layout.shards.at);
    let to = layout
        .other_sys
        .into_iter()
        .chain([layout.num_gc, shards_end])
        .max()
        .unwrap_or(0)
        .saturating_add(8);
    let memstats = Block::read(memory, variables.memstats, 0, to)?;
    if controller.word(layout.mapped_ready) == Some(0) {
        return Err(InspectError::NotStarted);
    }
    Ok(figures(layout, six, &controller, &memstats))
}

/// As `readmemstats_m` in `runtime/mstats.go` computes them, where the same figures, summed up in another way, agree: it checks the
/// same, with the world stopped, and ends the program where they do not.
fn figures(
    layout: &Controller,
    six: [u32; 6],
    controller: &Block,
    memstats: &Block,
) -> Option<GoFigures> {
    let [in_use, released, free, alloc, freed, ready] = controller.words(six)?;
    let shards = layout.shards;
    // Each may be negative; their sum is not.
    let sum = |field: u32| -> Option<u64> {
        let mut sum = 0_u64;
        for shard in 0..3 {
            let at = shards.at.checked_add(shards.size.checked_mul(shard)?)?;
            sum = sum.wrapping_add(memstats.word(at.checked_add(field)?)?);
        }
        (sum < MOST).then_some(sum)
    };
    let stacks = sum(shards.in_stacks)?;
    let scalar_bits = shards.in_ptr_scalar_bits.map_or(Some(0), sum)?;
    let manual = stacks + sum(shards.in_work_bufs)? + scalar_bits;
    let mut other = 0;
    for part in memstats.words(layout.other_sys)? {
        other += (part < MOST).then_some(part)?;
    }
    let allocated = alloc.checked_sub(freed)?;
    let adds_up = [in_use, released, free, ready]
        .iter()
        .all(|&figure| figure < MOST)
        && sum(shards.in_heap)? == in_use
        && sum(shards.released)? == released
        && sum(shards.committed)? == in_use + free + manual
        && ready == in_use + free + manual + other
        && allocated <= in_use
        && in_use.is_multiple_of(PAGE)
        && stacks.is_multiple_of(PAGE);
    adds_up.then_some(GoFigures {
        sys_bytes: Some(ready + released),
        heap_sys_bytes: Some(in_use + free + released),
        heap_alloc_bytes: Some(allocated),
        heap_inuse_bytes: Some(in_use),
        heap_released_bytes: Some(released),
        heap_idle_bytes: Some(free + released),
        stack_inuse_bytes: Some(stacks),
        num_gc: Some(u64::from(memstats.half(layout.num_gc)?)),
    })
}
