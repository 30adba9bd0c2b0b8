//! `tp_btf/rss_stat`: the ledger.
//!
//! The tracepoint fires after every change of an RSS counter, of every process on the host, so everyone but the target
//! leaves after one comparison. Its first two arguments are `(mm, member)` since 5.5 (`include/trace/events/kmem.h`).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use memtrace_common::{
    cell::{CELLS as CELL_COUNT, FAULT, MEMBERS, call_slot},
    config::{NONE, RSS_ATOMIC, RSS_PERCPU},
    fold::{Limits, Member, Step, Who, cell_of, step, take_count},
    layout::{CpuCells, EPOCH_SLOTS, Epoch},
};

use crate::{
    cause, events,
    kernel::{self, Task},
    state::{self, CELLS, config, load, shared, store},
};

#[btf_tracepoint(function = "rss_stat")]
pub fn rss_stat(ctx: BtfTracePointContext) -> i32 {
    let mm = ctx.arg::<*const u8>(0) as u64;
    // SAFETY: a field of `SHARED`.
    if mm != load(unsafe { &raw const (*shared()).target_mm }) {
        return 0;
    }
    let member = ctx.arg::<i32>(1) as usize & (MEMBERS - 1);
    if config!(rss_kind) == RSS_PERCPU {
        percpu(mm, member);
    } else if config!(rss_kind) == RSS_ATOMIC {
        atomic(mm, member);
    }
    0
}

/// The state of one member in the current epoch.
struct Live {
    epoch: *mut Epoch,
    member: usize,
    count: u64,
}

impl Live {
    /// This member's place in a field of the epoch that has one entry per member.
    #[inline(always)]
    fn field<T>(&self, pick: impl FnOnce(*mut Epoch) -> *mut [T; MEMBERS]) -> *mut T {
        // SAFETY: `member` is below MEMBERS.
        unsafe { pick(self.epoch).cast::<T>().add(self.member) }
    }

    #[inline(always)]
    fn last(&self) -> *mut i64 {
        // SAFETY: `epoch` points to an epoch, here and below.
        self.field(|epoch| unsafe { &raw mut (*epoch).last_count })
    }

    #[inline(always)]
    fn waiting(&self) -> *mut i64 {
        // SAFETY: see above.
        self.field(|epoch| unsafe { &raw mut (*epoch).suspense })
    }

    #[inline(always)]
    fn owed(&self) -> *mut u64 {
        // SAFETY: see above.
        self.field(|epoch| unsafe { &raw mut (*epoch).owed })
    }

    #[inline(always)]
    fn last_taker(&self) -> *mut u64 {
        // SAFETY: see above.
        self.field(|epoch| unsafe { &raw mut (*epoch).taker })
    }

    /// Notes whose the suspense is, should it be left over.
    #[inline(always)]
    fn note_call(&self, cell: u32) {
        // SAFETY: see above.
        let last = self.field(|epoch| unsafe { &raw mut (*epoch).last_call });
        store(last, u64::from(cell) + 1);
    }
}

impl Member for Live {
    #[inline(always)]
    fn count(&self) -> Option<i64> {
        kernel::read(self.count)
    }

    #[inline(always)]
    fn last_count(&self) -> i64 {
        load(self.last())
    }

    #[inline(always)]
    fn swap_last_count(&self, count: i64) -> i64 {
        state::swap_i64(self.last(), count)
    }

    #[inline(always)]
    fn suspense(&self) -> i64 {
        load(self.waiting())
    }

    #[inline(always)]
    fn add_suspense(&self, pages: i64) {
        state::add_shared_i64(self.waiting(), pages);
    }

    #[inline(always)]
    fn take_suspense(&self) -> i64 {
        state::swap_i64(self.waiting(), 0)
    }

    #[inline(always)]
    fn swap_owed(&self, who_plus_1: Who) -> Who {
        state::swap(self.owed(), who_plus_1)
    }

    #[inline(always)]
    fn taker(&self) -> Who {
        load(self.last_taker())
    }

    #[inline(always)]
    fn set_taker(&self, who: Who) {
        store(self.last_taker(), who);
    }
}

/// This CPU's cells of the current epoch, and its number.
#[inline(always)]
pub fn current_cells() -> Option<(*mut CpuCells, u32)> {
    // SAFETY: a field of `SHARED`.
    let number = load(unsafe { &raw const (*shared()).epoch });
    let cells = CELLS.get_ptr_mut(number & (EPOCH_SLOTS - 1))?;
    Some((cells, number))
}

