//! The ledger's step: from a counter's state at an event to the pages that this event moved.
//!
//! On 6.2 and later each RSS counter is a `percpu_counter`: a shared `count` and a signed part per CPU, the *local*. An
//! update adds to the local of the CPU that it runs on; once the local would reach the batch, the CPU *folds*: it adds
//! local and update to `count`, and sets the local to 0. The tracepoint fires after the update, on the same CPU.
//!
//! So an event knows what it moved from the change of its own local, exactly, unless the local is 0: then it may have
//! folded, and the change of `count` belongs to it too. The sum over all events is exact whatever happens in between,
//! since every change of every part of the state is taken exactly once. What may go wrong is *whose* it is: where two CPUs
//! fold at nearly the same time, the first event takes both changes of `count`, and the other one none.
//!
//! That is mended where one of the two is a page fault, because only few amounts are possible for a fault:
//! - it takes an amount that is possible, and the rest goes to `suspense`, out of which the other event takes it
//!   when it comes;
//! - where the other event came first and took the fault's pages too, the fault takes its own amount back from it.
//!
//! With 4 KiB pages alone, the faults' own cell is exact under every interleaving (`tests/fold_properties.rs`). With folios of
//! several sizes the guess can be wrong, by less than the largest one.
//!
//! Where both are something else, say two `munmap`, the error is one fold: at most one page table's worth (512 pages on
//! x86-64 with 4 KiB pages) and what the local held (less than the batch).
//!
//! Taking the count, naming the taker and filling the suspense are three accesses, so two events can pass each other and leave
//! pages in suspense when everything has come to rest. The next call that may have folded takes them; at rest the user side
//! gives them to the last one (`Epoch::last_call`).
//!
//! The kernel's side of it: `percpu_counter_add_batch` in `lib/percpu_counter.c`.

use crate::cell::{FAULT, MEMBER_ANON, only_drops};

/// Most pages that one fault maps or unmaps of a member: one page table's worth.
pub const MAX_FAULT_PAGES: i64 = 512;

/// Whose an event is: its cell in the lower 32 bits; the upper ones are the caller's, and come back in [`Step::other`].
pub type Who = u64;

/// The cell of an event.
#[inline(always)]
pub const fn cell_of(who: Who) -> u32 {
    who as u32
}

/// The shared state of one member, as seen from one CPU while others go on.
pub trait Member {
    /// Reads the kernel's `count`; `None` where the read failed.
    fn count(&self) -> Option<i64>;
    /// Reads the last `count` that anyone has looked at.
    fn last_count(&self) -> i64;
    /// Replaces it, atomically, and returns what was there.
    fn swap_last_count(&self, count: i64) -> i64;
    /// Reads the pages in suspense.
    fn suspense(&self) -> i64;
    /// Adds to them, atomically.
    fn add_suspense(&self, pages: i64);
    /// Takes them all, atomically.
    fn take_suspense(&self) -> i64;
    /// Replaces whoever (+ 1) is owed pages, atomically, and returns what was there.
    fn swap_owed(&self, who_plus_1: Who) -> Who;
    /// The last event that took a change of `count`.
    fn taker(&self) -> Who;
    /// Notes that it was this one.
    fn set_taker(&self, who: Who);
}

/// What an event moved, and what it corrects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pages that the event's own cell takes.
    pub own: i64,
    /// Another event, whose cell takes `correction`; meaningless where that is 0.
    pub other: Who,
    /// Pages that the other event's cell takes.
    pub correction: i64,
}

impl Step {
    #[inline(always)]
    const fn own(own: i64) -> Self {
        Self {
            own,
            other: 0,
            correction: 0,
        }
    }
}

/// What is known about the host, for [`step`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `percpu_counter_batch`.
    pub batch: i64,
    /// Bit k: an anonymous fault may bring 2^k pages.
    pub anon_orders: u32,
}

/// One event on one member: `last_local` and `local` are this CPU's part before and after, in pages.
#[inline(always)]
pub fn step<M: Member>(
    member: &M,
    index: usize,
    limits: Limits,
    who: Who,
    last_local: i64,
    local: i64,
) -> Step {
    let moved = local - last_local;
    if local != 0 {
        return Step::own(moved);
    }
    let folded = take_count(member, who);
    let moved = moved + folded;
    if cell_of(who) == FAULT {
        fault(member, index, limits, last_local, moved, folded)
    } else {
        Step::own(moved + waiting(member, who, last_local, folded))
    }
}

