//! What a picture is made of, taken of a capture that goes on in one short look.

use std::sync::Arc;

use super::{Page, State};
use crate::{
    model::{Account, HostInfo},
    timeline::{CauseName, Finished, Live, Mark, Own, Span},
};

/// Most of what was said that is shown.
const SAID: usize = 8;

/// A reading of `LazyFree` that is older says little of the present, ns.
const STALE_NS: u64 = 2_000_000_000;

/// What memtrace takes of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Load {
    /// The last two moments at which it was known: ns since the start of the capture, and CPU time.
    last: Option<(u64, u64)>,
    percent: Option<f64>,
}

impl Load {
    /// Over less than this, ns, it says nothing: the kernel counts in ms.
    const LEAST: u64 = 1_000_000_000;

    fn note(mut self, t_ns: u64, cpu_ns: Option<u64>) -> Self {
        let Some(cpu_ns) = cpu_ns else {
            return self;
        };
        match self.last {
            Some((then, used)) if t_ns.saturating_sub(then) >= Self::LEAST => {
                let spent = cpu_ns.saturating_sub(used) as f64;
                self.percent = Some(100.0 * spent / t_ns.saturating_sub(then) as f64);
                self.last = Some((t_ns, cpu_ns));
            }
            Some(_) => {}
            None => self.last = Some((t_ns, cpu_ns)),
        }
        self
    }
}

/// Everything that a picture shows.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The host.
    pub host: HostInfo,
    /// Time between ticks, ns.
    pub interval_ns: u64,
    /// The ledger and the answer.
    pub account: Arc<Account>,
    /// Number of the epoch.
    pub epoch: u32,
    /// What memtrace takes.
    pub own: Own,
    load: Load,
    /// How it has ended.
    pub ended: Option<Finished>,
    /// What was said last, oldest first.
    pub said: Vec<(u64, String)>,
    /// What the causes are called.
    pub names: Vec<CauseName>,
    /// The chart's time, ns since the start of the capture.
    pub window: (u64, u64),
    /// The chart's spans.
    pub spans: Vec<Span>,
    /// All of them as one.
    pub sum: Option<Span>,
    /// What is called the last interval: the last tick, or where the chart ends.
    pub last: Option<Span>,
    /// The whole capture as one.
    pub total: Option<Span>,
    /// Marks in the chart's time.
    pub marks: Vec<Mark>,
    /// How many gaps there were.
    pub gaps: u64,
    /// When the last tick was.
    pub last_ns: u64,
    /// Of what it was taken.
    pub revision: u64,
}

impl Shot {
    /// Takes it. `columns`: how many spans a chart can show at most. `before`: the one before, which says how much CPU memtrace
    /// takes, and whose figures stay as long as it is paused.
    #[must_use]
    pub fn take(live: &Live, state: &State, columns: usize, before: Option<&Self>) -> Self {
        let history = &live.history;
        let still = before.filter(|_| state.paused);
        let last_ns = still.map_or(history.last_ns(), |shot| shot.last_ns);
        let (from, to) = state.window(last_ns);
        let until = state.until_ns.unwrap_or(last_ns).min(to);
        let mut spans = Vec::new();
        if state.page == Page::Overview {
            spans = history.spans(from, to, columns);
            // One that begins where the chart ends is of what comes after it.
            spans.retain(|span| span.from_ns < until || span.t_ns <= until);
        }
        let sum = history.sum(from, until);
        let last = match state.until_ns {
            None => history.last().cloned(),
            Some(_) => history.sum(until.saturating_sub(1), until),
        };
        let load = before.map(|shot| shot.load).unwrap_or_default();
        let (marks, _) = history.marks();
        let inside = |mark: &&Mark| (from..=to).contains(&mark.t_ns);
        Self {
            host: live.host.clone(),
            interval_ns: live.interval_ns,
            account: still.map_or_else(
                || Arc::clone(&live.account),
                |shot| Arc::clone(&shot.account),
            ),
            epoch: still.map_or(live.epoch, |shot| shot.epoch),
            own: live.own,
            load: load.note(live.account_ns, live.own.cpu_ns),
            ended: live.ended.clone(),
            said: live.said.iter().rev().take(SAID).rev().cloned().collect(),
            names: history.names().to_vec(),
            window: (from, to),
            spans,
            sum,
            last,
            total: still.map_or_else(|| history.total().cloned(), |shot| shot.total.clone()),
            marks: marks.filter(inside).cloned().collect(),
            gaps: history.gaps(),
            last_ns,
            revision: live.revision,
        }
    }

    /// How long ago `LazyFree` was read, ns, where that was not just now: the answer rests on it.
    #[must_use]
    pub fn stale_lazyfree(&self) -> Option<u64> {
        let read_ns = self.total.as_ref()?.lazyfree_t_ns?;
        let age = self.last_ns.saturating_sub(read_ns);
        (age > self.interval_ns.saturating_mul(2).max(STALE_NS)).then_some(age)
    }

    /// RSS where the chart begins, where that is the start of the capture.
    #[must_use]
    pub fn rss_at_start(&self) -> Option<i64> {
        (self.window.0 == 0 && self.epoch == 0).then_some(self.account.summary.rss_start_bytes)
    }

    /// CPU that memtrace takes, percent of one CPU, over the last second or more; `None` where it is not known yet.
    #[must_use]
    pub const fn cpu_percent(&self) -> Option<f64> {
        self.load.percent
    }
}
