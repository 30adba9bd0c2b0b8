//! RSS grows, and does not level off. The worst mistake here is to call a leak what is none.

use crate::{
    model::{Cause, CauseRow, Formula, Level, Suggestion, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::{Candidate, quoted},
        case::{Analysis, Field, OfCalls, share, total},
        checks::Checks,
        evidence::{Figure, rendered},
        limits::{OWN, UNSEEN_CYCLES},
        rules::{released::own, thp_inflation::collapsed},
        who::Who,
    },
};

fn new_space(row: &CauseRow) -> bool {
    matches!(row.cause, Cause::Mmap | Cause::Brk | Cause::Mremap)
}

fn unmapped(row: &CauseRow) -> bool {
    row.cause == Cause::Munmap
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let shape = &analysis.shape;
    // With so few ticks that no course can be seen, a rise is a rise, and the confidence says so.
    let throughout = shape.rises_throughout() || (!shape.is_known && shape.has_risen());
    if !throughout || shape.has_levelled_off() {
        return None;
    }
    let own_rise = grown(analysis)?;
    if own_rise < analysis.noise() || own_rise < OWN.of(shape.rise) {
        return None;
    }
    let mut checks = Checks::default();
    checks.whole(analysis);
    checks.trend(analysis);
    checks.ledger(analysis);
    if shape.is_known {
        checks.holds(
            "RSS rose in each third of the time, at its lowest too: no peaks, no single step",
        );
    }
    if shape.is_slowing() {
        checks.at_most(Level::Low, "it is slowing down");
    }
    let mut candidate = Candidate::new("growing", 0);
    let facts = &mut candidate.facts;
    let rise = facts.less(
        "RSS rose by",
        Unit::Bytes,
        &analysis.now(Field::Rss),
        &analysis.start(Field::Rss),
    )?;
    let time = facts.is("captured", Unit::Ns, &analysis.duration()?)?;
    facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss));
    let rate = rate(analysis, &mut candidate);
    let mut text = what_kind(analysis, &mut candidate)?;
    if let Some(rate) = &rate {
        text.push_str(&format!(" The average is {rate}."));
    }
    text.push_str(&causes(analysis, &mut candidate, &mut checks, own_rise));
    text.push_str(&heap(analysis, &mut candidate, &mut checks));
    ceiling(analysis, &mut checks);
    if let Some(limit) = until_limit(analysis, &mut candidate) {
        text.push_str(&limit);
    }
    let part = share(own_rise, analysis.highest().value);
    let low = checks.level() == Level::Low;
    candidate.points = Some(part + if low { 15 } else { 40 });
    candidate.title = if low {
        format!("RSS grew by {rise} in {time}: too early to call it a leak")
    } else {
        format!("RSS grows: by {rise} in {time}, without levelling off")
    };
    if low {
        text.push_str(" A program that warms up, and a cache that fills, look the same at first.");
    }
    candidate.text = text;
    candidate.suggestions = advice::of(Topic::Growing, analysis);
    if checks.level() < Level::High {
        let longer = Suggestion {
            text:
                "Trace for longer, and with the same load all the time: growth that ends is none."
                    .into(),
            setting: Some("--duration 10m".into()),
        };
        candidate.suggestions.insert(0, longer);
    }
    candidate.checks = checks;
    Some(candidate)
}

/// By how much the program's own memory and shared memory grew: without files, without what huge pages added, without what is
/// lazily freed.
fn grown(analysis: &Analysis<'_>) -> Option<i64> {
    let rise = analysis
        .rise(Field::Anon)
        .checked_add(analysis.rise(Field::Shmem))?;
    let huge = total(&analysis.moved(collapsed))?.max(0);
    let lazily = analysis
        .case
        .trend
        .lazyfree()
        .map_or(0, |lazy| lazy.last.value.saturating_sub(lazy.first.value));
    rise.checked_sub(huge)?
        .checked_sub(i64::try_from(lazily).ok()?)
}

