//! RSS is high, and does not move: lazily freed, kept by an allocator, files, shared memory, nothing at all.

use memtrace::model::{Cause, End, Level, MappingKind, Verdict};

use super::scene::{MIB, Scene};

fn also<'a>(verdict: &'a Verdict, id: &str) -> Option<&'a memtrace::model::Finding> {
    verdict.also.iter().find(|finding| finding.id == id)
}

fn settings(verdict: &Verdict) -> Vec<&str> {
    let settings = verdict.suggestions.iter();
    settings
        .filter_map(|line| line.setting.as_ref().map(|it| it.raw()))
        .collect()
}

fn because(verdict: &Verdict, part: &str) -> bool {
    verdict
        .confidence
        .because
        .iter()
        .any(|line| line.raw().contains(part))
}

// --- lazy-free ---------------------------------------------------------------------------------------------------------

/// The article's case.
fn article() -> Scene {
    Scene::flat(60, 1200)
        .go("go1.15.15")
        .expects("go", "MADV_FREE", "Go 1.12 to 1.15 use MADV_FREE")
        .called(Cause::Madvise, Some("MADV_FREE"), 3000, 1100, 0)
        .lazyfree(1024)
}

#[test]
fn what_is_lazily_freed_is_no_leak() {
    let verdict = article().judge();
    assert_eq!(verdict.id, "lazy-free");
    assert_eq!(verdict.confidence.level, Level::High);
    assert_eq!(
        verdict.title,
        "Not a leak: 1.00G of 1.17G RSS has been given back already"
    );
    assert!(
        verdict.text.raw().contains("still holds is 176.0M"),
        "{}",
        verdict.text
    );
    assert!(because(&verdict, "Go 1.12 to 1.15 use MADV_FREE"));
    assert_eq!(settings(&verdict), ["GODEBUG=madvdontneed=1"]);
    assert!(verdict.suggestions[0].text.raw().starts_with("Do nothing"));
}

#[test]
fn two_idle_seconds_are_enough_for_lazily_freed_memory() {
    let verdict = Scene::flat(2, 1200).lazyfree(1024).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("lazy-free", Level::High)
    );
    assert!(because(&verdict, "before the capture began"));
}

#[test]
fn a_little_of_it_is_no_answer() {
    // 4 % of RSS.
    assert_eq!(Scene::flat(60, 1200).lazyfree(50).judge().id, "idle");
    // Less than noise.
    assert_eq!(Scene::flat(60, 10).lazyfree(0).judge().id, "idle");
    // More than there is of RSS: figures of two moments.
    assert_ne!(Scene::flat(60, 100).lazyfree(101).judge().id, "lazy-free");
}

#[test]
fn without_lazyfree_the_calls_are_a_hint_and_no_more() {
    let verdict = article().no_smaps().judge();
    assert_eq!(verdict.id, "lazy-free");
    assert_eq!(verdict.confidence.level, Level::Low);
    assert!(
        !verdict.title.raw().contains("Not a leak"),
        "{}",
        verdict.title
    );
    let missing = verdict
        .missing
        .iter()
        .find(|missing| missing.what == "LazyFree")
        .unwrap();
    assert_eq!(missing.why, "--no-smaps was given");
}

#[test]
fn an_earlier_reading_stands_in_for_the_end_and_says_so() {
    let scene = Scene::flat(60, 1200).no_smaps().with(|epoch| {
        epoch.timeline[10].lazyfree_bytes = Some(100 << 20);
        epoch.timeline[40].lazyfree_bytes = Some(900 << 20);
    });
    let verdict = scene.judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("lazy-free", Level::Medium)
    );
    assert!(verdict.evidence[0].from[0].contains("/timeline/40/"));
}

#[test]
fn a_reading_before_much_was_freed_does_not_say_that_nothing_happened() {
    let freed_at = |tick: usize| {
        Scene::flat(60, 1200)
            .called(Cause::Madvise, Some("MADV_FREE"), 10, 900, 0)
            .at(tick, Cause::Madvise, Some("MADV_FREE"), 10, 0)
            .no_smaps()
            .with(|epoch| {
                epoch.timeline[tick].causes[0].requested_bytes = Some(900 << 20);
                epoch.timeline[40].lazyfree_bytes = Some(0);
            })
    };
    let verdict = freed_at(50).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("lazy-free", Level::Low)
    );
    assert!(
        verdict
            .missing
            .iter()
            .any(|missing| missing.what == "LazyFree")
    );
    // What was freed before it was read is in it, also at the same tick.
    assert_eq!(freed_at(40).judge().id, "idle");
}

