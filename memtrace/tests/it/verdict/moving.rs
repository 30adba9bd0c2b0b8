//! RSS moves: given back, swapped out, reclaimed, collapsed, back and forth.

use memtrace::model::{Cause, Level, Returned, Verdict};

use super::scene::{MIB, Scene};

fn also(verdict: &Verdict, id: &str) -> bool {
    verdict.also.iter().any(|finding| finding.id == id)
}

/// Up to 500 MiB, and down at half time.
fn bump(low: i64, after: i64) -> Scene {
    let rss: Vec<i64> = (0..=40)
        .map(|at| match at {
            0..5 => low,
            5..20 => 500,
            _ => after,
        })
        .collect();
    Scene::new(40, &rss).moved(Cause::Fault, None, 500 - low)
}

// --- released -------------------------------------------------------------------------------------------------------------

#[test]
fn what_was_given_back_is_fine() {
    let verdict = bump(100, 120)
        .called(Cause::Madvise, Some("MADV_DONTNEED"), 90, 380, -380)
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("released", Level::High)
    );
    assert_eq!(verdict.title, "It went down: RSS fell by 380.0M, to 120.0M");
    assert!(verdict.suggestions.is_empty());
}

#[test]
fn a_peak_that_hardly_went_was_not_released() {
    // 80 of 400 MiB.
    let verdict = bump(100, 420)
        .called(Cause::Munmap, None, 9, 80, -80)
        .judge();
    assert_ne!(verdict.id, "released");
    assert!(!also(&verdict, "released"));
}

#[test]
fn in_the_approximate_mode_a_fall_is_a_fall() {
    let verdict = bump(100, 120)
        .called(Cause::Munmap, None, 90, 380, -380)
        .approximate()
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("released", Level::Medium)
    );
}

#[test]
fn the_end_of_a_process_is_no_release() {
    let verdict = Scene::flat(30, 500).exited().judge();
    assert_eq!(verdict.id, "idle");
    assert!(!also(&verdict, "released"));
}

// --- swapped, reclaimed -----------------------------------------------------------------------------------------------------

fn swapped_out() -> Scene {
    let kinds: Vec<_> = (0..=40)
        .map(|at| {
            if at < 20 {
                [500, 4, 0, 0]
            } else {
                [100, 4, 0, 400]
            }
        })
        .collect();
    Scene::of_kinds(40, &kinds)
}

#[test]
fn swap_is_not_freed() {
    let by_reclaim = swapped_out()
        .moved(Cause::Reclaim, None, -400)
        .swapping(400)
        .judge();
    assert_eq!(
        (by_reclaim.id.raw(), by_reclaim.confidence.level),
        ("swapped", Level::High)
    );
    assert!(
        by_reclaim.text.raw().contains("still holds 504.0M"),
        "{}",
        by_reclaim.text
    );
    assert!(!also(&by_reclaim, "released"));
    let by_advice = swapped_out()
        .called(Cause::Madvise, Some("MADV_PAGEOUT"), 1, 400, -400)
        .swapping(400)
        .judge();
    assert_eq!(by_advice.id, "swapped");
    assert!(
        !also(&by_advice, "released"),
        "swapped out is not given back"
    );
}

#[test]
fn what_was_in_swap_before_is_said_beside() {
    let verdict = Scene::of_kinds(40, &vec![[300, 4, 0, 200]; 41]).judge();
    assert_eq!(verdict.id, "swapped");
    assert_eq!(verdict.title, "200.0M of it are in swap");
    let little = Scene::of_kinds(40, &vec![[300, 4, 0, 10]; 41]).judge();
    assert_eq!(little.id, "idle");
}

fn reclaimed() -> Scene {
    let rss: Vec<i64> = (0..=40).map(|at| if at < 20 { 500 } else { 200 }).collect();
    Scene::new(40, &rss).moved(Cause::Reclaim, None, -300)
}

#[test]
fn what_reclaim_took_tells_that_memory_is_short() {
    let verdict = reclaimed()
        .cgroup(400, 390, 10)
        .with(|epoch| {
            let end = epoch.summary.cgroup.as_mut().unwrap().end.as_mut().unwrap();
            end.limit_hits = Some(60);
            epoch.summary.returned = Some(Returned {
                discarded_bytes: Some(300 * MIB),
                ..Returned::default()
            });
        })
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("reclaimed-under-pressure", Level::High)
    );
    assert!(
        verdict.text.raw().contains("met its limit 50 times"),
        "{}",
        verdict.text
    );
    assert!(
        verdict
            .text
            .raw()
            .contains("300.0M of it had been given back with MADV_FREE"),
        "{}",
        verdict.text
    );
    assert!(!also(&verdict, "released"), "the program did not do that");
    assert!(also(&verdict, "cgroup-limit"));
}

#[test]
fn a_little_reclaim_is_daily_life() {
    let verdict = Scene::flat(40, 500)
        .moved(Cause::Reclaim, None, -20)
        .judge();
    assert_eq!(verdict.id, "idle");
}