fn rate(analysis: &Analysis<'_>, candidate: &mut Candidate) -> Option<String> {
    let (first, last) = (analysis.case.trend.first()?, analysis.case.trend.last()?);
    if last.rss <= first.rss {
        return None;
    }
    candidate.facts.note(
        "rate",
        Unit::BytesPerSecond,
        Formula::PerSecond,
        &[
            &analysis.at(&last, Field::Rss)?,
            &analysis.at(&first, Field::Rss)?,
            &analysis.at(&last, Field::Time)?,
            &analysis.at(&first, Field::Time)?,
        ],
    )
}

/// Which kind of memory.
fn what_kind(analysis: &Analysis<'_>, candidate: &mut Candidate) -> Option<String> {
    let facts = &mut candidate.facts;
    let mut less = |what: &str, field| {
        let (now, start) = (analysis.now(field), analysis.start(field));
        (now.value != start.value)
            .then(|| facts.less(what, Unit::Bytes, &now, &start))
            .flatten()
    };
    let anon = less("anonymous memory rose by", Field::Anon);
    let shmem = less("shared memory rose by", Field::Shmem);
    less("file pages rose by", Field::File);
    if analysis.rise(Field::Shmem) > analysis.rise(Field::Anon) {
        shmem.map(|shmem| format!("{shmem} of it is shared memory (tmpfs, memfd, MAP_SHARED)."))
    } else {
        anon.map(|anon| format!("{anon} of it is the program's own memory."))
    }
}

/// What added, what was given back, and whether more address space was asked for.
fn causes(
    analysis: &Analysis<'_>,
    candidate: &mut Candidate,
    checks: &mut Checks,
    rise: i64,
) -> String {
    let facts = &mut candidate.facts;
    let mut text = String::new();
    let added = facts.sum("causes that added", Unit::Bytes, &analysis.rises(own));
    let falls = analysis.falls(own);
    let fell = facts.sum("causes that gave back", Unit::Bytes, &falls);
    match (added, fell) {
        (Some(added), Some(fell)) => {
            text.push_str(&format!(
                " It took {added}; what it gave back moved RSS by {fell}."
            ));
        }
        (Some(added), None) => {
            text.push_str(&format!(" It took {added}, and gave nothing back."));
        }
        (None, _) => {}
    }
    let asked = analysis.of_calls(new_space, OfCalls::Requested);
    let returned = analysis.of_calls(unmapped, OfCalls::Requested);
    facts.sum("address space asked for", Unit::Bytes, &asked);
    facts.sum("address space given up", Unit::Bytes, &returned);
    let net = total(&asked)
        .zip(total(&returned))
        .and_then(|(asked, returned)| asked.checked_sub(returned));
    if analysis.is_hooked("mmap") && analysis.is_hooked("brk") {
        checks.check(
            net.is_some_and(|net| net >= rise / 2),
            "the program asked the kernel for more address space (mmap, brk) as it grew",
            Level::Medium,
            "it asked for little new address space: it may be using for the first time what it reserved before",
        );
    }
    text
}

/// What the runtime says of its own heap.
fn heap(analysis: &Analysis<'_>, candidate: &mut Candidate, checks: &mut Checks) -> String {
    let trend = analysis.case.trend;
    let name = Who::new(analysis.runtime()).name();
    let (Some(first), Some(last)) = (trend.go_first(), trend.go_last()) else {
        unseen(analysis, name, checks);
        return String::new();
    };
    let figure = |read_index: u64, name: &str, value: Option<u64>| {
        Figure::unsigned(format!("/timeline/{read_index}/go/{name}"), value?)
    };
    let mut differ = |what: &str, unit, field: &str, from: Option<u64>, to: Option<u64>| {
        let (from, to) = (
            figure(first.index, field, from)?,
            figure(last.index, field, to)?,
        );
        candidate.facts.less(what, unit, &to, &from)
    };
    let (old, new) = (first.value, last.value);
    let cycles = differ("collections", Unit::Count, "num_gc", old.num_gc, new.num_gc);
    let heap = differ(
        "Go's HeapAlloc rose by",
        Unit::Bytes,
        "heap_alloc_bytes",
        old.heap_alloc_bytes,
        new.heap_alloc_bytes,
    );
    differ(
        "Go's HeapInuse rose by",
        Unit::Bytes,
        "heap_inuse_bytes",
        old.heap_inuse_bytes,
        new.heap_inuse_bytes,
    );
    let collected = old
        .num_gc
        .zip(new.num_gc)
        .is_some_and(|(old, new)| new >= old.saturating_add(2));
    checks.check(
        collected,
        "Go's collector ran at least twice meanwhile",
        Level::Low,
        "fewer than two collections of Go's heap were seen: what grew may be garbage",
    );
    match (analysis.shape.heap_rises(), heap, cycles) {
        (Some(true), Some(heap), Some(cycles)) => {
            checks.holds("Go's HeapAlloc rises with it, at its lowest too");
            format!(" Go's own heap grew by {heap}, over {cycles} collections: objects are kept.")
        }
        (Some(false), Some(heap), _) => {
            checks.at_most(Level::Medium, "Go's HeapAlloc does not rise with it");
            format!(
                " Go's heap does not grow with it ({heap}): look at goroutines' stacks, C code and mappings."
            )
        }
        _ => String::new(),
    }
}

