//! What the pure parts cost: what is done at each tick, and what is done with the capture of a day.
//!
//! `cargo bench -p memtrace --bench pure`. Needs neither root nor a kernel.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, io::Cursor, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use memtrace::{
    export::json,
    ledger::{Check, Names, Reading, check, rows},
    model::{Capture, CaptureInfo, End, Epoch, HostInfo, LossInfo, Mode, SCHEMA, TargetInfo},
    observe::Statm,
    timeline::{
        Closing, Fold, Journal, Known, Live, Observed, Recorder, assemble, read, read_closing,
    },
    view::screen::{Key, Look, Palette, Screen},
};
use memtrace_common::cell::{
    FAULT, MADVISE_BASE, MEMBER_ANON, MEMBER_FILE, MMAP, MUNMAP, call_slot,
};
use ratatui_core::{buffer::Buffer, layout::Rect};

const PAGE: u64 = 4096;
const SECOND: u64 = 1_000_000_000;
/// Ticks of a day, one a second.
const DAY: u64 = 86_400;
/// Where it is only tried whether they run.
const FEW: u64 = 100;
const HOOKED: &[&str] = &["mmap", "munmap", "mremap", "brk", "madvise"];
/// Rows of a busy allocator.
const BUSY: [u32; 5] = [FAULT, MMAP, MUNMAP, MADVISE_BASE + 4, MADVISE_BASE + 8];

fn names() -> Names<'static> {
    Names {
        hooked: HOOKED,
        ..Names::default()
    }
}

/// What a busy target has done by tick `at`.
fn reading(at: u64) -> Reading {
    let mut reading = Reading {
        start: [1000, 50, 0, 0],
        events: at * 1000,
        ..Reading::default()
    };
    for (number, cell) in (1..).zip(BUSY) {
        let pages = (at * number) as i64;
        reading.cells[cell as usize][MEMBER_ANON] = pages;
        reading.cells[cell as usize][MEMBER_FILE] = -pages;
        if let Some(slot) = call_slot(cell) {
            let calls = &mut reading.calls[slot as usize];
            calls.calls = at * number;
            calls.requested = at * number * PAGE;
            calls.time_ns = at * number * 1000;
        }
    }
    reading.faults.user_write = at * 100;
    reading
}

fn observed() -> Observed {
    Observed {
        statm: Some(Statm {
            size: 90_000,
            resident: 1050,
        }),
        check: Some(Check::default()),
        ..Observed::default()
    }
}

fn known(recorder: &Recorder, reading: &Reading) -> Known {
    Known {
        causes: recorder.rows(reading, &names()),
        faults: recorder.faults(reading),
        ..Known::default()
    }
}

fn host() -> HostInfo {
    HostInfo {
        kernel: "6.18.0".into(),
        arch: "x86_64".into(),
        page_size: PAGE,
        cpus: 2,
    }
}

fn fold(recorder: &Recorder, first: &Reading) -> Fold {
    let target = TargetInfo {
        pid: 4242,
        comm: "service".into(),
        exe: Some("/usr/bin/service".into()),
        cmdline: vec!["service".into()],
        start_time: Some(1_700_000_000),
        runtime: None,
    };
    let capture = CaptureInfo {
        started_at: "2026-11-23T05:50:00Z".into(),
        duration_ns: 0,
        interval_ns: SECOND,
        mode: Mode::Exact,
        mode_note: None,
        hooks: Vec::new(),
        lost_events: 0,
        losses: LossInfo::default(),
        self_stats: None,
        children: None,
        end: End::Interrupted,
    };
    let start = recorder.start(first);
    Fold::begin(target, capture, start, Known::default())
}

/// A capture of so many ticks, in memory and as a journal.
fn captured(ticks: u64) -> (Capture, Vec<u8>) {
    let first = Reading::default();
    let mut recorder = Recorder::new(PAGE, true, first.clone());
    let mut fold = fold(&recorder, &first);
    let mut lines = Journal::begin(&host(), &fold.opening());
    let mut journal = lines.line().to_vec();
    for at in 1..=ticks {
        let reading = reading(at);
        let mut known = known(&recorder, &reading);
        let (tick, causes) = recorder.tick(at * SECOND, &reading, &names(), &observed());
        known.causes = causes;
        fold.tick(tick, known.clone());
        journal.extend_from_slice(lines.tick(tick, known));
    }
    let last = fold.account(Closing::as_at_the_last_tick(End::Duration));
    journal.extend_from_slice(lines.ended(&last, None, None));
    let capture = Capture {
        schema: SCHEMA.to_owned(),
        memtrace_version: env!("CARGO_PKG_VERSION").into(),
        host: host(),
        epoch: Epoch::of(last, recorder.into_ticks()),
        earlier_epochs: Vec::new(),
    };
    (capture, journal)
}

