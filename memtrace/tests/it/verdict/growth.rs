//! It grows, or it only looks so. The worst mistake is to accuse a program of a leak that it has not.

use memtrace::model::{Cause, Level, Verdict};

use super::scene::Scene;

fn also(verdict: &Verdict, id: &str) -> bool {
    verdict.also.iter().any(|finding| finding.id == id)
}

fn because(verdict: &Verdict, part: &str) -> bool {
    verdict
        .confidence
        .because
        .iter()
        .any(|line| line.raw().contains(part))
}

/// A leak of 2 MiB a second, by a native program.
fn leak(seconds: u64) -> Scene {
    let rss: Vec<i64> = (0..=seconds as i64).map(|at| 100 + 2 * at).collect();
    let grown = 2 * seconds as i64;
    Scene::new(seconds, &rss)
        .runtime(None, None, Some("glibc"))
        .moved(Cause::Fault, None, grown)
        .called(Cause::Brk, None, 50, grown as u64, 0)
}

#[test]
fn a_leak_is_called_growth_with_its_rate() {
    let verdict = leak(120).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("growing", Level::High)
    );
    assert_eq!(
        verdict.title,
        "RSS grows: by 240.0M in 2 min 0 s, without levelling off"
    );
    assert!(
        verdict.text.raw().contains("The average is 2048K/s."),
        "{}",
        verdict.text
    );
    assert!(
        verdict.text.raw().contains("gave nothing back"),
        "{}",
        verdict.text
    );
    assert!(because(&verdict, "asked the kernel for more address space"));
    assert!(!also(&verdict, "startup") && !also(&verdict, "allocator-holds"));
}

#[test]
fn a_short_capture_that_grows_is_a_guess() {
    let verdict = leak(5).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("growing", Level::Low)
    );
    assert!(
        verdict.title.raw().contains("too early to call it a leak"),
        "{}",
        verdict.title
    );
    assert_eq!(
        verdict.suggestions[0].setting.as_ref().map(|it| it.raw()),
        Some("--duration 10m")
    );
    assert_eq!(leak(30).judge().confidence.level, Level::Medium);
}

#[test]
fn growth_of_a_large_process_is_seen_where_it_is_a_small_part() {
    let rss: Vec<i64> = (0..=300).map(|at| 20_000 + 2 * at).collect();
    let verdict = Scene::new(300, &rss)
        .moved(Cause::Fault, None, 600)
        .called(Cause::Mmap, None, 10, 640, 0)
        .lazyfree(1500)
        .judge();
    assert_eq!(verdict.id, "growing");
    assert!(also(&verdict, "lazy-free"));
}

#[test]
fn a_plateau_is_no_growth() {
    for (seconds, until) in [(60, 20), (600, 100), (60, 38)] {
        let rss: Vec<i64> = (0..=seconds).map(|at| 100 + 5 * at.min(until)).collect();
        let verdict = Scene::new(seconds as u64, &rss)
            .moved(Cause::Fault, None, 5 * until)
            .judge();
        assert_ne!(verdict.id, "growing", "{seconds} {until}");
        assert!(!also(&verdict, "growing"), "{seconds} {until}");
    }
}

#[test]
fn growth_that_slows_down_is_a_guess() {
    // Towards 500 MiB, as a cache that fills.
    let rss: Vec<i64> = (0..=90)
        .map(|at| 500 - (400.0 * (-f64::from(at) / 40.0).exp()) as i64)
        .collect();
    let verdict = Scene::new(90, &rss).moved(Cause::Fault, None, 360).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("growing", Level::Low)
    );
    assert!(because(&verdict, "slowing down"));
}

#[test]
fn a_collectors_sawtooth_is_no_growth() {
    let rss: Vec<i64> = (0..=120).map(|at| 100 + (at % 20) * 10).collect();
    for seen in [120, 119, 115] {
        let verdict = Scene::new(seen, &rss[..=seen as usize])
            .go("go1.22.1")
            .moved(Cause::Fault, None, 1200)
            .moved(Cause::Madvise, Some("MADV_DONTNEED"), -1100)
            .judge();
        assert_ne!(verdict.id, "growing", "{seen}");
        assert!(!also(&verdict, "growing"), "{seen}");
    }
}

