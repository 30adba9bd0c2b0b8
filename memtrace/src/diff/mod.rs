//! Two captures side by side: before and after an upgrade, a flag, a setting.
//!
//! Pure: two captures in, one comparison out. What differs in the conditions decides whether the rest is worth anything, so it
//! comes first. A number that a side does not know is `null`; a difference that two runs of one program show anyway is called
//! small, and no change.

mod answers;
mod causes;
mod conditions;
mod figures;
mod headline;
mod quantity;
mod report;

pub use quantity::{Judged, PerSecond, Quantity, SMALL_BYTES, SMALL_COUNT, SMALL_PART, Unit};
pub use report::{
    Answer, Answers, CauseDiff, Condition, Conditions, Diff, Figure, Group, Of, RssPoint, SCHEMA,
    Side,
};

use quantity::Seconds;

use crate::{
    model::{Capture, End, Epoch},
    verdict::Trend,
};

/// Captures that last by more than this part differently long are compared per second: one in so many.
const SAME_LENGTH: u64 = 20;

/// A capture that is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The capture; its last epoch is compared.
    pub capture: &'a Capture,
    /// The digest of that epoch's ticks.
    pub trend: &'a Trend,
}

impl<'a> Subject<'a> {
    const fn epoch(&self) -> &'a Epoch {
        &self.capture.epoch
    }

    const fn is_over(&self) -> bool {
        matches!(self.epoch().capture.end, End::TargetExited | End::Exec)
    }
}

/// Compares two captures.
#[must_use]
pub fn compare(a: &Subject<'_>, b: &Subject<'_>) -> Diff {
    let seconds = seconds(a, b);
    let causes = causes::causes(a, b, seconds);
    let figures = figures::figures(a, b, seconds);
    let answers = answers::answers(a, b);
    let conditions = conditions::conditions(a, b, &figures, seconds.is_some());
    let headline = headline::headline(&conditions, &causes, &figures, &answers);
    Diff {
        schema: SCHEMA.to_owned(),
        memtrace_version: env!("CARGO_PKG_VERSION").to_owned(),
        headline,
        conditions,
        a: side(a),
        b: side(b),
        answers,
        causes,
        figures,
    }
}

/// How long both last; `None` where one does not say.
fn lengths(a: &Subject<'_>, b: &Subject<'_>) -> Option<Seconds> {
    let of = |subject: &Subject<'_>| subject.epoch().capture.duration_ns;
    let (a, b) = (of(a), of(b));
    (a > 0 && b > 0).then_some(Seconds {
        a: a as f64 / 1e9,
        b: b as f64 / 1e9,
    })
}

/// The same; `None` where both last equally long too.
fn seconds(a: &Subject<'_>, b: &Subject<'_>) -> Option<Seconds> {
    let of = |subject: &Subject<'_>| subject.epoch().capture.duration_ns;
    let is_same = of(a).abs_diff(of(b)) <= of(a).max(of(b)) / SAME_LENGTH;
    lengths(a, b).filter(|_| !is_same)
}

fn side(subject: &Subject<'_>) -> Side {
    let Epoch {
        target, capture, ..
    } = subject.epoch();
    Side {
        file: subject.file.to_owned(),
        pid: target.pid,
        comm: target.comm.clone(),
        started_at: capture.started_at.clone(),
        duration_ns: capture.duration_ns,
        mode: capture.mode,
        end: capture.end,
        earlier_epochs: subject.capture.earlier_epochs.len() as u64,
        is_complete: subject.capture.is_complete(),
        rss: subject
            .trend
            .history()
            .iter()
            .map(|point| RssPoint {
                t_ns: point.t_ns,
                rss_bytes: point.rss,
            })
            .collect(),
    }
}
