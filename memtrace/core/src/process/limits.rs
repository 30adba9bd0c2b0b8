//! What memtrace inherits from its parent and cannot work with: resource limits, and a signal that ends it.
//!
//! [`adjust`] makes the best of them, once, at the start. A program that memtrace starts gets back what was found: `restore`.

use std::{
    fs, io,
    sync::{Mutex, OnceLock},
    thread,
};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::text::format;

/// Bytes of stack that the main thread needs. An unoptimized build got by with 240 KiB.
const STACK: u64 = 1 << 20;

/// Bytes of stack of a thread that does nothing.
const TRIAL_STACK: usize = 64 << 10;

/// What memtrace is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Trace a process, or try whether it could.
    Trace,
    /// Read capture files.
    Read,
}

impl Work {
    /// File descriptors that it opens. Tracing with all outputs took 85 (6.18), reading 4.
    const fn descriptors(self) -> usize {
        match self {
            Self::Trace => 128,
            Self::Read => 16,
        }
    }

    /// Threads that run at once beside the main one.
    const fn threads(self) -> usize {
        match self {
            Self::Trace => 4,
            Self::Read => 0,
        }
    }

    /// Bytes of address space beyond the program itself. Tracing took 20 MiB (6.18), reading 4.
    const fn memory(self) -> u64 {
        match self {
            Self::Trace => 64 << 20,
            Self::Read => 16 << 20,
        }
    }
}

/// A resource limit that is too low. Each says what was found, what is needed, and what to type.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// `RLIMIT_NOFILE`.
    #[error(
        "too few file descriptors: RLIMIT_NOFILE is {limit}, of which {found} are free, and memtrace needs {needed}; type: sudo prlimit --pid $$ --nofile=1024:4096"
    )]
    Descriptors {
        /// How many it could open.
        found: usize,
        /// How many it opens.
        needed: usize,
        /// The limit.
        limit: u64,
    },
    /// The host has none left.
    #[error(
        "too few file descriptors: {errno}; this host has {found} left, and memtrace needs {needed}; type: sudo sysctl fs.file-max=1000000"
    )]
    HostDescriptors {
        /// How many it could open.
        found: usize,
        /// How many it opens.
        needed: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// `RLIMIT_AS` or `RLIMIT_DATA`.
    #[error(
        "too little memory: {name} leaves {found} of it, and memtrace needs {needed}; type: sudo prlimit --pid $$ --{option}=unlimited"
    )]
    Memory {
        /// The limit's name.
        name: &'static str,
        /// Its option of prlimit(1).
        option: &'static str,
        /// What is left of it.
        found: String,
        /// What memtrace needs.
        needed: String,
    },
    /// `RLIMIT_NPROC`, or the cgroup's `pids.max`.
    #[error(
        "too few threads: {found} could be started, and memtrace needs {needed}: RLIMIT_NPROC is {limit} for all threads of this user, or the cgroup's pids.max is reached; type: sudo prlimit --pid $$ --nproc=unlimited"
    )]
    Threads {
        /// How many could be started.
        found: usize,
        /// How many it runs at once.
        needed: usize,
        /// The limit.
        limit: String,
    },
    /// Between two PID namespaces, the kernel makes no thread.
    #[error(
        "cannot start a thread: {0}; after `unshare --pid` without --fork no program can: type: unshare --pid --fork --mount-proc"
    )]
    NoThreads(io::Error),
    /// `RLIMIT_STACK`.
    #[error(
        "too small a stack: RLIMIT_STACK is {found}, and memtrace needs {needed}; type: sudo prlimit --pid $$ --stack=8388608"
    )]
    Stack {
        /// The limit.
        found: String,
        /// What memtrace needs.
        needed: String,
    },
}

/// What [`adjust`] found, and a started program gets back.
struct Found {
    descriptors: Rlimit,
    stack: Rlimit,
    file_size: libc::sighandler_t,
}

static FOUND: OnceLock<Found> = OnceLock::new();

