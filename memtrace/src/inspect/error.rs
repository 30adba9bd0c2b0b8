//! Why something of a process cannot be had.

use std::{borrow::Cow, io};

use super::{MOST_WORK, elf, live::explain};

/// Why something of a process cannot be had. Its text is part of a sentence in the report.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The budget of the look is spent.
    #[error(
        "it takes more work than memtrace does for one program: {} MiB read, unpacked and parsed",
        MOST_WORK >> 20
    )]
    Budget,
    /// The file is not looked at, by [`Shallow`](super::Shallow).
    #[error("it was left out, since a file system that the process uses does not answer")]
    Skipped,
    /// The kernel does not open or read it.
    #[error("{}", explain(*.pid, .what, .source))]
    Io {
        /// The process.
        pid: u32,
        /// What was asked for.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It needs a privilege that memtrace does not have: which one, and what to type.
    #[error("{0}")]
    Refused(String),
    /// The file is no ELF file, or a part of it cannot be had.
    #[error(transparent)]
    Elf(elf::Error),
    /// The file or the memory is not as memtrace knows it, for this reason.
    #[error("{0}")]
    Unusable(Cow<'static, str>),
    /// It is not a Go program.
    #[error("it is no Go program")]
    NotGo,
    /// The memory that holds Go's figures cannot be read.
    #[error("Go's figures cannot be read: {0}")]
    Memory(#[source] io::Error),
    /// Before the Go runtime has set itself up, its figures are 0, and add up.
    #[error("the Go runtime has not started yet")]
    NotStarted,
    /// Go's figures did not add up in so many tries.
    #[error(
        "Go's figures did not add up in {0} tries: the program changes them too fast, or they are not where they should be"
    )]
    Torn(u32),
}

impl From<&'static str> for InspectError {
    fn from(reason: &'static str) -> Self {
        Self::Unusable(reason.into())
    }
}

impl From<String> for InspectError {
    fn from(reason: String) -> Self {
        Self::Unusable(reason.into())
    }
}

impl From<elf::Error> for InspectError {
    fn from(error: elf::Error) -> Self {
        match error {
            // An `Image` can only say so within an I/O error.
            elf::Error::Read(error)
                if matches!(
                    error.get_ref().and_then(|inner| inner.downcast_ref()),
                    Some(Self::Budget)
                ) =>
            {
                Self::Budget
            }
            error => Self::Elf(error),
        }
    }
}
