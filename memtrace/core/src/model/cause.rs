//! The causes of a change of RSS.

use serde::{Deserialize, Serialize};

/// Why RSS changed. The names are those of the capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A page fault of the process's own code: first touch, copy-on-write, swap-in, fault-around.
    Fault,
    /// `mmap`: `MAP_POPULATE` adds, `MAP_FIXED` over old pages drops.
    Mmap,
    /// `munmap`.
    Munmap,
    /// `mremap`.
    Mremap,
    /// `brk`.
    Brk,
    /// `madvise`, one row per advice.
    Madvise,
    /// `process_madvise`, one row per advice.
    ProcessMadvise,
    /// The new program being set up, or the old one being torn down.
    Exec,
    /// The process ending.
    Exit,
    /// An io_uring worker of the process.
    IoUring,
    /// The kernel working on the process's behalf in any other system call.
    OtherSyscall,
    /// The kernel taking pages back: kswapd, direct reclaim, cgroup reclaim. With `task`: by that task.
    Reclaim,
    /// The kernel thread that collapses pages into huge pages.
    Khugepaged,
    /// The kernel thread that merges identical pages.
    Ksm,
    /// The kernel thread that frees the memory of a process that was OOM-killed.
    OomReaper,
    /// Another task, by its name.
    OtherProcess,
}

impl Cause {
    /// The name in the capture file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Mmap => "mmap",
            Self::Munmap => "munmap",
            Self::Mremap => "mremap",
            Self::Brk => "brk",
            Self::Madvise => "madvise",
            Self::ProcessMadvise => "process_madvise",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::IoUring => "io_uring",
            Self::OtherSyscall => "other_syscall",
            Self::Reclaim => "reclaim",
            Self::Khugepaged => "khugepaged",
            Self::Ksm => "ksm",
            Self::OomReaper => "oom_reaper",
            Self::OtherProcess => "other_process",
        }
    }

    /// Whether it is a system call that can be hooked: only of such are calls, and the bytes that they asked for, ever known.
    #[must_use]
    pub const fn is_call(self) -> bool {
        match self {
            Self::Mmap
            | Self::Munmap
            | Self::Mremap
            | Self::Brk
            | Self::Madvise
            | Self::ProcessMadvise => true,
            Self::Fault
            | Self::Exec
            | Self::Exit
            | Self::IoUring
            | Self::OtherSyscall
            | Self::Reclaim
            | Self::Khugepaged
            | Self::Ksm
            | Self::OomReaper
            | Self::OtherProcess => false,
        }
    }

    /// What the process does itself, as against what the kernel and other tasks do to it.
    #[must_use]
    pub const fn is_own(self) -> bool {
        match self {
            Self::Fault
            | Self::Mmap
            | Self::Munmap
            | Self::Mremap
            | Self::Brk
            | Self::Madvise
            | Self::ProcessMadvise
            | Self::IoUring
            | Self::OtherSyscall => true,
            Self::Exec
            | Self::Exit
            | Self::Reclaim
            | Self::Khugepaged
            | Self::Ksm
            | Self::OomReaper
            | Self::OtherProcess => false,
        }
    }
}
