//! The capture does not tell. It says what would.

use crate::{
    model::{Level, Missing, Suggestion, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field},
        limits::{SHORT, TICKS},
    },
};

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let mut candidate = Candidate::new("inconclusive", 0);
    let shape = &analysis.shape;
    let case = &analysis.case;
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    let rise = facts.less(
        "RSS changed by",
        Unit::Bytes,
        &analysis.now(Field::Rss),
        &analysis.start(Field::Rss),
    );
    if let Some(time) = analysis.duration() {
        facts.is("captured", Unit::Ns, &time);
    }
    facts.is("highest RSS", Unit::Bytes, &analysis.highest());
    if case.trend.last().is_none() {
        candidate.title = "No tick saw the process: nothing can be said".to_owned();
        candidate.text =
            "The capture ended before memtrace looked at the process for the first time."
                .to_owned();
        candidate.missing.push(Missing::new(
            "ticks",
            "trace for longer, or with a shorter --interval",
        ));
    } else if let (true, Some(rise)) = (shape.has_risen(), rise) {
        candidate.title =
            format!("RSS rose by {rise}, and it is too early to say whether it goes on");
        candidate.text = format!(
            "RSS is {rss}. It rose, but not all the time: one step and a trend look alike until more of it has been seen."
        );
    } else {
        candidate.title = format!("RSS moved, now {rss}, and no rule explains most of it");
        candidate.text =
            "Several things happened, none of them large enough to be the answer. The table of causes has all of them.".to_owned();
    }
    if !shape.is_known {
        let why = format!(
            "a trend needs {} ticks; trace for longer, or with a shorter --interval",
            TICKS.value
        );
        candidate.missing.push(Missing::new("ticks", why));
    }
    let seen = i64::try_from(case.capture.duration_ns).unwrap_or(i64::MAX);
    if seen < SHORT.value {
        candidate.missing.push(Missing::new(
            "time",
            "a trend needs more of it; trace for some minutes, over a peak of load and after it",
        ));
    }
    candidate.checks.at_most(Level::Low, "no rule applies");
    candidate.checks.whole(analysis);
    candidate.suggestions.push(Suggestion {
        text: "Trace for longer: over a peak of load, and some minutes after it.".into(),
        setting: Some("--duration 10m".into()),
    });
    Some(candidate)
}
