//! From BTF to the configuration of the kernel side. What BTF does not confirm is not used.

use memtrace_common::{
    cell::{MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBER_SWAP, MEMBERS},
    config::{Config, EVENT_WORDS, NONE, RSS_ATOMIC, RSS_PERCPU, SyscallNumbers},
};

use super::{
    btf::{Btf, BtfError, Named, Shape},
    host::{PidNamespace, batch_pages},
};

/// What about the target and the host goes into the configuration, beside the offsets.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Process id of the target, in memtrace's own PID namespace.
    pub tgid: u32,
    /// That namespace; `None` for the initial one.
    pub pid_namespace: Option<PidNamespace>,
    /// Start at the target's next exec, not at once.
    pub wait_for_exec: bool,
    /// CPU ids are below this.
    pub possible_cpus: u32,
    /// CPUs that are online, for the batch of the kernel's per-CPU counters.
    pub online_cpus: u32,
    /// Bit k: an anonymous fault may bring 2^k pages.
    pub anon_orders: u32,
}

/// Why this kernel's structures do not fit.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    /// A structure or member is missing.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// `mm_struct.rss_stat` is of a type that memtrace does not know.
    #[error(
        "mm_struct.rss_stat has a type that this memtrace does not know ({0}); a newer memtrace may"
    )]
    RssType(String),
    /// `pid.numbers` is of a type that memtrace does not know.
    #[error("pid.numbers has a type that this memtrace does not know ({0}); a newer memtrace may")]
    Pid(String),
    /// The RSS members are numbered in another way.
    #[error("the kernel numbers its RSS counters in a way that this memtrace does not know: {0}")]
    Members(&'static str),
}

/// What the approximate mode needs: hardly an offset, and none that it could not do without.
#[must_use]
pub fn approximate(btf: Option<&Btf>, host: Host) -> Config {
    let offset = |name: &str, member: &str| {
        btf.and_then(|btf| btf.member(name, member).ok())
            .map_or(NONE, |found| found.offset)
    };
    let regs = btf.and_then(|btf| arch::regs(btf).ok()).unwrap_or(Regs {
        nr: NONE,
        arg: [NONE; 6],
        compat: NONE,
    });
    Config {
        task_mm: offset("task_struct", "mm"),
        mm_brk: offset("mm_struct", "brk"),
        task_tgid: offset("task_struct", "tgid"),
        ..without_offsets(host, &regs)
    }
}

fn without_offsets(host: Host, regs: &Regs) -> Config {
    Config {
        pidns_dev: host.pid_namespace.map_or(0, |namespace| namespace.dev),
        pidns_ino: host.pid_namespace.map_or(0, |namespace| namespace.ino),
        tgid: host.tgid,
        wait_for_exec: u32::from(host.wait_for_exec),
        rss_kind: 0,
        cpus: host.possible_cpus,
        batch: batch_pages(host.online_cpus),
        anon_orders: host.anon_orders | 1,
        task_mm: NONE,
        task_tgid: NONE,
        task_flags: NONE,
        task_comm: NONE,
        task_group_leader: NONE,
        task_thread_pid: NONE,
        pid_level: NONE,
        pid_numbers: NONE,
        upid_size: 0,
        upid_nr: NONE,
        upid_ns: NONE,
        task_rss_count: NONE,
        task_rss_events: NONE,
        mm_rss_stat: NONE,
        mm_users: NONE,
        mm_brk: NONE,
        counter_size: 0,
        counter_count: NONE,
        counter_locals: NONE,
        array_pptrs: NONE,
        counter_type: 0,
        task_type: 0,
        regs_type: 0,
        task_stack: NONE,
        task_pid: NONE,
        task_cfs_rq: NONE,
        cfs_rq_rq: NONE,
        rq_cpu: NONE,
        rq_current: 0,
        events: 0,
        events_slots: [0; EVENT_WORDS],
        events_min_low: 0,
        events_min_high: 0,
        events_wake: 0,
        regs_nr: regs.nr,
        regs_arg: regs.arg,
        regs_compat: regs.compat,
        compat_mask: arch::COMPAT_MASK,
        compat_value: arch::COMPAT_VALUE,
        native: arch::NATIVE,
        compat: arch::COMPAT,
    }
}

