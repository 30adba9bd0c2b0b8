//! System calls that move memory: counted at their exit, timed from their entry.
//!
//! Two ways in, one body: `fentry`/`fexit` on the calls' own functions, which costs other processes nothing, and the
//! `syscalls:sys_enter_*`/`sys_exit_*` tracepoints where those cannot be attached. The arguments come from the task's user
//! registers in both. What is counted of a call is the same in the approximate mode, which finds its calls in its own way.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, bpf_probe_read_user, generated},
    macros::{fentry, fexit, tracepoint},
    programs::{FEntryContext, FExitContext, TracePointContext},
};
use memtrace_common::{
    cell::{BRK, CALL_SLOTS, MMAP, MREMAP, MUNMAP, PROCESS_MADVISE_BASE, TASK_BASE, call_slot},
    config::RSS_PERCPU,
    layout::{BEGUN_SLOTS as SLOTS, Begun, BegunSlot, CallStats, CpuCells, ErrnoKey},
};

use crate::{
    cause,
    events::{self, Call, Who},
    kernel::{self, Arguments, Task},
    rss::current_cells,
    state::{self, BEGUN, BEGUN_SLOTS, ERRNOS, config, load, shared, store},
};

/// `MAX_ERRNO`, `include/linux/err.h`.
const MAX_ERRNO: i64 = 4095;
/// `ENOMEM`: what a `brk` that did not move stands for. The call itself returns the old break, not an errno.
const ENOMEM: u32 = 12;
/// `UIO_MAXIOV`: more the kernel refuses.
const MAX_IOVECS: u64 = 1024;

/// What a call asked for.
#[derive(Clone, Copy)]
pub struct Bytes {
    pub requested: u64,
    pub shrunk: u64,
}

#[inline(always)]
fn target() -> Option<(Task, *mut CpuCells, u32)> {
    // SAFETY: a field of `SHARED`.
    let mm = load(unsafe { &raw const (*shared()).target_mm });
    if mm == 0 {
        return None;
    }
    let (cells, epoch) = current_cells()?;
    let task = Task::running(cells);
    (task.mm() == mm).then_some((task, cells, epoch))
}

#[inline(always)]
fn enter(nr: u32) {
    let Some((task, ..)) = target() else {
        return;
    };
    let begun = Begun {
        // SAFETY: a helper without arguments.
        at_ns: unsafe { bpf_ktime_get_ns() },
        brk: if nr == config!(native.brk) {
            kernel::read(task.mm() + u64::from(config!(mm_brk))).unwrap_or(0)
        } else {
            0
        },
    };
    keep(u64::from(task.pid()), begun);
}

/// The slot of a thread, which another one may have.
#[inline(always)]
pub fn slot(thread: u64) -> Option<*mut BegunSlot> {
    BEGUN_SLOTS.get_ptr_mut(thread as u32 & (SLOTS - 1))
}

#[inline(always)]
fn keep(thread: u64, begun: Begun) {
    if let Some(slot) = slot(thread) {
        // SAFETY: fields of the slot.
        let owner = unsafe { &raw mut (*slot).thread };
        let old = state::claim(owner, thread);
        // Its own, where the end of a call was not seen.
        if old == 0 || old == thread {
            // SAFETY: the slot is this thread's.
            unsafe { store(&raw mut (*slot).begun, begun) };
            if config!(events) != 0 {
                events::nothing_moved(thread);
            }
            return;
        }
    }
    if BEGUN.insert(thread, begun, 0).is_err() {
        // SAFETY: a field of `SHARED`.
        state::count_shared(unsafe { &raw mut (*shared()).lost_calls }, 1);
    }
}

/// What was kept, which is forgotten by that.
#[inline(always)]
fn kept(thread: u64) -> Option<Begun> {
    if let Some(slot) = slot(thread) {
        // SAFETY: fields of the slot; what is in them is this thread's where it says so.
        unsafe {
            if load(&raw const (*slot).thread) == thread {
                let begun = load(&raw const (*slot).begun);
                store(&raw mut (*slot).thread, 0);
                return Some(begun);
            }
        }
    }
    // SAFETY: only this thread touches its entry.
    let begun = unsafe { BEGUN.get(thread) }.copied()?;
    let _ = BEGUN.remove(thread);
    Some(begun)
}

