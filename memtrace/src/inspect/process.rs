//! What this module needs of a process: pure code asks for it here, `target` has it from `/proc`, and tests from bytes.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
};

use super::{Budget, InspectError, maps::MappedFile};

/// An executable or a library.
pub trait Image: Read + Seek {}

impl<T: Read + Seek> Image for T {}

/// The process's memory.
pub trait Memory {
    /// Fills `buffer` from `address` on.
    ///
    /// # Errors
    ///
    /// Where not all of it can be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// `/proc/PID/mem`, which stays readable for who has opened it.
impl Memory for File {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, address)
    }
}

/// What can be seen of a process.
pub trait Process {
    /// The executable that runs, also where its file was removed or replaced.
    ///
    /// # Errors
    ///
    /// If it cannot be opened: [`InspectError::Io`] of a live process.
    fn executable(&self) -> Result<Box<dyn Image>, InspectError>;

    /// `/proc/PID/maps`; lines of anonymous and of shared mappings may be left out.
    ///
    /// # Errors
    ///
    /// If it cannot be read: [`InspectError::Io`] of a live process. [`InspectError::Budget`] if it is longer than what is left.
    fn maps(&self) -> Result<Vec<u8>, InspectError>;

    /// `/proc/PID/environ`: what the process was started with.
    ///
    /// # Errors
    ///
    /// If it cannot be read: [`InspectError::Io`] of a live process.
    fn environ(&self) -> Result<Vec<u8>, InspectError>;

    /// `/proc/PID/cmdline`, raw.
    ///
    /// # Errors
    ///
    /// If it cannot be read: [`InspectError::Io`] of a live process.
    fn arguments(&self) -> Result<Vec<u8>, InspectError>;

    /// A file by its path as the process sees it: through `/proc/PID/root`, so also in a container.
    ///
    /// # Errors
    ///
    /// If it cannot be opened: [`InspectError::Io`] of a live process. [`InspectError::Skipped`] of a [`Shallow`](super::Shallow) one.
    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, InspectError>;

    /// A file that the process has mapped: that very file, and not another one that is at its path by now.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, as [`Process::file`]. [`InspectError::Refused`] if it was removed or replaced, and that very file needs a
    /// privilege.
    fn mapped(&self, file: &MappedFile) -> Result<Box<dyn Image>, InspectError> {
        self.file(&file.path)
    }

    /// Returns the work that may still be done for this process.
    fn budget(&self) -> Budget {
        Budget::default()
    }
}
