//! The journal of a capture: what is written at each event, what is read of it wherever it ends, and the capture file that is made
//! of it. Needs neither root nor a kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use memtrace::{
    ledger::{Check, Errno, Names, Reading, TaskName},
    model::{
        Account, Capture, CaptureInfo, CgroupFigures, Children, End, Epoch, GoFigures, HookInfo,
        HookKind, HostInfo, LossInfo, Mode, SCHEMA, TargetInfo,
    },
    observe::{Smaps, Statm},
    timeline::{
        Closing, Fold, Journal, Known, Observed, Recorder, assemble, load, read, read_closing,
    },
};
use memtrace_common::cell::{FAULT, MEMBER_ANON, MEMBER_SWAP, MUNMAP, TASK_BASE};
use proptest::prelude::*;
use serde_json::Value;

const PAGE: u64 = 4096;
const HOOKED: &[&str] = &["mmap", "munmap", "madvise"];

/// What happens between two ticks, and how it is seen.
#[derive(Clone, Debug)]
struct Step {
    fault: i64,
    munmap: i64,
    other: i64,
    swap: i64,
    failed: u64,
    forked: u64,
    lost: u64,
    check: Option<(i64, u64)>,
    lazyfree: Option<u64>,
    /// Behind it, the process replaces its program.
    exec: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let moved = || prop_oneof![3 => Just(0), 2 => -900_i64..900];
    let rare = || prop_oneof![4 => Just(0), 1 => 0_u64..5];
    (
        (moved(), moved(), moved(), moved()),
        (rare(), rare(), rare()),
        prop::option::of((-2_i64..3, 0_u64..3)),
        prop::option::of(any::<u64>()),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |((fault, munmap, other, swap), (failed, forked, lost), check, lazyfree, exec)| Step {
                fault,
                munmap,
                other,
                swap,
                failed,
                forked,
                lost,
                check,
                lazyfree,
                exec,
            },
        )
}

fn host() -> HostInfo {
    HostInfo {
        kernel: "6.18.44 \"odd\"\n".into(),
        arch: "x86_64".into(),
        page_size: PAGE,
        cpus: 2,
    }
}

fn target(comm: &str) -> TargetInfo {
    TargetInfo {
        pid: 77,
        comm: comm.into(),
        exe: None,
        cmdline: vec!["a\u{1b}[31m".into(), "\n{\"ended\":".into()],
        start_time: Some(1_700_000_000),
        runtime: None,
    }
}

fn hooks() -> Vec<HookInfo> {
    let hook = |&name: &&str| HookInfo {
        name: name.into(),
        kind: Some(HookKind::TpBtf),
        error: None,
        fallback: None,
    };
    HOOKED.iter().map(hook).collect()
}

/// A capture as it goes on, in both ways: everything in memory, and as a journal.
struct Run {
    reading: Reading,
    recorder: Recorder,
    bare: Recorder,
    fold: Fold,
    journal: Journal,
    bytes: Vec<u8>,
    earlier: Vec<Epoch>,
    epoch: u32,
    t: u64,
    failed: u64,
}

