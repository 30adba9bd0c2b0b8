//! The events file: JSON Lines, written as calls come.
//!
//! It has its name from the beginning, so that `tail -f` follows it. Whoever writes it may be kept waiting by a full pipe; so it is
//! asked again and again whether that is still worth it.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use bytes::{BufMut, BytesMut};
use memchr::memchr_iter;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::geteuid,
};
use serde::Serialize;

use super::file::{Beside, Destination, FileError, by_invoker, destination, failure, text};
use crate::privilege::{Invoker, as_invoker};

/// What a pipe takes without making anybody wait, once it takes anything: `PIPE_BUF`, a page.
const PIPE_BYTES: usize = 4096;
/// Bytes of lines that are written at once: a hundred and more of them.
pub const BATCH_BYTES: usize = 64 << 10;
/// Between two looks at whether it is worth waiting on.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Where events go.
pub struct EventsFile {
    /// `None` for standard output.
    path: Option<PathBuf>,
    out: Output,
    /// Root has made it, since the user may not.
    by_root: Cell<bool>,
}

enum Output {
    /// A file of memtrace's own, with the bytes of its whole lines.
    Regular(Beside, u64),
    /// A file that others write to as well: each write goes to its end.
    Shared(File),
    /// A pipe, a terminal, a device.
    Stream(File),
}

/// How far a write came.
#[derive(Debug)]
pub struct Written {
    /// Whole lines that were written.
    pub lines: u64,
    /// Why not all of them.
    pub error: Option<String>,
}

impl EventsFile {
    /// Makes sure that `path` can be written, before anything is traced, by who started memtrace. What has that name stays until
    /// [`Self::begin`].
    ///
    /// # Errors
    ///
    /// Where it cannot.
    pub fn create(path: &Path, invoker: Option<&Invoker>) -> Result<Self, FileError> {
        let open = || {
            let out = match destination(path, invoker)? {
                Destination::Special(file) => Output::Stream(file),
                Destination::Regular(folder) => {
                    let failed = |errno| failure(path, geteuid(), errno);
                    Output::Regular(Beside::create(folder).map_err(failed)?, 0)
                }
            };
            Ok(Self {
                path: Some(path.to_owned()),
                out,
                by_root: Cell::new(false),
            })
        };
        by_invoker(path, invoker, open, |made, invoker| {
            made.by_root.set(true);
            match &made.out {
                Output::Regular(beside, _) => beside.give(path, invoker),
                Output::Shared(_) | Output::Stream(_) => Ok(()),
            }
        })
    }

    /// Standard output, or another descriptor.
    ///
    /// # Errors
    ///
    /// Where it cannot be looked at.
    pub fn descriptor(fd: impl AsFd) -> io::Result<Self> {
        let file = File::from(fd.as_fd().try_clone_to_owned()?);
        let out = if file.metadata()?.is_file() {
            Output::Shared(file)
        } else {
            Output::Stream(file)
        };
        Ok(Self {
            path: None,
            out,
            by_root: Cell::new(false),
        })
    }

    /// Its name, as it is said to people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| "standard output".to_owned(), |path| text(path))
    }

    /// Gives it its name, in place of what has it, by who started memtrace.
    ///
    /// # Errors
    ///
    /// Where that fails.
    pub fn begin(&mut self, invoker: Option<&Invoker>) -> Result<(), FileError> {
        let (Some(path), Output::Regular(beside, _)) = (&self.path, &mut self.out) else {
            return Ok(());
        };
        let name = path.file_name().unwrap_or_default();
        let named = if self.by_root.get() {
            beside.rename(name)
        } else {
            as_invoker(invoker, || beside.rename(name)).unwrap_or_else(|error| Err(error.into()))
        };
        named.map_err(|error| FileError::Io {
            path: text(path),
            reason: error.to_string(),
        })
    }

    /// Writes lines. Waits for a reader for as long as it is not `hopeless`.
    pub fn write(&mut self, lines: &[u8], hopeless: impl Fn() -> bool) -> Written {
        let mut done = 0;
        let mut error = None;
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            let written = match &mut self.out {
                Output::Regular(beside, length) => {
                    beside.file().write_at(rest, *length + done as u64)
                }
                Output::Shared(file) => file.write(rest),
                Output::Stream(file) => some(file, rest, &hopeless),
            };
            match written {
                Ok(0) => {
                    error = Some("nothing could be written".to_owned());
                    break;
                }
                Ok(bytes) => done += bytes,
                Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
                Err(failed) => {
                    error = Some(failed.to_string());
                    break;
                }
            }
        }
        let whole = lines.get(..done).unwrap_or(lines);
        if let Output::Regular(beside, length) = &mut self.out {
            *length += memchr::memrchr(b'\n', whole).map_or(0, |end| end as u64 + 1);
            if error.is_some() {
                // Half of a line is of no use. Where even that fails, a reader leaves it out.
                let _ = beside.file().set_len(*length);
            }
        }
        Written {
            lines: memchr_iter(b'\n', whole).count() as u64,
            error,
        }
    }
}

