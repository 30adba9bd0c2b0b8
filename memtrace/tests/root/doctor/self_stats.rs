//! `--self-stats`: what memtrace itself takes.

use std::process::Output;

use memtrace::probe::{Options, Session};
use serde_json::Value;

use super::command::{alone, memtrace, needs_root, sleeper, text};

#[track_caller]
fn capture(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let capture: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)));
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/memtrace-1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&capture)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    capture["capture"].clone()
}

#[track_caller]
fn program<'a>(capture: &'a Value, name: &str) -> &'a Value {
    capture["self_stats"]["programs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|program| program["name"] == name)
        .unwrap_or_else(|| panic!("no program {name} in {capture}"))
}

/// A shell that forks 200 times.
fn shell(arguments: &[&str]) -> Output {
    memtrace()
        .args(["-q", "-o", "-"])
        .args(arguments)
        .args([
            "--",
            "sh",
            "-c",
            "i=0; while [ $i -lt 200 ]; do (:); i=$((i+1)); done",
        ])
        .output()
        .unwrap()
}

#[test]
fn every_run_of_a_program_is_counted_and_timed() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let capture = capture(&shell(&["--self-stats"]));
    // Each of 200 forked shells changes its RSS, and makes this program run, whosever ledger it is.
    let rss = program(&capture, "rss_stat");
    let runs = rss["runs"].as_u64().unwrap();
    assert!(runs > 200, "{capture}");
    let time = rss["time_ns"].as_u64().unwrap();
    assert!(time > 0);
    assert_eq!(rss["ns_per_run"].as_u64(), Some(time / runs));
    // The kernel counts skipped runs by program; the capture has their sum.
    let programs = capture["self_stats"]["programs"].as_array().unwrap();
    let skipped: Option<u64> = programs
        .iter()
        .map(|program| program["skipped_runs"].as_u64())
        .sum();
    assert_eq!(capture["losses"]["skipped_runs"].as_u64(), skipped);
    // All forks are seen, and more than those by whatever else runs here.
    let forks = program(&capture, "sched_process_fork")["runs"]
        .as_u64()
        .unwrap();
    assert!(forks >= 200, "{capture}");
    // One program, however many system calls it is attached to; each is there once.
    let mut names: Vec<&str> = programs
        .iter()
        .map(|program| program["name"].as_str().unwrap())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for figure in [
        "cpu_user_ns",
        "cpu_system_ns",
        "rss_bytes",
        "rss_peak_bytes",
    ] {
        assert!(
            capture["self_stats"][figure].as_u64().unwrap() > 0,
            "{figure}"
        );
    }
    let own = &capture["self_stats"];
    assert!(own["rss_peak_bytes"].as_u64() >= own["rss_bytes"].as_u64());
}

#[test]
fn nothing_is_measured_where_nobody_asked() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let capture = capture(&shell(&[]));
    assert_eq!(capture["self_stats"], Value::Null);
    // Skipped runs are told all the same.
    assert!(capture["losses"].get("skipped_runs").is_some());
}

#[test]
fn the_statistics_end_with_the_capture() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    if std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|on| on != "0\n") {
        eprintln!("skipped: somebody has turned the statistics of this host on");
        return;
    }
    capture(&shell(&["--self-stats"]));
    let target = sleeper();
    let session = Session::attach(&Options::new(target.0.id())).unwrap();
    // It runs, and nobody counts.
    for _ in 0..20 {
        drop(sleeper());
    }
    for program in session.program_runs() {
        assert_eq!(program.runs, Some(0), "{program:?}");
    }
}

#[test]
fn the_table_shows_them() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = memtrace()
        .args(["--self-stats", "-q", "-d", "200ms", "-p", &pid])
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    for part in ["memtrace itself", "ns/run", "rss_stat", "its process: CPU"] {
        assert!(shown.contains(part), "{part} is missing in: {shown}");
    }
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
