//! The journal of a running capture, written as it happens.

use std::io;

use crate::{
    capture::{At, Ended, Observer, Opening},
    export::{
        file::FileError,
        journal::{JournalFile, Snapshot},
    },
    model::End,
    timeline::Journal,
};

/// A journal, and where it goes.
pub struct Writing<'a> {
    file: &'a mut JournalFile,
    /// The lines; `None` before the first.
    lines: Option<Journal>,
    /// Why there is no more of it.
    stopped: Option<FileError>,
}

impl<'a> Writing<'a> {
    /// Writes to `file`.
    pub const fn new(file: &'a mut JournalFile) -> Self {
        Self {
            file,
            lines: None,
            stopped: None,
        }
    }

    /// Returns what was written so far, for a reader of its own.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened once more.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        self.file.snapshot()
    }

    /// Returns why it was not written to its end, if it was not.
    pub fn into_stopped(self) -> Option<FileError> {
        self.stopped
    }

    fn append(&mut self, make: impl FnOnce(&mut Journal) -> &[u8]) {
        if let (Some(lines), None) = (&mut self.lines, &self.stopped) {
            self.stopped = self.file.append(make(lines)).err();
        }
    }
}

impl Observer for Writing<'_> {
    fn begin(&mut self, opening: &Opening<'_>) {
        let lines = Journal::begin(opening.host, opening.account);
        self.stopped = self.file.append(lines.line()).err();
        self.lines = Some(lines);
    }

    fn tick(&mut self, at: &At<'_>) {
        self.append(|lines| lines.tick(at.tick, at.known.clone()));
    }

    fn end(&mut self, ended: &Ended<'_>, next: Option<&Opening<'_>>) {
        let account = ended.epoch.clone().into_account();
        // One that memtrace could not write to its end is to be read as interrupted.
        if account.capture.end != End::Interrupted {
            let next = next.map(|next| next.account);
            self.append(|lines| lines.ended(&account, ended.taken_back, next));
        }
    }

    fn over(&mut self) -> Option<End> {
        self.stopped.is_some().then_some(End::Interrupted)
    }
}
