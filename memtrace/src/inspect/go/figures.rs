//! Reading the figures, and checking that they belong together: the program runs on while they are read.

mod block;
mod central;
mod controller;
mod shards;
mod sizes;

use std::{thread, time::Duration};

use self::{block::Block, central::central, controller::controller, shards::shards};
use super::layout::Layout;
use crate::{
    inspect::{InspectError, Memory},
    model::GoFigures,
};

/// How often what does not add up is read again. A read takes some µs, and the runtime changes figures that belong together
/// within less than one.
const TRIES: u32 = 200;
/// After so many tries it waits, in all 10 ms: the thread that was changing them may not be running.
const TRIES_AT_A_TIME: u32 = 20;
const WAIT: Duration = Duration::from_millis(1);
/// Pages of the runtime, whatever those of the kernel are.
const PAGE: u64 = 8192;
/// No figure reaches the size of the address space.
const MOST: u64 = 1 << 48;

/// Where the runtime's variables are in the process; 0 for what a layout does not need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `runtime.gcController`
    pub controller: u64,
    /// `runtime.memstats`
    pub memstats: u64,
    /// `runtime.mheap_`
    pub heap: u64,
    /// `runtime.allp`
    pub processors: u64,
}

/// Reads until the figures add up.
///
/// # Errors
///
/// If they cannot be read, do not add up, or are not there yet.
pub fn read(
    layout: &Layout,
    variables: &Variables,
    memory: &dyn Memory,
) -> Result<GoFigures, InspectError> {
    for tried in 0..TRIES {
        if tried > 0 && tried.is_multiple_of(TRIES_AT_A_TIME) {
            thread::sleep(WAIT);
        }
        let read = match layout {
            Layout::Controller(layout) => controller(layout, variables, memory)?,
            Layout::Shards(layout) => shards(layout, variables, memory)?,
            Layout::Central(layout) => central(layout, variables, memory)?,
        };
        if let Some(figures) = read {
            return Ok(figures);
        }
    }
    Err(InspectError::Torn(TRIES))
}
