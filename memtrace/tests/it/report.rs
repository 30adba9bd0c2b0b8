//! `memtrace report`: captures of real runs, and every way in which a file can be broken. Needs neither root nor a kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use memtrace::timeline::{read, read_closing};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::fuzz;

const LAZY_FREE: &[u8] = include_bytes!("../../../fuzz/seeds/capture/lazy-free.json");
/// Two epochs, an unknown advice that fails, a child.
const EXEC: &[u8] = include_bytes!("../../../fuzz/seeds/capture/exec.json");

/// Of a memtrace that was killed: an exec, a call that failed, a child.
const JOURNAL: &[u8] = include_bytes!("../../../fuzz/seeds/capture/exec.partial");

fn seed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds/capture")
        .join(name)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memtrace"));
    command
        .arg("report")
        .args(arguments)
        .env_remove("COLUMNS")
        .stdin(Stdio::null());
    command
}

fn report(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// `memtrace report -` with these bytes at standard input.
fn report_of(bytes: &[u8]) -> Output {
    let mut child = command(&["-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// One line on standard error, nothing on standard output, exit code 1.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("memtrace: cannot read "), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

// --- whole captures -----------------------------------------------------------------------------------------------------

#[test]
fn the_table_of_a_file_is_that_of_the_live_run() {
    let output = report(&[seed("lazy-free.json").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    // Printed by the run that wrote the file.
    let live = "\
process 5167 (memtrace-demo), 4.0 s: the capture's time was over
exact; Linux 6.18.44-fc-v595 x86_64, 2 CPUs, pages of 4K
tp_btf: exit exec fork rss faults_user faults_kernel
tracepoint: mmap munmap mremap brk madvise process_madvise

cause                   calls failed requested    anon    file   shmem    swap
fault                       -      -         - +200.6M  +6860K       0       0
mmap                       14      0    203.9M       0       0       0       0
munmap                      1      0    45.24K       0    -48K       0       0
brk                         3      0      132K       0       0       0       0
exec                        -      -         -    +16K       0       0       0
madvise
  FREE                      1      0    200.0M       0       0       0       0
sum                                            +200.6M  +6812K       0       0

RSS at the start             4K
moved by the causes     +207.3M
unexplained                 0 B  compared with smaps_rollup
RSS at the end           207.3M
LazyFree                 200.0M  freed by the program, kept until it is needed
RSS - LazyFree            7464K  what the program still holds
page faults               51438  51434 in user code, 4 in the kernel
";
    let (table, answer) = printed.split_at(live.len());
    assert_eq!(table, live);
    // The version that wrote it did not judge.
    assert!(
        answer.starts_with("\nNot a leak: 200.0M of 207.3M RSS has been given back already\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("\nmemtrace explain lazy-free\n"),
        "{answer}"
    );
}

#[test]
fn epochs_are_printed_oldest_first() {
    let printed = text(&report_of(EXEC).stdout);
    let at = |part: &str| {
        printed
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} is missing in: {printed}"))
    };
    let order = [
        at("process 6784 (sh), 12 ms: the process replaced its program"),
        at("process 6784 has replaced its program, and is now python3; its memory starts anew"),
        at("process 6784 (python3), 102 ms: the process ended"),
    ];
    assert!(order.is_sorted(), "{printed}");
    assert_eq!(printed.matches("\ncause ").count(), 2);
}

#[test]
fn several_files_have_a_headline_each() {
    let (first, second) = (seed("lazy-free.json"), seed("exec.json"));
    let output = report(&[first.to_str().unwrap(), second.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let headlines: Vec<_> = printed
        .lines()
        .filter(|line| {
            line.contains(".json: 2026-11-23T05:50:") && line.ends_with("memtrace 0.1.0")
        })
        .collect();
    assert_eq!(headlines.len(), 2, "{printed}");
    assert!(printed.starts_with(headlines[0]));
}

#[test]
fn one_broken_file_keeps_no_other_from_being_printed() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.json");
    fs::write(&cut, &LAZY_FREE[..1000]).unwrap();
    let whole = seed("exec.json");
    let output = report(&[
        cut.to_str().unwrap(),
        whole.to_str().unwrap(),
        "/no/such/file",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(
        lines[0].contains("cut.json: it ends at line 1, column 1000"),
        "{error}"
    );
    assert!(
        lines[1].contains("/no/such/file: there is no such file"),
        "{error}"
    );
    assert!(text(&output.stdout).contains("process 6784 (python3)"));
    assert!(!text(&output.stdout).contains("cut.json"));
}

#[test]
fn an_incomplete_capture_is_printed_and_has_the_exit_code_3() {
    let mut lossy = value(EXEC);
    lossy["earlier_epochs"][0]["capture"]["lost_events"] = json!(7);
    let output = report_of(lossy.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("incomplete: 7 events were not counted"));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let file = seed("lazy-free.json");
    let file = file.to_str().unwrap();
    assert!(!text(&report(&[file]).stdout).contains('\x1b'));
    assert!(text(&report(&["--color", "always", file]).stdout).contains("\x1b[1m"));
}

#[test]
fn the_order_of_fields_and_fields_of_later_versions_do_not_matter() {
    // serde_json sorts the fields of a value: `schema` comes behind most of them.
    let mut grown = value(EXEC);
    assert!(grown.to_string().starts_with("{\"capture\""));
    grown["more"] = json!({"nested": [[{"deep": null}]]});
    grown["summary"]["more"] = json!(1.5);
    grown["timeline"][0]["more"] = json!("text");
    let output = report_of(grown.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(output.stdout, report_of(EXEC).stdout);
    let spread = serde_json::to_string_pretty(&grown).unwrap();
    assert_eq!(report_of(spread.as_bytes()).stdout, output.stdout);
}

// --- journals -----------------------------------------------------------------------------------------------------------

#[test]
fn a_journal_is_printed_as_at_its_last_tick() {
    let output = report(&[seed("exec.partial").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let printed = text(&output.stdout);
    for part in [
        ": the process replaced its program\n",
        "has replaced its program, and is now python3",
        ": interrupted\n",
        "unexplained                 0 B",
        "failed: madvise 99: 1 × EINVAL\n",
        "children forked, and not followed: 2",
        "incomplete: memtrace did not bring this capture to its end; at most what came after the last tick is missing\n",
    ] {
        assert!(printed.contains(part), "{part:?} is missing in: {printed}");
    }
    assert_eq!(report_of(JOURNAL).stdout, output.stdout);
}

#[test]
fn a_last_line_that_was_cut_is_left_out_and_said() {
    let lines: Vec<&[u8]> = JOURNAL.split_inclusive(|&byte| byte == b'\n').collect();
    let whole = lines[..lines.len() - 1].concat();
    let cut = &JOURNAL[..whole.len() + 30];
    let output = report_of(cut);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, report_of(&whole).stdout);
    assert_eq!(
        text(&output.stderr),
        "memtrace: -: its last line was cut, and is left out (30 bytes)\n"
    );
}

#[test]
fn a_journal_that_is_broken_names_the_line() {
    let lines: Vec<&[u8]> = JOURNAL.split_inclusive(|&byte| byte == b'\n').collect();
    let mut broken = lines.clone();
    broken[3] = b"{\"tick\":{\"t_ns\":18446744073709551616}}\n";
    refused(
        &report_of(&broken.concat()),
        &["its journal is broken", "line 4, column", "tick.t_ns"],
    );
    broken[3] = b"\x1b[2J\n";
    refused(&report_of(&broken.concat()), &["line 4, column 1"]);
    broken.remove(3);
    refused(
        &report_of(&lines[1..].concat()),
        &["not a capture", "missing field `schema`"],
    );
    refused(
        &report_of(&JOURNAL[..100]),
        &["it ends at line 1, column 100", "first line of a journal"],
    );
}

// --- what is no capture -------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_is_no_capture_says_what_it_is() {
    refused(
        &report_of(b""),
        &["cannot read -:", "it is empty", "line 1, column 0"],
    );
    refused(
        &report_of(b"\x7fELF\x02\x01"),
        &["not JSON", "line 1, column 1"],
    );
    refused(
        &report_of(b"[1, 2]"),
        &["not a capture", "`schema`", "line 1"],
    );
    refused(
        &report_of(b"{\"a\": 1}\n"),
        &["missing field `schema`", "line 1, column 8"],
    );
    let twice = [LAZY_FREE, LAZY_FREE].concat();
    refused(
        &report_of(&twice),
        &["trailing characters", "line 2, column 1"],
    );
    // However deep it goes, in a field that is known, and in one that is not.
    let deep = |field: &str| {
        let mut text = format!("{{\"schema\":\"memtrace/1\",\"{field}\":").into_bytes();
        text.extend(std::iter::repeat_n(b'[', 1_000_000));
        report_of(&text)
    };
    refused(
        &deep("verdict"),
        &["invalid type: sequence", "verdict", "line 1"],
    );
    refused(&deep("unknown"), &["it was cut", "unknown", "line 1"]);
}

#[test]
fn a_later_schema_names_the_version_that_reads_it() {
    let mut later = value(LAZY_FREE);
    later["schema"] = json!("memtrace/2");
    later["memtrace_version"] = json!("3.0.0");
    // Nothing else of it need be what this version knows.
    later["summary"] = json!([]);
    refused(
        &report_of(later.to_string().as_bytes()),
        &[
            "later memtrace",
            "memtrace/2",
            "version 3.0.0",
            "reads memtrace/1",
        ],
    );
}

#[test]
fn a_wrong_field_is_named_with_its_position() {
    let mut wrong = value(EXEC);
    wrong["earlier_epochs"][0]["summary"]["causes"][1]["calls"] = json!("many");
    refused(
        &report_of(wrong.to_string().as_bytes()),
        &[
            "earlier_epochs[0].summary.causes[1].calls",
            "\"many\"",
            "line 1, column",
        ],
    );
    let big = text(LAZY_FREE).replacen(
        "\"page_size\":4096",
        "\"page_size\":18446744073709551616",
        1,
    );
    refused(&report_of(big.as_bytes()), &["host.page_size", "line 1"]);
    let mut newer = value(LAZY_FREE);
    newer["memtrace_version"] = json!("0.9.0");
    newer["capture"]["end"] = json!("boredom");
    refused(
        &report_of(newer.to_string().as_bytes()),
        &["capture.end", "`boredom`", "memtrace 0.9.0 wrote it"],
    );
}

#[test]
fn folders_and_hostile_names_are_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    refused(
        &report(&[dir.path().to_str().unwrap()]),
        &["it is a folder"],
    );
    refused(
        &report(&["/no\x1b[31m\nfile"]),
        &["/no\\u{1b}[31m\\u{a}file"],
    );
    let quoting = br#"{"schema": "\u001b]0;owned\u0007\n\u202e"}"#;
    let output = report_of(quoting);
    refused(&output, &["\\u{1b}]0;owned\\u{7}\\u{a}\\u{202e}"]);
    assert_eq!(text(&report(&[]).stdout), "");
    assert_eq!(report(&[]).status.code(), Some(2));
}

#[test]
fn a_pipe_with_a_name_is_read_like_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, EXEC)
    });
    let output = report(&[pipe.to_str().unwrap()]);
    writer.join().unwrap().unwrap();
    assert_eq!(output.stdout, report_of(EXEC).stdout);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    let file = seed("exec.json");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&[file.to_str().unwrap()])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command(&[file.to_str().unwrap()])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("No space left on device"));
}

// --- cut, mutated, hostile ----------------------------------------------------------------------------------------------

#[test]
fn a_capture_cut_at_any_byte_is_refused_with_the_position_of_its_end() {
    for whole in [LAZY_FREE, EXEC] {
        let end = whole.len() - 1;
        assert_eq!(whole[end], b'\n');
        for length in 0..end {
            let error = read_closing(&whole[..length]).unwrap_err().to_string();
            let at = format!("line 1, column {length}");
            assert!(error.contains(&at), "{length} bytes: {error}");
        }
        assert!(read_closing(&whole[..end]).is_ok());
    }
}

#[test]
fn thousands_of_epochs_and_ticks_are_read() {
    let mut many = value(EXEC);
    let epoch = many["earlier_epochs"][0].clone();
    many["earlier_epochs"] = Value::Array(vec![epoch; 1000]);
    let tick = many["timeline"][0].clone();
    many["timeline"] = Value::Array(vec![tick; 5000]);
    let bytes = many.to_string();
    let closing = read_closing(bytes.as_bytes()).unwrap();
    assert_eq!(closing.earlier_epochs.len(), 1000);
    assert!(closing.epoch.timeline.len() <= 2);
    assert_eq!(read(bytes.as_bytes()).unwrap().epoch.timeline.len(), 5000);
    let output = report_of(bytes.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches("\ncause ").count(), 1001);
}

/// Every string and every number of a capture, by its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                leaves(field, &format!("{path}/{name}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// A capture in which everything that the table can print is there.
fn full() -> Value {
    let mut full = value(EXEC);
    let mut hook = json!({"name": "ksm", "kind": null, "error": "no such function"});
    full["capture"]["hooks"]
        .as_array_mut()
        .unwrap()
        .push(hook.take());
    full["capture"]["children"] = json!({"forked": 3, "last_pid": 77});
    full["capture"]["lost_events"] = json!(3);
    let mut row = full["summary"]["causes"][0].clone();
    row["cause"] = json!("process_madvise");
    row["advice"] = json!("MADV_COLD");
    row["task"] = json!("kswapd0");
    row["calls"] = json!(4);
    row["failed_calls"] = json!(3);
    row["errnos"] = json!([{"errno": "ENOMEM", "calls": 2}, {"errno": "EINVAL", "calls": 1}]);
    row["requested_bytes"] = json!(4096);
    row["shrunk_bytes"] = json!(8192);
    let mut other = row.clone();
    other["cause"] = json!("other_process");
    other["advice"] = Value::Null;
    full["summary"]["causes"]
        .as_array_mut()
        .unwrap()
        .extend([row, other]);
    full["summary"]["unexplained_bytes"] = json!(4096);
    full["summary"]["unexplained_bound_bytes"] = json!(8192);
    full["summary"]["compared_with"] = json!("statm");
    full["earlier_epochs"][0]["capture"]["end"] = json!("signal");
    full["earlier_epochs"][0]["summary"]["lazyfree_bytes"] = Value::Null;
    full["earlier_epochs"][0]["summary"]["lazyfree_missing"] = json!("turned off");
    let mut epoch = full["earlier_epochs"][0].clone();
    epoch["summary"]["lazyfree_bytes"] = json!(4096);
    full["earlier_epochs"].as_array_mut().unwrap().push(epoch);
    full
}

const HOSTILE: &str = "a\x1b[2J\x1b]0;t\x07\r\n\u{9b}31m\u{202e}\u{061c}\u{200b}z";

#[test]
fn no_text_of_a_capture_reaches_the_terminal_as_it_is() {
    let full = full();
    let mut paths = Vec::new();
    leaves(&full, "", &mut paths);
    let mut hostile = full.clone();
    for path in &paths {
        let old = hostile.pointer(path).unwrap().clone();
        // Some texts are one of a few words; where they are not, the file is refused.
        if old.is_string() {
            *hostile.pointer_mut(path).unwrap() = json!(HOSTILE);
            if read(hostile.to_string().as_bytes()).is_err() {
                *hostile.pointer_mut(path).unwrap() = old;
            }
        }
    }
    let output = report_of(hostile.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("\\u{1b}[2J"));
    let bad = |letter: char| letter != '\n' && letter.is_control();
    assert!(!printed.contains(bad), "{printed:?}");
    assert!(
        !printed.contains(['\u{202e}', '\u{61c}', '\u{200b}']),
        "{printed:?}"
    );
}

#[test]
fn the_largest_numbers_are_added_up_without_an_overflow() {
    for number in [
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0),
        json!(-1),
    ] {
        let mut extreme = full();
        let mut paths = Vec::new();
        leaves(&extreme, "", &mut paths);
        for path in &paths {
            let old = extreme.pointer(path).unwrap().clone();
            if old.is_number() {
                *extreme.pointer_mut(path).unwrap() = number.clone();
                if read(extreme.to_string().as_bytes()).is_err() {
                    *extreme.pointer_mut(path).unwrap() = old;
                }
            }
        }
        let output = report_of(extreme.to_string().as_bytes());
        let error = text(&output.stderr);
        assert_eq!(error, "", "{number}");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{number}");
    }
}

fn hostile_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(vec![
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(""),
            json!(HOSTILE),
            json!("MADV_"),
        ]),
        "\\PC{0,40}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a field, the answer is a table or an error with its position.
    #[test]
    fn any_value_in_any_field_gives_a_table_or_an_error(
        changes in prop::collection::vec((any::<Index>(), hostile_value()), 1..8),
    ) {
        let mut capture = full();
        let mut paths = Vec::new();
        leaves(&capture, "", &mut paths);
        for (at, value) in changes {
            if let Some(leaf) = capture.pointer_mut(&paths[at.index(paths.len())]) {
                *leaf = value;
            }
        }
        // The promises are those that the fuzz target asks for.
        fuzz::capture(capture.to_string().as_bytes());
    }

    /// The same of a journal, cut anywhere.
    #[test]
    fn any_value_in_any_line_of_a_journal_gives_a_table_or_an_error(
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), hostile_value()), 1..8),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut lines: Vec<Value> = JOURNAL.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(value).collect();
        for (line, at, value) in changes {
            let line = line.get_mut(&mut lines);
            let mut paths = Vec::new();
            leaves(line, "", &mut paths);
            if let Some(leaf) = line.pointer_mut(&paths[at.index(paths.len())]) {
                *leaf = value;
            }
        }
        let mut bytes = Vec::new();
        for line in &lines {
            bytes.extend_from_slice(line.to_string().as_bytes());
            bytes.push(b'\n');
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fuzz::capture(&bytes);
    }
}

#[test]
fn an_answer_may_be_an_exit_code() {
    let file = seed("lazy-free.json");
    let file = file.to_str().unwrap();
    let output = report(&["--fail-on", "growing,lazy-free", file]);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(
        said.contains("--fail-on lazy-free: it was found in"),
        "{said}"
    );
    assert!(text(&output.stdout).contains("Not a leak"));
    let output = report(&["--fail-on", "growing", file]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let output = report(&["--fail-on", "leaking", file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("possible values: lazy-free"));
}

#[test]
fn the_answer_may_be_had_alone() {
    let file = seed("lazy-free.json");
    let whole = text(&report(&[file.to_str().unwrap()]).stdout);
    let answer = text(&report(&["--answer", file.to_str().unwrap()]).stdout);
    assert!(answer.starts_with("Not a leak"), "{answer}");
    assert!(whole.ends_with(&answer) && whole.len() > answer.len());
}

#[test]
fn standard_input_is_read_once() {
    let output = report(&["-", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let error = text(&output.stderr);
    assert!(
        error.contains("standard input, which can be read once, and was given 2 times"),
        "{error}"
    );
}