#[test]
fn a_peak_that_went_leaves_no_growth_behind() {
    // The floors of the thirds rise: 4, 10, 60 MiB; what is highest in them falls.
    let rss: Vec<i64> = (0..=30)
        .map(|at| match at {
            0 => 4,
            1..=3 => 204,
            4..=15 => 10,
            16..=20 => 60,
            _ => 104,
        })
        .collect();
    let verdict = Scene::new(30, &rss)
        .moved(Cause::Fault, None, 300)
        .called(Cause::Madvise, Some("MADV_DONTNEED"), 2, 400, -200)
        .judge();
    assert_eq!(verdict.id, "released");
    assert!(!also(&verdict, "growing"));
}

#[test]
fn a_leak_under_a_sawtooth_is_growth() {
    let rss: Vec<i64> = (0..=120).map(|at| 100 + (at % 10) * 5 + 2 * at).collect();
    let verdict = Scene::new(120, &rss)
        .moved(Cause::Fault, None, 900)
        .moved(Cause::Madvise, Some("MADV_DONTNEED"), -660)
        .called(Cause::Mmap, None, 10, 640, 0)
        .judge();
    assert!(
        verdict.id == "growing" || also(&verdict, "growing"),
        "{}",
        verdict.id
    );
}

#[test]
fn gos_own_heap_settles_whether_objects_are_kept() {
    let heap = |alloc: fn(u64) -> u64, cycles: fn(u64) -> u64| {
        leak(120)
            .go("go1.22.1")
            .heap(|at| {
                let alloc = alloc(at as u64);
                [alloc + 10, alloc, 20, 10, cycles(at as u64)]
            })
            .judge()
    };
    let kept = heap(|at| 80 + 2 * at, |at| at / 10);
    assert_eq!(
        (kept.id.raw(), kept.confidence.level),
        ("growing", Level::High)
    );
    assert!(
        kept.text
            .raw()
            .contains("over 11 collections: objects are kept"),
        "{}",
        kept.text
    );

    let elsewhere = heap(|_| 80, |at| at / 10);
    assert_eq!(elsewhere.confidence.level, Level::Medium);
    assert!(
        elsewhere.text.raw().contains("does not grow with it"),
        "{}",
        elsewhere.text
    );

    let garbage = heap(|at| 80 + 2 * at, |_| 4);
    assert_eq!(
        (garbage.id.raw(), garbage.confidence.level),
        ("growing", Level::Low)
    );
    assert!(
        garbage.title.raw().contains("too early"),
        "{}",
        garbage.title
    );
    assert!(because(&garbage, "may be garbage"));
}

#[test]
fn a_collector_that_cannot_be_looked_into_makes_it_a_guess() {
    for name in ["jvm", "node", "dotnet", "ruby", "go"] {
        let runtime = |seconds| {
            leak(seconds)
                .runtime(Some(name), Some("17.0.2"), None)
                .judge()
        };
        assert_eq!(runtime(120).confidence.level, Level::Low, "{name}");
        assert!(runtime(120).title.raw().contains("too early"), "{name}");
        assert_eq!(runtime(900).confidence.level, Level::Medium, "{name}");
    }
    // Python counts references: it frees at once.
    assert_eq!(
        leak(120)
            .runtime(Some("python"), Some("3.12.1"), None)
            .judge()
            .confidence
            .level,
        Level::High
    );
}