impl Run {
    fn new() -> Self {
        let reading = first(0);
        let recorder = Recorder::new(PAGE, true, reading.clone());
        let fold = fold(&recorder, &reading);
        let journal = Journal::begin(&host(), &fold.opening());
        Self {
            bytes: journal.line().to_vec(),
            bare: recorder.clone().keeping(false),
            reading,
            recorder,
            fold,
            journal,
            earlier: Vec::new(),
            epoch: 0,
            t: 1_000,
            failed: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        self.t += 1_000_000_000;
        let reading = &mut self.reading;
        reading.cells[FAULT as usize][MEMBER_ANON] += step.fault;
        reading.cells[FAULT as usize][MEMBER_SWAP] += step.swap;
        reading.cells[MUNMAP as usize][MEMBER_ANON] += step.munmap;
        reading.cells[TASK_BASE as usize][MEMBER_ANON] += step.other;
        let calls = &mut reading.calls[1];
        calls.calls += step.failed + step.munmap.unsigned_abs();
        calls.failed += step.failed;
        calls.time_ns += calls.calls;
        self.failed += step.failed;
        reading.faults.user_write += step.fault.unsigned_abs();
        reading.forks += step.forked;
        reading.last_child = 100 + reading.forks as u32;
        reading.losses.calls += step.lost;
        let observed = Observed {
            statm: Some(Statm {
                size: 9000,
                resident: 10,
            }),
            smaps: step.lazyfree.map(|lazy_free| Smaps {
                rss: 0,
                lazy_free,
                anon_huge: 7,
                swap: 0,
                took: std::time::Duration::ZERO,
            }),
            check: step
                .check
                .map(|(unexplained, bound)| Check { unexplained, bound }),
            resident: None,
            go: (step.fault > 0).then_some(GoFigures {
                heap_inuse_bytes: Some(step.fault.unsigned_abs()),
                num_gc: step.lazyfree,
                ..GoFigures::default()
            }),
            cgroup: step.lazyfree.map(|bytes| CgroupFigures {
                usage_bytes: Some(bytes),
                ..CgroupFigures::default()
            }),
        };
        let (tasks, errnos) = self.names();
        let names = Names {
            tasks: &tasks,
            errnos: &errnos,
            hooked: HOOKED,
        };
        let known = Known {
            causes: self.recorder.rows(&self.reading, &names),
            target: Some(target("worker")),
            ..known(&self.recorder, &self.reading)
        };
        let bare = self.bare.tick(self.t, &self.reading, &names, &observed);
        let (tick, causes) = self.recorder.tick(self.t, &self.reading, &names, &observed);
        assert_eq!((tick, &causes), (bare.0, &bare.1));
        assert_eq!(causes, known.causes);
        self.fold.tick(tick, known.clone());
        let line = self.journal.tick(tick, known);
        self.bytes.extend_from_slice(line);
        if step.exec {
            self.exec();
        }
    }

    fn names(&self) -> (Vec<TaskName>, Vec<Errno>) {
        let tasks = vec![TaskName {
            slot: 0,
            cause: 0,
            comm: "kswapd0\u{9b}".to_owned(),
        }];
        let errnos = vec![Errno {
            cell: MUNMAP,
            errno: 22,
            count: self.failed,
        }];
        (tasks, errnos)
    }

    fn account(&self, closing: Closing) -> Account {
        let lasted = self.t - self.recorder.begin_ns();
        self.fold.account(Closing {
            duration_ns: Some(lasted),
            ..closing
        })
    }

    fn exec(&mut self) {
        let taken = self.recorder.ended_by_exec();
        assert_eq!(self.bare.ended_by_exec(), taken);
        let ended = self.account(closing(End::Exec));
        self.epoch += 1;
        self.reading = first(self.t);
        self.failed = 0;
        let next = Recorder::new(PAGE, true, self.reading.clone());
        self.fold = fold(&next, &self.reading);
        let opening = self.fold.opening();
        let line = self.journal.ended(&ended, taken, Some(&opening));
        self.bytes.extend_from_slice(line);
        let old = std::mem::replace(&mut self.recorder, next.clone());
        self.bare = next.keeping(false);
        self.earlier.push(Epoch::of(ended, old.into_ticks()));
    }

    /// The capture in memory, and the journal to its end.
    fn finish(mut self) -> (Capture, Vec<u8>) {
        let last = self.account(closing(End::Signal));
        let line = self.journal.ended(&last, None, None);
        self.bytes.extend_from_slice(line);
        let capture = Capture {
            schema: SCHEMA.to_owned(),
            memtrace_version: env!("CARGO_PKG_VERSION").into(),
            host: host(),
            epoch: Epoch::of(last, self.recorder.into_ticks()),
            earlier_epochs: self.earlier,
        };
        (capture, self.bytes)
    }
}

fn first(begin_ns: u64) -> Reading {
    Reading {
        start: [50, 1000, 5, 0],
        begin_ns,
        unsettled: true,
        ..Reading::default()
    }
}

fn losses(reading: &Reading) -> LossInfo {
    LossInfo {
        calls: reading.losses.calls,
        ..LossInfo::default()
    }
}

fn children(reading: &Reading) -> Option<Children> {
    Some(Children {
        forked: reading.forks,
        last_pid: Some(reading.last_child),
    })
}

fn known(recorder: &Recorder, reading: &Reading) -> Known {
    Known {
        faults: recorder.faults(reading),
        losses: losses(reading),
        children: children(reading),
        ..Known::default()
    }
}

fn fold(recorder: &Recorder, first: &Reading) -> Fold {
    let capture = CaptureInfo {
        started_at: "2026-11-23T05:50:00Z".into(),
        duration_ns: 0,
        interval_ns: 1_000_000_000,
        mode: Mode::Exact,
        mode_note: None,
        hooks: hooks(),
        lost_events: losses(first).total(),
        losses: losses(first),
        self_stats: None,
        children: children(first),
        end: End::Interrupted,
    };
    let start = recorder.start(first);
    Fold::begin(target("worker"), capture, start, known(recorder, first))
}

fn closing(end: End) -> Closing {
    Closing {
        skipped_runs: Some(3),
        ..Closing::as_at_the_last_tick(end)
    }
}

fn run_of(steps: &[Step]) -> Run {
    let mut run = Run::new();
    for step in steps {
        run.step(step);
    }
    run
}

fn value(capture: &Capture) -> Value {
    serde_json::to_value(capture).unwrap()
}

fn assembled(journal: &[u8], last: &Account) -> Vec<u8> {
    let mut out = Vec::new();
    assemble(Cursor::new(journal), last, &mut out).unwrap();
    out
}

fn last_of(capture: &Capture) -> Account {
    capture.epoch.clone().into_account()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_file_that_is_made_of_a_journal_is_the_capture(steps in prop::collection::vec(step(), 0..25)) {
        let (capture, journal) = run_of(&steps).finish();
        let mut written = Vec::new();
        memtrace::export::json::write(&capture, &mut written).unwrap();
        let file = assembled(&journal, &last_of(&capture));
        prop_assert_eq!(String::from_utf8(written), String::from_utf8(file.clone()));
        prop_assert_eq!(value(&read(&file[..]).unwrap()), value(&capture));
        // Also where the last line, or a part of it, could not be written.
        let whole = journal[..journal.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for end in [whole, whole + 5, journal.len() - 1] {
            prop_assert_eq!(&assembled(&journal[..end], &last_of(&capture)), &file);
        }
        // The journal itself says the same.
        let loaded = load::<()>(&journal[..]).unwrap();
        prop_assert!(loaded.journal.unwrap().ended);
        prop_assert_eq!(value(&read(&journal[..]).unwrap()), value(&capture));
        prop_assert!(loaded.capture.is_complete() == capture.is_complete());
    }

    #[test]
    fn at_each_tick_the_summary_is_that_of_the_tick(steps in prop::collection::vec(step(), 1..25)) {
        let mut run = Run::new();
        for step in &steps {
            let step = Step { exec: false, ..step.clone() };
            run.step(&step);
            let read = read(&run.bytes[..]).unwrap();
            prop_assert_eq!(read.epoch.summary.lazyfree_missing.is_some(), step.lazyfree.is_none());
            let expected = run.account(Closing {
                lazyfree_missing: read.epoch.summary.lazyfree_missing.as_ref().map(|it| it.raw().to_owned()),
                ..Closing::as_at_the_last_tick(End::Interrupted)
            });
            prop_assert_eq!(expected.summary.unexplained_bytes, step.check.map(|(pages, _)| pages * PAGE as i64));
            let expected = Epoch::of(expected, run.recorder.clone().into_ticks());
            prop_assert_eq!(serde_json::to_value(&read.epoch).unwrap(), serde_json::to_value(&expected).unwrap());
            prop_assert!(!read.is_complete());
        }
    }

    #[test]
    fn whole_lines_are_read_wherever_a_journal_was_cut(
        steps in prop::collection::vec(step(), 1..6),
        every in prop::sample::select(vec![11_usize, 13, 17]),
    ) {
        let journal = run_of(&steps).finish().1;
        let ends: Vec<usize> = (1..=journal.len()).filter(|&end| journal[end - 1] == b'\n').collect();
        let at_line: Vec<Value> = ends.iter().map(|&end| value(&read(&journal[..end]).unwrap())).collect();
        // Each end of a line, and its neighbours; of the bytes in between, one in so many.
        let is_near = |cut: usize| ends.iter().any(|end| end.abs_diff(cut) <= 2);
        for cut in (ends[0]..journal.len()).filter(|&cut| cut % every == 0 || is_near(cut)) {
            // A line is whole without its end, too.
            let lines = ends.iter().filter(|&&end| end - 1 <= cut).count();
            let loaded = load::<()>(&journal[..cut]).unwrap();
            let partial = journal.get(ends[lines - 1]..cut).map_or(0, <[u8]>::len);
            prop_assert_eq!(loaded.journal.unwrap().cut_bytes, partial as u64);
            if is_near(cut) {
                prop_assert_eq!(&value(&read(&journal[..cut]).unwrap()), &at_line[lines - 1]);
            }
        }
        for cut in (1..ends[0] - 1).step_by(every) {
            let error = read(&journal[..cut]).unwrap_err().to_string();
            prop_assert!(error.contains("line 1, column"), "{}", error);
        }
    }

    #[test]
    fn a_broken_line_is_named_by_its_number(
        steps in prop::collection::vec(step(), 3..12),
        at in any::<prop::sample::Index>(),
        garbage in prop::sample::select(vec![
            "", "{}", "x", "[]", "null", "{\"tick\":1}", "{\"tick\":{\"t_ns\":-1}}", "{\"tick\":", "\u{0}\u{0}",
            "{\"tick\":null,\"ended\":null}", "{\"causes\":{\"x\":1}}", "{\"schema\":\"memtrace/1\"}",
            "{\"causes\":{\"99999999999999999999\":{}}}",
        ]),
    ) {
        let journal = run_of(&steps).finish().1;
        let mut lines: Vec<&[u8]> = journal.split_inclusive(|&byte| byte == b'\n').collect();
        let at = 1 + at.index(lines.len() - 1);
        let garbage = format!("{garbage}\n");
        lines.insert(at, garbage.as_bytes());
        let broken = lines.concat();
        let error = read(&broken[..]).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("line {}, column", at + 1)), "{}", error);
        prop_assert_eq!(error, read_closing(&broken[..]).unwrap_err().to_string());
    }
}

