//! The causes of an RSS change, and the index of the cell in which each is counted.
//!
//! A *cell* is four signed page counts, one per RSS member. Its index is what the kernel side computes at each event, so
//! the layout is flat: fixed causes first, then one cell per advice of `madvise`, one per advice of `process_madvise`,
//! then the cells that are handed out to other tasks by name.

use crate::advice::ADVICE_SLOTS;

/// Members of `mm_struct.rss_stat`, in the kernel's order (`include/linux/mm_types_task.h`).
pub const MEMBERS: usize = 4;
/// `MM_FILEPAGES`: resident file pages.
pub const MEMBER_FILE: usize = 0;
/// `MM_ANONPAGES`: resident anonymous pages.
pub const MEMBER_ANON: usize = 1;
/// `MM_SWAPENTS`: anonymous swap entries. Not part of RSS.
pub const MEMBER_SWAP: usize = 2;
/// `MM_SHMEMPAGES`: resident shared memory pages.
pub const MEMBER_SHMEM: usize = 3;

/// A page fault of the process's own code: first touch, copy-on-write, swap-in, fault-around.
pub const FAULT: u32 = 0;
/// `mmap`: `MAP_POPULATE` adds, `MAP_FIXED` over old pages drops.
pub const MMAP: u32 = 1;
/// `munmap`.
pub const MUNMAP: u32 = 2;
/// `mremap`.
pub const MREMAP: u32 = 3;
/// `brk`.
pub const BRK: u32 = 4;
/// `execve`, `execveat`: the new program being set up, the old one being torn down.
pub const EXEC: u32 = 5;
/// The process ending.
pub const EXIT: u32 = 6;
/// An io_uring worker of the process.
pub const IO_URING: u32 = 7;
/// Any other system call of the process: the kernel faulting on its behalf (`read` into fresh memory, `mlock` …).
pub const OTHER_SYSCALL: u32 = 8;
/// Direct reclaim in one of the process's own tasks; also reclaim by others, once the named cells have run out.
pub const RECLAIM: u32 = 9;
/// The kernel thread `khugepaged`.
pub const KHUGEPAGED: u32 = 10;
/// The kernel thread `ksmd`.
pub const KSM: u32 = 11;
/// The kernel thread `oom_reaper`.
pub const OOM_REAPER: u32 = 12;
/// Any other task, once the named cells have run out.
pub const OTHER_PROCESS: u32 = 13;

/// First cell of `madvise`, one per advice slot ([`crate::advice::slot`]).
pub const MADVISE_BASE: u32 = 16;
/// First cell of `process_madvise`, one per advice slot.
pub const PROCESS_MADVISE_BASE: u32 = MADVISE_BASE + ADVICE_SLOTS;
/// First cell that is handed out to a task by name.
pub const TASK_BASE: u32 = PROCESS_MADVISE_BASE + ADVICE_SLOTS;
/// Tasks that get a cell of their own, by name and cause.
pub const TASK_SLOTS: u32 = 16;
/// Number of cells.
pub const CELLS: usize = (TASK_BASE + TASK_SLOTS) as usize;

/// System calls whose calls, failures, bytes and time are counted: four plain ones and two per advice.
pub const CALL_SLOTS: usize = 4 + 2 * ADVICE_SLOTS as usize;

/// The call slot of a cell, where the cell belongs to a hooked system call.
#[inline(always)]
#[must_use]
pub const fn call_slot(cell: u32) -> Option<u32> {
    match cell {
        MMAP..=BRK => Some(cell - MMAP),
        MADVISE_BASE..TASK_BASE => Some(4 + cell - MADVISE_BASE),
        _ => None,
    }
}

/// Whether the cause of a cell can only take pages away from the process.
#[inline(always)]
#[must_use]
pub const fn only_drops(cell: u32) -> bool {
    use crate::advice::{
        MADV_COLD, MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE, MADV_REMOVE, slot_of_known,
    };
    const DROPPING: [i32; 5] = [
        MADV_DONTNEED,
        MADV_FREE,
        MADV_REMOVE,
        MADV_DONTNEED_LOCKED,
        MADV_COLD,
    ];
    if cell == MUNMAP || cell == EXIT {
        return true;
    }
    let mut i = 0;
    while i < DROPPING.len() {
        let slot = slot_of_known(DROPPING[i]);
        if cell == MADVISE_BASE + slot || cell == PROCESS_MADVISE_BASE + slot {
            return true;
        }
        i += 1;
    }
    false
}

/// Which cause a cell that is handed out to a task stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TaskCause {
    /// Reclaim by another task: kswapd, or one that reclaims for a cgroup or for itself.
    Reclaim = 1,
    /// Anything else that another task did to the process's memory.
    OtherProcess = 2,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice;

    #[test]
    fn every_hooked_call_has_a_slot_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for cell in 0..CELLS as u32 {
            if let Some(slot) = call_slot(cell) {
                assert!((slot as usize) < CALL_SLOTS);
                assert!(seen.insert(slot), "cell {cell} shares call slot {slot}");
            }
        }
        assert_eq!(seen.len(), CALL_SLOTS);
    }

    #[test]
    fn dropping_causes_are_those_that_cannot_add() {
        assert!(only_drops(MUNMAP));
        assert!(only_drops(
            MADVISE_BASE + advice::slot_of_known(advice::MADV_DONTNEED)
        ));
        assert!(!only_drops(FAULT));
        assert!(!only_drops(MMAP));
        assert!(!only_drops(
            MADVISE_BASE + advice::slot_of_known(advice::MADV_POPULATE_WRITE)
        ));
    }
}
