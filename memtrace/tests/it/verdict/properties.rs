//! Any capture has an answer, whose numbers are all in the capture.

use memtrace::{
    model::{
        BridgePart, Bytes4, Capture, Cause, CauseRow, CgroupFigures, CgroupInfo, End, Evidence,
        Formula, GoFigures, HookInfo, HookKind, MappingGroup, MappingKind, Missing, Mode, Returned,
        RuntimeInfo, Tick, TickCause, Unit,
    },
    timeline::read,
    verdict::{Case, Trend, evaluate, judge, judge_epoch},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::scene::{Scene, sound};

/// Figures as they are, and as a hostile file may have them.
fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..(4i64 << 30),
        2 => -(1i64 << 30)..(1 << 30),
        1 => select(vec![0, 1, -1, i64::MIN, i64::MAX, i64::MAX - 1, i64::MIN + 1]),
    ]
}

fn unsigned() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..(4u64 << 30),
        1 => select(vec![0, 1, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1]),
    ]
}

fn maybe() -> impl Strategy<Value = Option<u64>> {
    option::of(unsigned())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/.0-9]{0,12}",
        "\\PC{0,20}",
        Just("\u{1b}[2J\u{202e}\"9 K".to_owned()),
        Just("x 77 ".repeat(400)),
    ]
}

const CAUSES: [Cause; 16] = [
    Cause::Fault,
    Cause::Mmap,
    Cause::Munmap,
    Cause::Mremap,
    Cause::Brk,
    Cause::Madvise,
    Cause::ProcessMadvise,
    Cause::Exec,
    Cause::Exit,
    Cause::IoUring,
    Cause::OtherSyscall,
    Cause::Reclaim,
    Cause::Khugepaged,
    Cause::Ksm,
    Cause::OomReaper,
    Cause::OtherProcess,
];

fn advice() -> impl Strategy<Value = Option<String>> {
    let known = select(vec![
        "MADV_FREE",
        "MADV_DONTNEED",
        "MADV_COLLAPSE",
        "MADV_PAGEOUT",
        "MADV_POPULATE_WRITE",
        "57",
    ]);
    option::of(known.prop_map(str::to_owned))
}

prop_compose! {
    fn kinds()(anon_bytes in signed(), file_bytes in signed(), shmem_bytes in signed(), swap_bytes in signed()) -> Bytes4 {
        Bytes4 { anon_bytes, file_bytes, shmem_bytes, swap_bytes }
    }
}

prop_compose! {
    fn row()(
        cause in select(&CAUSES[..]), advice in advice(), calls in maybe(), requested_bytes in maybe(), time_ns in maybe(),
        rss_delta_bytes in option::of(signed()), by_kind in option::of(kinds()),
    ) -> CauseRow {
        CauseRow {
            cause, advice: advice.map(Into::into), task: None, calls, failed_calls: calls, errnos: Vec::new(), requested_bytes,
            failed_requested_bytes: None, shrunk_bytes: None, time_ns, rss_delta_bytes, by_kind,
        }
    }
}

