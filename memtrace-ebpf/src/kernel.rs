//! Reading the kernel's structures. Offsets come from [`CONFIG`](crate::state::CONFIG), which the loader filled from BTF.

use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_probe_read_kernel, generated};

use memtrace_common::layout::CpuCells;

use crate::state::{config, load, shared};

/// A `task_struct` that the verifier knows as such: fields are read directly, without a helper.
#[derive(Clone, Copy)]
pub struct Task(*const u8);

/// The `pt_regs` with which a task entered the kernel from user space.
#[derive(Clone, Copy)]
pub struct UserRegs(*const u8);

impl Task {
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: always returns the running task.
        Self(unsafe { bpf_get_current_task_btf() }.cast())
    }

    /// The same, found by this CPU's cells, without a helper where that can be: a function call costs as much as all the rest of a
    /// short program.
    #[inline(always)]
    pub fn running(cells: *const CpuCells) -> Self {
        if config!(task_type) == 0 {
            return Self::current();
        }
        // SAFETY: a field of this CPU's cells.
        let current = unsafe { load(&raw const (*cells).current) };
        Self(cast(peek(current), config!(task_type)))
    }

    /// The task's address.
    #[inline(always)]
    pub fn pointer(self) -> *const u8 {
        self.0
    }

    /// The thread's id, in the initial namespace.
    #[inline(always)]
    pub fn pid(self) -> u32 {
        self.field(config!(task_pid))
    }

    /// The beginning of its kernel stack.
    #[inline(always)]
    pub fn stack(self) -> u64 {
        self.field(config!(task_stack))
    }

    /// Wraps a task that a BTF program got as its argument.
    ///
    /// # Safety
    ///
    /// `task` must be a `task_struct` pointer that came from the kernel, not from memory.
    #[inline(always)]
    pub const unsafe fn from_ptr(task: *const u8) -> Self {
        Self(task)
    }

    #[inline(always)]
    fn field<T: Copy>(self, offset: u32) -> T {
        // SAFETY: BTF gave the offset; the kernel handles a fault of such a load by itself.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }

    /// Address of the task's `mm`; 0 for a kernel thread, and for a task that has given it up.
    #[inline(always)]
    pub fn mm(self) -> u64 {
        self.field(config!(task_mm))
    }

    /// The process id, in the initial namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.field(config!(task_tgid))
    }

    /// `PF_*`.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        self.field(config!(task_flags))
    }

    /// The name, padded with 0; all 0 where it cannot be read.
    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        // SAFETY: a checked read.
        unsafe {
            bpf_probe_read_kernel(self.0.wrapping_add(config!(task_comm) as usize).cast())
                .unwrap_or([0; 16])
        }
    }

    /// Faults since the task last added the pages that it keeps to the shared counters (before 6.2).
    #[inline(always)]
    pub fn rss_events(self) -> i32 {
        self.field(config!(task_rss_events))
    }

    /// Pages of one member that the task keeps (before 6.2).
    #[inline(always)]
    pub fn rss_kept(self, member: usize) -> i32 {
        // The verifier lets no field of a task be read directly whose place it does not know.
        read(self.0 as u64 + u64::from(config!(task_rss_count)) + member as u64 * 4).unwrap_or(0)
    }

    /// The registers of the task's entry into the kernel.
    #[inline(always)]
    pub fn user_regs(self) -> UserRegs {
        if config!(task_type) != 0 {
            // SAFETY: a field of `SHARED`.
            let offset = load(unsafe { &raw const (*shared()).regs_offset });
            return UserRegs(cast(self.stack().wrapping_add(offset), config!(regs_type)));
        }
        self.checked_regs()
    }

    /// The same, as a helper finds them: for a task that came from the kernel.
    #[inline(always)]
    pub fn checked_regs(self) -> UserRegs {
        // SAFETY: valid for every task; what a kernel thread has there means nothing.
        UserRegs(unsafe { generated::bpf_task_pt_regs(self.0.cast_mut().cast()) } as *const u8)
    }
}

/// The arguments of a system call.
pub trait Arguments: Copy {
    /// Whether the kernel that this is for has atomic instructions that return what was there (5.12 and later).
    const FETCHES: bool;

    /// Argument `N` of the system call.
    fn arg<const N: usize>(self) -> u64;

    /// Whether a 32-bit task made the call.
    fn compat(self) -> bool;
}

impl UserRegs {
    #[inline(always)]
    fn field<T: Copy>(self, offset: u32) -> T {
        // SAFETY: as for `Task::field`.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }

    /// Their address.
    #[inline(always)]
    pub fn pointer(self) -> *const u8 {
        self.0
    }

    /// The system call's number; negative outside system calls.
    #[inline(always)]
    pub fn nr(self) -> i32 {
        // The lower half of a register on x86-64, an s32 on arm64; both are little-endian.
        self.field(config!(regs_nr))
    }
}

impl Arguments for UserRegs {
    const FETCHES: bool = true;

    #[inline(always)]
    fn arg<const N: usize>(self) -> u64 {
        self.field(config!(regs_arg[N]))
    }