/// Finds all offsets in the kernel's BTF.
///
/// # Errors
///
/// Where the kernel's structures are not those that memtrace knows.
pub fn config(btf: &Btf, host: Host) -> Result<Config, OffsetError> {
    members(btf)?;
    let offset = |name: &str, member: &str| btf.member(name, member).map(|found| found.offset);
    let rss = rss(btf)?;
    let regs = arch::regs(btf)?;
    let upid = upid_array(btf)?;
    let cast = cast(btf);
    // Only with all of these.
    let quick = running(btf).filter(|_| cast.is_some() && btf.has_struct("pt_regs"));
    Ok(Config {
        rss_kind: rss.kind,
        task_mm: offset("task_struct", "mm")?,
        task_tgid: offset("task_struct", "tgid")?,
        task_flags: offset("task_struct", "flags")?,
        task_comm: offset("task_struct", "comm")?,
        task_group_leader: offset("task_struct", "group_leader")?,
        task_thread_pid: offset("task_struct", "thread_pid")?,
        pid_level: offset("pid", "level")?,
        pid_numbers: upid.offset,
        upid_size: upid.size,
        upid_nr: offset("upid", "nr")?,
        upid_ns: offset("upid", "ns")?,
        task_rss_count: rss.unsynced("count", btf)?,
        task_rss_events: rss.unsynced("events", btf)?,
        mm_rss_stat: rss.offset,
        mm_users: offset("mm_struct", "mm_users")?,
        mm_brk: offset("mm_struct", "brk")?,
        counter_size: rss.size,
        counter_count: rss.count,
        counter_locals: rss.locals,
        array_pptrs: offset("bpf_array", "pptrs")?,
        counter_type: cast.and(btf.struct_id("percpu_counter")).unwrap_or(0),
        task_type: quick
            .and_then(|_| btf.struct_id("task_struct"))
            .unwrap_or(0),
        regs_type: quick.and_then(|_| btf.struct_id("pt_regs")).unwrap_or(0),
        task_cfs_rq: quick.map_or(NONE, |quick| quick.cfs_rq),
        cfs_rq_rq: quick.map_or(NONE, |quick| quick.rq),
        rq_cpu: quick.map_or(NONE, |quick| quick.cpu),
        rq_current: quick.map_or(0, |quick| quick.current),
        task_stack: offset("task_struct", "stack")?,
        task_pid: offset("task_struct", "pid")?,
        ..without_offsets(host, &regs)
    })
}

/// BTF id of the kernel's function that makes a number a pointer; `None` where it has none (before 6.2).
#[must_use]
pub fn cast(btf: &Btf) -> Option<u32> {
    btf.id(Named::Function, "bpf_rdonly_cast")
}

/// How each CPU's running task is found without a helper, from its run queue. x86-64 keeps both in per-CPU variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    /// From a `task_struct` to the pointer to its `cfs_rq`.
    cfs_rq: u32,
    /// From there to the pointer to the `rq`.
    rq: u32,
    /// From there to the CPU's number.
    cpu: u32,
    /// From the variable `runqueues` to the pointer to the running task: may go back.
    current: i32,
}

/// `None` where it is not so (arm64 has no such variable), or BTF does not tell.
fn running(btf: &Btf) -> Option<Running> {
    let member = |name, member| Some(btf.member(name, member).ok()?.offset);
    let variable = |name| btf.variable_offset(".data..percpu", name);
    // From 6.2 to 6.14 it is the member of a variable of its own.
    let current = variable("current_task")
        .or_else(|| variable("pcpu_hot")?.checked_add(member("pcpu_hot", "current_task")?))?;
    Some(Running {
        cfs_rq: member("task_struct", "se")?.checked_add(member("sched_entity", "cfs_rq")?)?,
        rq: member("cfs_rq", "rq")?,
        cpu: member("rq", "cpu")?,
        current: i32::try_from(i64::from(current) - i64::from(variable("runqueues")?)).ok()?,
    })
}

