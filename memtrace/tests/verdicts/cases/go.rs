//! Go: what `HeapReleased` and RSS have to do with each other.

use std::process::Command;

use memtrace::model::{Cause, GoFigures};

use super::{Case, Outcome, Skip};
use crate::{
    host::{Setting, THP, huge_pages_always},
    program::{Program, go_service},
    stage::{MIB, Moved, Shown, Stage, rollup},
    tracing::wait_for,
};

pub const CASES: &[Case] = &[
    ("go1.15-free", free_1_15),
    ("go1.15-madvdontneed1", dontneed_1_15),
    ("go1.19-madvdontneed0", free_1_19),
    ("go-default", default),
    ("go-leak", leak),
];
/// These change how the host makes huge pages.
pub const ALONE: &[Case] = &[("go-thp", collapsed)];

/// What the service fills.
const PEAK: i64 = 300 * MIB;
/// What may be missing of it: what the runtime has in use, and, in `LazyFree`, what waits in the kernel's batches.
const SLACK: i64 = 8 * MIB;

/// A few pages.
const FRAMES: i64 = 64 << 10;

fn free_1_15(stage: &Stage) -> Outcome {
    lazily(stage, go_service(Some("1.15"))?)
}

fn free_1_19(stage: &Stage) -> Outcome {
    let mut command = go_service(Some("1.19"))?;
    command.env("GODEBUG", "madvdontneed=0");
    lazily(stage, command)
}

/// The case that people ask about: the runtime says that it gave everything back, and RSS stays where it was.
pub fn lazily(stage: &Stage, command: Command) -> Outcome {
    let shown = after_a_peak(stage, command);
    let freed = shown.advised("MADV_FREE");
    assert!(freed.requested > PEAK - SLACK, "{freed:?}");
    // Where a signal arrives in the call, the kernel writes its frame, to a page that may be a new one.
    assert!((0..=FRAMES).contains(&freed.rss), "{freed:?}");
    assert!(shown.lazyfree() > PEAK - SLACK, "{}", shown.lazyfree());
    assert!(shown.rss_end() > PEAK, "{}", shown.rss_end());
    let rest = shown.rss_end() - shown.lazyfree();
    assert!(rest < 2 * SLACK + shown.capture.epoch.summary.end.file_bytes);
    Ok(shown)
}

fn dontneed_1_15(stage: &Stage) -> Outcome {
    let mut command = go_service(Some("1.15"))?;
    command.env("GODEBUG", "madvdontneed=1");
    at_once(stage, command)
}

fn default(stage: &Stage) -> Outcome {
    at_once(stage, go_service(None)?)
}

/// What is given back leaves RSS.
fn at_once(stage: &Stage, command: Command) -> Outcome {
    let shown = after_a_peak(stage, command);
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.requested > PEAK - SLACK, "{given:?}");
    assert!(given.rss < SLACK - PEAK, "{given:?}");
    assert_eq!(shown.advised("MADV_FREE").calls, 0);
    assert_eq!(shown.lazyfree(), 0);
    assert!(shown.rss_highest() > PEAK);
    assert!(shown.rss_end() < PEAK / 10, "{}", shown.rss_end());
    Ok(shown)
}

fn after_a_peak(stage: &Stage, command: Command) -> Shown {
    let mut program = Program::start(command);
    let traced = stage.trace(&program);
    traced.ticks(3);
    for _ in 0..3 {
        program.tell("take 100");
        traced.ticks(1);
    }
    traced.ticks(2);
    program.tell("drop");
    program.tell("release");
    traced.ticks(6);
    let shown = traced.stop();
    if let Some(go) = last_figures(&shown) {
        let released = go.heap_released_bytes.expect("HeapReleased");
        assert!(released.cast_signed() > PEAK - SLACK, "{go:?}");
    }
    shown
}

/// Go's own figures at the last tick, where this build reads them.
fn last_figures(shown: &Shown) -> Option<GoFigures> {
    shown.capture.epoch.timeline.last()?.go
}

/// Longer than the others that grow, so that a trend is more than a guess.
fn leak(stage: &Stage) -> Outcome {
    const STEPS: i64 = 64;
    let mut program = Program::start(go_service(None)?);
    let traced = stage.trace(&program);
    traced.ticks(2);
    for _ in 0..STEPS {
        program.tell("remember 2");
        traced.ticks(1);
    }
    let shown = traced.stop();
    let kept = STEPS * 2 * MIB * 9 / 10;
    let faults = shown.moved(Cause::Fault);
    assert!(faults.anon > kept, "{faults:?}");
    assert!(shown.rss_end() - shown.rss_start() > kept);
    assert!(shown.lazyfree() < MIB);
    Ok(shown)
}

/// Huge pages are made of a heap that has holes: RSS rises, and the program has done nothing.
fn collapsed(stage: &Stage) -> Outcome {
    const FILLED: i64 = 256 * MIB;
    let command = go_service(None)?;
    let _settings = huge_pages_always()?;
    let mut program = Program::start(command);
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell("take 256");
    traced.ticks(3);
    program.tell("thin 16");
    program.tell("release");
    traced.ticks(4);
    let path = format!("{THP}/khugepaged/");
    let mut faster = Vec::new();
    for (name, value) in [
        ("max_ptes_none", "511"),
        ("alloc_sleep_millisecs", "10"),
        ("pages_to_scan", "65536"),
        ("scan_sleep_millisecs", "10"),
    ] {
        let setting = Setting::set(format!("{path}{name}"), value);
        faster.push(setting.ok_or(Skip::Absent("khugepaged".into()))?);
    }
    // The youngest value of a setting is taken back first.
    faster.reverse();
    wait_for("huge pages", || {
        (rollup(program.pid(), "AnonHugePages") > FILLED * 3 / 4).then_some(())
    });
    traced.ticks(4);
    drop(faster);
    let shown = traced.stop();
    let collapsed: Moved = shown.moved(Cause::Khugepaged);
    assert!(collapsed.anon > FILLED / 2, "{collapsed:?}");
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.anon < -FILLED / 2, "{given:?}");
    if let Some(huge) = shown.capture.epoch.summary.anon_huge_bytes {
        assert!(huge.cast_signed() > FILLED * 3 / 4, "{huge}");
    }
    Ok(shown)
}