/// A collector that cannot be looked into.
fn unseen(analysis: &Analysis<'_>, name: &str, checks: &mut Checks) {
    if !matches!(name, "go" | "jvm" | "dotnet" | "node" | "ruby") {
        return;
    }
    let long =
        i64::try_from(analysis.case.capture.duration_ns).is_ok_and(|ns| ns >= UNSEEN_CYCLES.value);
    if long {
        checks.at_most(
            Level::Medium,
            "its collector cannot be looked into from outside: what grew may be garbage",
        );
    } else {
        checks.at_most(
            Level::Low,
            format!(
                "its collector cannot be looked into from outside, and lets a heap grow before it collects: below {} that is a guess",
                rendered(UNSEEN_CYCLES.value, Unit::Ns)
            ),
        );
    }
}

/// A stated size up to which the heap grows by design.
fn ceiling(analysis: &Analysis<'_>, checks: &mut Checks) {
    let who = Who::new(analysis.runtime());
    let names = match who.name() {
        "jvm" => &["-Xmx", "-XX:MaxHeapSize", "-XX:MaxRAMPercentage"][..],
        "node" => &["--max-old-space-size", "--max_old_space_size"],
        "go" => &["GOMEMLIMIT"],
        "dotnet" => &["DOTNET_GCHeapHardLimit", "COMPlus_GCHeapHardLimit"],
        _ => &[],
    };
    let mut set = names.iter().filter_map(|name| who.named(name));
    if let Some((name, value)) = set.next() {
        checks.at_most(
            Level::Medium,
            format!(
                "a heap may grow up to its stated size by design ({} {})",
                quoted(name),
                quoted(value)
            ),
        );
    }
}

/// When the cgroup's limit is met, at this rate.
fn until_limit(analysis: &Analysis<'_>, candidate: &mut Candidate) -> Option<String> {
    let limit = analysis.case.summary.cgroup.as_ref()?.limit_bytes?;
    let (place, figures) = analysis.cgroup_now()?;
    let usage = Figure::unsigned(format!("{place}/usage_bytes"), figures.usage_bytes?)?;
    let limit = Figure::unsigned("/summary/cgroup/limit_bytes", limit)?;
    let (first, last) = (analysis.case.trend.first()?, analysis.case.trend.last()?);
    if last.rss <= first.rss || last.t_ns <= first.t_ns || limit.value <= usage.value {
        return None;
    }
    let time = candidate.facts.note(
        "until the cgroup's limit, at this rate",
        Unit::Ns,
        Formula::TimeUntil,
        &[
            &analysis.at(&last, Field::Rss)?,
            &analysis.at(&first, Field::Rss)?,
            &analysis.at(&last, Field::Time)?,
            &analysis.at(&first, Field::Time)?,
            &limit,
            &usage,
        ],
    )?;
    let limit = candidate.facts.is("cgroup's limit", Unit::Bytes, &limit)?;
    Some(format!(
        " If it goes on like this, its cgroup's limit of {limit} is met in {time}."
    ))
}