fn plain(exec: bool) -> Step {
    Step {
        fault: 3,
        munmap: -1,
        other: 0,
        swap: 0,
        failed: 0,
        forked: 0,
        lost: 0,
        check: Some((0, 0)),
        lazyfree: None,
        exec,
    }
}

#[test]
fn what_is_kept_does_not_grow_with_the_ticks() {
    let mut run = Run::new();
    let mut kept = 0;
    for number in 0..100_000_u64 {
        let step = Step {
            failed: number % 3,
            lazyfree: (number % 100 == 0).then_some(number),
            ..plain(false)
        };
        run.step(&step);
        kept = kept.max(run.bare.kept());
        // The reference would grow.
        run.bytes.clear();
        run.recorder = run.recorder.keeping(false);
    }
    assert!(kept <= 2, "{kept}");
    assert!(run.journal.rows() <= 4);
    assert!(run.journal.line().len() < 4096);
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let mut run = Run::new();
    run.step(&plain(false));
    let before = run.bytes.len();
    let still = Step {
        fault: 0,
        munmap: 0,
        ..plain(false)
    };
    // Its calls take time, so there is one more line with a row.
    run.reading.calls[1] = Default::default();
    run.step(&still);
    run.bytes.clear();
    run.step(&still);
    let line = String::from_utf8(run.bytes.clone()).unwrap();
    assert!(line.starts_with("{\"tick\":{"), "{line}");
    assert!(line.ends_with("\"go\":null}}\n"), "{line}");
    assert!(line.len() < before);
}

