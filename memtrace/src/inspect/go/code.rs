//! Addresses of the runtime's variables in a stripped program, from the code of its functions.
//!
//! On x86-64 Go's compiler names variables relative to the instruction. Which fields of a variable a function of the runtime
//! names has not changed for years, so there is one address for which all of them are named by all of the functions; where there
//! are none or two, nothing is taken. What is read there must add up besides.

use std::collections::BTreeSet;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::{
    executable::is_variable,
    layout::{Central, Controller, Layout, Memstats},
    pclntab::{Function, functions},
};
use crate::inspect::{InspectError, elf::Elf};

/// Most bytes of a function: the largest of these has some 8 KiB.
const MOST: u64 = 1 << 16;

const FUNCTIONS: [&str; 19] = [
    "runtime.stackalloc",
    "runtime.(*mheap).grow",
    "runtime.(*mheap).allocSpan",
    "runtime.(*mheap).freeSpanLocked",
    "runtime.(*mheap).init",
    "runtime.(*mcache).refill",
    "runtime.(*mcache).releaseAll",
    "runtime.(*mcache).allocLarge",
    "runtime.(*sweepLocked).sweep",
    "runtime.sysAlloc",
    "runtime.gcinit",
    "runtime.gcControllerCommit",
    "runtime.gcMarkTermination",
    "runtime.newBucket",
    "runtime.purgecachedstats",
    "runtime.gcSetTriggerRatio",
    "runtime.procresize",
    "runtime.cachestats",
    "runtime.flushmcache",
];

