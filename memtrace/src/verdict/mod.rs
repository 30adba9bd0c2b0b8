//! The answer: what it is, whether it is a leak, and what to do about it.
//!
//! Pure: a capture in, an answer out. Each rule is a small function in a file of its own, with a page in `docs/explain/`.
//!
//! # How the answer is chosen
//!
//! Each rule that applies proposes an answer with points: the part of the highest RSS that it explains, in hundredths, and a
//! weight for how much that matters.
//!
//! | rule | points |
//! |---|---|
//! | `lazy-free` | 20 + part; half the part where `LazyFree` was not read |
//! | `thp-inflation` | 30 + part |
//! | `swapped` | 20 + part; half the part where it was in swap before |
//! | `reclaimed-under-pressure` | 20 + part |
//! | `file-mapped`, `shmem` | 30 + part of what grew; 10 + half the part where nothing changes |
//! | `growing` | 40 + part; 15 + part where confidence is low |
//! | `churn` | 10 + part, of which 50 count |
//! | `allocator-holds` | 20 + part by the runtime's own figures; else 10 + half the part |
//! | `released` | 10 + part |
//! | `startup` | 5 + half the part |
//! | `idle` | 5 |
//! | `inconclusive` | 0 |
//!
//! The most points are the answer. Of equals, the rule that stands first in [`rules`] is: the more specific one. The others that
//! have something to say are said beside it, and so are `cgroup-limit` and `cgroup-scaling`, which are never the answer: they
//! are about what becomes of the process, not about where its memory is.
//!
//! # Where the numbers come from
//!
//! No rule writes a number of its own. Each is evidence: a formula over numbers of the capture, named by JSON pointers, and
//! [`evaluate`] works it out again from the file.

mod advice;
mod candidate;
mod case;
mod checks;
mod evidence;
mod expected;
mod limits;
mod rules;
mod shape;
mod trend;
mod who;

pub use case::Case;
pub use evidence::{evaluate, not_found, rendered, show};
pub use limits::Limit;
pub use rules::Rule;
pub use trend::{Asked, Point, Read, Readings, Trend, gives_back};

use crate::text::Foreign;
use candidate::Candidate;
use case::Analysis;
use rules::RULES;

use crate::model::{Capture, Confidence, Epoch, HostInfo, Level, Missing, Mode, Verdict};

/// Most findings beside the answer.
const ALSO: usize = 6;
/// Most lines of what is missing.
const MISSING: usize = 12;
/// What cgroup v1 does not have, and no rule uses.
const UNASKED: [&str; 3] = [
    "cgroup.pglazyfree",
    "cgroup.pglazyfreed",
    "cgroup.high_bytes",
];
/// Characters of a reason that came from the capture.
const REASON: usize = 300;

/// All rules, the more specific ones first.
#[must_use]
pub const fn rules() -> &'static [Rule] {
    RULES
}

/// A rule's page, in Markdown; `None` where there is no such rule.
#[must_use]
pub fn explain(id: &str) -> Option<&'static str> {
    let rule = RULES.iter().find(|rule| rule.id == id)?;
    Some(rule.page)
}

/// The answer for an epoch whose ticks are all there.
#[must_use]
pub fn judge_epoch(host: &HostInfo, epoch: &Epoch) -> Verdict {
    let trend = Trend::of(&epoch.timeline);
    judge(&Case {
        host,
        target: &epoch.target,
        capture: &epoch.capture,
        summary: &epoch.summary,
        trend: &trend,
    })
}

/// Answers for the epochs that have no answer: of a capture that memtrace did not end, or that a version wrote which did not judge.
/// `trends` are of all epochs, oldest first.
pub fn judge_unjudged<'a>(capture: &mut Capture, trends: impl IntoIterator<Item = &'a Trend>) {
    let Capture {
        host,
        epoch,
        earlier_epochs,
        ..
    } = capture;
    let epochs = earlier_epochs.iter_mut().chain([epoch]);
    for (epoch, trend) in epochs.zip(trends) {
        if epoch.verdict.is_none() {
            epoch.verdict = Some(judge(&Case {
                host,
                target: &epoch.target,
                capture: &epoch.capture,
                summary: &epoch.summary,
                trend,
            }));
        }
    }
}