#[inline(always)]
fn exit(nr: u32, result: i64) {
    let Some((task, cells, epoch)) = target() else {
        return;
    };
    let thread = u64::from(task.pid());
    // Before its place is given up.
    let who = if config!(events) == 0 {
        Who::default()
    } else {
        events::who(task, thread)
    };
    let Some(begun) = kept(thread) else {
        // It began before the hooks were attached: it is not counted.
        return;
    };
    count_in(cells, epoch, task.user_regs(), nr, result, begun, who);
}

/// Counts a call that has ended.
#[inline(always)]
pub fn count<A: Arguments>(args: A, nr: u32, result: i64, begun: Begun, who: Who) {
    if let Some((cells, epoch)) = current_cells() {
        count_in(cells, epoch, args, nr, result, begun, who);
    }
}

#[inline(always)]
fn count_in<A: Arguments>(
    cells: *mut CpuCells,
    epoch: u32,
    args: A,
    nr: u32,
    result: i64,
    begun: Begun,
    who: Who,
) {
    let cell = cause::syscall(args, nr);
    let Some(slot) = call_slot(cell) else {
        return;
    };
    let slot = state::unknown(slot);
    if slot >= CALL_SLOTS {
        return;
    }
    // SAFETY: the index was checked, and the cells belong to this CPU.
    let stats = unsafe { (&raw mut (*cells).calls).cast::<CallStats>().add(slot) };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let errno = errno(cell, args, begun.brk, result);
    let bytes = bytes(cell, args, begun.brk);
    // SAFETY: fields of this CPU's cells.
    unsafe {
        state::add(&raw mut (*stats).calls, 1);
        state::add(&raw mut (*stats).time_ns, now.wrapping_sub(begun.at_ns));
        if errno == 0 {
            state::add(&raw mut (*stats).requested, bytes.requested);
            state::add(&raw mut (*stats).shrunk, bytes.shrunk);
        } else {
            state::add(&raw mut (*stats).failed, 1);
            state::add(&raw mut (*stats).failed_requested, bytes.requested);
        }
    }
    if errno != 0 {
        count_errno(epoch, cell, errno);
    }
    if config!(events) != 0 {
        let call = Call {
            cell,
            slot: slot as u32,
            epoch,
            begun,
            duration_ns: now.wrapping_sub(begun.at_ns),
            result,
            errno,
            bytes,
        };
        events::tell(&call, args, who);
    }
}

/// The errno of a failed call; 0 of a successful one.
#[inline(always)]
fn errno<A: Arguments>(cell: u32, args: A, old_brk: u64, result: i64) -> u32 {
    if cell == BRK {
        let asked = args.arg::<0>();
        // brk(0) asks where the break is; any other call that leaves it elsewhere has failed.
        return if asked != 0 && asked != result as u64 && asked != old_brk {
            ENOMEM
        } else {
            0
        };
    }
    if (-MAX_ERRNO..0).contains(&result) {
        -result as u32
    } else {
        0
    }
}

/// The bytes that a call asked for, as its caller passed them.
#[inline(always)]
fn bytes<A: Arguments>(cell: u32, args: A, old_brk: u64) -> Bytes {
    let (before, after) = match cell {
        MMAP | MUNMAP => (0, args.arg::<1>()),
        MREMAP => (args.arg::<1>(), args.arg::<2>()),
        BRK => {
            let asked = args.arg::<0>();
            (old_brk, if asked == 0 { old_brk } else { asked })
        }
        PROCESS_MADVISE_BASE..TASK_BASE => (0, iovec_bytes::<A>(args.arg::<1>(), args.arg::<2>())),
        _ => (0, args.arg::<1>()),
    };
    Bytes {
        requested: after.saturating_sub(before),
        shrunk: before.saturating_sub(after),
    }
}

/// What [`add_iovec`] adds up.
#[repr(C)]
struct Iovecs {
    base: u64,
    total: u64,
}

unsafe extern "C" fn add_iovec(index: u64, context: *mut core::ffi::c_void) -> i64 {
    let iovecs = context.cast::<Iovecs>();
    // SAFETY: `bpf_loop` passes what it was given.
    unsafe {
        let length = ((*iovecs).base + index * 16 + 8) as *const u64;
        let Ok(length) = bpf_probe_read_user(length) else {
            return 1;
        };
        (*iovecs).total = (*iovecs).total.wrapping_add(length);
    }
    0
}

