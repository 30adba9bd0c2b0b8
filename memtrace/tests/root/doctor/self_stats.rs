//! `--self-stats`: what memtrace itself takes.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
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

/// How many descriptors of a process keep the kernel's statistics on.
fn statistics(pid: u32) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    links
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter(|link| link == Path::new("anon_inode:bpf-stats"))
        .count()
}

/// Others may have the statistics of this host on, so it is memtrace's own descriptor that is looked for.
#[test]
fn the_statistics_end_with_the_capture() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let mut child = memtrace()
        .args(["--self-stats", "-q", "-i", "10ms", "-d", "2s", "--"])
        .args(["sh", "-c", "ls -l /proc/self/fd >&2; exec sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    // While it traces, it has one, which the program does not inherit.
    while !said.contains("total") {
        said = lines.next().unwrap().unwrap();
    }
    assert_eq!(statistics(child.id()), 1);
    for line in lines {
        said = line.unwrap();
        assert!(!said.contains("bpf-stats"), "{said}");
        if said.contains("the command goes on as process") {
            break;
        }
    }
    // The capture has ended, and memtrace waits for the program.
    let left = statistics(child.id());
    let words = said.split(|letter: char| !letter.is_ascii_digit());
    let program = words.filter_map(|word| word.parse().ok()).next().unwrap();
    kill(Pid::from_raw(program), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert_eq!(left, 0);
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
