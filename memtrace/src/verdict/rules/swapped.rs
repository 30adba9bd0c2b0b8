//! RSS fell, but into swap: nothing was freed.

use crate::text::Foreign;
use crate::{
    model::{Cause, CauseRow, Level, Suggestion, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, OfCalls, share},
        evidence::Figure,
        limits::WORTH,
    },
};

fn by_reclaim(row: &CauseRow) -> bool {
    row.cause == Cause::Reclaim
}

fn by_advice(row: &CauseRow) -> bool {
    matches!(row.cause, Cause::Madvise | Cause::ProcessMadvise)
        && matches!(
            row.advice.as_ref().map(Foreign::raw),
            Some("MADV_PAGEOUT" | "MADV_COLD")
        )
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let rise = analysis.rise(Field::Swap);
    let swap = analysis.now(Field::Swap);
    let highest = analysis.highest();
    let fresh = rise >= analysis.noise() && share(rise, highest.value) >= WORTH.value;
    let whole = highest.value.saturating_add(swap.value.max(0));
    if !fresh && (swap.value < analysis.noise() || share(swap.value, whole) < 2 * WORTH.value) {
        return None;
    }
    let points = if fresh {
        20 + share(rise, highest.value)
    } else {
        share(swap.value, whole) / 2
    };
    let mut candidate = Candidate::new("swapped", points);
    let facts = &mut candidate.facts;
    let held = facts.is("in swap", Unit::Bytes, &swap)?;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    let both = facts.sum(
        "RSS and swap",
        Unit::Bytes,
        &[analysis.now(Field::Rss), swap],
    )?;
    if fresh {
        let more = facts.less(
            "swap rose by",
            Unit::Bytes,
            &analysis.now(Field::Swap),
            &analysis.start(Field::Swap),
        )?;
        let asked = swapped_by(analysis, by_advice);
        let taken = swapped_by(analysis, by_reclaim);
        facts.sum(
            "swapped out at the process's own advice",
            Unit::Bytes,
            &asked,
        );
        facts.sum("swapped out by reclaim", Unit::Bytes, &taken);
        facts.sum(
            "asked for with MADV_PAGEOUT or MADV_COLD",
            Unit::Bytes,
            &analysis.of_calls(by_advice, OfCalls::Requested),
        );
        candidate.title = format!("Not freed: {more} went into swap");
        candidate.text = format!(
            "RSS is {rss}, and {held} are in swap: the process still holds {both}. What was swapped out comes back, by reading it from swap, \
             when it is used."
        );
        candidate.checks.check(
            !asked.is_empty() || !taken.is_empty(),
            "the ledger saw pages go from memory into swap",
            Level::Medium,
            "which cause moved pages into swap is not known",
        );
    } else {
        candidate.title = format!("{held} of it are in swap");
        candidate.text = format!(
            "RSS is {rss}, and {held} were swapped out before the capture began: the process holds {both} in all."
        );
    }
    candidate.checks.whole(analysis);
    candidate.suggestions.push(Suggestion {
        text: "Look at RSS and swap together. If it is slow: give the host or the cgroup more memory, or let the process hold less; \
               swap that is only read when needed costs nothing."
            .into(),
        setting: None,
    });
    Some(candidate)
}

/// What rows put into swap.
fn swapped_by(analysis: &Analysis<'_>, which: fn(&CauseRow) -> bool) -> Vec<Figure> {
    let figure = |(place, row): (usize, &CauseRow)| {
        let bytes = row.by_kind?.swap_bytes;
        let pointer = format!("/summary/causes/{place}/by_kind/swap_bytes");
        (bytes > 0).then(|| Figure::new(pointer, bytes))
    };
    analysis.rows(which).filter_map(figure).collect()
}
