//! What views are told while the capture goes on, and the files that they ask for.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc;

use super::feed::{Command, Feed, Viewer, feed};
use crate::{
    capture::{At, Ended, Observer, Opening},
    export::{file::Pending, journal::Snapshot},
    model::{Account, End},
    observe::own,
    privilege::invoker,
    text::format::sanitized,
    timeline::{Finished, Live, Own, assemble},
};

/// Least time between two accounts: nobody reads faster.
const PAUSE_NS: u64 = 250_000_000;

/// The views' feed, and what it was told last.
#[derive(Default)]
pub struct Watched {
    /// `None` before the capture begins.
    feed: Option<Arc<Feed>>,
    /// The other end, until the views have it.
    shown: Option<(Viewer, mpsc::UnboundedReceiver<Command>)>,
    /// When the capture began, `CLOCK_MONOTONIC`.
    begin_ns: u64,
    /// When an account was told last, likewise.
    told_ns: u64,
    /// Files that are being written.
    saving: Vec<JoinHandle<()>>,
}

impl Watched {
    /// Hands out the views' end of the feed, once the capture has begun.
    pub const fn show(&mut self) -> Option<(Viewer, mpsc::UnboundedReceiver<Command>)> {
        self.shown.take()
    }

    fn write(&self, change: impl FnOnce(&mut Live)) {
        if let Some(feed) = &self.feed {
            feed.write(change);
        }
    }

    /// Writes a capture file of everything in the journal, closed by the account that was told last, in a thread of its own. Says what came of it.
    pub fn save(&mut self, path: PathBuf, journal: io::Result<Snapshot>) {
        let Some(feed) = self.feed.clone() else {
            return;
        };
        let mut account = feed.account();
        account.capture.end = End::Signal;
        self.saving.retain(|saving| !saving.is_finished());
        let save = move || {
            let shown = sanitized(&path.display().to_string(), 200);
            let text = match journal.and_then(|journal| written(&path, journal, &account)) {
                Ok(()) => format!("saved {shown}"),
                Err(error) => format!("cannot save {shown}: {error}"),
            };
            feed.write(|live| live.say(text));
        };
        match thread::Builder::new().name("save".to_owned()).spawn(save) {
            Ok(saving) => self.saving.push(saving),
            Err(error) => self.note(&format!("cannot save a capture: {error}")),
        }
    }
}

fn written(path: &Path, journal: Snapshot, account: &Account) -> io::Result<()> {
    Pending::alone(path, invoker())
        .map_err(io::Error::other)?
        .write(|file| assemble(journal, account, file))
        .map_err(io::Error::other)
}

impl Observer for Watched {
    fn begin(&mut self, opening: &Opening<'_>) {
        let interval_ns = opening.account.capture.interval_ns;
        let live = Live::new(opening.host.clone(), interval_ns, opening.account.clone());
        let (feed, viewer, asked) = feed(live);
        self.feed = Some(Arc::new(feed));
        self.shown = Some((viewer, asked));
        self.begin_ns = opening.begin_ns;
    }

    fn tick(&mut self, at: &At<'_>) {
        self.write(|live| live.tick(at.tick));
    }

    fn wants_account(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.told_ns) >= PAUSE_NS
    }

    fn account(&mut self, now_ns: u64, account: Account) {
        let taken = own();
        let own = Own {
            cpu_ns: taken
                .user_ns
                .zip(taken.system_ns)
                .map(|(user, system)| user.saturating_add(system)),
            rss_bytes: taken.rss,
            rss_peak_bytes: taken.rss_peak,
        };
        self.told_ns = now_ns;
        self.write(|live| live.know(account, own));
    }

    fn end(&mut self, ended: &Ended<'_>, next: Option<&Opening<'_>>) {
        if let Some(next) = next {
            let since = next.begin_ns.saturating_sub(self.begin_ns);
            self.told_ns = 0;
            self.write(|live| live.exec(since, next.account.clone()));
            return;
        }
        let last = ended.epoch.clone().into_account();
        self.write(|live| {
            let (own, end) = (live.own, last.capture.end);
            live.know(last, own);
            live.end(Finished::Regularly(end));
        });
        // The capture does not end before the files are there.
        for saving in self.saving.drain(..) {
            let _ = saving.join();
        }
    }

    fn interval(&mut self, interval: Duration) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.write(|live| live.set_interval(interval_ns));
    }

    fn note(&mut self, text: &str) {
        self.write(|live| live.say(text.to_owned()));
    }
}

/// A capture that memtrace could not bring to its end has ended for viewers, too.
impl Drop for Watched {
    fn drop(&mut self) {
        self.write(|live| {
            if live.ended.is_none() {
                live.end(Finished::With("its own messages say why".to_owned()));
            }
        });
    }
}
