//! The timeline in bounded memory, against a naive one that keeps everything.

use memtrace::{
    model::{Cause, GoFigures, Tick, TickCause},
    timeline::{History, MarkKind, Span},
};
use proptest::{collection::vec, option, prelude::*};

const MS: u64 = 1_000_000;

fn cause() -> impl Strategy<Value = TickCause> {
    let which = prop_oneof![
        Just((Cause::Fault, None, None)),
        Just((Cause::Munmap, None, None)),
        Just((Cause::Madvise, Some("MADV_FREE".to_owned()), None)),
        Just((Cause::Madvise, Some("MADV_DONTNEED".to_owned()), None)),
        "[a-c]".prop_map(|task| (Cause::OtherProcess, None, Some(task))),
    ];
    (
        which,
        option::weighted(0.9, -1000..1000i64),
        -10..10i64,
        option::of(0..100u64),
        option::of(0..10_000u64),
    )
        .prop_map(
            |((cause, advice, task), moved, swap, calls, requested)| TickCause {
                cause,
                advice: advice.map(Into::into),
                task: task.map(Into::into),
                calls,
                requested_bytes: requested,
                rss_delta_bytes: moved,
                swap_delta_bytes: swap,
            },
        )
}

/// A tick, and how long after the one before, ms.
fn tick() -> impl Strategy<Value = (Tick, u64)> {
    (
        0..1_000_000i64,
        option::weighted(0.2, 0..1000u64),
        option::weighted(0.5, 0..1000u64),
        option::weighted(0.9, 0..1000u64),
        vec(cause(), 0..5),
        1..3000u64,
    )
        .prop_map(|(rss, lazyfree, go, faults, mut causes, after)| {
            // A tick has a row once.
            let name = |cause: &TickCause| (cause.cause, cause.advice.clone(), cause.task.clone());
            causes.sort_by_key(name);
            causes.dedup_by_key(|cause| name(cause));
            let tick = Tick {
                t_ns: 0,
                rss_bytes: rss,
                anon_bytes: rss,
                file_bytes: 0,
                shmem_bytes: 0,
                swap_bytes: 0,
                vm_bytes: None,
                lazyfree_bytes: lazyfree,
                anon_huge_bytes: None,
                unexplained_bytes: None,
                unexplained_bound_bytes: None,
                faults,
                causes,
                go: go.map(|bytes| GoFigures {
                    heap_inuse_bytes: Some(bytes),
                    ..GoFigures::default()
                }),
                cgroup: None,
            };
            (tick, after)
        })
}

fn ticks(most: usize) -> impl Strategy<Value = Vec<Tick>> {
    vec(tick(), 1..most).prop_map(|steps| {
        let mut now = 0;
        let at = |(mut tick, after): (Tick, u64)| {
            now += after * MS;
            tick.t_ns = now;
            tick
        };
        steps.into_iter().map(at).collect()
    })
}

/// What a span of these ticks is, worked out from all of them.
fn holds(history: &History, span: &Span, ticks: &[&Tick]) -> Result<(), TestCaseError> {
    let last = ticks
        .last()
        .ok_or_else(|| TestCaseError::fail("an empty span"))?;
    prop_assert_eq!(span.ticks, ticks.len() as u64);
    prop_assert_eq!(span.t_ns, last.t_ns);
    prop_assert_eq!(span.rss_bytes, last.rss_bytes);
    prop_assert_eq!(
        Some(span.rss_lowest_bytes),
        ticks.iter().map(|tick| tick.rss_bytes).min()
    );
    prop_assert_eq!(
        Some(span.rss_highest_bytes),
        ticks.iter().map(|tick| tick.rss_bytes).max()
    );
    let read = ticks
        .iter()
        .rev()
        .find(|tick| tick.lazyfree_bytes.is_some());
    prop_assert_eq!(
        span.lazyfree_bytes,
        read.and_then(|tick| tick.lazyfree_bytes)
    );
    prop_assert_eq!(span.lazyfree_t_ns, read.map(|tick| tick.t_ns));
    let held = |tick: &&&Tick| tick.rss_bytes - tick.lazyfree_bytes.unwrap_or(0) as i64;
    prop_assert_eq!(span.rss_less_lazyfree_bytes, read.as_ref().map(held));
    prop_assert_eq!(span.go, ticks.iter().rev().find_map(|tick| tick.go));
    let faults = ticks.iter().map(|tick| tick.faults).sum::<Option<u64>>();
    prop_assert_eq!(span.faults, faults);
    for (place, name) in history.names().iter().enumerate() {
        let all: Vec<&TickCause> = ticks
            .iter()
            .flat_map(|tick| &tick.causes)
            .filter(|cause| {
                (cause.cause, &cause.advice, &cause.task) == (name.cause, &name.advice, &name.task)
            })
            .collect();
        let found = span
            .causes
            .iter()
            .find(|moved| usize::from(moved.name) == place);
        let Some(moved) = found else {
            prop_assert!(all.is_empty());
            continue;
        };
        let rss = all
            .iter()
            .map(|cause| cause.rss_delta_bytes)
            .sum::<Option<i64>>();
        prop_assert_eq!(moved.rss_delta_bytes, rss);
        prop_assert_eq!(
            moved.swap_delta_bytes,
            all.iter().map(|cause| cause.swap_delta_bytes).sum::<i64>()
        );
        prop_assert_eq!(moved.calls, known(all.iter().map(|cause| cause.calls)));
        prop_assert_eq!(
            moved.requested_bytes,
            known(all.iter().map(|cause| cause.requested_bytes))
        );
    }
    prop_assert!(span.causes.is_sorted_by_key(|moved| moved.name));
    Ok(())
}

