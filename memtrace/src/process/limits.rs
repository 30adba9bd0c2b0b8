//! What memtrace inherits from its parent and cannot work with: resource limits, and a signal that ends it.
//!
//! [`adjust`] makes the best of them, once, at the start. A program that memtrace starts gets back what was found: [`restore`].

use std::{fs, io, sync::OnceLock};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::text::format;

/// Bytes of stack that the main thread needs. An unoptimized build got by with 240 KiB.
const STACK: u64 = 1 << 20;

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
        "memtrace needs {needed} file descriptors, and may open only {found}: RLIMIT_NOFILE is {limit}; type: sudo prlimit --pid $$ --nofile=1024:4096"
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
        "memtrace needs {needed} file descriptors, and may open only {found}: {errno}; see the limits of this host in /proc/sys/fs/file-max"
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
        "memtrace needs {needed} of memory, and {name} leaves it {found}; type: sudo prlimit --pid $$ --{option}=unlimited"
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
    /// `RLIMIT_STACK`.
    #[error(
        "memtrace needs a stack of {needed}, and RLIMIT_STACK is {found}; type: sudo prlimit --pid $$ --stack=8388608"
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
        let _ = setrlimit(
            resource,
            Rlimit {
                current,
                ..found.clone()
            },
        );
    }
    found
}

/// Gives back what [`adjust`] changed. For a child before its exec: calls only what a signal handler may.
pub(super) fn restore() {
    if let Some(found) = FOUND.get() {
        let _ = setrlimit(Resource::Nofile, found.descriptors.clone());
        let _ = setrlimit(Resource::Stack, found.stack.clone());
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
    memory(work.memory(), Resource::Data, data)
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
