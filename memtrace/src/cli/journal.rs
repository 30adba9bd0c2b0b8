//! The journal of the capture that goes on: made of what the trace knows, written as soon as it has happened.

use std::io;

use crate::{
    export::{
        file::FileError,
        journal::{JournalFile, Snapshot},
    },
    ledger::Errno,
    model::{Account, HostInfo, Tick},
    timeline::{Journal, Known, TakenBack},
};

/// A journal, and where it goes.
pub struct Writing<'a> {
    lines: Journal,
    file: &'a mut JournalFile,
    /// Why there is no more of it.
    stopped: Option<FileError>,
    /// What was written of the hooks last: why no call can have been seen.
    pub(super) blind: Option<&'static str>,
}

impl<'a> Writing<'a> {
    /// Begins with what is known of the first epoch.
    pub fn begin(
        file: &'a mut JournalFile,
        host: &HostInfo,
        first: &Account,
        blind: Option<&'static str>,
    ) -> Self {
        let lines = Journal::begin(host, first);
        let stopped = file.append(lines.line()).err();
        Self {
            lines,
            file,
            stopped,
            blind,
        }
    }

    /// Whether it could not be written on: the capture ends with it.
    pub const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// What was written so far, for a reader of its own.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened once more.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        self.file.snapshot()
    }

    /// Notes a tick.
    pub fn tick(&mut self, tick: &Tick, known: Known) {
        if self.stopped.is_none() {
            self.stopped = self.file.append(self.lines.tick(tick, known)).err();
        }
    }

    /// Notes the end of an epoch, and the beginning of the next one.
    pub fn ended(&mut self, ended: &Account, taken: Option<TakenBack>, next: Option<&Account>) {
        if self.stopped.is_none() {
            self.stopped = self.file.append(self.lines.ended(ended, taken, next)).err();
        }
    }

    /// Why it was not written to its end, if it was not.
    pub fn into_stopped(self) -> Option<FileError> {
        self.stopped
    }
}

/// Errnos are in a map that must be walked, which is done where calls have failed, and once more: the kernel side counts the
/// call first, and its errno afterwards.
#[derive(Default)]
pub struct Failed {
    calls: u64,
    again: bool,
    errnos: Vec<Errno>,
}

impl Failed {
    /// Failed calls by errno; `walk` looks for them where more `calls` have failed than last time.
    pub fn errnos<E>(
        &mut self,
        calls: u64,
        walk: impl FnOnce() -> Result<Vec<Errno>, E>,
    ) -> Result<&[Errno], E> {
        let more = calls != self.calls;
        if more || self.again {
            self.errnos = walk()?;
        }
        self.again = more;
        self.calls = calls;
        Ok(&self.errnos)
    }

    /// What was found last.
    pub fn last(&self) -> &[Errno] {
        &self.errnos
    }
}