#[test]
fn what_an_exec_takes_back_is_taken_back_in_the_file_and_by_the_reader() {
    let mut run = Run::new();
    for (unexplained, exec) in [(0, false), (3, false), (0, false), (-9, false), (5, true)] {
        run.step(&Step {
            check: Some((unexplained, 0)),
            lazyfree: Some(1),
            exec,
            ..plain(false)
        });
    }
    run.step(&plain(false));
    let (capture, journal) = run.finish();
    let file = assembled(&journal, &last_of(&capture));
    for bytes in [&file, &journal] {
        let read = read(&bytes[..]).unwrap();
        let found: Vec<_> = read.earlier_epochs[0]
            .timeline
            .iter()
            .map(|tick| (tick.unexplained_bytes, tick.vm_bytes.is_some()))
            .collect();
        let page = PAGE as i64;
        assert_eq!(
            found,
            [
                (Some(0), true),
                (Some(3 * page), true),
                (Some(0), true),
                (None, false),
                (None, false)
            ]
        );
    }
    assert!(
        read_closing(&journal[..]).unwrap().earlier_epochs[0]
            .timeline
            .iter()
            .all(|tick| tick.unexplained_bytes.is_none())
    );
}

#[test]
fn a_first_line_alone_is_a_capture_in_which_nothing_has_moved() {
    let run = Run::new();
    let read = read(&run.bytes[..]).unwrap();
    assert_eq!(read.epoch.capture.end, End::Interrupted);
    assert_eq!(read.epoch.summary.rss_end_bytes, 1050 * PAGE as i64);
    assert_eq!(read.epoch.summary.unexplained_bytes, None);
    assert!(read.epoch.timeline.is_empty());
    assert!(read.epoch.summary.causes.is_empty());
}

