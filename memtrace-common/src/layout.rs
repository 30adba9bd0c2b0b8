//! The maps: what the kernel side writes and the user side reads.

use crate::{
    advice::UNKNOWN_SLOTS,
    cell::{CALL_SLOTS, CELLS, MEMBERS},
};

/// Epochs (lives of one `mm`, from one exec to the next) that can wait to be read at the same time.
///
/// A chain of execs is read as fast as the ring buffer wakes memtrace; all but one may wait while that one is being written. A
/// shim that finds an interpreter by way of a few shells executes six times within some ms.
pub const EPOCH_SLOTS: u32 = 8;

/// Name of the map of [`CpuCells`], indexed by epoch modulo [`EPOCH_SLOTS`].
pub const MAP_CELLS: &str = "CELLS";
/// Name of the map of [`Control`], one entry, written by the user side.
pub const MAP_CONTROL: &str = "CONTROL";
/// Name of the ring buffer of [`Event`].
pub const MAP_EVENTS: &str = "EVENTS";
/// Name of the map of failed calls: [`ErrnoKey`] to a count.
pub const MAP_ERRNOS: &str = "ERRNOS";
/// Name of the map of tasks that have a cell of their own: [`TaskKey`] to the slot.
pub const MAP_TASKS: &str = "TASKS";
/// Name of the array of calls that have begun and not ended: [`BegunSlot`], by the thread's number modulo [`BEGUN_SLOTS`].
pub const MAP_BEGUN_SLOTS: &str = "BEGUN_SLOTS";
/// Name of the map of those whose slot another thread has: thread to [`Begun`].
pub const MAP_BEGUN: &str = "BEGUN";
/// Name of the map of calls that have begun, in the approximate mode: thread to [`Asked`].
pub const MAP_ASKED: &str = "ASKED";
/// Name of the ring buffer of [`CallEvent`].
pub const MAP_CALL_EVENTS: &str = "CALL_EVENTS";
/// Name of the per-CPU array of [`CallEventCounts`], one entry.
pub const MAP_CALL_COUNTS: &str = "CALL_COUNTS";
/// Name of the array of what calls have moved so far: [`Pages`], for the thread that has the same place in [`MAP_BEGUN_SLOTS`].
pub const MAP_MOVED_SLOTS: &str = "MOVED_SLOTS";
/// Name of the map that holds [`Shared`]: the kernel side's only writable global.
pub const MAP_SHARED: &str = ".bss";

/// Most different (call, errno) pairs that are told apart.
pub const MAX_ERRNOS: u32 = 1024;
/// Threads of the target that can be inside hooked calls at the same time, whatever their numbers are, beside those that have a
/// slot.
pub const MAX_BEGUN: u32 = 10_240;
/// Slots for threads inside hooked calls. Threads of one process mostly have numbers next to each other.
pub const BEGUN_SLOTS: u32 = 4096;

/// Pages by RSS member; signed, a change.
pub type Pages = [i64; MEMBERS];

/// What is counted for one hooked system call, or one advice of it. Bytes as the caller passed them, not rounded to pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallStats {
    /// Calls that began and ended while the hooks were attached, failed ones included.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Bytes that successful calls asked to map, unmap, advise on, or grow by.
    pub requested: u64,
    /// Bytes that failed calls asked for; wraps on nonsense lengths.
    pub failed_requested: u64,
    /// Bytes that successful `brk` and `mremap` calls asked to shrink by.
    pub shrunk: u64,
    /// Time between entry and exit, in ns, over all calls.
    pub time_ns: u64,
}

/// Page faults by kind, as counted by the page-fault tracepoints. Counts, not pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FaultStats {
    /// From user code, reading.
    pub user_read: u64,
    /// From user code, writing.
    pub user_write: u64,
    /// From user code, fetching an instruction.
    pub user_exec: u64,
    /// From kernel code on a user address, reading.
    pub kernel_read: u64,
    /// From kernel code on a user address, writing.
    pub kernel_write: u64,
}

impl FaultStats {
    /// From user code, of any kind.
    #[must_use]
    pub const fn user(&self) -> u64 {
        self.user_read + self.user_write + self.user_exec
    }

    /// From kernel code, of any kind.
    #[must_use]
    pub const fn kernel(&self) -> u64 {
        self.kernel_read + self.kernel_write
    }
}

