//! What the page is told: everything at first, and then what has changed.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Panel, Series,
    panels::{self, Told},
    series::{shown, us, whole},
};
use crate::text::Foreign;
use crate::{
    model::{Account, Capture, End, Epoch, HostInfo, Mode},
    text::format::size,
    timeline::{Finished, History, Live, MarkKind},
};

/// Epochs whose tables are shown: a process may replace its program any number of times.
const EPOCHS: usize = 24;
/// Characters of a name that the process chose.
const NAME: usize = 64;
/// Characters of what is said of the end.
const SAID: usize = 400;

/// What stands above everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The version of memtrace that captured it.
    pub version: String,
    /// The process: its id and its name.
    pub process: String,
    /// Number of the present epoch, from 0.
    pub epoch: u32,
    /// When that began, RFC 3339, and µs since the start of the capture.
    pub started_at: String,
    /// See there.
    pub started_us: i64,
    /// Time between ticks. Spans that are longer, by their ticks, have a gap.
    pub interval_us: i64,
    /// Whether RSS is exact, from the ledger.
    pub exact: bool,
    /// How far it may be off where it is sampled, bytes.
    pub bound: Option<u64>,
    /// How the capture has ended; `null` as long as it goes on.
    pub ended: Option<String>,
}

impl Head {
    /// In a line, what everything below is of.
    #[must_use]
    pub fn about(&self) -> String {
        let mut text = match (self.exact, self.bound) {
            (true, _) => "exact".to_owned(),
            (false, Some(bound)) => format!("~ approximate: RSS ± {}", size(bound)),
            (false, None) => "~ approximate".to_owned(),
        };
        let _ = write!(text, ", from {}", self.started_at);
        if let Some(ended) = &self.ended {
            let _ = write!(text, ", {ended}");
        }
        let _ = write!(text, ", memtrace {}", self.version);
        text
    }

    fn of(
        version: impl Into<Foreign>,
        epoch: u32,
        from_ns: u64,
        interval_ns: u64,
        account: &Told<'_>,
    ) -> Self {
        Self {
            version: shown(version, NAME),
            process: format!(
                "process {} ({})",
                account.target.pid,
                shown(&account.target.comm, NAME)
            ),
            epoch,
            started_at: shown(&account.capture.started_at, NAME),
            started_us: us(from_ns),
            interval_us: us(interval_ns),
            exact: account.capture.mode == Mode::Exact,
            bound: account.summary.rss_sampling_bound_bytes,
            ended: None,
        }
    }
}

/// What is said of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochPart {
    /// Its number, from 0.
    pub number: u32,
    /// When it began, µs since the start of the capture.
    pub from_us: i64,
    /// What it is called.
    pub title: String,
    /// The answer and the tables.
    pub panels: Vec<Panel>,
}

/// The process replaced its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecMark {
    /// When, µs since the start of the capture.
    pub t_us: i64,
    /// What it is called since: what it chose itself.
    pub name: String,
}

/// Everything that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// See there.
    pub head: Head,
    /// The timeline so far.
    pub series: Series,
    /// Execs, oldest first.
    pub marks: Vec<ExecMark>,
    /// How many older ones are left out.
    pub marks_left_out: u64,
    /// The programs whose tables are shown, oldest first. While a capture goes on, the present one alone.
    pub epochs: Vec<EpochPart>,
    /// How many older ones are left out.
    pub epochs_left_out: usize,
    /// Up to when this tells everything, ns since the start of the capture: what an [`Update`] is to begin with.
    #[serde(skip)]
    pub t_ns: u64,
}

impl State {
    /// What is known of a capture that goes on, or has just ended.
    #[must_use]
    pub fn of_live(live: &Live) -> Self {
        let spans = whole(&live.history);
        let (marks, marks_left_out) = marks(&live.history, 0);
        Self {
            head: head(live),
            series: Series::of(&spans, live.history.names()),
            marks,
            marks_left_out,
            epochs: vec![present(live)],
            epochs_left_out: 0,
            t_ns: live.history.last_ns(),
        }
    }

    /// What a capture file holds, whose ticks `history` has seen, of all epochs.
    #[must_use]
    pub fn of_capture(capture: &Capture, history: &History) -> Self {
        let spans = history.spans(0, u64::MAX, usize::MAX);
        let (marks, marks_left_out) = marks(history, 0);
        let mut from_ns: u64 = 0;
        let mut epochs = Vec::new();
        let all = capture.earlier_epochs.iter().chain([&capture.epoch]);
        for (number, epoch) in (0..).zip(all) {
            epochs.push((number, from_ns, epoch));
            from_ns = from_ns.saturating_add(epoch.capture.duration_ns);
        }
        let left_out = epochs.len().saturating_sub(EPOCHS);
        let (number, began_ns) = epochs.last().map_or((0, 0), |last| (last.0, last.1));
        let told = Told::of_epoch(&capture.host, &capture.epoch);
        let interval_ns = epochs
            .iter()
            .map(|(_, _, epoch)| epoch.capture.interval_ns)
            .max()
            .unwrap_or_default();
        let mut head = Head::of(
            &capture.memtrace_version,
            number,
            began_ns,
            interval_ns,
            &told,
        );
        head.ended = Some(panels::ended(capture.epoch.capture.end).to_owned());
        Self {
            head,
            series: Series::of(&spans, history.names()),
            marks,
            marks_left_out,
            epochs: epochs
                .iter()
                .skip(left_out)
                .map(|(number, from_ns, epoch)| of_epoch(&capture.host, *number, *from_ns, epoch))
                .collect(),
            epochs_left_out: left_out,
            t_ns: history.last_ns(),
        }
    }
}