/// The answer.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let analysis = Analysis::new(*case);
    let proposed = RULES.iter().filter_map(|rule| (rule.propose)(&analysis));
    let mut candidates: Vec<Candidate> = proposed.collect();
    // Stable: of equals, the first stays first.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.points.unwrap_or(i64::MIN)));
    let mut rest = candidates.into_iter();
    let Some(best) = rest.next().filter(|best| best.points.is_some()) else {
        return nothing(&analysis);
    };
    let also = rest
        .filter(|other| is_worth_a_word(other.id))
        .take(ALSO)
        .map(Candidate::into_finding)
        .collect();
    let mut missing = best.missing;
    missing.extend(missing_of(&analysis));
    missing.dedup_by(|one, other| one.what == other.what);
    missing.truncate(MISSING);
    Verdict {
        id: best.id.into(),
        title: best.title.into(),
        text: best.text.into(),
        confidence: best.checks.confidence(),
        evidence: best.facts.evidence,
        suggestions: best.suggestions,
        also,
        missing,
    }
}

/// Beside another answer, that nothing grows any more is no news.
fn is_worth_a_word(id: &str) -> bool {
    !matches!(id, "startup" | "idle" | "inconclusive")
}

/// Where the capture's own numbers are beyond all sense.
fn nothing(analysis: &Analysis<'_>) -> Verdict {
    Verdict {
        id: "inconclusive".into(),
        title: "The capture's figures do not make sense: nothing can be said".into(),
        text: "They are out of any range that memory has. The file may be damaged, or not written by memtrace."
            .into(),
        confidence: Confidence {
            level: Level::Low,
            because: vec!["no figure could be used".into()],
        },
        evidence: Vec::new(),
        suggestions: Vec::new(),
        also: Vec::new(),
        missing: missing_of(analysis),
    }
}

/// What could not be had, whichever rule the answer is by.
/// A reason from outside, or ours if there is none.
fn or(why: Option<&Foreign>, ours: &str) -> String {
    why.map_or_else(|| ours.to_owned(), |why| why.shown(REASON))
}

fn missing_of(analysis: &Analysis<'_>) -> Vec<Missing> {
    let case = &analysis.case;
    let mut missing = Vec::new();
    if case.capture.mode == Mode::Approximate {
        let why = case.capture.mode_note.as_ref();
        missing.push(Missing::new(
            "bytes by cause",
            or(why, "the mode is approximate"),
        ));
    }
    if case.capture.lost_events > 0 {
        missing.push(Missing::new(
            "lost events",
            "something was not counted: capture.losses says what",
        ));
    }
    if analysis.lazyfree().is_none() {
        let why = case.summary.lazyfree_missing.as_ref();
        missing.push(Missing::new(
            "LazyFree",
            or(why, "smaps_rollup was not read"),
        ));
    }
    for hook in &case.capture.hooks {
        if hook.kind.is_none() {
            let why = or(hook.error.as_ref(), "it is not hooked");
            missing.push(Missing::new(hook.name.shown(40), why));
        }
    }
    let of_runtime = analysis
        .runtime()
        .into_iter()
        .flat_map(|runtime| &runtime.missing);
    let of_cgroup = case
        .summary
        .cgroup
        .iter()
        .flat_map(|cgroup| &cgroup.missing)
        // No rule asks for these: they make nothing surer.
        .filter(|item| !UNASKED.contains(&item.what.raw()));
    for item in of_runtime.chain(of_cgroup).take(MISSING) {
        missing.push(Missing::new(item.what.shown(60), item.why.shown(REASON)));
    }
    if let Some(why) = &case.summary.mappings_missing {
        missing.push(Missing::new("mappings", why.shown(REASON)));
    }
    missing
}
