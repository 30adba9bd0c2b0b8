//! One reading of the kernel side's cells.

use memtrace_common::{
    cell::{CALL_SLOTS, CELLS, MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBERS},
    layout::{CallStats, EpochEnd, FaultStats, Pages},
};

/// Everything that was counted for one epoch, summed over the CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Number of the epoch: 0, and one more at each exec.
    pub epoch: u32,
    /// Pages by member when the epoch began.
    pub start: Pages,
    /// Pages by member when it ended, read from the kernel's own counters; `None` while it goes on.
    pub end: Option<Pages>,
    /// How it ended.
    pub end_kind: EpochEnd,
    /// The shared part of each counter, without the CPUs' own parts: what `statm` shows before 6.16.
    pub counts: Pages,
    /// Pages that moved and whose cause is not known (yet).
    pub suspense: Pages,
    /// The cell of the last call that may have left them there, by member.
    pub last_call: [Option<u32>; MEMBERS],
    /// The counters did not stand still while `start` was read.
    pub unsettled: bool,
    /// `CLOCK_MONOTONIC` at the beginning, ns.
    pub begin_ns: u64,
    /// `CLOCK_MONOTONIC` at the end, ns; 0 while it goes on.
    pub end_ns: u64,
    /// RSS events counted.
    pub events: u64,
    /// Pages by cell.
    pub cells: Box<[Pages; CELLS]>,
    /// System calls by slot.
    pub calls: Box<[CallStats; CALL_SLOTS]>,
    /// Page faults by kind.
    pub faults: FaultStats,
    /// Child processes forked, since the capture began.
    pub forks: u64,
    /// The youngest child's process id; 0 where there is none.
    pub last_child: u32,
    /// Slots among the tasks' cells that were handed out, since the capture began.
    pub task_slots: u64,
    /// Advice values that have no fixed slot, in the order of their slots.
    pub unknown_advice: Vec<i32>,
    /// What could not be counted, since the capture began.
    pub losses: Losses,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            epoch: 0,
            start: [0; MEMBERS],
            end: None,
            end_kind: EpochEnd::Open,
            counts: [0; MEMBERS],
            suspense: [0; MEMBERS],
            last_call: [None; MEMBERS],
            unsettled: false,
            begin_ns: 0,
            end_ns: 0,
            events: 0,
            cells: Box::new([[0; MEMBERS]; CELLS]),
            calls: Box::new([CallStats::default(); CALL_SLOTS]),
            faults: FaultStats::default(),
            forks: 0,
            last_child: 0,
            task_slots: 0,
            unknown_advice: Vec::new(),
            losses: Losses::default(),
        }
    }
}

impl Reading {
    /// How many calls have failed, of all kinds.
    #[must_use]
    pub fn failed_calls(&self) -> u64 {
        self.calls
            .iter()
            .fold(0, |sum: u64, call| sum.wrapping_add(call.failed))
    }

    /// Pages by member that all causes together moved.
    #[must_use]
    pub fn moved(&self) -> Pages {
        self.cells
            .iter()
            .fold([0; MEMBERS], |sum, cell| add_pages(&sum, cell))
    }

    /// Pages by member as the causes explain them: the start and all that they moved.
    #[must_use]
    pub fn explained(&self) -> Pages {
        add_pages(&self.start, &self.moved())
    }

    /// What was counted since `earlier`, a reading of the same epoch. The state (start, end, suspense) stays this one's.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.events = self.events.wrapping_sub(earlier.events);
        for (cell, before) in since.cells.iter_mut().zip(earlier.cells.iter()) {
            for (pages, before) in cell.iter_mut().zip(before) {
                *pages = pages.wrapping_sub(*before);
            }
        }
        for (call, before) in since.calls.iter_mut().zip(earlier.calls.iter()) {
            call.calls = call.calls.wrapping_sub(before.calls);
            call.failed = call.failed.wrapping_sub(before.failed);
            call.requested = call.requested.wrapping_sub(before.requested);
            call.failed_requested = call.failed_requested.wrapping_sub(before.failed_requested);
            call.shrunk = call.shrunk.wrapping_sub(before.shrunk);
            call.time_ns = call.time_ns.wrapping_sub(before.time_ns);
        }
        let (faults, before) = (&mut since.faults, &earlier.faults);
        faults.user_read = faults.user_read.wrapping_sub(before.user_read);
        faults.user_write = faults.user_write.wrapping_sub(before.user_write);
        faults.user_exec = faults.user_exec.wrapping_sub(before.user_exec);
        faults.kernel_read = faults.kernel_read.wrapping_sub(before.kernel_read);
        faults.kernel_write = faults.kernel_write.wrapping_sub(before.kernel_write);
        since
    }

    /// At rest, gives what is left in suspense to the last call that may have left it there.
    ///
    /// Pages are in suspense while an event is on its way that will take them. Where none is, since nothing happens any
    /// more, two events have passed each other, and the pages belong to the call among the two: `docs/accuracy.md`.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        for member in 0..MEMBERS {
            let Some(cell) = self.last_call[member] else {
                continue;
            };
            if let Some(pages) = self.cells.get_mut(cell as usize) {
                pages[member] = pages[member].wrapping_add(self.suspense[member]);
                self.suspense[member] = 0;
            }
        }
        self
    }

    /// Pages by member as the ledger knows them: what the causes explain, and what is in suspense.
    #[must_use]
    pub fn now(&self) -> Pages {
        add_pages(&self.explained(), &self.suspense)
    }
}

/// What could not be counted. All zero in a capture that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Ends of epochs that did not fit into the ring buffer.
    pub events: u64,
    /// System calls that were not counted, because too many threads were inside calls.
    pub calls: u64,
    /// Failed calls whose errno was not kept.
    pub errnos: u64,
    /// RSS events at which the kernel's counter could not be read.
    pub reads: u64,
    /// Epochs that were merged into the one before.
    pub epochs: u64,
    /// Calls that were counted, and not told as single events, for want of room; `None` where none were to be told. No part of the
    /// ledger.
    pub single: Option<u64>,
}

impl Losses {
    /// Everything that the ledger lacks, as one number.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self {
            events,
            calls,
            errnos,
            reads,
            epochs,
            single: _,
        } = self;
        *events + *calls + *errnos + *reads + *epochs
    }
}

/// Failed calls with one errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno {
    /// The call's cell.
    pub cell: u32,
    /// The errno, positive.
    pub errno: u32,
    /// Calls.
    pub count: u64,
}

/// A task that got a cell of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskName {
    /// The slot among the tasks' cells.
    pub slot: u32,
    /// [`memtrace_common::cell::TaskCause`] as a number.
    pub cause: u32,
    /// The task's name: bytes that another program chose, so not to be trusted.
    pub comm: String,
}

/// Adds pages member by member.
#[must_use]
pub fn add_pages(a: &Pages, b: &Pages) -> Pages {
    std::array::from_fn(|member| a[member].wrapping_add(b[member]))
}

/// The pages that count as resident: file, anonymous and shmem, not swap entries.
#[must_use]
pub fn rss_of(pages: &Pages) -> i64 {
    pages[MEMBER_FILE] + pages[MEMBER_ANON] + pages[MEMBER_SHMEM]
}
