//! The timelines of a capture's programs as one.

use std::io;

use super::{History, Sink};
use crate::model::{Capture, Epoch, Tick};

impl History {
    /// Of a capture's epochs, oldest first, each with a timeline that begins with it. An epoch begins where the one before it has
    /// ended.
    #[must_use]
    pub fn joined(capture: &Capture, histories: impl IntoIterator<Item = Self>) -> Self {
        let epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
        let mut joined: Option<Self> = None;
        let mut at_ns: u64 = 0;
        for (epoch, history) in epochs.zip(histories) {
            let later_ns = at_ns.saturating_add(epoch.capture.duration_ns);
            match &mut joined {
                Some(joined) => joined.append(&history, at_ns, &epoch.target.comm),
                none @ None => *none = Some(history),
            }
            at_ns = later_ns;
        }
        joined.unwrap_or_default()
    }
}

/// Puts the timeline of a capture together while its ticks are read once more.
#[derive(Clone, Debug, Default)]
pub struct Joining {
    /// What it is so far.
    pub history: History,
    at_ns: u64,
}

impl Sink for Joining {
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        if number > 0 {
            self.history.exec(self.at_ns, &epoch.target.comm);
        }
        Ok(())
    }

    fn tick(&mut self, tick: &Tick) -> io::Result<()> {
        self.history.note(tick);
        Ok(())
    }

    fn end(&mut self, _: usize, epoch: &Epoch) -> io::Result<()> {
        self.at_ns = self.at_ns.saturating_add(epoch.capture.duration_ns);
        Ok(())
    }
}