/// Takes the change of `count` since anyone last looked. Ends with `last_count` not older than the `count` that was read,
/// so that at rest the two are equal: a CPU that was overtaken between its read and its exchange sees that, and repeats.
#[inline(always)]
pub fn take_count<M: Member>(member: &M, who: Who) -> i64 {
    let Some(mut count) = member.count() else {
        return 0;
    };
    if count == member.last_count() {
        return 0;
    }
    let mut folded = 0;
    let mut tries = 0;
    while tries < 8 {
        folded += count - member.swap_last_count(count);
        match member.count() {
            Some(now) if now != count => count = now,
            _ => break,
        }
        tries += 1;
    }
    if folded != 0 {
        member.set_taker(who);
    }
    folded
}

/// What an event that is no fault takes out of suspense.
#[inline(always)]
fn waiting<M: Member>(member: &M, who: Who, last_local: i64, folded: i64) -> i64 {
    let mut pages = 0;
    if member.suspense() != 0 {
        pages = member.take_suspense();
    }
    // It has certainly folded, and yet somebody has taken its change of count. If that was a fault, the fault is about to
    // put it into suspense: say whose it is, and look again, so that one of the two sees the other.
    let lacking = last_local == 0 || (last_local < 0 && only_drops(cell_of(who)));
    if folded == 0 && pages == 0 && lacking && cell_of(member.taker()) == FAULT {
        member.swap_owed(who + 1);
        pages = member.take_suspense();
        if pages != 0 {
            member.swap_owed(0);
        }
    }
    pages
}

#[inline(always)]
fn fault<M: Member>(
    member: &M,
    index: usize,
    limits: Limits,
    last_local: i64,
    moved: i64,
    folded: i64,
) -> Step {
    if index != MEMBER_ANON {
        let own = clamp_fault(moved);
        return settle(member, own, moved - own, folded);
    }
    let own = possible_anon(limits, last_local, moved);
    settle(member, own, moved - own, folded)
}

/// Puts what a fault cannot have moved where it belongs.
#[inline(always)]
fn settle<M: Member>(member: &M, own: i64, rest: i64, folded: i64) -> Step {
    if rest == 0 {
        return Step::own(own);
    }
    if folded == 0 && member.suspense() == 0 {
        // Somebody took this fault's change of count before.
        let taker = member.taker();
        if cell_of(taker) != FAULT {
            return Step {
                own,
                other: taker,
                correction: rest,
            };
        }
    }
    member.add_suspense(rest);
    let owed = member.swap_owed(0);
    if owed != 0 {
        return Step {
            own,
            other: owed - 1,
            correction: member.take_suspense(),
        };
    }
    Step::own(own)
}

/// File and shmem faults bring up to a page table's worth (fault-around, large folios) and drop one page (copy-on-write);
/// swap entries go away with swap-in, also by the folio.
#[inline(always)]
fn clamp_fault(moved: i64) -> i64 {
    moved.clamp(-MAX_FAULT_PAGES, MAX_FAULT_PAGES)
}

/// The amount that an anonymous fault can have brought, where `moved` is what it seems to have brought.
///
/// A fault brings a folio, so a power of two whose order the host allows; and since the local is 0 after it, either it
/// brought the local to 0 exactly, or to the batch or beyond.
#[inline(always)]
fn possible_anon(limits: Limits, last_local: i64, moved: i64) -> i64 {
    // The usual case first: one page.
    if moved == 1 && (last_local + 1 >= limits.batch || last_local == -1) {
        return 1;
    }
    let mut best = 0;
    let mut best_distance = i64::MAX;
    let mut order = 0;
    while order <= 9 {
        let pages = 1i64 << order;
        let reaches = last_local + pages >= limits.batch || last_local + pages == 0;
        if limits.anon_orders & (1 << order) != 0 && reaches {
            let rest = moved - pages;
            let distance = if rest < 0 { -rest } else { rest };
            // The smallest that reaches, unless another one fits exactly. The nearest would take another CPU's huge page for
            // this one's: a fault of 1 page that took the fold of 512 too.
            if best_distance == i64::MAX || distance == 0 {
                best = pages;
                best_distance = distance;
            }
        }
        order += 1;
    }
    if best_distance == i64::MAX {
        // The batch is not what we think it is (CPU hotplug): keep the ledger's own figure.
        moved
    } else {
        best
    }
}
