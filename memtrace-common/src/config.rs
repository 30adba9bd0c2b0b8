//! What the loader finds out about the running kernel, and hands to the kernel side: numbers in its instructions, and wider ones as a
//! read-only global.
//!
//! The verifier knows the values of both, so a branch that a configuration rules out is removed before the program is compiled: what
//! is not used costs nothing.

/// Name of the global.
pub const CONFIG: &str = "CONFIG";

/// The instruction at which the kernel side calls `bpf_rdonly_cast`, a function of the kernel's (6.2 and later): `call`, with
/// a number in place of the function's BTF id, which only the loader knows. Where the kernel has no such function, the loader
/// puts [`NO_CAST`] there, and no BTF id of a type into the configuration, so that it is never reached.
pub const CAST: u64 = CAST_NUMBER << 32 | 0x2085;
/// The number in place of the id: what follows `BPF_JMP | BPF_CALL` with `BPF_PSEUDO_KFUNC_CALL`.
pub const CAST_NUMBER: u64 = 0x6d74_7263;
/// `r0 = 0`.
pub const NO_CAST: u64 = 0xb7;
/// `BPF_ALU | BPF_MOV | BPF_K`: the instruction by which the kernel side takes a number of the configuration, in whichever
/// register. The number in it is [`NUMBER`] and the offset of the field in [`Config`], until the loader puts the field's value
/// there.
pub const MOVE: u32 = 0xb4;
/// See [`MOVE`].
pub const NUMBER: u32 = 0x6d75_0000;

/// An offset that BTF did not confirm.
pub const NONE: u32 = u32::MAX;

/// `rss_stat` is `struct percpu_counter[NR_MM_COUNTERS]` (6.2 and later).
pub const RSS_PERCPU: u32 = 1;
/// `rss_stat` is `struct mm_rss_stat`, and the tracepoint passes the count (5.15 to 6.1).
pub const RSS_ATOMIC: u32 = 2;

/// `PF_EXITING`, `include/linux/sched.h`; stable since 2.6.
pub const PF_EXITING: u32 = 0x0000_0004;
/// `PF_IO_WORKER`, since 5.12.
pub const PF_IO_WORKER: u32 = 0x0000_0010;
/// `PF_MEMALLOC`: the task is reclaiming memory.
pub const PF_MEMALLOC: u32 = 0x0000_0800;
/// `PF_KTHREAD`.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Numbers of the system calls that matter, of one ABI; `u32::MAX` where the ABI has no such call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SyscallNumbers {
    /// `mmap` (`mmap2` on 32-bit).
    pub mmap: u32,
    /// `munmap`.
    pub munmap: u32,
    /// `mremap`.
    pub mremap: u32,
    /// `brk`.
    pub brk: u32,
    /// `madvise`.
    pub madvise: u32,
    /// `process_madvise`.
    pub process_madvise: u32,
    /// `execve`.
    pub execve: u32,
    /// `execveat`.
    pub execveat: u32,
}

/// Numbers that [`Config::events_slots`] takes.
pub const EVENT_WORDS: usize = 3;

/// Offsets are in bytes; [`NONE`] where there is no such field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Device of memtrace's own PID namespace; only for the approximate mode.
    pub pidns_dev: u64,
    /// Inode of it; 0 is the initial one.
    pub pidns_ino: u64,

    /// Process id of the target in memtrace's own PID namespace.
    pub tgid: u32,
    /// 1: start at the target's next exec, not at once.
    pub wait_for_exec: u32,
    /// [`RSS_PERCPU`] or [`RSS_ATOMIC`].
    pub rss_kind: u32,
    /// Possible CPUs: ids are below this.
    pub cpus: u32,
    /// `percpu_counter_batch`: max(32, 2 × online CPUs).
    pub batch: u32,
    /// Bit k: an anonymous fault may bring 2^k pages. Bit 0 is always set.
    pub anon_orders: u32,

    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.flags`.
    pub task_flags: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.group_leader`.
    pub task_group_leader: u32,
    /// `task_struct.thread_pid`.
    pub task_thread_pid: u32,
    /// `pid.level`.
    pub pid_level: u32,
    /// `pid.numbers`.
    pub pid_numbers: u32,
    /// Size of `struct upid`.
    pub upid_size: u32,
    /// `upid.nr`.
    pub upid_nr: u32,
    /// `upid.ns`.
    pub upid_ns: u32,
    /// `task_struct.rss_stat.count` (before 6.2): pages that a thread has not added to its mm yet.
    pub task_rss_count: u32,
    /// `task_struct.rss_stat.events`: faults since it last did.
    pub task_rss_events: u32,
    /// `mm_struct.rss_stat`.
    pub mm_rss_stat: u32,
    /// `mm_struct.mm_users`.
    pub mm_users: u32,
    /// `mm_struct.brk`.
    pub mm_brk: u32,
    /// Size of one member of `rss_stat`.
    pub counter_size: u32,
    /// `percpu_counter.count`, or 0 for the atomic kind.
    pub counter_count: u32,
    /// `percpu_counter.counters`.
    pub counter_locals: u32,
    /// `bpf_array.pptrs`.
    pub array_pptrs: u32,
    /// BTF id of `struct percpu_counter`, where [`CAST`] is at hand; else 0.
    pub counter_type: u32,
    /// BTF id of `struct task_struct`, where the kernel side finds the running task and its registers without calling helpers;
    /// else 0.
    pub task_type: u32,
    /// BTF id of `struct pt_regs`, likewise.
    pub regs_type: u32,
    /// `task_struct.stack`.
    pub task_stack: u32,
    /// `task_struct.pid`: the thread's id.
    pub task_pid: u32,

    /// The system call's number in `pt_regs`; -1 there means no system call.
    pub regs_nr: u32,
    /// The six arguments in `pt_regs`.
    pub regs_arg: [u32; 6],
    /// Where `pt_regs` tells a 32-bit task.
    pub regs_compat: u32,
    /// The bits that tell.
    pub compat_mask: u32,
    /// Their value in a 32-bit task.
    pub compat_value: u32,

    /// From a `task_struct` to the pointer to its `cfs_rq`: `se.cfs_rq`.
    pub task_cfs_rq: u32,
    /// `cfs_rq.rq`.
    pub cfs_rq_rq: u32,
    /// `rq.cpu`.
    pub rq_cpu: u32,
    /// From a CPU's `runqueues` to its `current_task`; may be negative.
    pub rq_current: i32,

    /// 1: tell single calls, and keep what each of them moved.
    pub events: u32,
    /// Bit k of number n: calls of the call slot 32 n + k ([`crate::cell::call_slot`]) are told.
    pub events_slots: [u32; EVENT_WORDS],
    /// The lower half of the bytes that a call must have asked for to be told.
    pub events_min_low: u32,
    /// The upper half.
    pub events_min_high: u32,
    /// Bytes in the ring buffer of calls at which its reader is woken.
    pub events_wake: u32,

    /// Numbers of the native ABI.
    pub native: SyscallNumbers,
    /// Numbers of the 32-bit ABI.
    pub compat: SyscallNumbers,
}

const _: () = {
    assert!(size_of::<SyscallNumbers>() == 32);
    assert!(size_of::<Config>() == 2 * 8 + 52 * 4 + 2 * 32);
    assert!(EVENT_WORDS * 32 >= crate::cell::CALL_SLOTS);
};
