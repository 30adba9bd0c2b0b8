//! What a capture prints: a line per interval, and each epoch's report.

use std::time::Duration;

use super::output::Out;
use crate::{
    capture::{At, Ended, Observer, Opening},
    model::{End, Mode},
    view::{Columns, LiveLine, live_header, replaced, whole},
};

/// Prints what happens.
pub struct Lines<'a> {
    out: &'a mut Out,
    /// A line is printed per interval.
    wanted: bool,
    /// Which columns; `None` before the capture begins.
    columns: Option<Columns>,
    mode: Mode,
    interval: Duration,
    last: Option<(u64, i64)>,
    /// The lines have columns for Go's figures.
    has_go: bool,
    /// At the last tick, the reader had gone.
    reader_gone: bool,
}

impl<'a> Lines<'a> {
    /// Prints to `out`; a line per interval only if they are `wanted`.
    pub const fn new(out: &'a mut Out, wanted: bool) -> Self {
        Self {
            out,
            wanted,
            columns: None,
            mode: Mode::Exact,
            interval: Duration::ZERO,
            last: None,
            has_go: false,
            reader_gone: false,
        }
    }
}

impl Lines<'_> {
    fn headline(&mut self) {
        let columns = Columns::new(self.mode, self.has_go, self.out.width());
        self.columns = Some(columns);
        self.out.line(&live_header(columns));
    }
}

impl Observer for Lines<'_> {
    fn begin(&mut self, opening: &Opening<'_>) {
        self.interval = opening.interval;
        self.last = None;
        self.mode = opening.account.capture.mode;
        self.has_go = false;
        if self.wanted {
            self.headline();
        }
    }

    fn tick(&mut self, at: &At<'_>) {
        let tick = at.tick;
        // What runs in the process is known some time after the beginning.
        if self.wanted && tick.go.is_some() && !self.has_go {
            self.has_go = true;
            self.headline();
        }
        // The closing tick often comes right after a regular one, and has nothing to add to its line.
        let repeats = self.last.is_some_and(|(t_ns, rss)| {
            let since = Duration::from_nanos(tick.t_ns.saturating_sub(t_ns));
            since < self.interval / 4 && rss == tick.rss_bytes
        });
        if let Some(columns) = self.columns.filter(|_| !repeats) {
            let line = LiveLine {
                tick,
                before: self.last,
                start: at.rss_start_bytes,
                columns,
            };
            self.out.line(&line.to_string());
        }
        self.last = Some((tick.t_ns, tick.rss_bytes));
        self.reader_gone = self.out.closed();
    }

    fn end(&mut self, ended: &Ended<'_>, next: Option<&Opening<'_>>) {
        let report = whole(ended.host, ended.epoch, self.out.width());
        self.out.line("");
        self.out.line(report.trim_end());
        if let Some(next) = next {
            let target = &next.account.target;
            self.out.line("");
            self.out.line(&replaced(target.pid, &target.comm));
            self.begin(next);
        }
    }

    fn interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    fn note(&mut self, text: &str) {
        self.out.line(text);
    }

    fn over(&mut self) -> Option<End> {
        self.reader_gone.then_some(End::Signal)
    }
}
