//! The target's life: finding it, its exec, its end, its children.

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use aya_log_ebpf::info;
use memtrace_common::{config::PF_EXITING, layout::EpochEnd};

use crate::{
    cause::is_target,
    epoch,
    kernel::{self, Task},
    state::{self, config, load, shared, store},
};

#[inline(always)]
fn target_mm() -> u64 {
    // SAFETY: a field of `SHARED`.
    load(unsafe { &raw const (*shared()).target_mm })
}

/// `iter/task`: finds the target among all tasks by its number in the reader's PID namespace, and starts the first epoch, unless
/// that is to wait for an exec. The loader reads it once.
///
/// `ctx` is `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn find_target(ctx: *mut core::ffi::c_void) -> i32 {
    // SAFETY: the context's second field; null after the last task.
    let task = unsafe { core::ptr::read_volatile(ctx.cast::<*const u8>().add(1)) };
    if task.is_null() {
        return 0;
    }
    // SAFETY: the kernel passed it.
    let task = unsafe { Task::from_ptr(task) };
    // SAFETY: a field of `SHARED`.
    if config!(task_type) != 0 && load(unsafe { &raw const (*shared()).regs_offset }) == 0 {
        epoch::learn();
    }
    let Some((level, namespace)) = kernel::own_namespace() else {
        return 0;
    };
    if kernel::own_number(task, level, namespace) != Some(config!(tgid)) {
        return 0;
    }
    // SAFETY: fields of `SHARED`.
    unsafe {
        if load(&raw const (*shared()).started) != 0 {
            return 0;
        }
        store(&raw mut (*shared()).own_level, level);
        store(&raw mut (*shared()).own_namespace, namespace);
        store(&raw mut (*shared()).tgid, task.tgid());
    }
    // A group whose leader has exited goes on in its other threads.
    let mm = task.mm();
    if mm != 0 && config!(wait_for_exec) == 0 {
        epoch::begin(mm);
    }
    0
}

/// `exit_mmap(mm)`: everything that `mm` mapped is gone. At exit, and inside exec, after the task got its new mm.
#[btf_tracepoint(function = "exit_mmap")]
pub fn exit_mmap(ctx: BtfTracePointContext) -> i32 {
    let mm = ctx.arg::<*const u8>(0) as u64;
    torn_down(&ctx, mm);
    0
}

/// The function of that name, for kernels without the tracepoint (before 6.1).
#[fexit(function = "exit_mmap")]
pub fn exit_mmap_done(ctx: FExitContext) -> i32 {
    let mm = ctx.arg::<*const u8>(0) as u64;
    torn_down(&ctx, mm);
    0
}

#[inline(always)]
fn torn_down<C: EbpfContext>(ctx: &C, mm: u64) {
    let task = Task::current();
    // A child that waits for its exec has an mm that is not traced.
    let waits = config!(wait_for_exec) != 0
        // SAFETY: a field of `SHARED`.
        && load(unsafe { &raw const (*shared()).started }) == 0
        && is_target(task);
    if mm != target_mm() && !waits {
        return;
    }
    let execs =
        is_target(task) && task.flags() & PF_EXITING == 0 && task.mm() != 0 && task.mm() != mm;
    if execs {
        switch(ctx, mm, task.mm());
    } else if mm == target_mm() {
        let number = epoch::current();
        epoch::end(mm, EpochEnd::Exit);
        epoch::tell(number, EpochEnd::Exit);
        info!(ctx, "epoch {} ended: exit", number);
    }
}

/// `sched_process_exec(task, old_pid, bprm)`: for an exec whose old mm lives on, in a vfork parent or another process that
/// shares it, so that `exit_mmap` did not come.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = Task::current();
    let mm = target_mm();
    if !is_target(task) || task.mm() == mm || task.mm() == 0 {
        return 0;
    }
    // SAFETY: a field of `SHARED`.
    if config!(wait_for_exec) == 0 && load(unsafe { &raw const (*shared()).started }) == 0 {
        // The loader has not looked for the target yet, and will find it as it is then.
        return 0;
    }
    switch(&ctx, mm, task.mm());
    0
}

#[inline(never)]
fn switch<C: EbpfContext>(ctx: &C, old: u64, new: u64) {
    let number = epoch::current();
    let traced = target_mm() != 0;
    if traced {
        epoch::end(old, EpochEnd::Exec);
    }
    epoch::begin(new);
    if traced {
        epoch::tell(number, EpochEnd::Exec);
    }
    info!(ctx, "epoch {} begins: exec", epoch::current());
}

/// `sched_process_fork(parent, child)`: children of the target, threads not counted.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let mm = target_mm();
    // SAFETY: both came from the kernel.
    let (parent, child) = unsafe {
        (
            Task::from_ptr(ctx.arg::<*const u8>(0)),
            Task::from_ptr(ctx.arg::<*const u8>(1)),
        )
    };
    if mm == 0 || parent.mm() != mm || child.tgid() == parent.tgid() {
        return 0;
    }
    // SAFETY: fields of `SHARED`.
    unsafe {
        let (level, namespace) = (
            load(&raw const (*shared()).own_level),
            load(&raw const (*shared()).own_namespace),
        );
        let number = kernel::own_number(child, level, namespace).unwrap_or(0);
        state::count_shared(&raw mut (*shared()).forks, 1);
        store(&raw mut (*shared()).last_child, u64::from(number));
    }
    0
}