/// Sum of the lengths of an iovec array in the target's memory: `struct iovec { void *base; size_t len; }`.
#[inline(always)]
fn iovec_bytes<A: Arguments>(base: u64, count: u64) -> u64 {
    if count > MAX_IOVECS {
        return 0;
    }
    // Where the counters are per CPU, the kernel has `bpf_loop`: since 5.17. The verifier goes through a loop turn by turn, for as
    // long as for all other programs together. Kernels before 5.13 refuse a program that has a callback anywhere in it.
    if A::FETCHES && config!(rss_kind) == RSS_PERCPU {
        let mut iovecs = Iovecs { base, total: 0 };
        // SAFETY: `add_iovec` takes such a context.
        unsafe {
            generated::bpf_loop(
                count as u32,
                add_iovec as *mut core::ffi::c_void,
                (&raw mut iovecs).cast(),
                0,
            );
        }
        return iovecs.total;
    }
    iovec_bytes_in_turns(base, count)
}

#[inline(never)]
fn iovec_bytes_in_turns(base: u64, count: u64) -> u64 {
    let mut total = 0u64;
    let mut index = 0;
    while index < MAX_IOVECS {
        if index >= count {
            break;
        }
        let length = (base + index * 16 + 8) as *const u64;
        // SAFETY: a checked read of user memory.
        let Ok(length) = (unsafe { bpf_probe_read_user(length) }) else {
            break;
        };
        total = total.wrapping_add(length);
        index += 1;
    }
    total
}

#[inline(always)]
fn count_errno(epoch: u32, cell: u32, errno: u32) {
    let key = ErrnoKey {
        epoch,
        cell,
        errno,
        pad: 0,
    };
    if let Some(count) = ERRNOS.get_ptr_mut(key) {
        state::count_shared(count, 1);
        return;
    }
    // BPF_NOEXIST: another CPU may have been faster.
    if ERRNOS.insert(key, 1, 1).is_ok() {
        return;
    }
    if let Some(count) = ERRNOS.get_ptr_mut(key) {
        state::count_shared(count, 1);
    } else {
        // SAFETY: a field of `SHARED`.
        state::count_shared(unsafe { &raw mut (*shared()).lost_errnos }, 1);
    }
}

/// Any of `syscalls:sys_enter_{mmap,munmap,mremap,brk,madvise,process_madvise}`; the record begins as that of `sys_exit_*` does.
#[tracepoint]
pub fn sys_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: the offset is inside the record.
    if let Ok(nr) = unsafe { ctx.read_at::<u32>(8) } {
        enter(nr);
    }
    0
}

/// Any of `syscalls:sys_exit_*` of the same calls. The record:
///
/// ```text
/// field:unsigned short common_type;         offset:0;  size:2;
/// field:unsigned char common_flags;         offset:2;  size:1;
/// field:unsigned char common_preempt_count; offset:3;  size:1;
/// field:int common_pid;                     offset:4;  size:4;
/// field:int __syscall_nr;                   offset:8;  size:4;
/// field:long ret;                           offset:16; size:8;
/// ```
#[tracepoint]
pub fn sys_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: both offsets are inside the record.
    if let (Ok(nr), Ok(ret)) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<i64>(16)) } {
        exit(nr, ret);
    }
    0
}

/// A pair of programs on a system call's own function, whose only argument is `struct pt_regs *`.
macro_rules! call {
    ($call:ident, $enter:ident, $exit:ident) => {
        #[fentry]
        pub fn $enter(_ctx: FEntryContext) -> i32 {
            enter(config!(native.$call));
            0
        }

        #[fexit]
        pub fn $exit(ctx: FExitContext) -> i32 {
            exit(config!(native.$call), ctx.arg::<i64>(1));
            0
        }
    };
}

call!(mmap, enter_mmap, exit_mmap_call);
call!(munmap, enter_munmap, exit_munmap);
call!(mremap, enter_mremap, exit_mremap);
call!(brk, enter_brk, exit_brk);
call!(madvise, enter_madvise, exit_madvise);
call!(process_madvise, enter_process_madvise, exit_process_madvise);