/// Adds pages to one cell of this CPU.
#[inline(always)]
fn book(cells: *mut CpuCells, cell: u32, member: usize, pages: i64) {
    let cell = state::unknown(cell);
    if cell >= CELL_COUNT {
        return;
    }
    // SAFETY: both indices were checked, and the slot belongs to this CPU.
    unsafe {
        let pages_of = (&raw mut (*cells).cells).cast::<[i64; MEMBERS]>().add(cell);
        let counter = pages_of.cast::<i64>().add(member);
        store(counter, load(counter).wrapping_add(pages));
    }
}

#[inline(always)]
fn live(mm: u64, number: u32, member: usize) -> Live {
    Live {
        epoch: state::epoch(number),
        member,
        count: kernel::count_address(mm, member),
    }
}

#[inline(always)]
fn percpu(mm: u64, member: usize) {
    let Some((cells, number)) = current_cells() else {
        return;
    };
    // SAFETY: fields of this CPU's cells; `member` is below MEMBERS.
    let (address, last) = unsafe {
        (
            load((&raw const (*cells).local_addr).cast::<u64>().add(member)),
            (&raw mut (*cells).last_local).cast::<i32>().add(member),
        )
    };
    let Some(local) = kernel::local(address) else {
        // SAFETY: a field of `SHARED`.
        state::count_shared(unsafe { &raw mut (*shared()).failed_reads }, 1);
        return;
    };
    let last_local = load(last);
    store(last, local);
    let task = Task::running(cells);
    let cell = cause::of(task, mm);
    let live = live(mm, number, member);
    let mut who = Who::from(cell);
    if config!(events) != 0 && call_slot(cell).is_some() {
        who |= Who::from(events::ticket(task)) << 32;
    }
    let limits = Limits {
        batch: i64::from(config!(batch)),
        anon_orders: config!(anon_orders),
    };
    let Step {
        own,
        other,
        correction,
    } = step(
        &live,
        member,
        limits,
        who,
        i64::from(last_local),
        i64::from(local),
    );
    book(cells, cell, member, own);
    if config!(events) != 0 {
        events::moved((who >> 32) as u32, member, own);
    }
    if local == 0 && cell != FAULT {
        live.note_call(cell);
    }
    if correction != 0 {
        book(cells, cell_of(other), member, correction);
        if config!(events) != 0 {
            events::moved((other >> 32) as u32, member, correction);
        }
    }
    // SAFETY: a field of this CPU's cells.
    state::add(unsafe { &raw mut (*cells).events }, 1);
}

/// 5.15 to 6.1: one atomic counter per member. The tracepoint passes its value, but two CPUs' events may arrive in the other
/// order, so the counter itself is read.
#[inline(always)]
fn atomic(mm: u64, member: usize) {
    let Some((cells, number)) = current_cells() else {
        return;
    };
    let cell = cause::of(Task::current(), mm);
    let moved = take_count(&live(mm, number, member), Who::from(cell));
    let kept = if config!(task_rss_count) == NONE {
        0
    } else {
        brought_before(mm, member, moved)
    };
    if kept != 0 {
        book(cells, FAULT, member, kept);
    }
    book(cells, cell, member, moved - kept);
    // SAFETY: a field of this CPU's cells.
    state::add(unsafe { &raw mut (*cells).events }, 1);
}

/// What of an event's pages came with earlier faults.
///
/// Before 6.2 a thread keeps the pages of up to 65 faults to itself (`TASK_RSS_EVENTS_THRESH`, `mm/memory.c`), and adds
/// them to the shared counter in the fault after those, or before it unmaps something, or ends. The tracepoint comes before
/// what it keeps is set to 0. So pages that are still kept, of few faults, are what is being added; and whatever it does at
/// this moment, faults brought them.
#[inline(always)]
fn brought_before(mm: u64, member: usize, moved: i64) -> i64 {
    const MOST_FAULTS: i32 = 65;
    let task = Task::current();
    if task.mm() != mm || task.rss_events() > MOST_FAULTS {
        return 0;
    }
    let kept = i64::from(task.rss_kept(member));
    // A huge page or reclaim goes to the shared counter at once, and leaves what is kept alone.
    if (kept > 0 && moved >= kept) || (kept < 0 && moved <= kept) {
        kept
    } else {
        0
    }
}
