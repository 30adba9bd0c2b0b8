//! Single calls, told as they end, where `--events` asks for them: who made the call, what for, how long it took, and the pages
//! that it moved.
//!
//! Everything here stands behind `config!(events)`, so that without it the verifier leaves it out.
//!
//! The pages: what the ledger books under a call at an RSS event is added to the place of the call's thread, too, from its entry
//! to its exit. A thread has a place where it has one in `BEGUN_SLOTS`; the few that have none there do not know.

use memtrace_common::{
    cell::{BRK, MADVISE_BASE, MEMBERS, MMAP, MREMAP, PROCESS_MADVISE_BASE, TASK_BASE},
    config::RSS_PERCPU,
    layout::{BEGUN_SLOTS as SLOTS, Begun, CallEvent, CallEventCounts, Pages},
};

use crate::{
    cause,
    kernel::{self, Arguments, Task},
    state::{
        self, BEGUN_SLOTS, CALL_COUNTS, CALL_EVENTS, MOVED_SLOTS, config, load, shared, store,
    },
    syscalls::{self, Bytes},
};

/// `BPF_RB_NO_WAKEUP`, `include/uapi/linux/bpf.h`.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const WAKE_UP: u64 = 2;
/// `BPF_RB_AVAIL_DATA`: bytes that wait to be read.
const AVAILABLE: u64 = 0;
/// Bytes behind the mark within which a wake-up is tried: of some records, should the very one that crosses it be overtaken.
const WAKE_WINDOW: u64 = 4096;

/// Who made a call, and what it moved.
#[derive(Clone, Copy, Default)]
pub struct Who {
    /// The thread's number in memtrace's own PID namespace; 0 where it has none there.
    pub thread: u32,
    /// Pages; 0 where that is not known.
    pub moved: Pages,
    /// 1 where it is. No `Option`: the compiler leaves out what is in none, and the verifier refuses to have that copied.
    pub has_moved: u32,
}

/// A call that has ended.
pub struct Call {
    pub cell: u32,
    pub slot: u32,
    pub epoch: u32,
    pub begun: Begun,
    pub duration_ns: u64,
    pub result: i64,
    pub errno: u32,
    pub bytes: Bytes,
}

/// Where the pages of a thread are kept; `None` where the thread has no place.
#[inline(always)]
fn place(thread: u64) -> Option<*mut Pages> {
    let slot = syscalls::slot(thread)?;
    // SAFETY: a field of the slot.
    if load(unsafe { &raw const (*slot).thread }) != thread {
        return None;
    }
    MOVED_SLOTS.get_ptr_mut(thread as u32 & (SLOTS - 1))
}

/// A call of a thread begins.
#[inline(always)]
pub fn nothing_moved(thread: u64) {
    if let Some(pages) = MOVED_SLOTS.get_ptr_mut(thread as u32 & (SLOTS - 1)) {
        store(pages, [0; MEMBERS]);
    }
}

/// Bits of a ticket that tell a place's calls apart by their beginnings: a millisecond's nanoseconds.
const TICKET_BITS: u32 = 20;

const fn ticket_of(place: u32, at_ns: u64) -> u32 {
    place << TICKET_BITS | at_ns as u32 & ((1 << TICKET_BITS) - 1)
}

/// What leads to the call that the task is in, from another CPU too, until the call ends: its place, and when it began. 0 where it
/// has no place.
#[inline(always)]
pub fn ticket(task: Task) -> u32 {
    let thread = u64::from(task.pid());
    let Some(slot) = syscalls::slot(thread) else {
        return 0;
    };
    // SAFETY: fields of the slot; what is in them is this thread's where it says so.
    unsafe {
        if load(&raw const (*slot).thread) != thread {
            return 0;
        }
        ticket_of(
            thread as u32 & (SLOTS - 1),
            load(&raw const (*slot).begun.at_ns),
        )
    }
}

/// Adds what the ledger books under a call. What it hands to a call that has ended is in no call.
#[inline(always)]
pub fn moved(ticket: u32, member: usize, pages: i64) {
    if ticket == 0 || pages == 0 {
        return;
    }
    let place = ticket >> TICKET_BITS;
    let Some(slot) = BEGUN_SLOTS.get_ptr_mut(place) else {
        return;
    };
    // SAFETY: fields of the slot.
    let (thread, at_ns) = unsafe {
        (
            load(&raw const (*slot).thread),
            load(&raw const (*slot).begun.at_ns),
        )
    };
    if thread == 0 || ticket_of(place, at_ns) != ticket {
        return;
    }
    if let Some(sums) = MOVED_SLOTS.get_ptr_mut(place) {
        // SAFETY: `member` is below MEMBERS.
        let sum = unsafe { sums.cast::<u64>().add(member & (MEMBERS - 1)) };
        state::count_shared(sum, pages.cast_unsigned());
    }
}

