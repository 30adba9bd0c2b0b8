//! The approximate mode: calls, requested bytes and page faults where there can be no ledger.
//!
//! It is for kernels without what the ledger rests on: BTF, `bpf_task_pt_regs`, atomic instructions that return a value. So
//! nothing here uses any of those. The target is known by its process id, not by its memory: a vfork child, or another
//! process that shares the memory, is not seen. RSS the user side samples.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns, generated},
    macros::{btf_tracepoint, fentry, fexit, map, tracepoint},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};
use memtrace_common::{
    config::NONE,
    layout::{Asked, Begun, EPOCH_SLOTS, EpochEnd},
};

use crate::{
    epoch,
    events::Who,
    faults,
    kernel::{self, Arguments, Task},
    rss::current_cells,
    state::{self, ASKED, BEGUN, CONTROL, config, config_field, load, shared, store},
    syscalls,
};

/// The registers of a system call, as its own function gets them: an address. BTF before 5.15 may know the argument as a
/// pointer to a structure that it does not describe, and then the verifier lets nobody follow it, but a checked read does.
#[derive(Clone, Copy)]
struct Regs(u64);

impl Regs {
    /// The function's argument.
    #[inline(always)]
    fn of(ctx: &FExitContext) -> Option<Self> {
        // Read as memory, since the verifier refuses a load of a pointer of such a type.
        kernel::read(ctx.as_ptr() as u64).map(Self)
    }
}

impl Arguments for Regs {
    const FETCHES: bool = false;

    #[inline(always)]
    fn arg<const N: usize>(self) -> u64 {
        kernel::read(self.0 + u64::from(config!(regs_arg[N]))).unwrap_or(0)
    }

    #[inline(always)]
    fn compat(self) -> bool {
        false
    }
}

/// Arguments that were kept at the call's entry. They lie in a map.
#[derive(Clone, Copy)]
struct Kept(*const Asked);

impl Arguments for Kept {
    const FETCHES: bool = false;

    #[inline(always)]
    fn arg<const N: usize>(self) -> u64 {
        if N > 3 {
            return 0;
        }
        // SAFETY: points into this CPU's scratch, and `N` is below the array's length.
        unsafe { load((&raw const (*self.0).args).cast::<u64>().add(N)) }
    }

    #[inline(always)]
    fn compat(self) -> bool {
        false
    }
}

/// Where a call's arguments lie while it is counted.
#[map]
static KEPT: PerCpuArray<Asked> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Numbers {
    pid: u32,
    tgid: u32,
}

/// Whether the running task is of the target, by its process id in memtrace's own PID namespace.
#[inline(always)]
fn runs() -> bool {
    numbers().tgid == config!(tgid)
}

/// Who makes a call, where calls are told. What it moved is not known.
#[inline(always)]
fn who() -> Who {
    if config!(events) == 0 {
        return Who::default();
    }
    Who {
        thread: numbers().pid,
        ..Who::default()
    }
}

/// The running task's numbers in memtrace's own PID namespace; 0 where it has none there.
#[inline(always)]
fn numbers() -> Numbers {
    if config_field(|config| &config.pidns_ino) == 0 {
        let numbers = bpf_get_current_pid_tgid();
        return Numbers {
            pid: numbers as u32,
            tgid: (numbers >> 32) as u32,
        };
    }
    let mut numbers = Numbers { pid: 0, tgid: 0 };
    // SAFETY: a structure of that size on this program's stack.
    let result = unsafe {
        generated::bpf_get_ns_current_pid_tgid(
            config_field(|config| &config.pidns_dev),
            config_field(|config| &config.pidns_ino),
            (&raw mut numbers).cast(),
            size_of::<Numbers>() as u32,
        )
    };
    if result == 0 {
        numbers
    } else {
        Numbers { pid: 0, tgid: 0 }
    }
}

/// Whether the running task is of the target, and is to be counted.
#[inline(always)]
fn counts() -> bool {
    runs()
        && (config!(wait_for_exec) == 0
            // SAFETY: a field of `SHARED`.
            || load(unsafe { &raw const (*shared()).started }) != 0)
}