#[test]
fn without_the_cgroup_who_is_short_is_not_known() {
    let verdict = reclaimed().judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("reclaimed-under-pressure", Level::Medium)
    );
}

// --- thp-inflation --------------------------------------------------------------------------------------------------------

fn inflated(cause: Cause, advice: Option<&str>) -> Scene {
    let rss: Vec<i64> = (0..=40).map(|at| 100 + 10 * at.min(30)).collect();
    Scene::new(40, &rss)
        .moved(Cause::Fault, None, 20)
        .moved(cause, advice, 280)
        .with(|epoch| {
            epoch.timeline[0].anon_huge_bytes = Some(0);
            epoch.summary.anon_huge_bytes = Some(390 << 20);
        })
}

#[test]
fn huge_pages_that_were_not_asked_for() {
    for (cause, advice) in [
        (Cause::Khugepaged, None),
        (Cause::Madvise, Some("MADV_COLLAPSE")),
        (Cause::ProcessMadvise, Some("MADV_COLLAPSE")),
    ] {
        let verdict = inflated(cause, advice).go("go1.21.1").judge();
        assert_eq!(
            (verdict.id.raw(), verdict.confidence.level),
            ("thp-inflation", Level::High)
        );
        assert!(
            verdict
                .text
                .raw()
                .contains("390.0M of RSS are in huge pages now"),
            "{}",
            verdict.text
        );
        assert!(!also(&verdict, "growing"), "{cause:?}");
        assert!(
            verdict
                .suggestions
                .iter()
                .any(|line| line.text.raw().contains("upgrade"))
        );
    }
}

#[test]
fn huge_pages_advice_is_by_version() {
    let advised = |version: &str| {
        let verdict = inflated(Cause::Khugepaged, None).go(version).judge();
        verdict
            .suggestions
            .iter()
            .any(|line| line.setting.as_ref().map(|it| it.raw()) == Some("GODEBUG=disablethp=1"))
    };
    assert!(advised("go1.21.6") && advised("go1.22.0") && advised("go1.24.1"));
    assert!(!advised("go1.21.5") && !advised("go1.19"));
}

#[test]
fn many_huge_pages_alone_are_no_inflation() {
    let rss: Vec<i64> = (0..=40).map(|at| 100 + 10 * at.min(10)).collect();
    let verdict = Scene::new(40, &rss)
        .moved(Cause::Fault, None, 95)
        .moved(Cause::Khugepaged, None, 5)
        .with(|epoch| epoch.summary.anon_huge_bytes = Some(190 << 20))
        .judge();
    assert_ne!(verdict.id, "thp-inflation");
    assert!(!also(&verdict, "thp-inflation"));
}

// --- churn ------------------------------------------------------------------------------------------------------------------

/// 200 MiB up and down, every four seconds.
fn back_and_forth() -> Scene {
    let rss: Vec<i64> = (0..=60)
        .map(|at| if at / 2 % 2 == 0 { 100 } else { 300 })
        .collect();
    Scene::new(60, &rss)
        .moved(Cause::Fault, None, 3000)
        .called(Cause::Munmap, None, 1500, 3000, -3000)
        .with(|epoch| {
            epoch.summary.faults.user = Some(768_000);
            epoch.summary.faults.kernel = Some(12);
        })
}

#[test]
fn what_goes_back_and_forth_has_a_price() {
    let verdict = back_and_forth().runtime(None, None, Some("glibc")).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("churn", Level::High)
    );
    assert!(
        verdict
            .text
            .raw()
            .contains("cost 768012 page faults, and 1500 calls, which took 15 ms"),
        "{}",
        verdict.text
    );
}

#[test]
fn churn_faster_than_the_ticks_is_seen_in_the_ledger() {
    let verdict = Scene::flat(30, 200)
        .moved(Cause::Fault, None, 5000)
        .called(Cause::Munmap, None, 1500, 5000, -5000)
        .judge();
    assert_eq!(verdict.id, "churn");
}

#[test]
fn up_and_down_once_is_no_churn() {
    let verdict = bump(100, 100)
        .called(Cause::Munmap, None, 9, 400, -400)
        .judge();
    assert_eq!(verdict.id, "released");
    assert!(!also(&verdict, "churn"));
}

#[test]
fn up_and_down_twice_is_no_churn() {
    let rss: Vec<i64> = (0..=40)
        .map(|at| if at / 10 % 2 == 1 { 500 } else { 100 })
        .collect();
    let verdict = Scene::new(40, &rss)
        .moved(Cause::Fault, None, 800)
        .called(Cause::Munmap, None, 9, 800, -800)
        .judge();
    assert_eq!(verdict.id, "released");
    assert!(!also(&verdict, "churn"));
}

#[test]
fn without_a_ledger_the_ticks_alone_are_a_guess() {
    let verdict = back_and_forth().approximate().judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("churn", Level::Low)
    );
    let calm = bump(100, 100).approximate().judge();
    assert!(!also(&calm, "churn") && calm.id != "churn");
}