#[test]
fn the_approximate_mode_knows_lazyfree_too() {
    let verdict = article().approximate().judge();
    assert_eq!(verdict.id, "lazy-free");
    assert!(
        verdict
            .missing
            .iter()
            .any(|missing| missing.what == "bytes by cause")
    );
}

#[test]
fn go_is_told_what_changes_something_in_its_version_alone() {
    let advised = |version: &str, setting: Option<(&str, &str)>| {
        let mut scene = article().go(version);
        if let Some((name, value)) = setting {
            scene = scene.setting(name, value);
        }
        let verdict = scene.judge();
        settings(&verdict).join(" ")
    };
    for version in ["go1.12", "go1.14.3", "go1.15.15"] {
        assert_eq!(
            advised(version, None),
            "GODEBUG=madvdontneed=1",
            "{version}"
        );
    }
    for version in ["go1.11.13", "go1.16", "go1.22.1", "weird", ""] {
        assert_eq!(advised(version, None), "", "{version}");
    }
    assert_eq!(advised("go1.15", Some(("GODEBUG", "madvdontneed=1"))), "");
    let undo = advised("go1.19.8", Some(("GODEBUG", "gctrace=1,madvdontneed=0")));
    assert_eq!(undo, "GODEBUG without madvdontneed=0");
}

#[test]
fn an_advice_that_nobody_expected_is_said() {
    let scene = Scene::flat(60, 1200)
        .runtime(None, None, Some("jemalloc"))
        .expects("jemalloc", "MADV_DONTNEED", "muzzy decay is 0")
        .called(Cause::Madvise, Some("MADV_FREE"), 3000, 1100, 0)
        .lazyfree(1024);
    let verdict = scene.judge();
    assert!(because(
        &verdict,
        "not what this program's allocator is expected to use"
    ));
    assert_eq!(settings(&verdict), ["MALLOC_CONF=muzzy_decay_ms:0"]);
}

// --- allocator-holds ----------------------------------------------------------------------------------------------------

#[test]
fn go_says_itself_what_it_keeps() {
    let verdict = Scene::flat(60, 800)
        .go("go1.22.1")
        .heap(|_| [200, 180, 560, 40, 7])
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("allocator-holds", Level::High)
    );
    assert_eq!(
        verdict.title,
        "Not a leak: Go keeps 520.0M of free heap for later"
    );
    assert_eq!(settings(&verdict), ["GOMEMLIMIT=SIZE", "GOGC=50"]);
    let old = Scene::flat(60, 800)
        .go("go1.18")
        .heap(|_| [200, 180, 560, 40, 7])
        .judge();
    assert_eq!(settings(&old), ["GOGC=50"], "GOMEMLIMIT is of Go 1.19");
}

#[test]
fn heap_that_go_has_given_back_is_not_kept() {
    let verdict = Scene::flat(60, 800)
        .go("go1.22.1")
        .heap(|_| [700, 650, 560, 500, 7])
        .judge();
    assert_eq!(verdict.id, "idle");
}

/// Up by 400 MiB in the middle, and flat since.
fn spike(allocator: &str) -> Scene {
    let rss: Vec<i64> = (0..=60).map(|at| if at < 25 { 100 } else { 500 }).collect();
    Scene::new(60, &rss)
        .runtime(None, None, Some(allocator))
        .moved(Cause::Fault, None, 400)
        .called(Cause::Mmap, None, 10, 640, 0)
}

#[test]
fn a_peak_that_stays_is_what_an_allocator_may_keep() {
    let silent = spike("glibc").judge();
    assert_eq!(
        (silent.id.raw(), silent.confidence.level),
        ("allocator-holds", Level::Low)
    );
    assert!(
        silent.text.raw().contains("its allocator (glibc)"),
        "{}",
        silent.text
    );
    assert!(settings(&silent).contains(&"MALLOC_ARENA_MAX=2"));
    let trying = spike("glibc")
        .called(Cause::Madvise, Some("MADV_DONTNEED"), 5, 8, -8)
        .at(50, Cause::Madvise, Some("MADV_DONTNEED"), 5, -8)
        .judge();
    assert_eq!(
        (trying.id.raw(), trying.confidence.level),
        ("allocator-holds", Level::Medium)
    );
}