/// The running task's `mm->brk`; 0 where BTF does not say where that is: then `brk` is not hooked.
#[inline(always)]
fn old_brk() -> u64 {
    if config!(task_mm) == NONE || config!(mm_brk) == NONE {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let mm = kernel::read::<u64>(task + u64::from(config!(task_mm))).unwrap_or(0);
    kernel::read(mm + u64::from(config!(mm_brk))).unwrap_or(0)
}

#[inline(always)]
fn lost() {
    // SAFETY: a field of `SHARED`.
    state::count_shared(unsafe { &raw mut (*shared()).lost_calls }, 1);
}

/// Any of `syscalls:sys_enter_*` of the hooked calls. The record, after the common fields:
///
/// ```text
/// field:int __syscall_nr;      offset:8;  size:4;
/// field:unsigned long args[6]; offset:16; size:48;
/// ```
#[tracepoint]
pub fn approx_enter(ctx: TracePointContext) -> u32 {
    if !counts() {
        return 0;
    }
    // SAFETY: inside the record: a call with fewer arguments than four has a shorter one, and reading beyond it fails.
    let arg = |index: usize| unsafe { ctx.read_at::<u64>(16 + 8 * index).unwrap_or(0) };
    let asked = Asked {
        // SAFETY: a helper without arguments.
        at_ns: unsafe { bpf_ktime_get_ns() },
        brk: old_brk(),
        args: [arg(0), arg(1), arg(2), arg(3)],
    };
    if ASKED.insert(bpf_get_current_pid_tgid(), asked, 0).is_err() {
        lost();
    }
    0
}

/// Any of `syscalls:sys_exit_*` of the same calls; the record is that of `sys_exit`.
#[tracepoint]
pub fn approx_exit(ctx: TracePointContext) -> u32 {
    if !counts() {
        return 0;
    }
    let thread = bpf_get_current_pid_tgid();
    let Some(kept) = KEPT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: only this thread touches its entry; the scratch is this CPU's, and this program does not run twice on a CPU.
    unsafe {
        let Some(asked) = ASKED.get(thread) else {
            return 0;
        };
        store(kept, *asked);
    }
    let _ = ASKED.remove(thread);
    // SAFETY: both offsets are inside the record; the scratch holds a value.
    unsafe {
        if let (Ok(nr), Ok(result)) = (ctx.read_at::<u32>(8), ctx.read_at::<i64>(16)) {
            let begun = Begun {
                at_ns: load(&raw const (*kept).at_ns),
                brk: load(&raw const (*kept).brk),
            };
            syscalls::count(Kept(kept), nr, result, begun, who());
        }
    }
    0
}

#[inline(always)]
fn enter() {
    if !counts() {
        return;
    }
    let begun = Begun {
        // SAFETY: a helper without arguments.
        at_ns: unsafe { bpf_ktime_get_ns() },
        brk: old_brk(),
    };
    if BEGUN.insert(bpf_get_current_pid_tgid(), begun, 0).is_err() {
        lost();
    }
}

#[inline(always)]
fn exit(ctx: &FExitContext, nr: u32) {
    if !counts() {
        return;
    }
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread touches its entry.
    let Some(begun) = (unsafe { BEGUN.get(thread) }).copied() else {
        return;
    };
    let _ = BEGUN.remove(thread);
    if let Some(regs) = Regs::of(ctx) {
        syscalls::count(regs, nr, ctx.arg::<i64>(1), begun, who());
    }
}

/// A pair of programs on a system call's own function, whose only argument is `struct pt_regs *`.
macro_rules! call {
    ($call:ident, $enter:ident, $exit:ident) => {
        #[fentry]
        pub fn $enter(_ctx: FEntryContext) -> i32 {
            enter();
            0
        }

        #[fexit]
        pub fn $exit(ctx: FExitContext) -> i32 {
            exit(&ctx, config!(native.$call));
            0
        }
    };
}

call!(mmap, approx_in_mmap, approx_out_mmap);
call!(munmap, approx_in_munmap, approx_out_munmap);
call!(mremap, approx_in_mremap, approx_out_mremap);
call!(brk, approx_in_brk, approx_out_brk);
call!(madvise, approx_in_madvise, approx_out_madvise);
call!(process_madvise, approx_in_pmadvise, approx_out_pmadvise);

/// `exceptions:page_fault_user`. The record, after the common fields:
///
/// ```text
/// field:unsigned long address;    offset:8;  size:8;
/// field:unsigned long ip;         offset:16; size:8;
/// field:unsigned long error_code; offset:24; size:8;
/// ```
#[tracepoint]
pub fn approx_fault_user(ctx: TracePointContext) -> u32 {
    if counts()
        && let Some((cells, _)) = current_cells()
        // SAFETY: inside the record.
        && let Ok(error) = unsafe { ctx.read_at::<u64>(24) }
    {
        // SAFETY: a field of this CPU's cells.
        faults::count_user(unsafe { &raw mut (*cells).faults }, error);
    }
    0
}

/// `exceptions:page_fault_kernel`, with the same record.
#[tracepoint]
pub fn approx_fault_kern(ctx: TracePointContext) -> u32 {
    if counts()
        && let Some((cells, _)) = current_cells()
        // SAFETY: inside the record.
        && let (Ok(address), Ok(error)) = unsafe { (ctx.read_at::<u64>(8), ctx.read_at::<u64>(24)) }
    {
        // SAFETY: a field of this CPU's cells.
        faults::count_kernel(unsafe { &raw mut (*cells).faults }, address, error);
    }
    0
}

/// `sched:sched_process_exec`, in the task that has executed: ends an epoch and begins the next one.
#[tracepoint]
pub fn approx_exec(_ctx: TracePointContext) -> u32 {
    if !runs() {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let shared = shared();
    // SAFETY: fields of `SHARED`, here and below. A process executes once at a time.
    unsafe {
        if config!(wait_for_exec) != 0 && load(&raw const (*shared).started) == 0 {
            store(&raw mut (*state::epoch(0)).begin_ns, now);
            store(&raw mut (*shared).started, 1);
            return 0;
        }
        let number = load(&raw const (*shared).epoch);
        let drained = CONTROL
            .get(0)
            .map_or(0, |control| load(&raw const control.drained));
        let next = number.wrapping_add(1);
        if u64::from(next) >= drained + u64::from(EPOCH_SLOTS) {
            // No slot is free: go on in this one.
            state::count_shared(&raw mut (*shared).merged_epochs, 1);
            return 0;
        }
        let (old, new) = (state::epoch(number), state::epoch(next));
        store(&raw mut (*new).begin_ns, now);
        store(&raw mut (*new).end_ns, 0);
        store(&raw mut (*new).end_kind, EpochEnd::Open as u32);
        store(&raw mut (*shared).epoch, next);
        store(&raw mut (*old).end_ns, now);
        store(&raw mut (*old).end_kind, EpochEnd::Exec as u32);
        epoch::tell(number, EpochEnd::Exec);
    }
    0
}

/// `sched_process_fork(parent, child)`, in the parent: children of the target, threads not counted. The classic tracepoint does
/// not tell the two apart.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn approx_fork(ctx: BtfTracePointContext) -> i32 {
    if !counts() {
        return 0;
    }
    // SAFETY: both came from the kernel.
    let (parent, child) = unsafe {
        (
            Task::from_ptr(ctx.arg::<*const u8>(0)),
            Task::from_ptr(ctx.arg::<*const u8>(1)),
        )
    };
    if child.tgid() == parent.tgid() {
        return 0;
    }
    // Its number in another PID namespace than the initial one is not looked up here.
    let number = if config_field(|config| &config.pidns_ino) == 0 {
        child.tgid()
    } else {
        0
    };
    // SAFETY: fields of `SHARED`.
    unsafe {
        state::count_shared(&raw mut (*shared()).forks, 1);
        store(&raw mut (*shared()).last_child, u64::from(number));
    }
    0
}
