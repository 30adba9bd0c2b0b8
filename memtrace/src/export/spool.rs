//! What comes through a pipe, and is needed twice: kept in a file without a name while it is read for the first time.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use super::{file::FileError, journal::unnamed};
use crate::privilege::Invoker;

/// Passes a source on, and keeps it.
pub struct Spool<R> {
    source: R,
    kept: File,
    /// Where it is kept.
    place: String,
}

impl<R: Read> Spool<R> {
    /// In a temporary folder, by who started memtrace.
    ///
    /// # Errors
    ///
    /// Where there is no folder for it.
    pub fn new(source: R, invoker: Option<&Invoker>) -> Result<Self, FileError> {
        let (kept, place) = unnamed(invoker).map_err(|reasons| FileError::NoSpool { reasons })?;
        Ok(Self {
            source,
            kept,
            place: place.display().to_string(),
        })
    }

    /// All that was read.
    #[must_use]
    pub fn into_kept(self) -> File {
        self.kept
    }
}

impl<R: Read> Read for Spool<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        self.kept.write_all(read).map_err(|error| {
            let place = &self.place;
            io::Error::new(
                error.kind(),
                format!("it cannot be kept in {place} while it is read: {error}; set TMPDIR to a folder with room"),
            )
        })?;
        Ok(count)
    }
}
