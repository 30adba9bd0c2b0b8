//! Finding a process by its id, and holding on to it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::PathBuf,
};

use crate::proc::{self, Class, ProcDir};

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
    /// `/proc` is another PID namespace's, or is not there.
    #[error(
        "/proc is not that of memtrace's own PID namespace, so PID {0} there may be another process than PID {0} here; mount the right one: mount -t proc proc /proc (unshare does it with --mount-proc)"
    )]
    ForeignProc(u32),
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
    /// In the middle of its exit.
    #[error(
        "process {pid} ({comm}) is exiting: its memory is gone already, and it waits for something else, such as its own children or a file system; there is nothing to trace, give the PID of another process"
    )]
    Exiting {
        /// The process.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// Alive, and not among the tasks that the kernel side sees.
    #[error(
        "process {pid} ({comm}) is alive, and memtrace's kernel side sees no process of this number in memtrace's own PID namespace; run memtrace outside of the container, with the PID that the host gives the process"
    )]
    Unseen {
        /// The process.
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
    /// Whether its program is a 32-bit one; `None` where that cannot be read.
    pub class: Option<Class>,
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
        if !proc_is_own() {
            return Err(TargetError::ForeignProc(pid));
        }
        let failed = |error: io::Error| match proc::is_gone(&error) {
            true if is_process(number) => TargetError::Hidden(pid),
            true => TargetError::NotFound(pid),
            false => TargetError::Denied {
                pid,
                reason: error.to_string(),
            },
        };
        let process = ProcDir::open(pid).map_err(failed)?;
        let tgid = proc::read(&process, "status", proc::status)
            .map_err(failed)?
            .tgid;
        if tgid != pid {
            let leader = ProcDir::open(tgid);
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
        if matches!(stat.state, b'Z' | b'X') && living_thread(&process).is_none() {
            return Err(TargetError::Zombie {
                pid,
                comm: stat.comm,
                parent: stat.ppid,
            });
        }
        if has_no_memory(&process) {
            return Err(TargetError::Exiting {
                pid,
                comm: stat.comm,
            });
        }
        let program = Program::read(&process);
        Ok(Self {
            pid,
            exe: program.exe.ok(),
            class: program.class.ok(),
            cmdline: program.cmdline,
            start_ticks: stat.start_ticks,
            start_time: proc::start_time(stat.start_ticks),
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

    /// Returns why the kernel side finds no such process, or none with memory; `None` if the process has ended.
    #[must_use]
    pub fn unseen(&self) -> Option<TargetError> {
        let (pid, comm) = (self.pid, self.comm.clone());
        let process = ProcDir::open(pid).ok()?;
        let ended = living_thread(&process).is_none();
        let exiting = has_no_memory(&process);
        // Now, and not before: what was read is this process's own.
        if ended || !self.is_alive() {
            None
        } else if exiting {
            Some(TargetError::Exiting { pid, comm })
        } else {
            Some(TargetError::Unseen { pid, comm })
        }
    }

    /// Whether the process has been stopped (SIGSTOP, a debugger).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        ProcDir::open(self.pid)
            .and_then(|process| proc::read(&process, "stat", proc::stat))
            .is_ok_and(|stat| matches!(stat.state, b'T' | b't'))
    }

    /// To be called where an exec has replaced the program: of the old one, nothing is taken for the new one's.
    pub fn renew(&mut self) {
        self.exe = None;
        self.class = None;
        self.refresh();
    }

    /// Reads name, executable and arguments again: an exec changes all of them, and a process may rename itself. Of one that
    /// has ended the last ones known stay.
    pub fn refresh(&mut self) {
        let Ok(process) = ProcDir::open(self.pid) else {
            return;
        };
        let stat = proc::read(&process, "stat", proc::stat);
        let program = Program::read(&process);
        // Now, and not before: as long as this process is there, its id was nobody else's.
        if !self.is_alive() {
            return;
        }
        if let Ok(stat) = stat {
            self.comm = stat.comm;
        }
        renew(&mut self.exe, program.exe);
        renew(&mut self.class, program.class);
        if !program.cmdline.is_empty() {
            self.cmdline = program.cmdline;
        }
    }
}

/// Of a zombie there is nothing to read any more: then what was known stays.
fn renew<T>(known: &mut Option<T>, read: io::Result<T>) {
    match read {
        Ok(read) => *known = Some(read),
        // It may be another one by now, and memtrace may not know.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => *known = None,
        Err(_) => {}
    }
}

impl AsFd for Target {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What a process shows of its program.
struct Program {
    exe: io::Result<PathBuf>,
    class: io::Result<Class>,
    cmdline: Vec<String>,
}

impl Program {
    fn read(process: &ProcDir) -> Self {
        let program = Self::of(process, "");
        // A leader that has exited shows nothing; the threads that go on run the same program.
        match (&program.exe, living_thread(process)) {
            (Err(error), Some(tid)) if proc::is_gone(error) => {
                Self::of(process, &format!("task/{tid}/"))
            }
            _ => program,
        }
    }

    fn of(process: &ProcDir, task: &str) -> Self {
        Self {
            exe: process.link(format!("{task}exe")),
            class: proc::read(process, &format!("{task}auxv"), |bytes| {
                proc::class(bytes, proc::page_size())
            }),
            // Since 4.17 the kernel reads them from anonymous memory alone (FOLL_ANON in fs/proc/base.c), so that no file laid over them
            // makes a reader wait.
            cmdline: proc::read(process, &format!("{task}cmdline"), |bytes| {
                Some(proc::cmdline(bytes))
            })
            .unwrap_or_default(),
        }
    }
}

/// A group whose leader has exited looks like a zombie, and goes on in its other threads.
pub fn living_thread(process: &ProcDir) -> Option<u32> {
    process.threads().ok()?.find(|tid| {
        proc::read(process, &format!("task/{tid}/stat"), proc::stat)
            .is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
    })
}

/// Returns whether `/proc` says that no living thread of the process has memory. A process gives its memory up early in its exit.
fn has_no_memory(process: &ProcDir) -> bool {
    living_thread(process).is_some_and(|tid| {
        let memory = proc::read(process, &format!("task/{tid}/status"), |bytes| {
            Some(proc::resident(bytes).is_some())
        });
        matches!(memory, Ok(false))
    })
}

/// Whether `/proc` numbers processes as this process's own PID namespace does. A container may show its host's.
fn proc_is_own() -> bool {
    ProcDir::own()
        .and_then(|own| proc::read(&own, "status", proc::status))
        // It lists an id for each namespace, from that of this `/proc` down to the process's own.
        .is_ok_and(|status| status.tgid == std::process::id() && status.ns_pids.len() <= 1)
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
