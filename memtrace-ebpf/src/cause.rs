//! Which cause an RSS change has: read from what the current task is doing. No state is kept for it.

use memtrace_common::{
    advice::{self, MADV_PAGEOUT, OVERFLOW_SLOT, UNKNOWN_BASE, UNKNOWN_SLOTS},
    cell::{
        BRK, EXEC, EXIT, FAULT, IO_URING, KHUGEPAGED, KSM, MADVISE_BASE, MMAP, MREMAP, MUNMAP,
        OOM_REAPER, OTHER_PROCESS, OTHER_SYSCALL, PROCESS_MADVISE_BASE, RECLAIM, TASK_BASE,
        TASK_SLOTS, TaskCause,
    },
    config::{PF_EXITING, PF_IO_WORKER, PF_KTHREAD, PF_MEMALLOC, SyscallNumbers},
    layout::TaskKey,
};

use crate::{
    kernel::{Arguments, Task, mm_users},
    state::{self, TASKS, claim, config, load, shared},
};

/// The cell of an RSS change of `mm` that `task`, the running one, makes.
#[inline(always)]
pub fn of(task: Task, mm: u64) -> u32 {
    let flags = task.flags();
    // "Belongs to the target" means its mm, not its tgid: a vfork child shares the mm.
    if task.mm() == mm {
        own(task, flags)
    } else {
        foreign(task, flags, mm)
    }
}

#[inline(always)]
fn own(task: Task, flags: u32) -> u32 {
    const SPECIAL: u32 = PF_MEMALLOC | PF_EXITING | PF_IO_WORKER | PF_KTHREAD;
    if flags & SPECIAL != 0 {
        return special(task, flags);
    }
    let regs = task.user_regs();
    let nr = regs.nr();
    if nr < 0 {
        return FAULT;
    }
    syscall(regs, nr as u32)
}

#[inline(always)]
fn special(task: Task, flags: u32) -> u32 {
    if flags & PF_KTHREAD != 0 {
        // A kernel thread that has borrowed the mm.
        return named(task, TaskCause::OtherProcess, OTHER_PROCESS);
    }
    if flags & PF_MEMALLOC != 0 {
        // MADV_PAGEOUT sets the flag too, and is what the process asked for; anything else is direct reclaim.
        let regs = task.user_regs();
        let nr = regs.nr();
        if flags & PF_IO_WORKER == 0 && nr >= 0 {
            let cell = syscall(regs, nr as u32);
            if asks_for_pageout(cell) {
                return cell;
            }
        }
        return RECLAIM;
    }
    if flags & PF_EXITING != 0 {
        return EXIT;
    }
    // An io worker has no system call of its own.
    IO_URING
}

#[inline(always)]
fn asks_for_pageout(cell: u32) -> bool {
    let slot = advice::slot_of_known(MADV_PAGEOUT);
    cell == MADVISE_BASE + slot || cell == PROCESS_MADVISE_BASE + slot
}

/// The numbers of one ABI.
macro_rules! numbers {
    ($abi:ident) => {
        SyscallNumbers {
            mmap: config!($abi.mmap),
            munmap: config!($abi.munmap),
            mremap: config!($abi.mremap),
            brk: config!($abi.brk),
            madvise: config!($abi.madvise),
            process_madvise: config!($abi.process_madvise),
            execve: config!($abi.execve),
            execveat: config!($abi.execveat),
        }
    };
}

/// The cell of a system call.
#[inline(always)]
pub fn syscall<A: Arguments>(args: A, nr: u32) -> u32 {
    if args.compat() {
        by_number(args, nr, &numbers!(compat))
    } else {
        by_number(args, nr, &numbers!(native))
    }
}

#[inline(always)]
fn by_number<A: Arguments>(args: A, nr: u32, numbers: &SyscallNumbers) -> u32 {
    if nr == numbers.madvise {
        // The third argument is in the same register for 32-bit tasks.
        MADVISE_BASE + advice_slot::<A>(args.arg::<2>() as i32)
    } else if nr == numbers.munmap {
        MUNMAP
    } else if nr == numbers.mmap {
        MMAP
    } else if nr == numbers.brk {
        BRK
    } else if nr == numbers.mremap {
        MREMAP
    } else if nr == numbers.process_madvise {
        PROCESS_MADVISE_BASE + advice_slot::<A>(process_madvise_advice(args))
    } else if nr == numbers.execve || nr == numbers.execveat {
        EXEC
    } else {
        OTHER_SYSCALL
    }
}