/// The running thread, with what its call has moved.
#[inline(always)]
pub fn who(task: Task, thread: u64) -> Who {
    // SAFETY: fields of `SHARED`.
    let (level, namespace) = unsafe {
        (
            load(&raw const (*shared()).own_level),
            load(&raw const (*shared()).own_namespace),
        )
    };
    let mut who = Who {
        thread: kernel::own_thread(task, level, namespace).unwrap_or(0),
        moved: [0; MEMBERS],
        has_moved: 0,
    };
    if config!(rss_kind) == RSS_PERCPU
        && let Some(pages) = place(thread)
    {
        who.moved = load(pages);
        who.has_moved = 1;
    }
    who
}

/// Adds 1 to a count. Calls of one CPU can overtake each other here: a program may lose its CPU to another one of the same family.
#[inline(always)]
fn count(pick: impl FnOnce(*mut CallEventCounts) -> *mut u64) {
    if let Some(counts) = CALL_COUNTS.get_ptr_mut(0) {
        state::count_shared(pick(counts), 1);
    }
}

/// Whether the filter lets calls of this slot through that asked for so many bytes.
#[inline(always)]
fn wanted(slot: u32, bytes: u64) -> bool {
    let least = u64::from(config!(events_min_high)) << 32 | u64::from(config!(events_min_low));
    let word = match slot / 32 {
        0 => config!(events_slots[0]),
        1 => config!(events_slots[1]),
        _ => config!(events_slots[2]),
    };
    bytes >= least && word >> (slot & 31) & 1 != 0
}

/// Tells of a call.
#[inline(always)]
pub fn tell<A: Arguments>(call: &Call, args: A, who: Who) {
    let change = call.bytes.requested.max(call.bytes.shrunk);
    let (address, length, old) = match call.cell {
        MREMAP => (args.arg::<0>(), args.arg::<2>(), args.arg::<1>()),
        BRK => (args.arg::<0>(), change, call.begun.brk),
        PROCESS_MADVISE_BASE..TASK_BASE => (0, change, args.arg::<2>()),
        _ => (args.arg::<0>(), args.arg::<1>(), 0),
    };
    let size = if call.cell == MREMAP {
        length.max(old)
    } else {
        length
    };
    if !wanted(call.slot, size) {
        // SAFETY: a field of this CPU's counts.
        count(|counts| unsafe { &raw mut (*counts).filtered });
        return;
    }
    let Some(mut entry) = CALL_EVENTS.reserve::<CallEvent>(0) else {
        // SAFETY: likewise.
        count(|counts| unsafe { &raw mut (*counts).dropped });
        return;
    };
    // SAFETY: fields of an epoch.
    let begin_ns = load(unsafe { &raw const (*state::epoch(call.epoch)).begin_ns });
    let (flags, prot) = match call.cell {
        MMAP => (args.arg::<3>() as u32, args.arg::<2>() as u32),
        MREMAP => (args.arg::<3>() as u32, 0),
        _ => (0, 0),
    };
    let advice = match call.cell {
        MADVISE_BASE..PROCESS_MADVISE_BASE => args.arg::<2>() as i32,
        PROCESS_MADVISE_BASE..TASK_BASE => cause::process_madvise_advice(args),
        _ => 0,
    };
    entry.write(CallEvent {
        at_ns: call.begun.at_ns,
        begin_ns,
        duration_ns: call.duration_ns,
        address,
        length,
        old,
        result: call.result,
        moved: who.moved,
        epoch: call.epoch,
        thread: who.thread,
        cell: call.cell,
        errno: call.errno,
        advice,
        flags,
        prot,
        has_moved: who.has_moved,
    });
    // The reader looks by itself every now and then. A wake-up for each record costs more than all the rest.
    let waiting = CALL_EVENTS.query(AVAILABLE);
    let behind = waiting.wrapping_sub(u64::from(config!(events_wake)));
    entry.submit(if behind < WAKE_WINDOW {
        WAKE_UP
    } else {
        NO_WAKEUP
    });
}