#[test]
fn later_journals_and_lines_behind_the_end_are_refused() {
    let (_, journal) = run_of(&[plain(false)]).finish();
    let text = String::from_utf8(journal).unwrap();
    let later = text.replacen("\"journal\":1", "\"journal\":2", 1);
    let error = read(later.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("later memtrace"), "{error}");
    let tick = text.lines().nth(1).unwrap();
    let error = read(format!("{text}{tick}\n").as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 4, column 1: a line behind the end"),
        "{error}"
    );
    // Of another program's lines, not even the first is a journal's.
    let error = read(format!("{tick}\n{text}").as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a capture"), "{error}");
}

#[test]
fn whole_lines_are_read_at_every_single_byte() {
    let steps = [plain(false), plain(true), plain(false)];
    let journal = run_of(&steps).finish().1;
    let first = journal.iter().position(|&byte| byte == b'\n').unwrap();
    for cut in first..journal.len() {
        let loaded = load::<()>(&journal[..cut]).unwrap();
        let start = journal[..cut].iter().rposition(|&byte| byte == b'\n');
        let rest = cut - start.map_or(0, |at| at + 1);
        let is_whole = journal.get(cut) == Some(&b'\n');
        let expected = if is_whole { 0 } else { rest };
        assert_eq!(loaded.journal.unwrap().cut_bytes, expected as u64, "{cut}");
    }
}
