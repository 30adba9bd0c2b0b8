//! Both kinds of a held directory, until `inspect/live.rs` and `observe/gauges.rs` hold a [`ProcDir`]. Goes with the procfs crate.

use std::{fs::File, io};

use procfs::{ProcError, process::Process};
use rustix::{
    fs::{Dir, OFlags},
    io::Errno,
};

use super::ProcDir;

/// A process's directory in `/proc`, held open.
pub trait Directory {
    /// Opens one of its files.
    ///
    /// # Errors
    ///
    /// As [`ProcDir::open_relative`].
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File>;

    /// Returns the ids of its threads.
    ///
    /// # Errors
    ///
    /// As [`ProcDir::open_relative`].
    fn threads(&self) -> io::Result<impl Iterator<Item = u32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = Dir::new(self.open_with("task", flags)?)?;
        // `.` and `..` are no numbers.
        Ok(entries
            .flatten()
            .filter_map(|entry| super::number(entry.file_name().to_bytes())))
    }
}

impl Directory for ProcDir {
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        self.open_relative_flags(name, flags)
    }
}

impl Directory for Process {
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        self.open_relative_flags(name, flags)
            .map_err(|error| match error {
                ProcError::PermissionDenied(_) => Errno::ACCESS.into(),
                ProcError::NotFound(_) => Errno::NOENT.into(),
                ProcError::Io(error, _) => error,
                other => io::Error::other(other),
            })
    }
}