prop_compose! {
    fn go()(of in [maybe(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe()]) -> GoFigures {
        let [sys_bytes, heap_sys_bytes, heap_alloc_bytes, heap_inuse_bytes, heap_released_bytes, heap_idle_bytes, stack_inuse_bytes, num_gc] = of;
        GoFigures { sys_bytes, heap_sys_bytes, heap_alloc_bytes, heap_inuse_bytes, heap_released_bytes, heap_idle_bytes, stack_inuse_bytes, num_gc }
    }
}

prop_compose! {
    fn cgroup_figures()(of in [maybe(), maybe(), maybe(), maybe(), maybe()]) -> CgroupFigures {
        let [usage_bytes, working_set_bytes, inactive_file_bytes, oom_kills, limit_hits] = of;
        CgroupFigures { usage_bytes, working_set_bytes, inactive_file_bytes, oom_kills, limit_hits, ..CgroupFigures::default() }
    }
}

prop_compose! {
    fn tick()(
        t_ns in prop_oneof![4 => 0..300_000_000_000u64, 1 => unsigned()],
        rss_bytes in signed(), kinds in kinds(), lazyfree_bytes in maybe(), anon_huge_bytes in maybe(),
        causes in vec((select(&CAUSES[..]), advice(), maybe(), option::of(signed())), 0..4),
        go in option::of(go().boxed()), cgroup in option::of(cgroup_figures().boxed()),
    ) -> Tick {
        Tick {
            t_ns, rss_bytes, anon_bytes: kinds.anon_bytes, file_bytes: kinds.file_bytes, shmem_bytes: kinds.shmem_bytes,
            swap_bytes: kinds.swap_bytes, vm_bytes: None, lazyfree_bytes, anon_huge_bytes, unexplained_bytes: None,
            unexplained_bound_bytes: None, faults: None,
            causes: causes.into_iter().map(|(cause, advice, calls, rss_delta_bytes)| TickCause {
                cause, advice: advice.map(Into::into), task: None, calls, requested_bytes: None, rss_delta_bytes, swap_delta_bytes: 0,
            }).collect(),
            go, cgroup,
        }
    }
}

prop_compose! {
    fn runtime()(
        name in option::of(prop_oneof![select(vec!["go", "jvm", "node", "python", "ruby", "dotnet"]).prop_map(str::to_owned), text()]),
        version in option::of(prop_oneof![select(vec!["go1.15.15", "go1.22.1", "17.0.2", "1.8.0_1"]).prop_map(str::to_owned), text()]),
        allocator in option::of(prop_oneof![select(vec!["glibc", "jemalloc", "tcmalloc", "gperftools", "mimalloc"]).prop_map(str::to_owned), text()]),
        settings in proptest::collection::btree_map(
            select(vec!["GODEBUG", "GOMEMLIMIT", "-Xmx", "MALLOC_CONF"]).prop_map(str::to_owned), text(), 0..3),
        missing in vec(text(), 0..3),
    ) -> RuntimeInfo {
        RuntimeInfo {
            name: name.map(Into::into), version: version.map(Into::into), allocator: allocator.map(Into::into),
            settings: settings.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            missing: missing.iter().map(|text| Missing::new(text.clone(), text.clone())).collect(),
            ..RuntimeInfo::default()
        }
    }
}

type Surroundings = (
    Option<CgroupInfo>,
    Option<Vec<MappingGroup>>,
    Vec<BridgePart>,
    Option<Returned>,
);

fn surroundings() -> impl Strategy<Value = Surroundings> {
    let cgroup = (
        maybe(),
        option::of(cgroup_figures()),
        option::of(cgroup_figures()),
    )
        .prop_map(|(limit_bytes, start, end)| CgroupInfo {
            version: 2,
            limit_bytes,
            start,
            end,
            ..CgroupInfo::default()
        });
    let kind = select(vec![
        MappingKind::File,
        MappingKind::Shmem,
        MappingKind::Anon,
    ]);
    let mapping = (kind, text(), unsigned()).prop_map(|(kind, name, rss_bytes)| MappingGroup {
        kind,
        name: name.into(),
        mappings: 1,
        size_bytes: rss_bytes,
        rss_bytes,
        anon_bytes: 0,
        lazyfree_bytes: 0,
        anon_huge_bytes: 0,
        swap_bytes: 0,
    });
    let part = (text(), signed()).prop_map(|(part, bytes)| BridgePart {
        part: part.into(),
        bytes,
        source: String::new().into(),
    });
    let returned = (option::of(signed()), option::of(signed())).prop_map(|(one, other)| Returned {
        discarded_bytes: one,
        reacquired_bytes: other,
        ..Returned::default()
    });
    (
        option::of(cgroup),
        option::of(vec(mapping, 0..6)),
        vec(part, 0..4),
        option::of(returned),
    )
}

prop_compose! {
    fn capture()(
        ticks in vec(tick().boxed(), 0..40), rows in vec(row().boxed(), 0..12), runtime in option::of(runtime().boxed()),
        (cgroup, mappings, bridge, returned) in surroundings().boxed(),
        start in kinds().boxed(), end in kinds().boxed(), rss in [signed(), signed()],
        lazyfree in maybe(), huge in maybe(), duration in prop_oneof![0..200_000_000_000u64, unsigned()],
        exact in any::<bool>(), ended in select(vec![End::Duration, End::TargetExited, End::Exec, End::Interrupted]),
        unexplained in option::of(signed()), lost in unsigned(), words in [text().boxed(), text().boxed(), text().boxed()],
    ) -> Capture {
        let mut scene = Scene::flat(1, 10);
        let [one, two, three] = words;
        let epoch = scene.epoch();
        epoch.timeline = ticks;
        epoch.target.runtime = runtime;
        epoch.target.exe = Some(one.clone().into());
        epoch.capture.duration_ns = duration;
        epoch.capture.mode = if exact { Mode::Exact } else { Mode::Approximate };
        epoch.capture.mode_note = Some(two.into());
        epoch.capture.end = ended;
        epoch.capture.lost_events = lost;
        epoch.capture.hooks = vec![
            HookInfo { name: one.into(), kind: None, error: Some(three.clone().into()), fallback: None },
            HookInfo { name: "mmap".into(), kind: Some(HookKind::Fentry), error: None, fallback: None },
        ];
        let summary = &mut epoch.summary;
        (summary.start, summary.end) = (start, end);
        [summary.rss_start_bytes, summary.rss_end_bytes] = rss;
        summary.lazyfree_bytes = lazyfree;
        summary.lazyfree_missing = Some(three.into());
        summary.anon_huge_bytes = huge;
        summary.unexplained_bytes = unexplained;
        summary.causes = rows;
        (summary.cgroup, summary.mappings, summary.bridge, summary.returned) = (cgroup, mappings, bridge, returned);
        scene.capture
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_capture_has_an_answer_and_its_numbers_are_in_it(capture in capture().boxed()) {
        let verdict = judge_epoch(&capture.host, &capture.epoch);
        sound(&capture.epoch, &verdict);
    }

    #[test]
    fn the_answer_to_a_file_is_that_to_what_was_written(capture in capture().boxed()) {
        let mut bytes = Vec::new();
        memtrace::export::json::write(&capture, &mut bytes).unwrap();
        let again = read(&bytes[..]).unwrap();
        let before = judge_epoch(&capture.host, &capture.epoch);
        prop_assert_eq!(&before, &judge_epoch(&again.host, &again.epoch));
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for evidence in &before.evidence {
            prop_assert_eq!(evaluate(evidence, &file), Some(evidence.value), "{:?}", evidence);
        }
    }

    /// A live capture feeds ticks as they come, and keeps none.
    #[test]
    fn a_stream_gives_the_digest_of_the_file(ticks in vec(tick().boxed(), 0..60), times in 1..60usize) {
        let long: Vec<Tick> = ticks.iter().cycle().take(ticks.len() * times).cloned().collect();
        let mut trend = Trend::new();
        for tick in &long {
            trend.note(tick);
            prop_assert!(trend.history().len() <= 512);
        }
        prop_assert_eq!(trend.ticks(), long.len() as u64);
        prop_assert_eq!(&trend, &Trend::of(&long));
        let marks: Vec<u64> = trend.history().iter().map(|point| point.index).collect();
        prop_assert!(marks.is_sorted_by(|one, other| one < other));
        for point in trend.history().iter().chain(trend.first().iter()).chain(trend.highest().iter()) {
            let tick = &long[usize::try_from(point.index).unwrap()];
            prop_assert_eq!((point.rss, point.t_ns), (tick.rss_bytes, tick.t_ns));
        }
        let capture = Scene::flat(1, 10).capture;
        let epoch = &capture.epoch;
        let case = Case {
            host: &capture.host,
            target: &epoch.target,
            capture: &epoch.capture,
            summary: &epoch.summary,
            trend: &trend,
        };
        let mut whole = epoch.clone();
        whole.timeline = long;
        prop_assert_eq!(judge(&case), judge_epoch(&capture.host, &whole));
    }

    #[test]
    fn a_formula_over_any_numbers_is_a_number_or_none(parts in vec(signed(), 0..8)) {
        let epoch = serde_json::json!({ "parts": parts });
        for formula in [Formula::Sum, Formula::Difference, Formula::PerSecond, Formula::Percent, Formula::TimeUntil] {
            let evidence = Evidence {
                what: String::new().into(),
                value: 0,
                unit: Unit::Count,
                formula,
                from: (0..parts.len()).map(|place| format!("/parts/{place}")).collect(),
            };
            let result = evaluate(&evidence, &epoch);
            if formula == Formula::Sum && !parts.is_empty() {
                let sum: i128 = parts.iter().map(|&part| i128::from(part)).sum();
                prop_assert_eq!(result, i64::try_from(sum).ok());
            }
        }
    }
}

#[test]
fn a_week_of_ticks_is_as_small_as_a_minute() {
    let scene = Scene::flat(2, 100);
    let template = scene.capture.epoch.timeline[0].clone();
    let mut trend = Trend::new();
    for second in 0..600_000u64 {
        let mut tick = template.clone();
        tick.t_ns = second * 1_000_000_000;
        tick.rss_bytes += second as i64 * 4096;
        trend.note(&tick);
    }
    assert!((256..=512).contains(&trend.history().len()));
    assert_eq!(trend.last().unwrap().index, 599_999);
}

#[test]
fn degenerate_captures_have_answers() {
    for extreme in [0, i64::MIN, i64::MAX] {
        let scene = Scene::flat(10, 100).with(|epoch| {
            for tick in &mut epoch.timeline {
                tick.rss_bytes = extreme;
                tick.anon_bytes = extreme;
            }
            epoch.summary.rss_start_bytes = extreme.wrapping_neg();
            epoch.summary.rss_end_bytes = extreme;
            epoch.summary.end.anon_bytes = extreme;
        });
        let _ = scene.judge();
    }
}