/// One CPU's part of one epoch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuCells {
    /// Kernel addresses of this CPU's part of each RSS counter of the target.
    pub local_addr: [u64; MEMBERS],
    /// This CPU's part of each counter at its last event, in pages.
    pub last_local: [i32; MEMBERS],
    /// RSS events of the target that this CPU has counted.
    pub events: u64,
    /// Kernel address of this CPU's `current_task`, where the kernel side finds the running task without a helper.
    pub current: u64,
    /// Scratch in which the kernel side turns pointers into numbers.
    pub scratch: u64,
    /// Page faults.
    pub faults: FaultStats,
    /// RSS changes by cause, in pages.
    pub cells: [Pages; CELLS],
    /// System calls.
    pub calls: [CallStats; CALL_SLOTS],
}

/// How an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EpochEnd {
    /// It has not ended.
    Open = 0,
    /// The process replaced its program.
    Exec = 1,
    /// The process's memory is gone.
    Exit = 2,
}

/// State of one epoch that all CPUs share.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Epoch {
    /// `percpu_counter.count` (or `mm_rss_stat.count`) of each member when last looked at, in pages.
    pub last_count: Pages,
    /// Pages that a fault cannot have moved and whose cause has not shown up yet.
    pub suspense: Pages,
    /// Each member in pages when the epoch began.
    pub start: Pages,
    /// Each member in pages when the epoch ended; read from the kernel, not from the ledger.
    pub end: Pages,
    /// Whose (+ 1, `fold::Who`) the pages are that another CPU's fault is about to put into suspense.
    pub owed: [u64; MEMBERS],
    /// Whose (`fold::Who`) the last event was that took a change of `count`.
    pub taker: [u64; MEMBERS],
    /// The cell (+ 1) of the last event that is no fault and may have folded: whose the suspense is, should it be left over.
    pub last_call: [u64; MEMBERS],
    /// Kernel address of the `mm`.
    pub mm: u64,
    /// `CLOCK_MONOTONIC` at the beginning, ns.
    pub begin_ns: u64,
    /// `CLOCK_MONOTONIC` at the end, ns; 0 while open.
    pub end_ns: u64,
    /// [`EpochEnd`] as a number.
    pub end_kind: u32,
    /// 1 where the counters kept moving while `start` was read, so that `start` is exact only together with the cells.
    pub unsettled: u32,
}

/// The kernel side's global state.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Shared {
    /// Kernel address of the `mm` being traced; 0 before the start and after the end.
    pub target_mm: u64,
    /// Address of memtrace's own PID namespace.
    pub own_namespace: u64,
    /// How deep that one lies: 0 is the initial one.
    pub own_level: u32,
    /// Process id of the target in the initial PID namespace; 0 until it is found.
    pub tgid: u32,
    /// Number of the current epoch, from 0.
    pub epoch: u32,
    /// 1 once a target was found.
    pub started: u32,
    /// Epochs that were merged into the one before, because none was free.
    pub merged_epochs: u64,
    /// Ring buffer reservations that failed.
    pub lost_events: u64,
    /// Calls that could not be counted, because [`MAX_BEGUN`] threads were inside calls.
    pub lost_calls: u64,
    /// Failed calls whose errno could not be kept, because of [`MAX_ERRNOS`].
    pub lost_errnos: u64,
    /// Probe reads of counters that failed: each a missed event.
    pub failed_reads: u64,
    /// Child processes (not threads) that the target forked.
    pub forks: u64,
    /// The youngest of them, as a process id in memtrace's own PID namespace; 0 where it has none there.
    pub last_child: u64,
    /// Task slots handed out.
    pub task_slots: u64,
    /// 1 where the running task was not found without a helper as the helper found it: then it must not be sought so.
    pub mistaken: u64,
    /// Where a task's registers of its entry into the kernel lie, from the beginning of its stack.
    pub regs_offset: u64,
    /// The per-CPU pointer to where each CPU keeps its running task.
    pub current_task: u64,
    /// Advice values outside the fixed slots, as u32, plus 1, in the order in which they were seen; 0 is free.
    pub unknown_advice: [u64; UNKNOWN_SLOTS as usize],
    /// The epochs, by number modulo [`EPOCH_SLOTS`].
    pub epochs: [Epoch; EPOCH_SLOTS as usize],
}

/// What the user side tells the kernel side while it runs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Control {
    /// Epochs below this number have been read, and their slots cleared.
    pub drained: u64,
}

/// A single event, through the ring buffer: an epoch has ended.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    /// Number of the epoch that ended.
    pub epoch: u32,
    /// [`EpochEnd`] as a number.
    pub end_kind: u32,
}

