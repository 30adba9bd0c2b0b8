//! Huge pages: one used page became 512.

use crate::{
    model::{Cause, CauseRow, Formula, Level, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::Candidate,
        case::{Analysis, Field, share, total},
        limits::COLLAPSED,
    },
};

/// What a collapse into huge pages brought.
pub fn collapsed(row: &CauseRow) -> bool {
    let by_call = matches!(row.cause, Cause::Madvise | Cause::ProcessMadvise)
        && row.advice.as_ref().is_some_and(|it| *it == "MADV_COLLAPSE");
    row.cause == Cause::Khugepaged || by_call
}

fn any(_: &CauseRow) -> bool {
    true
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let added = analysis.rises(collapsed);
    let bytes = total(&added)?;
    let all = analysis.rises(any);
    if bytes < analysis.noise() || share(bytes, total(&all)?) < COLLAPSED.value {
        return None;
    }
    let highest = analysis.highest();
    let mut candidate = Candidate::new("thp-inflation", 30 + share(bytes, highest.value));
    let facts = &mut candidate.facts;
    let by = facts.sum("added by collapsing into huge pages", Unit::Bytes, &added)?;
    let everything = facts.sum("all that RSS rose by", Unit::Bytes, &all)?;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    let mut huge = String::new();
    if let Some(now) = analysis.anon_huge() {
        if let Some(now) = facts.is("in huge pages", Unit::Bytes, &now) {
            huge = format!(" {now} of RSS are in huge pages now.");
        }
        if let Some(first) = analysis.case.trend.anon_huge().map(|huge| huge.first)
            && let Some(first) = crate::verdict::evidence::Figure::unsigned(
                format!("/timeline/{}/anon_huge_bytes", first.index),
                first.value,
            )
        {
            facts.note(
                "in huge pages, more than before",
                Unit::Bytes,
                Formula::Difference,
                &[&now, &first],
            );
        }
    }
    candidate.title = format!("Huge pages added {by} to RSS: the program did not ask for it");
    candidate.text = format!(
        "Of the {everything} that RSS rose by, {by} came from collapsing small pages into huge ones: pages in between that the program \
         had never touched, or had given back, became resident.{huge} RSS is {rss}."
    );
    candidate.checks.whole(analysis);
    candidate
        .checks
        .holds("the ledger saw khugepaged, or MADV_COLLAPSE, add it");
    if analysis.anon_huge().is_none() {
        candidate.checks.at_most(
            Level::Medium,
            "AnonHugePages was not read: how much is in huge pages now is not known",
        );
    }
    candidate.suggestions = advice::of(Topic::Huge, analysis);
    Some(candidate)
}