#[test]
fn a_heap_may_grow_to_its_stated_size() {
    let verdict = leak(120)
        .go("go1.22.1")
        .setting("GOMEMLIMIT", "2GiB")
        .heap(|at| {
            [
                90 + 2 * at as u64,
                80 + 2 * at as u64,
                20,
                10,
                at as u64 / 10,
            ]
        })
        .judge();
    assert_eq!(verdict.confidence.level, Level::Medium);
    assert!(because(&verdict, "\"GOMEMLIMIT\" \"2GiB\""));
    let advised: Vec<_> = verdict
        .suggestions
        .iter()
        .filter_map(|line| line.setting.as_ref().map(|it| it.raw()))
        .collect();
    assert!(!advised.contains(&"GOMEMLIMIT=SIZE"), "it is set already");
}

#[test]
fn reserved_memory_used_for_the_first_time_is_less_sure() {
    let rss: Vec<i64> = (0..=120).map(|at| 100 + 2 * at).collect();
    let verdict = Scene::new(120, &rss).moved(Cause::Fault, None, 240).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("growing", Level::Medium)
    );
    assert!(because(&verdict, "reserved before"));
}

#[test]
fn what_is_lazily_freed_meanwhile_does_not_grow() {
    let scene = leak(120)
        .with(|epoch| {
            for (at, tick) in epoch.timeline.iter_mut().enumerate() {
                tick.lazyfree_bytes = Some((at as u64 * 2) << 20);
            }
        })
        .lazyfree(238);
    let verdict = scene.judge();
    assert_eq!(verdict.id, "lazy-free");
    assert!(!also(&verdict, "growing"));
}

#[test]
fn the_approximate_mode_sees_growth_and_is_less_sure() {
    let verdict = leak(120).approximate().judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("growing", Level::Medium)
    );
    assert!(because(&verdict, "approximate mode"));
}

#[test]
fn a_process_that_grew_until_it_ended_was_growing() {
    let verdict = leak(120).exited().judge();
    assert_eq!(verdict.id, "growing");
    assert!(!also(&verdict, "released"), "an exit is no release");
}

#[test]
fn the_cgroups_limit_is_met_in_time() {
    // 2 MiB a second, 1200 MiB to go.
    let verdict = leak(120).cgroup(2000, 800, 0).judge();
    assert_eq!(verdict.id, "growing");
    assert!(
        verdict
            .text
            .raw()
            .contains("limit of 1.95G is met in 10 min 0 s"),
        "{}",
        verdict.text
    );
    let finding = verdict
        .also
        .iter()
        .find(|finding| finding.id == "cgroup-limit")
        .unwrap();
    assert!(
        finding.title.raw().contains("is met in 10 min 0 s"),
        "{}",
        finding.title
    );
}

// --- startup --------------------------------------------------------------------------------------------------------------

#[test]
fn a_program_that_started_has_started() {
    let rss: Vec<i64> = (0..=60)
        .map(|at| if at == 0 { 4 } else { 4 + (20 * at).min(200) })
        .collect();
    let verdict = Scene::new(60, &rss)
        .moved(Cause::Exec, None, 1)
        .moved(Cause::Fault, None, 199)
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("startup", Level::High)
    );
    assert_eq!(verdict.title, "It started, and has levelled off at 204.0M");
}

#[test]
fn what_was_populated_came_without_faults() {
    let rss: Vec<i64> = (0..=20).map(|at| if at < 2 { 4 } else { 204 }).collect();
    let verdict = Scene::new(20, &rss)
        .moved(Cause::Exec, None, 1)
        .called(Cause::Madvise, Some("MADV_POPULATE_WRITE"), 1, 100, 100)
        .called(Cause::Mmap, None, 9, 100, 100)
        .judge();
    assert_eq!(verdict.id, "startup");
    assert!(
        verdict
            .text
            .raw()
            .contains("200.0M came at once, without page faults"),
        "{}",
        verdict.text
    );
}

#[test]
fn a_program_that_goes_on_growing_has_not_started_only() {
    let rss: Vec<i64> = (0..=60).map(|at| 4 + 5 * at).collect();
    let verdict = Scene::new(60, &rss)
        .moved(Cause::Exec, None, 1)
        .moved(Cause::Fault, None, 300)
        .judge();
    assert_eq!(verdict.id, "growing");
    assert!(!also(&verdict, "startup"));
}