/// The same configuration for a kernel side that finds the running task, and reads counters, by helpers alone.
#[must_use]
pub const fn by_helpers(config: Config) -> Config {
    Config {
        counter_type: 0,
        task_type: 0,
        regs_type: 0,
        ..config
    }
}

struct UpidArray {
    offset: u32,
    size: u32,
}

/// `pid.numbers`: the number of a process in each PID namespace that it is in.
fn upid_array(btf: &Btf) -> Result<UpidArray, OffsetError> {
    let member = btf.member("pid", "numbers")?;
    let size = match btf.shape(member.type_id) {
        Shape::Array { element, .. } => match btf.shape(element) {
            Shape::Struct { size, .. } => size,
            other => return Err(OffsetError::Pid(format!("array of {other:?}"))),
        },
        other => return Err(OffsetError::Pid(format!("{other:?}"))),
    };
    Ok(UpidArray {
        offset: member.offset,
        size,
    })
}

/// The kernel's numbering of the RSS counters must be ours.
fn members(btf: &Btf) -> Result<(), OffsetError> {
    for (name, index) in [
        ("MM_FILEPAGES", MEMBER_FILE),
        ("MM_ANONPAGES", MEMBER_ANON),
        ("MM_SWAPENTS", MEMBER_SWAP),
        ("MM_SHMEMPAGES", MEMBER_SHMEM),
        ("NR_MM_COUNTERS", MEMBERS),
    ] {
        if btf.enumerator(name) != Some(index as i32) {
            return Err(OffsetError::Members(name));
        }
    }
    Ok(())
}

/// In which way the kernel's own RSS figures are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Each thread keeps the pages of up to 65 faults to itself (before 6.2, `SPLIT_RSS_COUNTING`).
    PerThread,
    /// Each CPU keeps up to a batch of each counter (6.2 to 6.15; exact from 6.16 on, which BTF does not tell).
    PerCpu,
    /// BTF does not tell.
    Unknown,
}

impl Sampling {
    /// The most pages that RSS may be off by.
    #[must_use]
    pub fn bound_pages(self, threads: u64, online_cpus: u32) -> u64 {
        /// `TASK_RSS_EVENTS_THRESH`, and the fault that notices.
        const FAULTS: u64 = 65;
        /// Pages that one file fault maps: the default of `fault_around_bytes`.
        const AROUND: u64 = 16;
        /// File, anonymous, shmem.
        const COUNTERS: u64 = 3;
        let per_thread = threads.saturating_mul(FAULTS * AROUND);
        let per_cpu =
            (COUNTERS * u64::from(batch_pages(online_cpus))).saturating_mul(u64::from(online_cpus));
        match self {
            Self::PerThread => per_thread,
            Self::PerCpu => per_cpu,
            Self::Unknown => per_thread.max(per_cpu),
        }
    }
}

/// In which way the kernel's own RSS figures are off, from the type of its counters.
#[must_use]
pub fn sampling(btf: &Btf) -> Sampling {
    match rss(btf) {
        Ok(Rss {
            kind: RSS_PERCPU, ..
        }) => Sampling::PerCpu,
        Ok(_) => Sampling::PerThread,
        Err(_) => Sampling::Unknown,
    }
}

struct Rss {
    kind: u32,
    offset: u32,
    size: u32,
    count: u32,
    locals: u32,
}

impl Rss {
    /// Where a thread keeps what it has not added to the shared counters yet; [`NONE`] where threads keep nothing.
    fn unsynced(&self, member: &str, btf: &Btf) -> Result<u32, BtfError> {
        if self.kind != RSS_ATOMIC || !btf.has_struct("task_rss_stat") {
            return Ok(NONE);
        }
        let outer = btf.member("task_struct", "rss_stat")?.offset;
        Ok(outer + btf.member("task_rss_stat", member)?.offset)
    }
}

