//! Finding a process by its id, and holding on to it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::PathBuf,
};

use procfs::{ProcError, ProcResult, process::Process};

use crate::proc::{self, Stat};

/// `PF_KTHREAD`, bit of the flags in `/proc/PID/stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Why a process cannot be the target. Each says what was found, what is needed, and what to type.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// PID 0.
    #[error(
        "PID 0 is the kernel's idle task, not a process; give the PID of a process, as `pgrep -f NAME` prints it"
    )]
    Zero,
    /// memtrace itself.
    #[error(
        "PID {0} is this memtrace itself; tracing it would trace the tracing: give the PID of another process"
    )]
    Own(u32),
    /// Nothing has this id.
    #[error("no process has PID {0}; `pgrep -f NAME` prints the PIDs of running processes")]
    NotFound(u32),
    /// There, and not shown to this user.
    #[error(
        "process {0} is there, and /proc does not show it to this user (it is mounted with hidepid): memtrace needs CAP_SYS_PTRACE, or root; type: sudo memtrace --pid {0}"
    )]
    Hidden(u32),
    /// A thread's id.
    #[error(
        "{tid} is a thread of process {pid} ({comm}); memory belongs to the process: memtrace --pid {pid}"
    )]
    Thread {
        /// The thread.
        tid: u32,
        /// Its process.
        pid: u32,
        /// The process's name.
        comm: String,
    },
    /// A zombie.
    #[error(
        "process {pid} ({comm}) has ended, its memory is gone: it is a zombie that its parent {parent} has not waited for"
    )]
    Zombie {
        /// The process.
        pid: u32,
        /// Its name.
        comm: String,
        /// Its parent.
        parent: i32,
    },
    /// A kernel thread.
    #[error(
        "PID {pid} ({comm}) is a kernel thread, which has no memory of its own; give the PID of a process"
    )]
    KernelThread {
        /// The thread.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// Not readable.
    #[error(
        "cannot look at process {pid}: {reason}; run memtrace as root: sudo memtrace --pid {pid}"
    )]
    Denied {
        /// The process.
        pid: u32,
        /// What the kernel said.
        reason: String,
    },
}

/// A process, held by a pidfd: what is read of it is its own as long as [`Target::is_alive`] says so.
#[derive(Debug)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Name, as the kernel keeps it (15 bytes): chosen by the process, so not to be trusted.
    pub comm: String,
    /// Path of the executable; `None` where it cannot be read.
    pub exe: Option<PathBuf>,
    /// Arguments: not to be trusted either.
    pub cmdline: Vec<String>,
    /// When it started, in clock ticks since boot. With the pid, this names a process for as long as the host is up.
    pub start_ticks: u64,
    /// When it started, in seconds since 1970.
    pub start_time: Option<i64>,
    pidfd: OwnedFd,
}

impl Target {
    /// Finds the process `pid`.
    ///
    /// # Errors
    ///
    /// Where `pid` is not a living process with memory of its own.
    pub fn find(pid: u32) -> Result<Self, TargetError> {
        if pid == 0 {
            return Err(TargetError::Zero);
        }
        if pid == std::process::id() {
            return Err(TargetError::Own(pid));
        }
        let Ok(number) = i32::try_from(pid) else {
            return Err(TargetError::NotFound(pid));
        };
        let failed = |error: ProcError| match error {
            ProcError::NotFound(_) if is_process(number) => TargetError::Hidden(pid),
            ProcError::NotFound(_) => TargetError::NotFound(pid),
            other => TargetError::Denied {
                pid,
                reason: other.to_string(),
            },
        };
        let process = Process::new(number).map_err(failed)?;
        let tgid = proc::read(&process, "status", proc::status)
            .map_err(failed)?
            .tgid;
        if tgid != pid {
            let leader = Process::new(tgid.cast_signed());
            let stat = leader.and_then(|process| proc::read(&process, "stat", proc::stat));
            return Err(TargetError::Thread {
                tid: pid,
                pid: tgid,
                comm: stat.map_err(failed)?.comm,
            });
        }
        // From here on it cannot be mistaken: whatever is read below is checked against this descriptor.
        let pidfd = pidfd_open(number).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => TargetError::NotFound(pid),
            _ => TargetError::Denied {
                pid,
                reason: format!("pidfd_open: {error}"),
            },
        })?;
        let stat = proc::read(&process, "stat", proc::stat).map_err(failed)?;
        if stat.flags & PF_KTHREAD != 0 {
            return Err(TargetError::KernelThread {
                pid,
                comm: stat.comm,
            });
        }
        if matches!(stat.state, b'Z' | b'X') && !has_living_thread(&process) {
            return Err(TargetError::Zombie {
                pid,
                comm: stat.comm,
                parent: stat.ppid,
            });
        }
        Ok(Self {
            pid,
            exe: process.exe().ok(),
            cmdline: read_cmdline(&process).unwrap_or_default(),
            start_ticks: stat.start_ticks,
            start_time: start_time(&stat),
            comm: stat.comm,
            pidfd,
        })
    }

    /// Whether the process that was found still exists, so that its id has not been given to another one.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // SAFETY: signal 0 to a descriptor that this value owns; it delivers nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                0,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }

    /// Whether the process has been stopped (SIGSTOP, a debugger).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        i32::try_from(self.pid)
            .ok()
            .and_then(|pid| Process::new(pid).ok())
            .and_then(|process| proc::read(&process, "stat", proc::stat).ok())
            .is_some_and(|stat| matches!(stat.state, b'T' | b't'))
    }

    /// Reads name, executable and arguments again: an exec changes all of them, and a process may rename itself.
    pub fn refresh(&mut self) {
        let Some(process) = i32::try_from(self.pid)
            .ok()
            .and_then(|pid| Process::new(pid).ok())
        else {
            return;
        };
        if let Ok(stat) = proc::read(&process, "stat", proc::stat) {
            self.comm = stat.comm;
        }
        // A zombie has neither of these any more: then the last ones known stay.
        match process.exe() {
            Ok(exe) => self.exe = Some(exe),
            // It may be another one by now, and memtrace may not know.
            Err(ProcError::PermissionDenied(_)) => self.exe = None,
            Err(_) => {}
        }
        if let Ok(cmdline) = read_cmdline(&process)
            && !cmdline.is_empty()
        {
            self.cmdline = cmdline;
        }
    }
}

impl AsFd for Target {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A group whose leader has exited looks like a zombie, and goes on in its other threads.
fn has_living_thread(process: &Process) -> bool {
    process.tasks().is_ok_and(|tasks| {
        tasks
            .flatten()
            .filter_map(|task| {
                let name = format!("task/{}/stat", task.tid);
                proc::read(process, &name, proc::stat).ok()
            })
            .any(|stat| !matches!(stat.state, b'Z' | b'X'))
    })
}

fn read_cmdline(process: &Process) -> ProcResult<Vec<String>> {
    proc::read(process, "cmdline", |bytes| Some(proc::cmdline(bytes)))
}

fn start_time(stat: &Stat) -> Option<i64> {
    let booted = i64::try_from(procfs::boot_time_secs().ok()?).ok()?;
    Some(booted + i64::try_from(stat.start_ticks / procfs::ticks_per_second()).ok()?)
}

/// Whether a process has this id, whatever /proc shows. That needs no privilege.
fn is_process(pid: i32) -> bool {
    pidfd_open(pid).is_ok()
}

fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a system call with two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