#[inline(always)]
pub fn process_madvise_advice<A: Arguments>(args: A) -> i32 {
    if args.compat() {
        // i386 passes the fourth argument in esi, where the native ABI has its second; arm has it in r3, as arm64.
        if config!(compat_mask) == 0xffff {
            return args.arg::<1>() as i32;
        }
    }
    args.arg::<3>() as i32
}

/// The slot of an advice; values that this version does not know get one in the order in which they are seen.
#[inline(always)]
fn advice_slot<A: Arguments>(advice: i32) -> u32 {
    if let Some(slot) = advice::slot(advice) {
        return slot;
    }
    if !A::FETCHES {
        return OVERFLOW_SLOT;
    }
    let mark = u64::from(advice as u32) + 1;
    let mut i = 0;
    while i < UNKNOWN_SLOTS {
        // SAFETY: `i` is below the array's length.
        let seen = unsafe {
            (&raw mut (*shared()).unknown_advice)
                .cast::<u64>()
                .add(i as usize)
        };
        let old = claim(seen, mark);
        if old == 0 || old == mark {
            return UNKNOWN_BASE + i;
        }
        i += 1;
    }
    OVERFLOW_SLOT
}

/// Whether a task is of the target process, whatever mm it has.
#[inline(always)]
pub fn is_target(task: Task) -> bool {
    // SAFETY: a field of `SHARED`.
    task.tgid() == load(unsafe { &raw const (*shared()).tgid })
}

/// A change that a task makes which does not have the mm.
#[inline(always)]
fn foreign(task: Task, flags: u32, mm: u64) -> u32 {
    if flags & PF_KTHREAD == 0 {
        let regs = task.user_regs();
        let nr = regs.nr();
        if nr >= 0 {
            let cell = syscall(regs, nr as u32);
            if (PROCESS_MADVISE_BASE..TASK_BASE).contains(&cell) {
                return cell;
            }
        }
    }
    if flags & PF_MEMALLOC != 0 {
        return named(task, TaskCause::Reclaim, RECLAIM);
    }
    // Nobody uses the mm any more: it is being torn down, by whoever held it last.
    if mm_users(mm) == Some(0) {
        return if is_target(task) && flags & PF_EXITING == 0 {
            EXEC
        } else {
            EXIT
        };
    }
    if flags & PF_KTHREAD != 0 {
        // Only the kernel names its threads, so the name tells.
        match &task.comm() {
            b"khugepaged\0\0\0\0\0\0" => return KHUGEPAGED,
            b"ksmd\0\0\0\0\0\0\0\0\0\0\0\0" => return KSM,
            b"oom_reaper\0\0\0\0\0\0" => return OOM_REAPER,
            _ => {}
        }
    } else if flags & PF_EXITING != 0 && is_target(task) {
        return EXIT;
    }
    named(task, TaskCause::OtherProcess, OTHER_PROCESS)
}

/// The cell of another task, by its name; `fallback` once all are handed out.
#[inline(never)]
fn named_slot(task: Task, cause: TaskCause) -> u32 {
    let key = TaskKey {
        cause: cause as u32,
        pad: 0,
        comm: task.comm(),
    };
    // SAFETY: entries are never removed, so the reference stays valid.
    if let Some(slot) = unsafe { TASKS.get(key) } {
        return *slot;
    }
    // SAFETY: a field of `SHARED`.
    let next = unsafe { &raw mut (*shared()).task_slots };
    if load(next) >= u64::from(TASK_SLOTS) {
        return TASK_SLOTS;
    }
    let slot = state::add_shared(next, 1) as u32;
    if slot >= TASK_SLOTS {
        return TASK_SLOTS;
    }
    // Another CPU may have been faster with the same name: then this slot stays empty, and the entry says which counts.
    match TASKS.insert(key, slot, 1 /* BPF_NOEXIST */) {
        Ok(()) => slot,
        // SAFETY: as above.
        Err(_) => unsafe { TASKS.get(key) }.copied().unwrap_or(TASK_SLOTS),
    }
}

#[inline(always)]
fn named(task: Task, cause: TaskCause, fallback: u32) -> u32 {
    let slot = named_slot(task, cause);
    if slot < TASK_SLOTS {
        TASK_BASE + slot
    } else {
        fallback
    }
}
