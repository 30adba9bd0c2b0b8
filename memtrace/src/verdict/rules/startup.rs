//! It grew, and has levelled off: a start, a warm-up, a cache that is full.

use crate::{
    model::{Cause, CauseRow, Level, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, share, total},
        limits::{MOSTLY, NEAR, WORTH},
    },
};

fn populated(row: &CauseRow) -> bool {
    let by_advice = matches!(row.cause, Cause::Madvise | Cause::ProcessMadvise)
        && row
            .advice
            .as_ref()
            .is_some_and(|advice| advice.raw().starts_with("MADV_POPULATE"));
    by_advice || row.cause == Cause::Mmap
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let shape = &analysis.shape;
    let highest = analysis.highest();
    let now = analysis.now(Field::Rss);
    // With few ticks, a program that began here has started, and no more is said.
    let levelled = shape.has_levelled_off() && (shape.is_known || analysis.began_here());
    if !levelled
        || share(shape.rise, highest.value) < WORTH.value
        || now.value < NEAR.of(highest.value)
    {
        return None;
    }
    let mut candidate = Candidate::new("startup", 5 + share(shape.rise, highest.value) / 2);
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &now)?;
    let rise = facts.less(
        "RSS rose by",
        Unit::Bytes,
        &now,
        &analysis.start(Field::Rss),
    )?;
    let time = facts.is("captured", Unit::Ns, &analysis.duration()?)?;
    facts.is("highest RSS", Unit::Bytes, &highest);
    let began = analysis.began_here();
    candidate.title = if began {
        format!("It started, and has levelled off at {rss}")
    } else {
        format!("It grew by {rise}, and has levelled off at {rss}")
    };
    let mut text = format!(
        "RSS rose by {rise} within {time}, and hardly at all in the last third of that time. This is what a start, a warm-up or a filling \
         cache looks like; no growth is left to explain."
    );
    let brought = analysis.rises(populated);
    if total(&brought)? >= MOSTLY.of(shape.rise)
        && let Some(brought) = facts.sum("brought in without page faults", Unit::Bytes, &brought)
    {
        text.push_str(&format!(
            " {brought} came at once, without page faults: the program asked for it (MAP_POPULATE, MADV_POPULATE)."
        ));
    }
    candidate.text = text;
    candidate.checks.whole(analysis);
    candidate.checks.trend(analysis);
    candidate.checks.check(
        began,
        "the program began during the capture, or held next to nothing before",
        Level::Medium,
        "what it did before the capture is not known",
    );
    Some(candidate)
}