/// What is known of some.
fn known(parts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    parts.flatten().reduce(|sum, part| sum + part)
}

fn noted(most: usize, ticks: &[Tick]) -> History {
    let mut history = History::with_spans(most);
    for tick in ticks {
        history.note(tick);
    }
    history
}

fn within<'a>(ticks: &'a [Tick], span: &Span) -> Vec<&'a Tick> {
    let inside = |tick: &&Tick| tick.t_ns > span.from_ns && tick.t_ns <= span.t_ns;
    ticks.iter().filter(inside).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_total_is_that_of_all_ticks(ticks in ticks(200), most in 2..20usize) {
        let history = noted(most, &ticks);
        let all: Vec<&Tick> = ticks.iter().collect();
        let total = history.total().ok_or_else(|| TestCaseError::fail("no total"))?;
        holds(&history, total, &all)?;
        prop_assert_eq!(history.ticks(), ticks.len() as u64);
        prop_assert_eq!(Some(history.last_ns()), ticks.last().map(|tick| tick.t_ns));
    }

    #[test]
    fn spans_are_whole_in_order_and_not_too_many(
        ticks in ticks(300),
        spans in 2..20usize,
        most in 1..30usize,
        window in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let history = noted(spans, &ticks);
        let last = history.last_ns();
        let at = |part: f64| (part * last as f64) as u64;
        let (from, to) = (at(window.0.min(window.1)), at(window.0.max(window.1)));
        let found = history.spans(from, to, most);
        prop_assert!(found.len() <= most);
        for span in &found {
            holds(&history, span, &within(&ticks, span))?;
        }
        for pair in found.windows(2) {
            prop_assert_eq!(pair[0].t_ns, pair[1].from_ns);
        }
        // All of the time that was asked for.
        if let (Some(first), Some(final_one)) = (found.first(), found.last()) {
            prop_assert!(first.from_ns <= from);
            prop_assert!(final_one.t_ns >= to);
        } else {
            prop_assert!(false, "nothing from {} to {} of {}", from, to, last);
        }
        if let Some(sum) = history.sum(from, to) {
            holds(&history, &sum, &within(&ticks, &sum))?;
            prop_assert!(sum.from_ns <= from && sum.t_ns >= to);
        } else {
            prop_assert_eq!(from, to);
        }
    }

    #[test]
    fn it_stays_small_and_the_newest_are_kept_as_they_are(ticks in ticks(400), spans in 2..10usize) {
        let history = noted(spans, &ticks);
        let most = spans.next_multiple_of(2);
        let all = history.spans(0, u64::MAX, usize::MAX);
        // The open one comes on top.
        prop_assert!(all.len() <= most + 1);
        let newest = history.since(0);
        prop_assert!(newest.len() <= most);
        for (span, tick) in newest.iter().rev().zip(ticks.iter().rev()) {
            holds(&history, span, &[tick])?;
        }
        prop_assert_eq!(newest.len(), most.min(ticks.len()));
        let from = history.recent_from_ns();
        prop_assert_eq!(history.sum(from, u64::MAX).map(|sum| sum.ticks), Some(newest.len() as u64));
    }

    #[test]
    fn what_came_after_an_exec_is_taken_in_as_if_it_had_been_noted(
        before in ticks(50),
        after in ticks(50),
        spans in 100..110usize,
    ) {
        let mut appended = noted(spans, &before);
        let at_ns = appended.last_ns() + MS;
        appended.append(&noted(spans, &after), at_ns, &"next".into());
        let mut noted = noted(spans, &before);
        noted.exec(at_ns, &"next".into());
        for tick in &after {
            noted.note(tick);
        }
        prop_assert_eq!(appended.names(), noted.names());
        prop_assert_eq!(appended.ticks(), noted.ticks());
        prop_assert_eq!(appended.last_ns(), noted.last_ns());
        let spans = |history: &History| history.spans(0, u64::MAX, usize::MAX);
        let rest = |spans: Vec<Span>| {
            // The first tick after the exec begins where the program does, or where the tick before was.
            spans.into_iter().map(|span| Span { from_ns: 0, ..span }).collect::<Vec<_>>()
        };
        prop_assert_eq!(rest(spans(&appended)), rest(spans(&noted)));
        let (marks, left_out) = appended.marks();
        let marks: Vec<_> = marks.collect();
        prop_assert_eq!(marks.len(), 1);
        prop_assert_eq!(&marks[0].kind, &MarkKind::Exec("next".into()));
        prop_assert_eq!((marks[0].t_ns, left_out), (at_ns, 0));
    }

    #[test]
    fn gaps_are_ticks_further_apart_than_twice_the_interval(ticks in ticks(100)) {
        let mut history = History::with_spans(1000);
        history.set_interval(1000 * MS);
        let mut gaps = Vec::new();
        let mut before = 0;
        for tick in &ticks {
            let apart = tick.t_ns - before;
            if apart > 2000 * MS {
                gaps.push(apart);
            }
            before = tick.t_ns;
            history.note(tick);
        }
        prop_assert_eq!(history.gaps(), gaps.len() as u64);
        prop_assert_eq!(history.total().map(|total| total.gap_ns), Some(gaps.iter().sum()));
    }
}