/// That a function names these offsets of a variable.
type Witness = (&'static str, Vec<u32>);

/// The addresses of `gcController`, `memstats`, `mheap_` and `allp`, before the load bias; `None` for what the layout does not
/// need.
///
/// # Errors
///
/// Where one cannot be had beyond doubt.
pub fn find(elf: &mut Elf, layout: &Layout) -> Result<[Option<u64>; 4], InspectError> {
    if elf.machine != object::elf::EM_X86_64 {
        return Err("it is stripped of its symbols, and memtrace reads code of x86-64 only".into());
    }
    let code = Code::read(elf)?;
    let one =
        |variable: &str, size: u32, witnesses: &[Witness]| -> Result<Option<u64>, InspectError> {
            let address = code.agree(witnesses).map_err(|why| {
                InspectError::from(format!(
                    "it is stripped, and its code does not say where {variable} is: {why}"
                ))
            })?;
            if !is_variable(elf, address, u64::from(size)) {
                return Err(format!(
                    "it is stripped, and its code says that {variable} is where no variable can be"
                )
                .into());
            }
            Ok(Some(address))
        };
    match layout {
        Layout::Controller(layout) => Ok([
            one(
                "runtime.gcController",
                layout.mapped_ready.saturating_add(8),
                &of_controller(layout),
            )?,
            one(
                "runtime.memstats",
                layout.num_gc.saturating_add(4),
                &of_memstats(layout),
            )?,
            None,
            None,
        ]),
        Layout::Shards(layout) => {
            let end = layout.shards.at.saturating_add(layout.shards.size);
            let memstats = one("runtime.memstats", end, &of_memstats_with_shards(layout))?;
            Ok([None, memstats, None, None])
        }
        Layout::Central(layout) => Ok([
            None,
            one(
                "runtime.memstats",
                layout.num_gc.saturating_add(4),
                &of_old_memstats(layout),
            )?,
            one("runtime.mheap_", layout.central, &of_heap(layout))?,
            one("runtime.allp", 24, &of_processors())?,
        ]),
    }
}

/// Found the same in Go 1.19 and in 1.21 to 1.27.
fn of_controller(layout: &Controller) -> Vec<Witness> {
    let heap = vec![layout.heap_in_use, layout.heap_released, layout.heap_free];
    vec![
        ("runtime.(*mheap).grow", heap.clone()),
        (
            "runtime.(*mheap).allocSpan",
            [heap, vec![layout.mapped_ready]].concat(),
        ),
        (
            "runtime.(*mheap).freeSpanLocked",
            vec![layout.heap_in_use, layout.heap_free],
        ),
        ("runtime.(*mcache).refill", vec![0, layout.total_alloc]),
        ("runtime.(*mcache).allocLarge", vec![0, layout.total_alloc]),
        ("runtime.(*sweepLocked).sweep", vec![layout.total_free]),
        ("runtime.sysAlloc", vec![layout.mapped_ready]),
        ("runtime.gcinit", vec![0]),
        ("runtime.gcControllerCommit", vec![0]),
    ]
}

fn of_memstats(layout: &Controller) -> Vec<Witness> {
    let [_, span, cache, hash, misc, other] = layout.other_sys;
    let shards = vec![layout.shards.at];
    vec![
        ("runtime.(*mheap).grow", shards.clone()),
        ("runtime.(*mheap).allocSpan", shards.clone()),
        ("runtime.(*mheap).freeSpanLocked", shards.clone()),
        ("runtime.(*mcache).refill", shards.clone()),
        ("runtime.(*sweepLocked).sweep", shards),
        ("runtime.(*mheap).init", vec![span, cache, misc, other]),
        ("runtime.newBucket", vec![hash]),
        // And how many collections were asked for.
        (
            "runtime.gcMarkTermination",
            vec![layout.num_gc, layout.num_gc.saturating_add(4)],
        ),
    ]
}

/// Found the same in Go 1.16 to 1.18.
fn of_memstats_with_shards(layout: &Memstats) -> Vec<Witness> {
    let [stacks, span, cache, hash, misc, other] = layout.other_sys;
    let shards = layout.shards.at;
    vec![
        (
            "runtime.(*mheap).grow",
            vec![layout.heap_sys, layout.heap_released, shards],
        ),
        (
            "runtime.(*mheap).allocSpan",
            vec![
                layout.heap_sys,
                layout.heap_in_use,
                layout.heap_released,
                shards,
            ],
        ),
        (
            "runtime.(*mheap).freeSpanLocked",
            vec![layout.heap_sys, layout.heap_in_use, shards],
        ),
        ("runtime.(*mheap).init", vec![span, cache, misc, other]),
        ("runtime.(*mcache).refill", vec![shards]),
        ("runtime.newBucket", vec![hash]),
        ("runtime.stackalloc", vec![stacks]),
        (
            "runtime.gcMarkTermination",
            vec![
                layout.heap_in_use,
                layout.num_gc,
                layout.num_gc.saturating_add(4),
            ],
        ),
    ]
}

/// Found so in Go 1.15.
fn of_old_memstats(layout: &Central) -> Vec<Witness> {
    let [_, span, cache, hash, misc, other] = layout.other_sys;
    vec![
        (
            "runtime.(*mheap).grow",
            vec![layout.heap_sys, layout.heap_idle, layout.heap_released],
        ),
        (
            "runtime.(*mheap).allocSpan",
            vec![layout.heap_sys, layout.heap_idle, layout.heap_released],
        ),
        (
            "runtime.(*mheap).freeSpanLocked",
            vec![layout.heap_idle, layout.heap_in_use],
        ),
        ("runtime.(*mheap).init", vec![span, cache, misc, other]),
        ("runtime.newBucket", vec![hash]),
        (
            "runtime.gcMarkTermination",
            vec![
                layout.heap_in_use,
                layout.num_gc,
                layout.num_gc.saturating_add(4),
            ],
        ),
    ]
}

fn of_heap(layout: &Central) -> Vec<Witness> {
    vec![
        // The count behind that of the bytes.
        (
            "runtime.purgecachedstats",
            vec![
                layout.large_free,
                layout.large_free.saturating_add(8),
                layout.small_free,
            ],
        ),
        (
            "runtime.(*mheap).allocSpan",
            vec![layout.large_alloc, layout.large_alloc.saturating_add(8)],
        ),
        ("runtime.gcSetTriggerRatio", vec![layout.pages_in_use]),
        ("runtime.(*mcache).refill", vec![layout.central]),
        ("runtime.(*mcache).releaseAll", vec![layout.central]),
    ]
}

/// A slice: pointer, length, capacity.
fn of_processors() -> Vec<Witness> {
    vec![
        ("runtime.procresize", vec![0, 8, 16]),
        ("runtime.cachestats", vec![0, 8]),
        ("runtime.flushmcache", vec![0, 8]),
    ]
}

/// What each function names, relative to the instruction.
struct Code {
    named: Vec<(&'static str, BTreeSet<u64>)>,
}

impl Code {
    fn read(elf: &mut Elf) -> Result<Self, InspectError> {
        let mut named = Vec::new();
        for (name, function) in FUNCTIONS.into_iter().zip(functions(elf, FUNCTIONS)?) {
            if let Some(function) = function {
                named.push((name, targets(elf, function)?));
            }
        }
        Ok(Self { named })
    }

    /// The one address at which a variable lies that all of these functions name so.
    fn agree(&self, witnesses: &[Witness]) -> Result<u64, InspectError> {
        let mut left: Option<BTreeSet<u64>> = None;
        for (function, offsets) in witnesses {
            let targets = self
                .named
                .iter()
                .find(|(name, _)| name == function)
                .map(|(_, targets)| targets)
                .ok_or_else(|| format!("it has no function {function}"))?;
            for offset in offsets {
                let possible = targets
                    .iter()
                    .map(|target| target.wrapping_sub(u64::from(*offset)));
                left = Some(match left {
                    None => possible.collect(),
                    Some(left) => possible.filter(|address| left.contains(address)).collect(),
                });
            }
        }
        let left = left.unwrap_or_default();
        match (left.first(), left.len()) {
            (Some(&address), 1) => Ok(address),
            (_, 0) => {
                Err("its functions do not name it as those of the versions that are known".into())
            }
            (_, count) => Err(format!("it may be at {count} addresses").into()),
        }
    }
}

/// The addresses that a function names relative to its instructions, whatever it does with them.
fn targets(elf: &mut Elf, function: Function) -> Result<BTreeSet<u64>, InspectError> {
    let size = function
        .end
        .checked_sub(function.start)
        .filter(|&size| size <= MOST)
        .ok_or("its table of functions is broken")?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    elf.at(function.start, &mut bytes)?;
    let mut decoder = Decoder::with_ip(64, &bytes, function.start, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut targets = BTreeSet::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if !instruction.is_invalid() && instruction.is_ip_rel_memory_operand() {
            targets.insert(instruction.ip_rel_memory_address());
        }
    }
    Ok(targets)
}
