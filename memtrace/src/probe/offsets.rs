//! From BTF to the configuration of the kernel side. What BTF does not confirm is not used.

use memtrace_common::{
    cell::{MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBER_SWAP, MEMBERS},
    config::{Config, NONE, RSS_ATOMIC, RSS_PERCPU, SyscallNumbers},
};

use super::{
    btf::{Btf, BtfError, Shape},
    host::batch_pages,
};

/// What about the target and the host goes into the configuration, beside the offsets.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Process id of the target.
    pub tgid: u32,
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
    /// The RSS members are numbered in another way.
    #[error("the kernel numbers its RSS counters in a way that this memtrace does not know: {0}")]
    Members(&'static str),
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
    Ok(Config {
        tgid: host.tgid,
        wait_for_exec: u32::from(host.wait_for_exec),
        rss_kind: rss.kind,
        cpus: host.possible_cpus,
        batch: batch_pages(host.online_cpus),
        anon_orders: host.anon_orders | 1,
        task_mm: offset("task_struct", "mm")?,
        task_tgid: offset("task_struct", "tgid")?,
        task_flags: offset("task_struct", "flags")?,
        task_comm: offset("task_struct", "comm")?,
        task_rss_count: rss.unsynced("count", btf)?,
        task_rss_events: rss.unsynced("events", btf)?,
        mm_rss_stat: rss.offset,
        mm_users: offset("mm_struct", "mm_users")?,
        mm_brk: offset("mm_struct", "brk")?,
        counter_size: rss.size,
        counter_count: rss.count,
        counter_locals: rss.locals,
        array_pptrs: offset("bpf_array", "pptrs")?,
        regs_nr: regs.nr,
        regs_arg: regs.arg,
        regs_compat: regs.compat,
        compat_mask: arch::COMPAT_MASK,
        compat_value: arch::COMPAT_VALUE,
        native: arch::NATIVE,
        compat: arch::COMPAT,
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