    #[inline(always)]
    fn compat(self) -> bool {
        self.field::<u32>(config!(regs_compat)) & config!(compat_mask) == config!(compat_value)
    }
}

/// A process's number in memtrace's own PID namespace, if it has one there. `task` is any thread of it.
///
/// The number that a process is known by differs from one PID namespace to the next; the kernel keeps one per level, from the
/// initial namespace down to the process's own.
#[inline(always)]
pub fn own_number(task: Task, level: u32, namespace: u64) -> Option<u32> {
    let leader = read::<u64>(task.0 as u64 + u64::from(config!(task_group_leader)))?;
    number_in(leader, level, namespace)
}

/// A thread's number in memtrace's own PID namespace, if it has one there.
#[inline(always)]
pub fn own_thread(task: Task, level: u32, namespace: u64) -> Option<u32> {
    if level == 0 {
        // The initial one, in which a task itself keeps its number.
        return Some(task.pid());
    }
    number_in(task.0 as u64, level, namespace)
}

#[inline(always)]
fn number_in(task: u64, level: u32, namespace: u64) -> Option<u32> {
    let pid = read::<u64>(task + u64::from(config!(task_thread_pid)))?;
    if read::<u32>(pid + u64::from(config!(pid_level)))? < level {
        return None;
    }
    let number =
        pid + u64::from(config!(pid_numbers)) + u64::from(level) * u64::from(config!(upid_size));
    if read::<u64>(number + u64::from(config!(upid_ns)))? != namespace {
        return None;
    }
    read(number + u64::from(config!(upid_nr)))
}

/// The running task's own PID namespace: how deep it lies, and its address.
#[inline(always)]
pub fn own_namespace() -> Option<(u32, u64)> {
    let pid = read::<u64>(Task::current().0 as u64 + u64::from(config!(task_thread_pid)))?;
    let level = read::<u32>(pid + u64::from(config!(pid_level)))?;
    let number =
        pid + u64::from(config!(pid_numbers)) + u64::from(level) * u64::from(config!(upid_size));
    Some((level, read(number + u64::from(config!(upid_ns)))?))
}

/// Makes a number a pointer to a structure that the verifier knows, from which may be read, whatever it points to: what cannot
/// be read is 0. Costs nothing, where a checked read is a function call.
///
/// `type_id` must not be 0: only then is the instruction what it says.
#[inline(always)]
pub fn cast(address: u64, type_id: u32) -> *const u8 {
    #[cfg(target_arch = "bpf")]
    {
        let pointer: *const u8;
        // SAFETY: a call of `bpf_rdonly_cast(obj, btf_id)`, with a call's registers.
        unsafe {
            core::arch::asm!(
                ".quad {call}",
                call = const memtrace_common::config::CAST,
                inout("r1") address => _,
                inout("r2") u64::from(type_id) => _,
                lateout("r0") pointer,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
        }
        pointer
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = type_id;
        address as *const u8
    }
}

/// This CPU's part of a counter.
#[inline(always)]
pub fn local(address: u64) -> Option<i32> {
    if config!(counter_type) == 0 {
        return read(address);
    }
    if address == 0 {
        return None;
    }
    Some(peek(address))
}

/// Reads up to 64 bits of the kernel's memory, by [`cast`]. The verifier wants to see a field of a structure; the `count` of a counter
/// is as wide as is needed.
#[inline(always)]
fn peek<T: Copy>(address: u64) -> T {
    let offset = config!(counter_count);
    let counter = cast(
        address.wrapping_sub(u64::from(offset)),
        config!(counter_type),
    );
    // SAFETY: the kernel handles a fault of such a load by itself.
    unsafe { core::ptr::read_volatile(counter.add(offset as usize).cast()) }
}

/// Address of the run queue of the CPU that this runs on, found from its running task.
#[inline(always)]
pub fn run_queue(task: u64) -> Option<u64> {
    let own = read::<u64>(task + u64::from(config!(task_cfs_rq)))?;
    let run_queue = read::<u64>(own + u64::from(config!(cfs_rq_rq)))?;
    let cpu = read::<u32>(run_queue + u64::from(config!(rq_cpu)))?;
    // SAFETY: a helper without arguments.
    (cpu == unsafe { generated::bpf_get_smp_processor_id() }).then_some(run_queue)
}

/// Reads kernel memory at an address that is only a number.
#[inline(always)]
pub fn read<T>(address: u64) -> Option<T> {
    // SAFETY: a checked read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// `mm->mm_users`.
#[inline(always)]
pub fn mm_users(mm: u64) -> Option<i32> {
    read(mm + u64::from(config!(mm_users)))
}

/// Address of the shared `count` of one RSS member.
#[inline(always)]
pub fn count_address(mm: u64, member: usize) -> u64 {
    mm + u64::from(config!(mm_rss_stat))
        + member as u64 * u64::from(config!(counter_size))
        + u64::from(config!(counter_count))
}

/// The percpu pointer to the per-CPU part of one RSS member.
#[inline(always)]
pub fn locals_pointer(mm: u64, member: usize) -> Option<u64> {
    read(
        mm + u64::from(config!(mm_rss_stat))
            + member as u64 * u64::from(config!(counter_size))
            + u64::from(config!(counter_locals)),
    )
}