#[test]
fn each_allocator_has_its_own_advice() {
    for (allocator, wanted) in [
        (
            "jemalloc",
            "MALLOC_CONF=background_thread:true,dirty_decay_ms:1000",
        ),
        ("gperftools", "TCMALLOC_AGGRESSIVE_DECOMMIT=1"),
        ("mimalloc", "MIMALLOC_PURGE_DELAY=0"),
        ("glibc", "MALLOC_ARENA_MAX=2"),
    ] {
        let verdict = spike(allocator).judge();
        assert_eq!(settings(&verdict)[0], wanted);
    }
    assert!(settings(&spike("musl").judge()).is_empty());
    let set = spike("glibc").setting("MALLOC_ARENA_MAX", "2").judge();
    assert!(
        !settings(&set).contains(&"MALLOC_ARENA_MAX=2"),
        "it is set already"
    );
    let old = spike("glibc")
        .runtime(Some("jvm"), Some("11.0.2"), None)
        .judge();
    assert!(
        !settings(&old)
            .iter()
            .any(|line| line.contains("G1Periodic")),
        "of JDK 12"
    );
    let new = spike("glibc")
        .runtime(Some("jvm"), Some("17.0.2"), None)
        .judge();
    assert!(
        settings(&new)
            .iter()
            .any(|line| line.contains("G1Periodic"))
    );
}

#[test]
fn a_peak_that_went_is_not_kept() {
    let rss: Vec<i64> = (0..=60)
        .map(|at| if (20..40).contains(&at) { 500 } else { 100 })
        .collect();
    let verdict = Scene::new(60, &rss)
        .moved(Cause::Fault, None, 400)
        .called(Cause::Munmap, None, 10, 400, -400)
        .judge();
    assert_eq!(verdict.id, "released");
    assert!(also(&verdict, "allocator-holds").is_none());
}

// --- file-mapped, shmem ---------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_is_mapped_is_no_heap() {
    let kinds: Vec<_> = (0..=30).map(|at| [20, 10 + at * 20, 0, 0]).collect();
    let verdict = Scene::of_kinds(30, &kinds)
        .moved(Cause::Fault, None, 600)
        .mapping(MappingKind::File, "/data/table.db", 600)
        .mapping(MappingKind::File, "/usr/bin/service", 8)
        .judge();
    assert_eq!(verdict.id, "file-mapped");
    assert!(
        verdict
            .text
            .raw()
            .contains("\"/data/table.db\", with 600.0M"),
        "{}",
        verdict.text
    );
    assert!(also(&verdict, "growing").is_none(), "files are no leak");
    let quiet = Scene::of_kinds(30, &vec![[20, 610, 0, 0]; 31])
        .mapping(MappingKind::File, "/data/table.db", 600)
        .judge();
    assert_eq!(quiet.id, "file-mapped");
}

#[test]
fn a_program_and_its_libraries_are_not_an_answer_about_files() {
    let verdict = Scene::of_kinds(30, &vec![[10, 110, 0, 0]; 31])
        .mapping(MappingKind::File, "/usr/bin/service", 60)
        .mapping(MappingKind::File, "/usr/lib/libnode.so.108", 50)
        .judge();
    assert_eq!(verdict.id, "idle");
}

#[test]
fn a_file_name_cannot_fill_an_answer() {
    let name = "\u{1b}[2J\" 99 bytes ".repeat(5000);
    let verdict = Scene::of_kinds(30, &vec![[20, 610, 0, 0]; 31])
        .mapping(MappingKind::File, &name, 600)
        .judge();
    assert_eq!(verdict.id, "file-mapped");
    assert!(!verdict.text.raw().contains('\u{1b}'));
}

#[test]
fn shared_memory_is_said_to_be_shared() {
    let kinds: Vec<_> = (0..=30).map(|at| [20, 10, (at * 30).min(600), 0]).collect();
    let verdict = Scene::of_kinds(30, &kinds)
        .moved(Cause::Fault, None, 600)
        .mapping(MappingKind::Shmem, "/dev/shm/pool", 600)
        .judge();
    assert_eq!(verdict.id, "shmem");
    assert_eq!(verdict.title, "RSS grew by shared memory: 600.0M");
    let on: Vec<_> = (0..=90).map(|at| [20, 10, at * 10, 0]).collect();
    let grows = Scene::of_kinds(90, &on)
        .moved(Cause::Fault, None, 900)
        .judge();
    assert_eq!(grows.id, "shmem");
    assert!(
        grows.title.raw().starts_with("Shared memory grows"),
        "{}",
        grows.title
    );
    assert!(
        also(&grows, "growing").is_some(),
        "--fail-on growing must see it"
    );
}

