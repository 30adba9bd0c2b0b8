//! Nothing happened: then what matters is what RSS is made of.

use crate::{
    model::{Level, MappingKind, Suggestion, Unit},
    verdict::{
        candidate::{Candidate, quoted},
        case::{Analysis, Field},
        evidence::Figure,
        limits::{NOISE, SHORT, WORTH},
    },
};

/// Parts of RSS that are named.
const PARTS: usize = 4;

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let last = analysis.case.trend.last()?;
    let lowest = analysis
        .case
        .trend
        .lowest()?
        .rss
        .min(analysis.start(Field::Rss).value);
    let spread = analysis
        .highest()
        .value
        .saturating_sub(lowest.min(last.rss));
    // A runtime at rest still ticks over. What grows within this all the time is another rule's, with more points.
    let little = analysis.noise().max(WORTH.of(analysis.highest().value));
    if spread >= little || analysis.rise(Field::Swap).saturating_abs() >= analysis.noise() {
        return None;
    }
    let still = spread < analysis.noise();
    let mut candidate = Candidate::new("idle", 5);
    let now = analysis.now(Field::Rss);
    let time = analysis.duration()?;
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &now)?;
    let seen = facts.is("captured", Unit::Ns, &time)?;
    facts.less(
        "RSS changed by",
        Unit::Bytes,
        &now,
        &analysis.start(Field::Rss),
    );
    candidate.title = if still {
        format!("Nothing happened: RSS stayed at {rss} for {seen}")
    } else {
        format!("Hardly anything happened: RSS stayed near {rss} for {seen}")
    };
    let anon = facts.is("anonymous memory", Unit::Bytes, &analysis.now(Field::Anon))?;
    let file = facts.is("file pages", Unit::Bytes, &analysis.now(Field::File))?;
    let shmem = facts.is("shared memory", Unit::Bytes, &analysis.now(Field::Shmem))?;
    candidate.text = format!(
        "Nothing grew, and nothing was given back or taken, that would matter. RSS consists of {anon} of the program's own memory, {file} of mapped files and {shmem} of \
         shared memory."
    );
    if let Some(lazy) = analysis.lazyfree() {
        facts.is("LazyFree", Unit::Bytes, &lazy);
    }
    if analysis.now(Field::Swap).value > 0 {
        facts.is("in swap", Unit::Bytes, &analysis.now(Field::Swap));
    }
    bridge(analysis, &mut candidate);
    mappings(analysis, &mut candidate);
    candidate.checks.whole(analysis);
    let short = i64::try_from(analysis.case.capture.duration_ns).is_ok_and(|ns| ns < SHORT.value);
    candidate.checks.check(
        !short,
        "it was looked at for long enough to see it at rest",
        Level::Medium,
        "a short capture: what happens less often was not seen",
    );
    candidate.suggestions.push(Suggestion {
        text: "Trace while it works, over a peak of load and some minutes after it: growth and release show only while they happen."
            .into(),
        setting: None,
    });
    Some(candidate)
}

/// The largest parts by what the runtime says of itself.
fn bridge(analysis: &Analysis<'_>, candidate: &mut Candidate) {
    let mut parts: Vec<_> = analysis.case.summary.bridge.iter().enumerate().collect();
    parts.retain(|(_, part)| part.bytes >= NOISE.value);
    parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.bytes));
    // One part alone is RSS itself.
    if analysis.case.summary.bridge.len() < 2 {
        return;
    }
    for (place, part) in parts.into_iter().take(PARTS) {
        let figure = Figure::new(format!("/summary/bridge/{place}/bytes"), part.bytes);
        let name = quoted(&part.part.raw().replace('_', " "));
        candidate
            .facts
            .is(name.trim_matches('"'), Unit::Bytes, &figure);
    }
}

/// The largest mappings that have names.
fn mappings(analysis: &Analysis<'_>, candidate: &mut Candidate) {
    let groups = analysis.case.summary.mappings.iter().flatten().enumerate();
    let named = groups.filter(|(_, group)| {
        !group.name.is_empty()
            && matches!(
                group.kind,
                MappingKind::File | MappingKind::Shmem | MappingKind::Anon
            )
    });
    let mut large: Vec<_> = named
        .filter(|(_, group)| i64::try_from(group.rss_bytes).is_ok_and(|bytes| bytes >= NOISE.value))
        .collect();
    large.sort_by_key(|(_, group)| std::cmp::Reverse(group.rss_bytes));
    for (place, group) in large.into_iter().take(PARTS) {
        if let Some(figure) = Figure::unsigned(
            format!("/summary/mappings/{place}/rss_bytes"),
            group.rss_bytes,
        ) {
            candidate
                .facts
                .is(&quoted(group.name.raw()), Unit::Bytes, &figure);
        }
    }
}