/// A single call that has ended, through a ring buffer of its own. Lengths as the caller passed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallEvent {
    /// `CLOCK_MONOTONIC` at entry, ns.
    pub at_ns: u64,
    /// [`Epoch::begin_ns`] of its epoch; 0 where the kernel side has not seen that begin.
    pub begin_ns: u64,
    /// Time from entry to exit, ns.
    pub duration_ns: u64,
    /// The address that was passed; 0 for `process_madvise`, which passes several.
    pub address: u64,
    /// The length in bytes; for `mremap` the new one, for `brk` how far the break was to move, for `process_madvise` the sum.
    pub length: u64,
    /// For `mremap` the old length, for `brk` the old break, for `process_madvise` the number of ranges; else 0.
    pub old: u64,
    /// What the call returned.
    pub result: i64,
    /// Pages of each RSS member that were booked under this call; valid where `has_moved` is 1.
    pub moved: Pages,
    /// Number of the epoch.
    pub epoch: u32,
    /// The thread's number in memtrace's own PID namespace; 0 where it has none there.
    pub thread: u32,
    /// The cell of the call, which says which call it is.
    pub cell: u32,
    /// The errno, positive; 0 where the call did not fail.
    pub errno: u32,
    /// For `madvise` and `process_madvise`, the advice.
    pub advice: i32,
    /// For `mmap` and `mremap`, the flags.
    pub flags: u32,
    /// For `mmap`, the protection.
    pub prot: u32,
    /// 1 where `moved` is known.
    pub has_moved: u32,
}

/// Calls that did not go into the ring buffer of [`CallEvent`]; of all epochs. One CPU's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallEventCounts {
    /// Because the filter leaves them out.
    pub filtered: u64,
    /// Because there was no room.
    pub dropped: u64,
}

/// Key of the map of failed calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ErrnoKey {
    /// Number of the epoch.
    pub epoch: u32,
    /// The cell of the call.
    pub cell: u32,
    /// The errno, positive.
    pub errno: u32,
    /// Padding, 0.
    pub pad: u32,
}

/// Key of the map of tasks that have a cell of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct TaskKey {
    /// [`crate::cell::TaskCause`] as a number.
    pub cause: u32,
    /// Padding, 0.
    pub pad: u32,
    /// The task's name, padded with 0.
    pub comm: [u8; 16],
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Begun {
    /// `CLOCK_MONOTONIC` at entry, ns.
    pub at_ns: u64,
    /// `mm->brk` at entry.
    pub brk: u64,
}

/// The place of a thread that is inside a call. An array costs a tenth of a hash map's time.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BegunSlot {
    /// Whose it is, as the initial PID namespace numbers threads; 0 where it is free.
    pub thread: u64,
    /// The call.
    pub begun: Begun,
}

/// A call that has begun, with what it asks for: for kernels that do not tell at its end.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Asked {
    /// `CLOCK_MONOTONIC` at entry, ns.
    pub at_ns: u64,
    /// `mm->brk` at entry.
    pub brk: u64,
    /// The first four arguments.
    pub args: [u64; 4],
}

const _: () = {
    assert!(size_of::<CallStats>() == 48);
    assert!(size_of::<FaultStats>() == 40);
    assert!(size_of::<CpuCells>() == 32 + 16 + 24 + 40 + CELLS * 32 + CALL_SLOTS * 48);
    // The kernel refuses a per-CPU value above PCPU_MIN_UNIT_SIZE (32 KiB), and allocates all slots at once.
    assert!(size_of::<CpuCells>() <= 32 * 1024);
    assert!(size_of::<Epoch>() == 7 * 32 + 3 * 8 + 8);
    assert!(size_of::<Shared>() == 144 + EPOCH_SLOTS as usize * size_of::<Epoch>());
    assert!(size_of::<Event>() == 8);
    assert!(size_of::<CallEvent>() == 120);
    assert!(size_of::<CallEventCounts>() == 16);
    assert!(size_of::<ErrnoKey>() == 16);
    assert!(size_of::<TaskKey>() == 24);
    assert!(size_of::<Begun>() == 16);
    assert!(size_of::<BegunSlot>() == 24);
    assert!(BEGUN_SLOTS.is_power_of_two());
    assert!(size_of::<Asked>() == 48);
    assert!(EPOCH_SLOTS.is_power_of_two());
};