fn rss(btf: &Btf) -> Result<Rss, OffsetError> {
    let member = btf.member("mm_struct", "rss_stat")?;
    match btf.shape(member.type_id) {
        // 6.2 and later: struct percpu_counter rss_stat[NR_MM_COUNTERS].
        Shape::Array { element, length } if length as usize == MEMBERS => {
            match btf.shape(element) {
                Shape::Struct { name, size } if name == "percpu_counter" => Ok(Rss {
                    kind: RSS_PERCPU,
                    offset: member.offset,
                    size,
                    count: btf.member("percpu_counter", "count")?.offset,
                    locals: btf.member("percpu_counter", "counters")?.offset,
                }),
                other => Err(OffsetError::RssType(format!("array of {other:?}"))),
            }
        }
        // Before: struct mm_rss_stat { atomic_long_t count[NR_MM_COUNTERS]; }.
        Shape::Struct { name, .. } if name == "mm_rss_stat" => Ok(Rss {
            kind: RSS_ATOMIC,
            offset: member.offset + btf.member("mm_rss_stat", "count")?.offset,
            size: 8,
            count: 0,
            locals: NONE,
        }),
        other => Err(OffsetError::RssType(format!("{other:?}"))),
    }
}

struct Regs {
    nr: u32,
    arg: [u32; 6],
    compat: u32,
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Btf, BtfError, Regs, SyscallNumbers};

    /// `__USER32_CS`: a 32-bit task's code segment, `arch/x86/include/asm/segment.h`.
    pub const COMPAT_VALUE: u32 = 0x23;
    pub const COMPAT_MASK: u32 = 0xffff;

    /// `arch/x86/entry/syscalls/syscall_64.tbl`.
    pub const NATIVE: SyscallNumbers = SyscallNumbers {
        mmap: 9,
        munmap: 11,
        mremap: 25,
        brk: 12,
        madvise: 28,
        process_madvise: 440,
        execve: 59,
        execveat: 322,
    };

    /// `arch/x86/entry/syscalls/syscall_32.tbl`; `mmap` is `mmap2`.
    pub const COMPAT: SyscallNumbers = SyscallNumbers {
        mmap: 192,
        munmap: 91,
        mremap: 163,
        brk: 45,
        madvise: 219,
        process_madvise: 440,
        execve: 11,
        execveat: 358,
    };

    /// The system-call convention of x86-64.
    pub fn regs(btf: &Btf) -> Result<Regs, BtfError> {
        let offset = |name: &str| btf.member("pt_regs", name).map(|member| member.offset);
        Ok(Regs {
            nr: offset("orig_ax")?,
            arg: [
                offset("di")?,
                offset("si")?,
                offset("dx")?,
                offset("r10")?,
                offset("r8")?,
                offset("r9")?,
            ],
            compat: offset("cs")?,
        })
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{Btf, BtfError, Regs, SyscallNumbers};

    /// `PSR_MODE32_BIT`, `arch/arm64/include/uapi/asm/ptrace.h`.
    pub const COMPAT_VALUE: u32 = 0x10;
    pub const COMPAT_MASK: u32 = 0x10;

    /// `include/uapi/asm-generic/unistd.h`.
    pub const NATIVE: SyscallNumbers = SyscallNumbers {
        mmap: 222,
        munmap: 215,
        mremap: 216,
        brk: 214,
        madvise: 233,
        process_madvise: 440,
        execve: 221,
        execveat: 281,
    };

    /// `arch/arm64/tools/syscall_32.tbl`; `mmap` is `mmap2`.
    pub const COMPAT: SyscallNumbers = SyscallNumbers {
        mmap: 192,
        munmap: 91,
        mremap: 163,
        brk: 45,
        madvise: 220,
        process_madvise: 440,
        execve: 11,
        execveat: 387,
    };

    /// The system-call convention of arm64. x0 also carries the result, so argument 0 is read from `orig_x0`.
    pub fn regs(btf: &Btf) -> Result<Regs, BtfError> {
        let offset = |name: &str| btf.member("pt_regs", name).map(|member| member.offset);
        let regs = offset("regs")?;
        Ok(Regs {
            nr: offset("syscallno")?,
            arg: [
                offset("orig_x0")?,
                regs + 8,
                regs + 16,
                regs + 24,
                regs + 32,
                regs + 40,
            ],
            compat: offset("pstate")?,
        })
    }
}