fn of_epoch(host: &HostInfo, number: u32, from_ns: u64, epoch: &Epoch) -> EpochPart {
    let told = Told::of_epoch(host, epoch);
    EpochPart {
        number,
        from_us: us(from_ns),
        title: title(number, &told),
        panels: panels::of(&told),
    }
}

fn title(number: u32, told: &Told<'_>) -> String {
    let name = shown(&told.target.comm, NAME);
    format!("{}: {name}", number.saturating_add(1))
}

/// When an epoch of the live capture began: its exec is the last mark.
fn began_ns(live: &Live) -> u64 {
    let (marks, _) = live.history.marks();
    marks.last().map_or(0, |mark| mark.t_ns)
}

fn told(live: &Live) -> Told<'_> {
    let account: &Account = &live.account;
    Told {
        host: &live.host,
        target: &account.target,
        capture: &account.capture,
        summary: &account.summary,
        verdict: account.verdict.as_ref(),
        seen: None,
    }
}

fn head(live: &Live) -> Head {
    let told = told(live);
    // A changed interval does not make gaps of the ticks before.
    let interval_ns = told.capture.interval_ns.max(live.interval_ns);
    let version = env!("CARGO_PKG_VERSION");
    let mut head = Head::of(version, live.epoch, began_ns(live), interval_ns, &told);
    head.ended = live.ended.as_ref().map(|ended| match ended {
        Finished::Regularly(end) => panels::ended(*end).to_owned(),
        Finished::With(error) => format!("memtrace could not go on: {}", shown(error, SAID)),
    });
    head
}

fn present(live: &Live) -> EpochPart {
    let told = told(live);
    let mut panels = panels::of(&told);
    panels::add_live(&mut panels, live);
    EpochPart {
        number: live.epoch,
        from_us: us(began_ns(live)),
        title: title(live.epoch, &told),
        panels,
    }
}

fn marks(history: &History, after_ns: u64) -> (Vec<ExecMark>, u64) {
    let (marks, left_out) = history.marks();
    let marks = marks
        .filter(|mark| mark.t_ns > after_ns || after_ns == 0)
        .map(|mark| match &mark.kind {
            MarkKind::Exec(comm) => ExecMark {
                t_us: us(mark.t_ns),
                name: shown(comm, NAME),
            },
        })
        .collect();
    (marks, left_out)
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Update {
    /// See there.
    pub head: Head,
    /// The spans that are new.
    pub series: Series,
    /// Execs of the same time.
    pub marks: Vec<ExecMark>,
    /// How many older ones are left out by now.
    pub marks_left_out: u64,
    /// The answer and the tables; `null` where they are as they were.
    pub epoch: Option<EpochPart>,
    /// Up to when this tells everything, ns since the start of the capture: what the next one is to begin with.
    #[serde(skip)]
    pub t_ns: u64,
}

impl Update {
    /// What has changed after `t_ns`, which must not be before [`History::recent_from_ns`]: else the visitor wants a new [`State`].
    #[must_use]
    pub fn since(live: &Live, t_ns: u64) -> Self {
        let spans = live.history.since(t_ns);
        let (marks, marks_left_out) = marks(&live.history, t_ns);
        // It is told after the tick that it is of.
        let is_new = live.account_ns >= t_ns || live.ended.is_some();
        Self {
            head: head(live),
            series: Series::of(&spans, live.history.names()),
            marks,
            marks_left_out,
            epoch: is_new.then(|| present(live)),
            t_ns: live.history.last_ns(),
        }
    }
}

impl<'a> Told<'a> {
    /// Of an epoch that is over.
    #[must_use]
    pub fn of_epoch(host: &'a HostInfo, epoch: &'a Epoch) -> Self {
        let ended = matches!(epoch.capture.end, End::TargetExited | End::Exec);
        Self {
            host,
            target: &epoch.target,
            capture: &epoch.capture,
            summary: &epoch.summary,
            verdict: epoch.verdict.as_ref(),
            seen: epoch
                .timeline
                .iter()
                .rev()
                .filter(|_| ended)
                .find_map(|tick| Some((tick.t_ns, tick.rss_bytes, tick.lazyfree_bytes?))),
        }
    }
}