/// Raises soft limits that are too low to their hard limits, and has a file that reaches `RLIMIT_FSIZE` end in an error (`EFBIG`),
/// not in SIGXFSZ.
///
/// # Errors
///
/// If the stack is too small for anything else.
pub fn adjust() -> Result<(), LimitError> {
    // SAFETY: ignoring a signal runs no code of this program.
    let file_size = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let found = Found {
        descriptors: raise(Resource::Nofile, u64::MAX),
        stack: raise(Resource::Stack, STACK),
        file_size,
    };
    FOUND.get_or_init(|| found);
    match getrlimit(Resource::Stack).current {
        Some(bytes) if bytes < STACK => Err(LimitError::Stack {
            found: format::round_size(bytes),
            needed: format::round_size(STACK),
        }),
        _ => Ok(()),
    }
}

/// Raises a soft limit to the hard one if it is below `wanted`; returns what it was.
fn raise(resource: Resource, wanted: u64) -> Rlimit {
    let found = getrlimit(resource);
    if found.current.is_some_and(|current| current < wanted) {
        let current = found.maximum;
        // Below the hard limit everybody may; where it fails, the check that follows says so.
        let _ = setrlimit(resource, Rlimit { current, ..found });
    }
    found
}

/// Gives back what [`adjust`] changed. For a child before its exec: calls only what a signal handler may.
pub(super) fn restore() {
    if let Some(found) = FOUND.get() {
        let _ = setrlimit(Resource::Nofile, found.descriptors);
        let _ = setrlimit(Resource::Stack, found.stack);
        // SAFETY: memtrace installs no handler, so this is the default action or none.
        unsafe { libc::signal(libc::SIGXFSZ, found.file_size) };
    }
}

/// Checks that the limits leave room for some work.
///
/// # Errors
///
/// If one does not.
pub fn check(work: Work) -> Result<(), LimitError> {
    descriptors(work.descriptors())?;
    let (size, data) = used();
    memory(work.memory(), Resource::As, size)?;
    memory(work.memory(), Resource::Data, data)?;
    threads(work.threads())
}

/// Tries: other processes of the user count too.
fn threads(needed: usize) -> Result<(), LimitError> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        for found in 0..needed {
            let small = thread::Builder::new().stack_size(TRIAL_STACK);
            let started = small.spawn_scoped(scope, || drop(gate.lock()));
            match started.map_err(|error| (error.kind(), error)) {
                Ok(_) => {}
                Err((io::ErrorKind::WouldBlock, _)) => {
                    return Err(LimitError::Threads {
                        found,
                        needed,
                        limit: match getrlimit(Resource::Nproc).current {
                            Some(limit) => limit.to_string(),
                            None => "unlimited".to_owned(),
                        },
                    });
                }
                Err((_, error)) => return Err(LimitError::NoThreads(error)),
            }
        }
        drop(closed);
        Ok(())
    })
}

/// Tries: descriptors that the parent left open count too, and lie anywhere.
fn descriptors(needed: usize) -> Result<(), LimitError> {
    let mut tried = Vec::with_capacity(needed);
    while tried.len() < needed {
        match fcntl_dupfd_cloexec(io::stdin(), 0) {
            Ok(descriptor) => tried.push(descriptor),
            Err(Errno::MFILE | Errno::INVAL) => {
                return Err(LimitError::Descriptors {
                    found: tried.len(),
                    needed,
                    limit: getrlimit(Resource::Nofile).current.unwrap_or_default(),
                });
            }
            Err(errno) => {
                return Err(LimitError::HostDescriptors {
                    found: tried.len(),
                    needed,
                    errno,
                });
            }
        }
    }
    Ok(())
}

/// Bytes that count against `RLIMIT_AS` and `RLIMIT_DATA`; 0 if /proc does not say.
fn used() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |key: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(rest.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    (bytes("VmSize:").unwrap_or(0), bytes("VmData:").unwrap_or(0))
}

fn memory(needed: u64, resource: Resource, used: u64) -> Result<(), LimitError> {
    let left = match getrlimit(resource).current {
        Some(limit) => limit.saturating_sub(used),
        None => return Ok(()),
    };
    if left >= needed {
        return Ok(());
    }
    let (name, option) = match resource {
        Resource::Data => ("RLIMIT_DATA", "data"),
        _ => ("RLIMIT_AS", "as"),
    };
    Err(LimitError::Memory {
        name,
        option,
        found: format::round_size(left),
        needed: format::round_size(needed),
    })
}
