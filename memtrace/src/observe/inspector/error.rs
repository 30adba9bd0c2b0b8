//! Why a look has no result.

use std::io;

use super::{LONGEST, MOST_MEMORY};

/// Why a look has no result, or no figures.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Nothing is looked at as long as memtrace has its privileges.
    #[error("privileges have not been dropped yet")]
    NotStarted,
    /// The kernel refuses the spawner, or a look.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It reached [`LONGEST`].
    #[error("it took longer than {} s", LONGEST.as_secs())]
    TooLong,
    /// It reached the bound of memory.
    #[error("it takes more than the {} MiB of memory that memtrace has for that", MOST_MEMORY >> 20)]
    TooLarge,
    /// The worker has ended with this code.
    #[error("it ended with exit code {0}")]
    Exit(i32),
    /// A signal has ended the worker.
    #[error("it was ended by signal {0}")]
    Signal(i32),
    /// The worker has ended, and it is not known how.
    #[error("the process that looked has ended")]
    Over,
    /// The target has ended.
    #[error("the process ended before it could be looked at")]
    Gone,
    /// The worker has not answered in time.
    #[error("the program's memory could not be read within 0.1 s")]
    Late,
    /// The worker that found Go's figures has ended.
    #[error("the process that reads Go's figures has ended")]
    NoReader,
    /// The worker's own words. The target may have taken it over: nothing is made of them but text.
    #[error("{0}")]
    Refused(String),
}
