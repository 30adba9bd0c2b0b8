//! Single calls: from records to lines, and the file that memtrace writes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Stdio};

use crate::common::{memtrace, needs_root, run, text};
use memtrace::{export::events::Batch, model::CallLine, probe::events::decode};
use memtrace_common::{
    cell::{BRK, FAULT, MADVISE_BASE, MMAP, MREMAP, PROCESS_MADVISE_BASE},
    layout::CallEvent,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A record as the kernel side writes it.
fn record(event: &CallEvent) -> Vec<u8> {
    let mut bytes = Vec::new();
    for long in [
        event.at_ns,
        event.begin_ns,
        event.duration_ns,
        event.address,
        event.length,
        event.old,
        event.result.cast_unsigned(),
    ]
    .into_iter()
    .chain(event.moved.map(i64::cast_unsigned))
    {
        bytes.extend(long.to_le_bytes());
    }
    for short in [
        event.epoch,
        event.thread,
        event.cell,
        event.errno,
        event.advice.cast_unsigned(),
        event.flags,
        event.prot,
        event.has_moved,
    ] {
        bytes.extend(short.to_le_bytes());
    }
    bytes
}

fn line(event: &CallEvent) -> Value {
    assert_eq!(decode(&record(event)).as_ref(), Some(event));
    let line = CallLine::of(event, 4096, 500).expect("a hooked call");
    let value = serde_json::to_value(&line).unwrap();
    assert!(valid(&value), "{value}");
    value
}

fn valid(line: &Value) -> bool {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/memtrace-events-1.schema.json")).unwrap();
    jsonschema::is_valid(&schema, line)
}

fn event(cell: u32) -> CallEvent {
    CallEvent {
        at_ns: 1_500,
        begin_ns: 1_000,
        duration_ns: 70,
        address: 0x7f00_0000_0000,
        length: 8192,
        epoch: 2,
        thread: 4242,
        cell,
        ..CallEvent::default()
    }
}

#[test]
fn each_call_has_its_own_fields() {
    let free = CallEvent {
        advice: 8,
        has_moved: 1,
        moved: [1, -3, 5, 0],
        ..event(MADVISE_BASE + 8)
    };
    assert_eq!(
        line(&free),
        json!({"epoch": 2, "t_ns": 500, "thread": 4242, "call": "madvise", "advice": "MADV_FREE", "address": "0x7f0000000000",
            "length": 8192, "result": 0, "duration_ns": 70, "rss_delta_bytes": -8192, "swap_delta_bytes": 20480})
    );
    let map = CallEvent {
        flags: 0x8032,
        prot: 3,
        result: 0x1000,
        begin_ns: 0,
        ..event(MMAP)
    };
    assert_eq!(
        line(&map),
        json!({"epoch": 2, "t_ns": 1000, "thread": 4242, "call": "mmap", "address": "0x7f0000000000", "length": 8192,
            "prot": "PROT_READ|PROT_WRITE", "flags": "MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_POPULATE", "result_address": "0x1000",
            "duration_ns": 70, "rss_delta_bytes": null, "swap_delta_bytes": null})
    );
    let remap = CallEvent {
        old: 4096,
        flags: 1,
        errno: 12,
        result: -12,
        thread: 0,
        ..event(MREMAP)
    };
    let remap = line(&remap);
    assert_eq!(
        (&remap["old_length"], &remap["flags"]),
        (&json!(4096), &json!("MREMAP_MAYMOVE"))
    );
    assert_eq!(
        (&remap["errno"], &remap["thread"]),
        (&json!("ENOMEM"), &Value::Null)
    );
    assert!(remap.get("result").is_none() && remap.get("result_address").is_none());
    let brk = CallEvent {
        old: 0x5000,
        errno: 12,
        result: 0x5000,
        ..event(BRK)
    };
    let brk = line(&brk);
    assert_eq!(
        (&brk["old_address"], &brk["result_address"]),
        (&json!("0x5000"), &json!("0x5000"))
    );
    assert_eq!(brk["errno"], "ENOMEM");
    assert_eq!(line(&event(BRK))["old_address"], Value::Null);
    let other = CallEvent {
        advice: 77,
        old: 3,
        result: 8192,
        ..event(PROCESS_MADVISE_BASE + 36)
    };
    let other = line(&other);
    assert_eq!(
        (&other["advice"], &other["ranges"], &other["result"]),
        (&json!("77"), &json!(3), &json!(8192))
    );
    assert!(other.get("address").is_none());
}

#[test]
fn what_is_no_call_has_no_line() {
    assert!(CallLine::of(&event(FAULT), 4096, 0).is_none());
    assert!(CallLine::of(&event(u32::MAX), 4096, 0).is_none());
    let whole = record(&event(MMAP));
    assert!(decode(&whole[1..]).is_none());
    assert!(decode(&[]).is_none());
    assert!(decode(&[whole.clone(), vec![0]].concat()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_is_one_valid_line_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..130), cell in 0u32..100) {
        let mut record = bytes;
        if record.len() > 119 {
            record.truncate(120);
            record[96..100].copy_from_slice(&cell.to_le_bytes());
        }
        let mut batch = Batch::default();
        if let Some(line) = decode(&record).and_then(|event| CallLine::of(&event, 4096, 7)) {
            batch.push(&line);
            prop_assert_eq!(batch.count(), 1);
            let written = batch.bytes();
            prop_assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let value: Value = serde_json::from_slice(written).unwrap();
            prop_assert!(value["call"].is_string());
        } else {
            prop_assert!(record.len() != 120 || !(1..=4).contains(&cell));
        }
    }
}

/// Runs a program under `--events`, and returns its capture and lines.
fn traced(options: &[&str], program: &[&str]) -> (Value, Vec<Value>, i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let (capture, events) = (dir.path().join("c.json"), dir.path().join("e.jsonl"));
    let output = memtrace()
        .arg("--json")
        .arg(&capture)
        .arg("--events")
        .arg(&events)
        .args(options)
        .args(["-q", "--"])
        .args(program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let lines: Vec<Value> = fs::read_to_string(&events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let capture = serde_json::from_slice(&fs::read(&capture).unwrap()).unwrap();
    (
        capture,
        lines,
        output.status.code().unwrap(),
        text(&output.stderr),
    )
}

/// Calls that a capture counts, in all of its epochs.
fn counted(capture: &Value) -> u64 {
    let rows = crate::common::epochs(capture)
        .into_iter()
        .flat_map(|epoch| epoch["summary"]["causes"].as_array().unwrap());
    rows.filter_map(|row| row["calls"].as_u64()).sum()
}

#[test]
fn the_file_has_every_call_of_the_capture() {
    if needs_root() {
        return;
    }
    for options in [
        &[][..],
        &["--events-calls", "munmap,brk"],
        &["--events-min-bytes", "128K"],
    ] {
        let (capture, lines, code, error) =
            traced(options, &["sh", "-c", "ls / >/dev/null; exec ls /"]);
        assert_eq!(code, 0, "{error}");
        let [header, calls @ .., trailer] = &lines[..] else {
            unreachable!("{lines:?}")
        };
        assert!(lines.iter().all(valid));
        assert_eq!(header["schema"], "memtrace-events/1");
        let count = |name: &str| trailer[name].as_u64().unwrap();
        assert_eq!(count("written"), calls.len() as u64);
        assert_eq!((count("dropped"), &trailer["complete"]), (0, &json!(true)));
        assert_eq!(
            count("written") + count("filtered"),
            counted(&capture),
            "{options:?}"
        );
        assert_eq!(count("filtered") > 0, !options.is_empty());
        assert_eq!(capture["capture"]["losses"]["single_events"], 0);
        // Of both programs.
        for epoch in [0, 1] {
            assert!(
                calls.iter().any(|call| call["epoch"] == epoch),
                "{options:?}"
            );
        }
        if options.is_empty() {
            // What the rows of calls moved is what the calls did, in a program with one thread.
            let rows = capture["summary"]["causes"].as_array().unwrap();
            let row = rows.iter().find(|row| row["cause"] == "munmap").unwrap();
            let moved = calls
                .iter()
                .filter(|call| call["call"] == "munmap" && call["epoch"] == 1)
                .map(|call| call["rss_delta_bytes"].as_i64().unwrap());
            assert_eq!(row["rss_delta_bytes"], moved.sum::<i64>());
        }
    }
}

#[test]
fn a_reader_that_goes_leaves_the_capture_alone() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("c.json");
    let mut child = memtrace()
        .arg("--json")
        .arg(&capture)
        .args([
            "--events",
            "-",
            "-q",
            "--",
            "sh",
            "-c",
            "ls /; ls /; exec ls /",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(!error.contains("panicked"), "{error}");
    assert!(
        error.contains("cannot write events to standard output: Broken pipe"),
        "{error}"
    );
    assert!(error.contains("the file is incomplete"), "{error}");
    let capture: Value = serde_json::from_slice(&fs::read(&capture).unwrap()).unwrap();
    assert!(counted(&capture) > 0);
}

#[test]
fn a_full_disk_leaves_the_capture_alone() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("c.json");
    let output = memtrace()
        .arg("--json")
        .arg(&capture)
        .args(["--events", "/dev/full", "-q", "--", "ls", "/"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert!(
        error.contains("cannot write events to /dev/full: No space left"),
        "{error}"
    );
    assert!(capture.exists());
}

#[test]
fn wrong_options_are_refused_with_what_is_right() {
    for (arguments, said) in [
        (
            &["--events-calls", "mprotect"][..],
            "calls are mmap, munmap",
        ),
        (&["--events-calls", "munmap:FREE"], "munmap takes no advice"),
        (
            &["--events-calls", "madvise:FREEZE"],
            "advice is one of NORMAL",
        ),
        (&["--events-min-bytes", "64Q"], "such as 64K"),
        (&["--events-min-bytes", "99999999999G"], "such as 64K"),
        (&["--no-syscalls"], "cannot be used with"),
    ] {
        let mut all = vec!["--events", "e.jsonl", "--pid", "1"];
        all.extend(arguments);
        let output = run(&all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(said),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let output = run(&["--events-calls", "munmap", "--pid", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let own = std::process::id().to_string();
    let both = run(&["--events", "-", "--json", "-", "--pid", &own]);
    assert_eq!(both.status.code(), Some(2));
    assert!(text(&both.stderr).contains("both want standard output"));
}
