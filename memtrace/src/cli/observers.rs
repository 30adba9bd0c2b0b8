//! Everyone who is told of a capture.

use std::{path::PathBuf, time::Duration};

use super::{fail_on::Failing, journal::Writing, lines::Lines, watched::Watched};
use crate::{
    capture::{At, Ended, Observer, Opening},
    model::{Account, End},
};

/// All of them, in the order in which they are told.
pub struct Observers<'a> {
    /// The journal.
    pub journal: Option<Writing<'a>>,
    /// The journal is only for what the user of a view might want to save.
    pub spare: bool,
    /// What is printed.
    pub lines: Lines<'a>,
    /// The live views.
    pub watched: Option<Watched>,
    /// `--fail-on`.
    pub failing: Failing<'a>,
}

impl Observers<'_> {
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Observer)) {
        if let Some(journal) = &mut self.journal {
            tell(journal);
        }
        tell(&mut self.lines);
        if let Some(watched) = &mut self.watched {
            tell(watched);
        }
        tell(&mut self.failing);
    }

    /// Saves a capture of everything so far, if views and a journal are there.
    pub fn save(&mut self, path: PathBuf) {
        if let (Some(watched), Some(journal)) = (&mut self.watched, &self.journal) {
            watched.save(path, journal.snapshot());
        }
    }
}

impl Observer for Observers<'_> {
    fn begin(&mut self, opening: &Opening<'_>) {
        self.each(|one| one.begin(opening));
    }

    fn tick(&mut self, at: &At<'_>) {
        self.each(|one| one.tick(at));
    }

    fn wants_account(&self, now_ns: u64) -> bool {
        let watched = self.watched.as_ref();
        watched.is_some_and(|watched| watched.wants_account(now_ns))
    }

    fn account(&mut self, now_ns: u64, account: Account) {
        if let Some(watched) = &mut self.watched {
            watched.account(now_ns, account);
        }
    }

    fn end(&mut self, ended: &Ended<'_>, next: Option<&Opening<'_>>) {
        self.each(|one| one.end(ended, next));
    }

    fn interval(&mut self, interval: Duration) {
        self.each(|one| one.interval(interval));
    }

    fn note(&mut self, text: &str) {
        self.each(|one| one.note(text));
    }

    fn over(&mut self) -> Option<End> {
        if let Some(end) = self.lines.over() {
            return Some(end);
        }
        let end = self.journal.as_mut().and_then(Observer::over)?;
        if !self.spare {
            return Some(end);
        }
        let stopped = self.journal.take().and_then(Writing::into_stopped);
        if let Some((watched, error)) = self.watched.as_mut().zip(stopped) {
            watched.note(&format!("captures can no longer be saved: {error}"));
        }
        None
    }
}
