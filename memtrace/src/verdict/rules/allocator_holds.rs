//! Freed in the program, and never given back to the kernel: its allocator keeps it.

use crate::{
    model::{CauseRow, Level, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::{Candidate, quoted},
        case::{Analysis, Field, OfCalls, share},
        evidence::Figure,
        limits::{FEW, HELD, MOSTLY, NEAR},
        trend::gives_back,
        who::Who,
    },
};

const ID: &str = "allocator-holds";

fn giving(row: &CauseRow) -> bool {
    gives_back(row.cause, row.advice.as_ref())
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    match analysis.case.trend.go_last() {
        Some(_) => by_go(analysis),
        None => from_outside(analysis),
    }
}

/// Go says itself what it keeps.
fn by_go(analysis: &Analysis<'_>) -> Option<Candidate> {
    let go = analysis.case.trend.go_last()?;
    let figure = |name: &str, value: Option<u64>| {
        Figure::unsigned(format!("/timeline/{}/go/{name}", go.index), value?)
    };
    let idle = figure("heap_idle_bytes", go.value.heap_idle_bytes)?;
    let released = figure("heap_released_bytes", go.value.heap_released_bytes)?;
    let highest = analysis.highest();
    let bytes = idle.value.checked_sub(released.value)?;
    if bytes < analysis.noise() || share(bytes, highest.value) < HELD.value || bytes > highest.value
    {
        return None;
    }
    let mut candidate = Candidate::new(ID, 20 + share(bytes, highest.value));
    let facts = &mut candidate.facts;
    let held = facts.less(
        "free in Go's heap, not given back",
        Unit::Bytes,
        &idle,
        &released,
    )?;
    facts.is("Go's HeapIdle", Unit::Bytes, &idle);
    facts.is("Go's HeapReleased", Unit::Bytes, &released);
    let used = figure("heap_inuse_bytes", go.value.heap_inuse_bytes)
        .and_then(|figure| facts.is("Go's HeapInuse", Unit::Bytes, &figure));
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    asked(analysis, &mut candidate);
    candidate.title = format!("Not a leak: Go keeps {held} of free heap for later");
    let mut text = format!(
        "RSS is {rss}. {held} of it is heap in which no object lives and which Go has not given back: it keeps some for the next round, and \
         its scavenger returns the rest slowly, in the background."
    );
    if let Some(used) = used {
        text.push_str(&format!(" In use are {used}."));
    }
    candidate.text = text;
    candidate.checks.whole(analysis);
    candidate
        .checks
        .holds("Go's own figures say so: HeapIdle less HeapReleased");
    if analysis.shape.rises_throughout() {
        candidate
            .checks
            .at_most(Level::Medium, "RSS still grows meanwhile");
    }
    candidate.suggestions = advice::of(Topic::Held, analysis);
    Some(candidate)
}

/// Of other allocators only this is seen from outside: RSS rose, has levelled off, and nothing was asked of the kernel since.
fn from_outside(analysis: &Analysis<'_>) -> Option<Candidate> {
    let shape = &analysis.shape;
    let highest = analysis.highest();
    let now = analysis.now(Field::Rss);
    let start = analysis.start(Field::Rss);
    let rise = now.value.checked_sub(start.value)?;
    let since = analysis.case.trend.since_highest();
    let quiet = since.fallen <= FEW.of(rise.max(0));
    let late_start = shape
        .floors
        .get(1)
        .copied()
        .flatten()
        .is_some_and(|floor| floor.saturating_sub(start.value) < rise / 2);
    if !shape.is_known
        || !shape.has_levelled_off()
        || share(rise, highest.value) < HELD.value
        || now.value < NEAR.of(highest.value)
        || analysis.rise(Field::Anon) < MOSTLY.of(rise)
        || !quiet
        // A program that has just started holds what it needs.
        || (analysis.began_here() && !late_start)
    {
        return None;
    }
    let mut candidate = Candidate::new(ID, 10 + share(rise, highest.value) / 2);
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &now)?;
    facts.is("highest RSS", Unit::Bytes, &highest);
    let up = facts.less("RSS rose by", Unit::Bytes, &now, &start)?;
    facts.less(
        "anonymous memory rose by",
        Unit::Bytes,
        &analysis.now(Field::Anon),
        &analysis.start(Field::Anon),
    );
    asked(analysis, &mut candidate);
    let who = Who::new(analysis.runtime());
    let keeper = match (who.name(), who.allocator()) {
        ("", "") => "its allocator".to_owned(),
        ("", name) | (name, _) => format!("its allocator ({})", quoted(name).trim_matches('"')),
    };
    candidate.title = format!("RSS stays near its highest, at {rss}: little was given back since");
    candidate.text = format!(
        "RSS rose by {up} and has levelled off: it does not grow. If the program has freed that memory meanwhile, {keeper} keeps it for \
         later; if not, it is in use. From outside the two look the same."
    );
    candidate.checks.whole(analysis);
    candidate.checks.ledger(analysis);
    candidate.checks.trend(analysis);
    if since.calls > 0 {
        candidate.checks.at_most(
            Level::Medium,
            "calls that give memory back were seen since, for little: the allocator tries, and cannot return more",
        );
    } else {
        candidate.checks.at_most(
            Level::Low,
            "no call that gives memory back was seen since: whether the program freed it cannot be told from outside",
        );
    }
    candidate.suggestions = advice::of(Topic::Held, analysis);
    Some(candidate)
}

/// What was asked of the kernel, in the whole capture.
fn asked(analysis: &Analysis<'_>, candidate: &mut Candidate) {
    let facts = &mut candidate.facts;
    let calls = analysis.of_calls(giving, OfCalls::Calls);
    facts.sum("calls that give back", Unit::Count, &calls);
    facts.sum(
        "given back by these calls",
        Unit::Bytes,
        &analysis.falls(giving),
    );
}
