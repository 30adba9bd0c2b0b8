//! Memory that was given back with `MADV_FREE`: the kernel keeps such pages in the process until it needs them.

use crate::{
    model::{Cause, CauseRow, Level, Missing, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::Candidate,
        case::{Analysis, Field, OfCalls, share, total},
        evidence::Figure,
        expected,
        limits::{MOSTLY, WORTH},
    },
};

const ID: &str = "lazy-free";

/// What a `MADV_FREE` row is about.
pub fn is_free(row: &CauseRow) -> bool {
    matches!(row.cause, Cause::Madvise | Cause::ProcessMadvise)
        && row.advice.as_ref().is_some_and(|it| *it == "MADV_FREE")
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    match analysis.lazyfree() {
        Some(lazy) => seen(analysis, &lazy),
        None => asked_for(analysis),
    }
}

/// `LazyFree` was read.
fn seen(analysis: &Analysis<'_>, lazy: &Figure) -> Option<Candidate> {
    let rss = analysis.now(Field::Rss);
    let part = share(lazy.value, rss.value);
    // More than RSS has may be read where much is happening: a part of it can be told no more.
    if lazy.value < analysis.noise() || part < WORTH.value || lazy.value > rss.value {
        return None;
    }
    let mut candidate = Candidate::new(ID, 20 + part);
    let facts = &mut candidate.facts;
    let held = facts.is("LazyFree", Unit::Bytes, lazy)?;
    let all = facts.is("RSS", Unit::Bytes, &rss)?;
    let rest = facts.less("RSS - LazyFree", Unit::Bytes, &rss, lazy)?;
    facts.percent("LazyFree, of RSS", lazy, &rss);
    let asked = analysis.of_calls(is_free, OfCalls::Requested);
    let bytes = facts.sum("asked for with MADV_FREE", Unit::Bytes, &asked);
    facts.sum(
        "calls with MADV_FREE",
        Unit::Count,
        &analysis.of_calls(is_free, OfCalls::Calls),
    );
    go_released(analysis, &mut candidate);

    let growth = analysis.shape.rises_throughout();
    candidate.title = if part >= MOSTLY.value && !growth {
        format!("Not a leak: {held} of {all} RSS has been given back already")
    } else {
        format!("{held} of {all} RSS has been given back already")
    };
    candidate.text = format!(
        "The program freed {held} with MADV_FREE. The kernel leaves such pages where they are, and in RSS, until it needs memory; \
         then it takes them at once, without writing anything to swap. What the program still holds is {rest}."
    );
    let checks = &mut candidate.checks;
    checks.whole(analysis);
    if lazy.pointer.starts_with("/summary") {
        checks.holds("the kernel itself says how much is lazily freed, at the end of the capture");
    } else {
        checks.at_most(
            Level::Medium,
            "LazyFree is that of an earlier moment: it was not read at the end",
        );
    }
    if asked.is_empty() && analysis.is_hooked("madvise") {
        checks.holds("it was freed before the capture began: no MADV_FREE was seen during it");
    }
    expected::note(analysis, "MADV_FREE", bytes.as_deref(), checks);
    candidate.suggestions = advice::of(Topic::LazilyFreed, analysis);
    Some(candidate)
}

/// `LazyFree` was not read: the calls alone.
fn asked_for(analysis: &Analysis<'_>) -> Option<Candidate> {
    let asked = analysis.of_calls(is_free, OfCalls::Requested);
    let bytes = total(&asked)?;
    let highest = analysis.highest();
    let part = share(bytes, highest.value);
    if bytes < analysis.noise() || part < WORTH.value {
        return None;
    }
    let mut candidate = Candidate::new(ID, part / 2);
    let facts = &mut candidate.facts;
    let freed = facts.sum("asked for with MADV_FREE", Unit::Bytes, &asked)?;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    facts.sum(
        "calls with MADV_FREE",
        Unit::Count,
        &analysis.of_calls(is_free, OfCalls::Calls),
    );
    go_released(analysis, &mut candidate);
    candidate.title = format!("{freed} were freed with MADV_FREE, which RSS does not show at once");
    candidate.text = format!(
        "RSS is {rss}. The program gave memory back with MADV_FREE, for {freed} in all. The kernel leaves such pages in RSS until it needs \
         memory. How much of it is still there was not read; the program may have used it again."
    );
    candidate.checks.whole(analysis);
    candidate.checks.at_most(
        Level::Low,
        "LazyFree was not read: the same memory may have been freed and used again many times",
    );
    expected::note(analysis, "MADV_FREE", Some(&freed), &mut candidate.checks);
    let why = analysis.case.summary.lazyfree_missing.clone();
    candidate.missing.push(Missing::new(
        "LazyFree",
        why.unwrap_or_else(|| "smaps_rollup was not read; trace without --no-smaps".into()),
    ));
    candidate.suggestions = advice::of(Topic::LazilyFreed, analysis);
    Some(candidate)
}

/// What Go says that it gave back.
fn go_released(analysis: &Analysis<'_>, candidate: &mut Candidate) {
    if let Some(go) = analysis.case.trend.go_last()
        && let Some(bytes) = go.value.heap_released_bytes
        && let Some(figure) = Figure::unsigned(
            format!("/timeline/{}/go/heap_released_bytes", go.index),
            bytes,
        )
    {
        let what = "Go's HeapReleased";
        candidate.facts.is(what, Unit::Bytes, &figure);
    }
}
