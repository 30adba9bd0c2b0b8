//! Dumps of pprofplus, whole and broken. Needs neither root nor a kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use crate::common::{fails_with, run, text};
use memtrace::dump::{POINTS, answer, read};
use proptest::prelude::*;

/// Written by the library itself: docs/pprofplus.md says how.
const SERVICE: &str = include_str!("../../../fuzz/seeds/dump/service.dump");

const LINE: &str = r#"{"Timestamp":1795746960,"sys":12696592,"heapsys":3932160,"heapalloc":78416,"heapinuse":507904,"heapreleased":3391488,"heapidle":3424256,"vms":728821760,"rss":2580480}"#;

fn report(name: &str, contents: &[u8], arguments: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, contents).unwrap();
    let path = path.to_str().unwrap();
    let arguments = [&["report", path], arguments].concat();
    run(&arguments)
}

#[test]
fn a_dump_is_shown_as_one_with_what_it_cannot_tell() {
    // By what is in it, whatever its name.
    for name in ["service.dump", "capture.json"] {
        let output = report(name, SERVICE.as_bytes(), &[]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        for part in [
            "dump of pprofplus: 16 lines, 15 s\n",
            "It is no capture of memtrace",
            "At least 274.8M of 293.1M RSS is not memory that Go still holds\n",
            "  Sys - HeapReleased         18.32M\n",
            "  - LazyFree: how much was given back with MADV_FREE, and is still in RSS\n",
            "sudo memtrace --pid PID",
        ] {
            assert!(shown.contains(part), "{part:?} is missing in: {shown}");
        }
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(84), "{shown}");
    }
}

#[test]
fn the_bound_is_below_what_the_kernel_says() {
    // LazyFree that memtrace read of this process at the end: docs/pprofplus.md.
    const LAZYFREE: i64 = 294_006_784;
    let dump = read(SERVICE.as_bytes()).unwrap();
    let beyond = dump.last.rss as i64 - (dump.last.sys - dump.last.heap_released) as i64;
    assert_eq!(beyond, 288_101_296);
    assert!(beyond < LAZYFREE);
    assert!(answer(&dump).unwrap().title.starts_with("At least 274.8M"));
}

#[test]
fn a_last_line_that_was_cut_is_left_out_and_said() {
    let cut = &SERVICE[..SERVICE.len() - 40];
    let output = report("service.dump", cut.as_bytes(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stdout).contains("15 lines"),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&output.stderr).contains("its last line was cut, and is left out"));
}

#[test]
fn a_broken_line_is_one_error_with_its_place() {
    let second = format!("{LINE}\n");
    for (contents, parts) in [
        (
            format!("{LINE}\n{}\n{LINE}\n", &LINE[..50]),
            ["line 2 is broken", "column 5"],
        ),
        (
            format!("{second}{}\n", LINE.replace("\"rss\"", "\"x\"")),
            ["line 2 is broken", "missing field `rss`"],
        ),
        (
            format!("{second}{}\n", LINE.replace("2580480", "-1")),
            ["line 2 is broken", "integer `-1`"],
        ),
        (
            format!("{second}{{\"Timestamp\":\"\\u001b[2J\"}}\n"),
            ["line 2 is broken", "\\u{1b}[2J"],
        ),
        (
            format!("{second}PK\u{3}\n"),
            ["line 2 is broken", "column 1"],
        ),
        (LINE[..40].to_owned(), ["first line", "column 40"]),
        (
            format!("{LINE}\n{{{}", " ".repeat(1 << 17)),
            ["line 2 is broken", "longer than any line"],
        ),
    ] {
        let output = report("service.dump", contents.as_bytes(), &[]);
        fails_with(&output, 1, &parts);
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn empty_lines_and_further_fields_are_passed_over() {
    let wider = LINE.replace("\"rss\"", "\"more\":[1],\"rss\"");
    let dump = read(format!("{wider}\n\n{wider}").as_bytes()).unwrap();
    assert_eq!((dump.lines, dump.cut_bytes), (2, 0));
}

#[test]
fn a_clock_that_went_back_is_said() {
    let back = LINE.replace("1795746960", "1795746900");
    let output = report("x", format!("{LINE}\n{back}\n").as_bytes(), &[]);
    let shown = text(&output.stdout);
    assert!(shown.contains("the clock was set back 1 times"), "{shown}");
}

#[test]
fn a_long_dump_is_thinned_and_its_ends_stay() {
    let line = |at: u64| {
        LINE.replace("1795746960", &at.to_string())
            .replace("2580480", &(at % 777 * 4096).to_string())
    };
    let lines: Vec<String> = (0..5000).map(line).collect();
    let dump = read(lines.join("\n").as_bytes()).unwrap();
    assert_eq!(dump.lines, 5000);
    assert!(dump.history.len() <= POINTS && dump.history.len() > POINTS / 2);
    assert_eq!((dump.first.timestamp, dump.last.timestamp), (0, 4999));
    assert_eq!(
        (dump.highest.timestamp, dump.highest.rss),
        (776, 776 * 4096)
    );
}

#[test]
fn dumps_and_captures_may_be_given_together() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let dump = format!("{root}/fuzz/seeds/dump/service.dump");
    let capture = format!("{root}/docs/captures/go1.15-service.json");
    let output = run(&["report", "--answer", &dump, &capture]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("service.dump\n"), "{shown}");
    assert!(shown.contains("memtrace explain lazy-free"), "{shown}");
    assert!(!shown.contains("dump of pprofplus:"), "{shown}");
}

proptest! {
    #[test]
    fn nothing_that_is_in_a_dump_breaks_it(
        numbers in prop::collection::vec(any::<u64>(), 8),
        timestamp in any::<i64>(),
        cut in 0usize..600,
    ) {
        let names = ["sys", "heapsys", "heapalloc", "heapinuse", "heapreleased", "heapidle", "vms", "rss"];
        let fields: Vec<String> = names.iter().zip(&numbers).map(|(name, number)| format!("\"{name}\":{number}")).collect();
        let line = format!("{{\"Timestamp\":{timestamp},{}}}\n", fields.join(","));
        let all = format!("{LINE}\n{line}");
        let part = &all.as_bytes()[..cut.min(all.len())];
        if let Ok(dump) = read(part) {
            for width in [80, 100] {
                let shown = memtrace::view::dump(&dump, width, false);
                prop_assert!(shown.contains("not in a dump"));
            }
        }
    }
}
