//! Confidence: derived from stated checks, each a line of its own.

use super::{
    case::Analysis,
    evidence::rendered,
    limits::{LONG, SHORT, TICKS, UNEXPLAINED},
};
use crate::model::{Confidence, End, Level, Unit};

/// What speaks for an answer, and what against it. It begins with high confidence; each check that fails lowers it to a level
/// at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    level: Level,
    holds: Vec<String>,
    fails: Vec<String>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            level: Level::High,
            holds: Vec::new(),
            fails: Vec::new(),
        }
    }
}

impl Checks {
    /// Something that makes it surer.
    pub fn holds(&mut self, what: impl Into<String>) {
        self.holds.push(what.into());
    }

    /// Something because of which it is no surer than that.
    pub fn at_most(&mut self, level: Level, why: impl Into<String>) {
        self.level = self.level.min(level);
        self.fails.push(why.into());
    }

    /// A check: what holds, or else the level and why.
    pub fn check(&mut self, passed: bool, holds: &str, level: Level, fails: &str) {
        if passed {
            self.holds(holds);
        } else {
            self.at_most(level, fails);
        }
    }

    /// The level so far.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether the capture is whole: for every rule.
    pub fn whole(&mut self, analysis: &Analysis<'_>) {
        let capture = analysis.case.capture;
        let summary = analysis.case.summary;
        if capture.end == End::Interrupted {
            self.at_most(
                Level::Medium,
                "the capture was interrupted: this is as at its last tick",
            );
        }
        if capture.lost_events > 0 {
            self.at_most(Level::Medium, "events were lost: something was not counted");
        }
        let highest = analysis.highest().value.max(0);
        let off = summary.unexplained_bytes.unwrap_or(0).unsigned_abs();
        let bound = summary.unexplained_bound_bytes.unwrap_or(0);
        if off > bound && off > UNEXPLAINED.of(highest).unsigned_abs() {
            self.at_most(
                Level::Low,
                "a part of the change of RSS is explained by no cause",
            );
        } else if analysis.is_exact() && summary.unexplained_bytes.is_some() {
            self.holds(if off == 0 {
                "every byte of the change of RSS has a cause"
            } else {
                "next to nothing of the change of RSS is unexplained"
            });
        }
    }

    /// Whether the causes' bytes are known.
    pub fn ledger(&mut self, analysis: &Analysis<'_>) {
        if !analysis.is_exact() {
            self.at_most(
                Level::Medium,
                "approximate mode: RSS is sampled, and no bytes are known by cause",
            );
        }
    }

    /// Whether it was looked at for long enough to speak of a trend.
    pub fn trend(&mut self, analysis: &Analysis<'_>) {
        let seen = i64::try_from(analysis.case.capture.duration_ns).unwrap_or(i64::MAX);
        let time = |ns| rendered(ns, Unit::Ns);
        if !analysis.shape.is_known {
            let why = format!("fewer than {} ticks: no trend can be seen", TICKS.value);
            self.at_most(Level::Low, why);
        }
        if seen < SHORT.value {
            let why = format!(
                "a short capture, of {}: below {} a trend is a guess",
                time(seen),
                time(SHORT.value)
            );
            self.at_most(Level::Low, why);
        } else if seen < LONG.value {
            let why = format!(
                "the capture lasted {}: a trend wants {}",
                time(seen),
                time(LONG.value)
            );
            self.at_most(Level::Medium, why);
        } else {
            self.holds(format!("the capture lasted {}", time(seen)));
        }
    }

    /// The result. What holds comes first.
    #[must_use]
    pub fn confidence(self) -> Confidence {
        let Self {
            level,
            mut holds,
            fails,
        } = self;
        holds.extend(fails);
        if holds.is_empty() {
            holds.push("nothing speaks against it".to_owned());
        }
        Confidence {
            level,
            because: holds.into_iter().map(Into::into).collect(),
        }
    }
}