/// What is done at each tick.
fn tick(criterion: &mut Criterion) {
    let (before, after) = (reading(1000), reading(1001));
    let since = after.since(&before);
    criterion.bench_function("Reading::since", |bencher| {
        bencher.iter(|| black_box(&after).since(black_box(&before)));
    });
    criterion.bench_function("rows", |bencher| {
        bencher.iter(|| rows(black_box(&since), &names()));
    });
    criterion.bench_function("check, at rest", |bencher| {
        bencher.iter(|| check(black_box(&after), 1050, black_box(&after)));
    });
    criterion.bench_function("check, busy", |bencher| {
        bencher.iter(|| check(black_box(&before), 1050, black_box(&after)));
    });
    let mut recorder = Recorder::new(PAGE, true, Reading::default()).keeping(false);
    recorder.tick(SECOND, &before, &names(), &observed());
    criterion.bench_function("Recorder::tick", |bencher| {
        bencher.iter_batched(
            || recorder.clone(),
            |mut recorder| {
                recorder.tick(2 * SECOND, black_box(&after), &names(), &observed());
                recorder
            },
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("Fold::tick", |bencher| {
        let new = known(&recorder, &after);
        let tick = recorder
            .clone()
            .tick(2 * SECOND, &after, &names(), &observed())
            .0
            .clone();
        let begun = fold(&recorder, &before);
        bencher.iter_batched(
            || (begun.clone(), new.clone()),
            |(mut fold, new)| {
                fold.tick(&tick, new);
                fold
            },
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("Recorder::rows", |bencher| {
        bencher.iter(|| recorder.rows(black_box(&after), &names()));
    });
    let fold = fold(&recorder, &before);
    let opening = fold.opening();
    for (name, now) in [("idle", &before), ("busy", &after)] {
        let (tick, _) = recorder.tick(2 * SECOND, now, &names(), &observed());
        let tick = tick.clone();
        let mut journal = Journal::begin(&host(), &opening);
        journal.tick(&tick, known(&recorder, &before));
        let new = known(&recorder, now);
        criterion.bench_function(&format!("Journal::tick, {name}"), |bencher| {
            bencher.iter_batched(
                || (journal.clone(), new.clone()),
                |(mut journal, new)| {
                    journal.tick(&tick, new);
                    journal
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// What is done with the capture of a day.
fn day(criterion: &mut Criterion) {
    let only_tried = std::env::args().any(|argument| argument == "--test");
    let (capture, journal) = captured(if only_tried { FEW } else { DAY });
    let last = capture.epoch.clone().into_account();
    let mut file = Vec::new();
    json::write(&capture, &mut file).unwrap();
    let mut group = criterion.benchmark_group("a day");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Bytes(file.len() as u64));
    let mut out = Vec::with_capacity(file.len());
    group.bench_function("json::write", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::write(&capture, &mut out).unwrap();
        });
    });
    group.bench_function("assemble", |bencher| {
        bencher.iter(|| {
            out.clear();
            assemble(Cursor::new(&journal), &last, &mut out).unwrap();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| read(black_box(&file[..])).unwrap());
    });
    group.bench_function("read_closing", |bencher| {
        bencher.iter(|| read_closing(black_box(&file[..])).unwrap());
    });
    group.throughput(Throughput::Bytes(journal.len() as u64));
    group.bench_function("read_closing, of a journal", |bencher| {
        bencher.iter(|| read_closing(black_box(&journal[..])).unwrap());
    });
    group.finish();
}

/// What the screen does with a day of ticks, a row of causes in each.
fn screen(criterion: &mut Criterion) {
    let only_tried = std::env::args().any(|argument| argument == "--test");
    let (capture, _) = captured(if only_tried { FEW } else { DAY });
    let live = Live::replay(&capture);
    let last = capture.epoch.timeline.last().unwrap();
    let look = Look {
        palette: Palette::Many,
        unicode: true,
    };
    for (width, height) in [(80, 24), (200, 50)] {
        for (what, keys) in [("5 min", [].as_slice()), ("a day", &[Key::Char('0')])] {
            let mut screen = Screen::new(look);
            screen.look_at(&live, width);
            for key in keys {
                screen.key(*key);
            }
            let name = format!("screen {width}x{height}, {what} of a day");
            criterion.bench_function(&format!("{name}: look"), |bencher| {
                bencher.iter(|| screen.look_at(black_box(&live), width));
            });
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            criterion.bench_function(&format!("{name}: draw"), |bencher| {
                bencher.iter(|| {
                    buffer.reset();
                    screen.draw(&mut buffer);
                });
            });
        }
    }
    let mut history = live.history.clone();
    criterion.bench_function("History::note, after a day", |bencher| {
        bencher.iter(|| history.note(black_box(last)));
    });
}

criterion_group!(benches, tick, day, screen);
criterion_main!(benches);