/// Writes what can be written without waiting, once anything can.
fn some(file: &mut File, rest: &[u8], hopeless: &impl Fn() -> bool) -> io::Result<usize> {
    loop {
        let mut polled = [PollFd::new(file, PollFlags::OUT)];
        let ready = poll(&mut polled, Some(&PATIENCE))?;
        if ready > 0 {
            return file.write(rest.get(..PIPE_BYTES).unwrap_or(rest));
        }
        if hopeless() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody reads what is in it",
            ));
        }
    }
}

/// Lines that are written together.
#[derive(Default)]
pub struct Batch {
    lines: BytesMut,
    count: u64,
}

impl Batch {
    /// Puts a line behind the others.
    pub fn push(&mut self, line: &impl Serialize) {
        let before = self.lines.len();
        let made = serde_json::to_writer((&mut self.lines).writer(), line);
        if made.is_err() {
            // Memory takes every line; one that is none is left out, and missing in the count.
            self.lines.truncate(before);
            return;
        }
        self.lines.put_u8(b'\n');
        self.count += 1;
    }

    /// Whether it is time to write them.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_BYTES
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.lines
    }

    /// Forgets them, and keeps the room.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.count = 0;
    }
}

/// The JSON Schema of a line, as `docs/memtrace-events-1.schema.json` holds it.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(crate::model::EventLine).to_value()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::*;

    fn never() -> bool {
        false
    }

    #[test]
    fn what_has_the_name_stays_until_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, "old").unwrap();
        drop(EventsFile::create(&path, None).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut file = EventsFile::create(&path, None).unwrap();
        file.begin(None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(file.write(b"a\nb\n", never).lines, 2);
        // While it is being written.
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        file.write(b"c\n", never);
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = dir.path().join("events.jsonl");
        symlink(&victim, &path).unwrap();
        assert!(EventsFile::create(&path, None).is_err());
        fs::remove_file(&path).unwrap();
        // One that appears meanwhile is replaced.
        let mut file = EventsFile::create(&path, None).unwrap();
        symlink(&victim, &path).unwrap();
        file.begin(None).unwrap();
        file.write(b"a\n", never);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    }

    #[test]
    fn a_full_pipe_is_given_up_once_it_is_hopeless() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut file = EventsFile::descriptor(&writer).unwrap();
        drop(writer);
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let lines = line.repeat(10_000);
        let written = file.write(&lines, || true);
        assert!(written.error.unwrap().contains("nobody reads"));
        drop(file);
        let mut kept = Vec::new();
        reader.read_to_end(&mut kept).unwrap();
        assert_eq!(kept.len() as u64 / 100, written.lines);
        assert!(written.lines > 600, "{}", written.lines);
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut file = EventsFile::descriptor(&writer).unwrap();
        drop(reader);
        let written = file.write(b"a\n", never);
        assert_eq!(written.lines, 0);
        assert!(written.error.unwrap().contains("Broken pipe"));
    }

    #[test]
    fn half_of_a_line_that_does_not_fit_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut file = EventsFile::create(&path, None).unwrap();
        file.begin(None).unwrap();
        assert_eq!(file.write(b"a\n", never).lines, 1);
        if let Output::Regular(beside, _) = &mut file.out {
            rustix::fs::ftruncate(beside.file(), 2).unwrap();
        }
        // What was written of "b" is not a line.
        let written = file.write(b"b", never);
        assert_eq!((written.lines, written.error), (0, None));
        assert_eq!(file.write(b"c\n", never).lines, 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nc\n");
    }
}
