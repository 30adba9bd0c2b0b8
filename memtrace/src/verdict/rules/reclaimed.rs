//! The kernel took pages back: memory is short, on the host or in the cgroup.

use crate::{
    model::{Cause, CauseRow, Level, Suggestion, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, share, total},
        evidence::Figure,
        limits::WORTH,
    },
};

fn reclaim(row: &CauseRow) -> bool {
    row.cause == Cause::Reclaim
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let taken = analysis.falls(reclaim);
    let bytes = total(&taken)?.saturating_neg();
    let highest = analysis.highest();
    if bytes < analysis.noise() || share(bytes, highest.value) < WORTH.value {
        return None;
    }
    // What went into swap is another answer.
    let swapped = analysis.rise(Field::Swap).max(0);
    let kept = bytes.saturating_sub(swapped);
    let mut candidate = Candidate::new("reclaimed-under-pressure", 20 + share(kept, highest.value));
    let facts = &mut candidate.facts;
    let moved = facts.sum("reclaim moved RSS by", Unit::Bytes, &taken)?;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    facts.is("highest RSS", Unit::Bytes, &highest);
    let mut text = format!(
        "The kernel needed memory, and took pages of this process: that moved RSS by {moved}, to {rss} in the end."
    );
    let returned = analysis.case.summary.returned.as_ref();
    if let Some(bytes) = returned
        .and_then(|returned| returned.discarded_bytes)
        .filter(|&bytes| bytes > 0)
        && let Some(lazy) = facts.is(
            "of it lazily freed",
            Unit::Bytes,
            &Figure::new("/summary/returned/discarded_bytes", bytes),
        )
    {
        text.push_str(&format!(
            " {lazy} of it had been given back with MADV_FREE before: those cost nothing."
        ));
    }
    if swapped > 0
        && let Some(more) = facts.less(
            "swap rose by",
            Unit::Bytes,
            &analysis.now(Field::Swap),
            &analysis.start(Field::Swap),
        )
    {
        text.push_str(&format!(" {more} went into swap."));
    }
    if let Some(hits) = limit_hits(analysis, &mut candidate) {
        text.push_str(&format!(
            " Its cgroup met its limit {hits} times meanwhile: the shortage is the container's own."
        ));
    }
    candidate.title = format!("Memory is short: the kernel's reclaim moved RSS by {moved}");
    candidate.text = text;
    candidate.checks.whole(analysis);
    candidate
        .checks
        .holds("the ledger saw reclaim take the pages");
    let sampled = analysis.case.summary.cgroup.is_none();
    if sampled {
        candidate.checks.at_most(
            Level::Medium,
            "the memory cgroup is not known: whether the host or a limit is short of memory",
        );
    }
    candidate.suggestions.push(Suggestion {
        text: "Where only lazily freed memory and clean file pages were taken, do nothing. Where the process reads them again, over and over, \
               it needs more memory: raise the cgroup's limit (memory.max, memory.high), or let it hold less."
            .into(),
        setting: None,
    });
    Some(candidate)
}

/// How often the cgroup met its limit during the capture.
fn limit_hits(analysis: &Analysis<'_>, candidate: &mut Candidate) -> Option<String> {
    let (first, old) = analysis.cgroup_start()?;
    let (last, new) = analysis.cgroup_now()?;
    let (old, new) = (old.limit_hits?, new.limit_hits?);
    if new <= old {
        return None;
    }
    candidate.facts.less(
        "the cgroup met its limit",
        Unit::Count,
        &Figure::unsigned(format!("{last}/limit_hits"), new)?,
        &Figure::unsigned(format!("{first}/limit_hits"), old)?,
    )
}
