//! Go, from outside: its version, and the figures of its heap, of an unmodified program while it runs.
//!
//! [`version`] is read from the executable. [`Reader::find`] works out, once, where the runtime keeps its figures: which
//! variables (`runtime.gcController`, `runtime.memstats`, …) are at which address, and where in them each figure is. [`Reader::read`]
//! then reads some KB of memory at each tick. The program is neither stopped nor asked, so what it says may be torn: the
//! runtime keeps the same figures in several sums, and where these do not agree, they are read again.

mod bias;
mod buildinfo;
mod code;
mod dwarf;
mod executable;
mod figures;
mod layout;
mod pclntab;
mod symbols;
mod table;

use self::{figures::Variables, layout::Layout};
use super::{Budget, InspectError, Memory, Metered, Process, elf::Elf};
use crate::model::GoFigures;

/// The runtime's variables that hold the figures.
const NAMES: [&str; 4] = [
    "runtime.gcController",
    "runtime.memstats",
    "runtime.mheap_",
    "runtime.allp",
];

/// The version of Go that built the executable, as it calls itself, such as `go1.19.8`; `None` where it is no Go program.
///
/// # Errors
///
/// If the executable cannot be read, or is a Go program that does not say it in a way that is known.
pub fn version(process: &dyn Process) -> Result<Option<String>, InspectError> {
    let mut elf = executable::open(process.executable()?)?;
    Ok(buildinfo::read(&mut elf)?.map(|info| info.version))
}

/// Whether C code is linked into the Go program, which may then allocate with `malloc` besides; `None` where that cannot be told,
/// as of a stripped program that was built with cgo allowed.
///
/// # Errors
///
/// [`InspectError::NotGo`], or if the executable cannot be read.
pub fn has_c(process: &dyn Process) -> Result<Option<bool>, InspectError> {
    let mut elf = executable::open(process.executable()?)?;
    let info = buildinfo::read(&mut elf)?.ok_or(InspectError::NotGo)?;
    if info.cgo == Some(false) {
        return Ok(Some(false));
    }
    // The one is C's own, of the package runtime/cgo; the other every program has.
    let [c, always] = symbols::find(&mut elf, ["x_cgo_init", "runtime.memstats"])?;
    Ok(always.map(|_| c.is_some()))
}

/// Where the figures of one process are.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    variables: Variables,
    source: String,
}

impl Reader {
    /// Works out where the figures are.
    ///
    /// # Errors
    ///
    /// [`InspectError::NotGo`], [`InspectError::Budget`], or another reason why they cannot be had.
    pub fn find(process: &dyn Process) -> Result<Self, InspectError> {
        Self::within(&Metered::new(process))
    }

    /// As [`Reader::find`], within what is left of the process's budget.
    pub(super) fn within(process: &dyn Process) -> Result<Self, InspectError> {
        let mut elf = executable::open(process.executable()?)?;
        let info = buildinfo::read(&mut elf)?.ok_or(InspectError::NotGo)?;
        let (layout, from) = layout(&mut elf, &process.budget(), &info.version)?;
        let (found, by) = variables(&mut elf, &layout)?;
        let bias = bias::bias(&elf, &process.maps()?)?;
        let [controller, memstats, heap, processors] =
            found.map(|address| address.map_or(0, |address| address.wrapping_add(bias)));
        Ok(Self {
            layout,
            variables: Variables {
                controller,
                memstats,
                heap,
                processors,
            },
            source: format!("{from}, {by}"),
        })
    }

    /// The figures now: two reads of some KB, in Go up to 1.15 some more; 5 to 60 µs, and at most some 10 ms while they do not add up. Each is what `runtime.ReadMemStats` would say at this
    /// moment, except for `heap_alloc_bytes`: that call first flushes the processors' caches, and this does not. So up to one
    /// span of each of 136 classes, for each processor (`GOMAXPROCS`), may be wrong in part, which is 2.6 MiB a processor at the very
    /// most, and 0.1 to 0.3 MB in practice: since 1.19 what was allocated there is missing, up to 1.18 what is still free there
    /// is in it.
    ///
    /// # Errors
    ///
    /// [`InspectError::Memory`] if the memory cannot be read, [`InspectError::NotStarted`] if there are no figures yet, and
    /// [`InspectError::Torn`] if they do not add up.
    pub fn read(&self, memory: &dyn Memory) -> Result<GoFigures, InspectError> {
        figures::read(&self.layout, &self.variables, memory)
    }

    /// How it was found, for people.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// The layout, and what says so.
fn layout(elf: &mut Elf, budget: &Budget, version: &str) -> Result<(Layout, String), InspectError> {
    let by_dwarf = dwarf::structures(elf, budget)
        .and_then(|found| found.as_ref().map(layout::from_structures).transpose());
    let why_not = match by_dwarf {
        Ok(Some(layout)) => return Ok((layout, "DWARF".into())),
        Ok(None) => "it has no DWARF".to_owned(),
        Err(reason) => reason.to_string(),
    };
    match table::row(version) {
        Ok(row) => Ok((row.layout, format!("the table for go1.{}", row.minor))),
        Err(reason) => Err(format!("{reason}; {why_not}").into()),
    }
}

/// The variables that a layout needs, before the load bias, and what says where they are.
fn variables(
    elf: &mut Elf,
    layout: &Layout,
) -> Result<([Option<u64>; 4], &'static str), InspectError> {
    let needed = match layout {
        Layout::Controller(_) => [true, true, false, false],
        Layout::Shards(_) => [false, true, false, false],
        Layout::Central(_) => [false, true, true, true],
    };
    let mut found = symbols::find(elf, NAMES)?;
    for (address, needed) in found.iter_mut().zip(needed) {
        if !needed {
            *address = None;
        }
    }
    if found
        .iter()
        .zip(needed)
        .all(|(address, needed)| address.is_some() == needed)
    {
        Ok((found, "symbols"))
    } else {
        Ok((code::find(elf, layout)?, "pclntab"))
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