#[test]
fn a_little_shared_memory_is_none() {
    let verdict = Scene::of_kinds(30, &vec![[200, 10, 60, 0]; 31]).judge();
    assert_eq!(verdict.id, "idle");
}

// --- idle -------------------------------------------------------------------------------------------------------------------

#[test]
fn where_nothing_happens_rss_is_taken_apart() {
    let verdict = Scene::flat(60, 200)
        .mapping(MappingKind::File, "/usr/lib/libc.so.6", 2)
        .mapping(MappingKind::Anon, "", 190)
        .judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("idle", Level::High)
    );
    assert_eq!(
        verdict.title,
        "Nothing happened: RSS stayed at 200.0M for 60.0 s"
    );
    let named: Vec<&str> = verdict
        .evidence
        .iter()
        .map(|line| line.what.raw())
        .collect();
    assert!(named.contains(&"\"/usr/lib/libc.so.6\""), "{named:?}");
    assert!(!named.contains(&"\"\""), "{named:?}");
}

#[test]
fn a_runtime_at_rest_still_ticks_over() {
    // 4 MiB of 200, up and down.
    let rss: Vec<i64> = (0..=60).map(|at| 200 + at * 7 % 5).collect();
    let verdict = Scene::new(60, &rss).judge();
    assert_eq!(verdict.id, "idle");
    assert!(
        verdict.title.raw().starts_with("Hardly anything happened"),
        "{}",
        verdict.title
    );
    let drifts: Vec<i64> = (0..=60).map(|at| 200 + at / 6).collect();
    let verdict = Scene::new(60, &drifts)
        .moved(Cause::Fault, None, 10)
        .judge();
    assert_eq!(verdict.id, "growing");
}

#[test]
fn a_short_look_at_rest_is_less_sure() {
    let verdict = Scene::flat(5, 200).judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("idle", Level::Medium)
    );
}

#[test]
fn a_process_that_was_idle_and_ended_was_idle() {
    let verdict = Scene::flat(60, 200).exited().judge();
    assert_eq!(verdict.id, "idle");
    assert!(verdict.title.raw().contains("200.0M"), "{}", verdict.title);
}

#[test]
fn what_moves_is_not_idle() {
    let rss: Vec<i64> = (0..=60)
        .map(|at| if at % 2 == 0 { 200 } else { 240 })
        .collect();
    let verdict = Scene::new(60, &rss).judge();
    assert_ne!(verdict.id, "idle");
}

// --- inconclusive -------------------------------------------------------------------------------------------------------------

#[test]
fn no_tick_no_answer() {
    let mut scene = Scene::flat(2, 100);
    scene.epoch().timeline.clear();
    let verdict = scene.judge();
    assert_eq!(
        (verdict.id.raw(), verdict.confidence.level),
        ("inconclusive", Level::Low)
    );
    assert!(
        verdict
            .missing
            .iter()
            .any(|missing| missing.what == "ticks")
    );
}

#[test]
fn one_late_step_is_not_called_growth() {
    let rss: Vec<i64> = (0..=60).map(|at| if at < 50 { 100 } else { 300 }).collect();
    let verdict = Scene::new(60, &rss).moved(Cause::Fault, None, 200).judge();
    assert_eq!(verdict.id, "inconclusive");
    assert!(
        verdict.title.raw().contains("too early"),
        "{}",
        verdict.title
    );
}

#[test]
fn what_was_lost_or_cut_short_is_said() {
    let verdict = Scene::flat(60, 200)
        .with(|epoch| {
            epoch.capture.end = End::Interrupted;
            epoch.capture.lost_events = 7;
            epoch.summary.unexplained_bytes = Some(-50 * MIB);
        })
        .judge();
    assert_eq!(verdict.confidence.level, Level::Low);
    assert!(because(&verdict, "interrupted") && because(&verdict, "lost"));
    assert!(because(&verdict, "explained by no cause"));
    assert!(
        verdict
            .missing
            .iter()
            .any(|missing| missing.what == "lost events")
    );
}
