//! What views are told while the capture goes on, and what they may ask of it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Capturing, split};
use crate::{
    cli::feed::{Command, Feed, Viewer, feed},
    export::file::Pending,
    ledger::{Names, Reading},
    model::{Account, CaptureInfo, End, Tick},
    observe::own,
    privilege::invoker,
    probe::ProbeError,
    text::format::untrusted,
    timeline::{Final, Finished, Live, Observed, Own, assemble, bridge},
    verdict::{Case, judge},
};

/// Least time between two accounts: nobody reads faster.
const PAUSE_NS: u64 = 250_000_000;

/// The views' feed, and what it was told last.
pub(super) struct Watched {
    feed: Arc<Feed>,
    /// When the capture began, `CLOCK_MONOTONIC`.
    begin_ns: u64,
    /// When an account was told last, likewise.
    told_ns: u64,
    /// Files that are being written.
    saving: Vec<JoinHandle<()>>,
}

impl Watched {
    pub(super) fn tick(&self, tick: &Tick) {
        self.feed.write(|live| live.tick(tick));
    }
}

/// A capture that memtrace could not bring to its end has ended for who looks on, too.
impl Drop for Watched {
    fn drop(&mut self) {
        self.feed.write(|live| {
            if live.ended.is_none() {
                live.end(Finished::With("its own messages say why".to_owned()));
            }
        });
    }
}

impl Capturing<'_> {
    /// From now on, what happens is told to views.
    pub fn watched(&mut self) -> Result<(Viewer, mpsc::UnboundedReceiver<Command>), ProbeError> {
        let first = self.session.read(self.number)?;
        let interval_ns = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let live = Live::new(self.host.clone(), interval_ns, self.opening(&first));
        let (feed, viewer, asked) = feed(live);
        self.watched = Some(Watched {
            feed: Arc::new(feed),
            begin_ns: self.recorder.begin_ns(),
            told_ns: 0,
            saving: Vec::new(),
        });
        Ok((viewer, asked))
    }

    /// Another time between ticks.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.longest_interval = self.longest_interval.max(interval);
        if let Some(watched) = &self.watched {
            let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            watched.feed.write(|live| live.set_interval(interval_ns));
        }
    }

    /// Tells views the ledger, where it is time for that.
    pub(super) fn tell(
        &mut self,
        now: u64,
        reading: &Reading,
        names: &Names<'_>,
        observed: &Observed,
    ) -> Result<(), ProbeError> {
        let is_time = self
            .watched
            .as_ref()
            .is_some_and(|watched| now.saturating_sub(watched.told_ns) >= PAUSE_NS);
        if !is_time {
            return Ok(());
        }
        // Where there is a journal, they were looked for on its behalf at this very tick.
        if self.journal.is_none() {
            let failed = reading.failed_calls();
            self.failed
                .errnos(failed, || self.session.errnos(self.number))?;
        }
        let errnos = self.failed.last().to_vec();
        let names = Names {
            errnos: &errnos,
            ..*names
        };
        let account = self.so_far(now, reading, &names, observed);
        let taken = own();
        let own = Own {
            cpu_ns: taken
                .user_ns
                .zip(taken.system_ns)
                .map(|(user, system)| user.saturating_add(system)),
            rss_bytes: taken.rss,
            rss_peak_bytes: taken.rss_peak,
        };
        if let Some(watched) = &mut self.watched {
            watched.told_ns = now;
            watched.feed.write(|live| live.know(account, own));
        }
        Ok(())
    }

    /// The account as at a tick.
    fn so_far(
        &mut self,
        now: u64,
        reading: &Reading,
        names: &Names<'_>,
        observed: &Observed,
    ) -> Account {
        let hooks = self.hook_info(reading);
        let mut closing = Final {
            check: observed.check,
            compared_with: observed.check.map(|_| "statm".to_owned()),
            sampling_bound_bytes: self.sampling_bound,
            ..Final::default()
        };
        closing.note_smaps(observed.smaps);
        if observed.smaps.is_none() {
            closing.lazyfree_missing = Some("it was not read at the last tick".to_owned());
        }
        let mut summary = self.recorder.summary(reading, names, &hooks, closing);
        summary.mappings_missing = Some("they are read once, at the end".to_owned());
        summary.bridge = bridge(
            summary.end,
            summary.rss_end_bytes,
            summary.lazyfree_bytes,
            observed.go.as_ref(),
            None,
        );
        (summary.cgroup, summary.cgroup_missing) =
            split(self.gauges.cgroup_so_far(observed.cgroup));
        let target = self.target_info();
        let since = now.saturating_sub(self.recorder.begin_ns());
        // It is judged as if it ended here.
        let capture = self.capture_info(reading, since, None, None, End::Signal);
        let verdict = judge(&Case {
            host: &self.host,
            target: &target,
            capture: &capture,
            summary: &summary,
            trend: &self.trend,
        });
        Account {
            target,
            capture: CaptureInfo {
                end: End::Interrupted,
                ..capture
            },
            summary,
            verdict: Some(verdict),
        }
    }

    /// Tells views of the program that has just begun.
    pub(super) fn tell_exec(&mut self, first: &Reading) {
        let Some(opening) = self.watched.as_ref().map(|_| self.opening(first)) else {
            return;
        };
        if let Some(watched) = &mut self.watched {
            let since = self.recorder.begin_ns().saturating_sub(watched.begin_ns);
            watched.told_ns = 0;
            watched.feed.write(|live| live.exec(since, opening));
        }
    }

    /// Tells views something beside the figures.
    pub(super) fn say(&self, text: String) {
        if let Some(watched) = &self.watched {
            watched.feed.write(|live| live.say(text));
        }
    }

    /// Tells views how it has ended, and waits for files that are being written.
    pub(super) fn tell_end(&mut self, last: &Account) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        watched.feed.write(|live| {
            let own = live.own;
            live.know(last.clone(), own);
            live.end(Finished::Regularly(last.capture.end));
        });
        for saving in watched.saving.drain(..) {
            let _ = saving.join();
        }
    }

    /// Writes a capture file of everything so far, in a thread, and says what came of it.
    pub fn save(&mut self, path: PathBuf) -> Result<(), ProbeError> {
        if let Some(watched) = &mut self.watched {
            watched.told_ns = 0;
        }
        // The account is to be that of the last tick.
        self.tick()?;
        let (Some(watched), Some(journal)) = (&mut self.watched, &self.journal) else {
            return Ok(());
        };
        let mut account = watched.feed.account();
        account.capture.end = End::Signal;
        let feed = Arc::clone(&watched.feed);
        let contents = journal.snapshot();
        watched.saving.retain(|saving| !saving.is_finished());
        let save = move || {
            let shown = untrusted(&path.display().to_string(), 200);
            let text = match contents.and_then(|contents| written(&path, contents, &account)) {
                Ok(()) => format!("saved {shown}"),
                Err(error) => format!("cannot save {shown}: {error}"),
            };
            feed.write(|live| live.say(text));
        };
        match thread::Builder::new().name("save".to_owned()).spawn(save) {
            Ok(saving) => watched.saving.push(saving),
            Err(error) => watched
                .feed
                .write(|live| live.say(format!("cannot save a capture: {error}"))),
        }
        Ok(())
    }
}

fn written(path: &Path, journal: impl io::Read + io::Seek, account: &Account) -> io::Result<()> {
    Pending::alone(path, invoker())
        .map_err(io::Error::other)?
        .write(|file| assemble(journal, account, file))
        .map_err(io::Error::other)
}
