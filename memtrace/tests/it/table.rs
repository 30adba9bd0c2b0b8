//! The report, from a capture file: what it looks like, and that no figure can break it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use memtrace::{model::Capture, view::table};
use serde_json::{Value, json};

fn row(cause: &str, advice: Option<&str>, calls: Option<(u64, u64, u64)>, anon: i64) -> Value {
    let mut row = json!({
        "cause": cause,
        "calls": calls.map(|calls| calls.0),
        "failed_calls": calls.map(|calls| calls.1),
        "requested_bytes": calls.map(|calls| calls.2),
        "failed_requested_bytes": calls.map(|_| 0),
        "shrunk_bytes": calls.map(|_| 0),
        "time_ns": calls.map(|calls| calls.0 * 1000),
        "rss_delta_bytes": anon,
        "by_kind": {"anon_bytes": anon, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0},
    });
    if let Some(advice) = advice {
        row["advice"] = json!(advice);
    }
    row
}

/// A capture like that of the article.
fn capture() -> Value {
    let rows = vec![
        row("fault", None, None, 200 << 20),
        row(
            "madvise",
            Some("MADV_DONTNEED"),
            Some((7, 0, 8 << 20)),
            -(8 << 20),
        ),
        row("madvise", Some("MADV_FREE"), Some((1, 1, 200 << 20)), 0),
    ];
    json!({
        "schema": "memtrace/1",
        "memtrace_version": "0.1.0",
        "host": {"kernel": "6.12.1-amd64", "arch": "x86_64", "page_size": 4096, "cpus": 8},
        "target": {"pid": 4242, "comm": "service", "exe": "/usr/bin/service", "cmdline": ["service"],
                   "start_time": 1_790_000_000, "runtime": null},
        "capture": {
            "started_at": "2026-09-21T12:00:00Z", "duration_ns": 30_000_000_000u64,
            "interval_ns": 1_000_000_000, "mode": "exact", "mode_note": null,
            "hooks": [{"name": "rss", "kind": "tp_btf"}, {"name": "madvise", "kind": "fentry"},
                      {"name": "mmap", "kind": null, "error": "tracefs is not mounted"}],
            "lost_events": 0,
            "losses": {"ring_buffer": 0, "calls": 0, "errnos": 0, "counter_reads": 0, "epochs": 0, "single_events": null, "skipped_runs": 0},
            "self_stats": null,
            "children": {"forked": 2, "last_pid": 4250},
            "end": "duration",
        },
        "summary": {
            "rss_start_bytes": 10 << 20, "rss_start_settled": true, "rss_end_bytes": 202 << 20,
            "rss_highest_seen_bytes": 210 << 20,
            "rss_sampling_bound_bytes": null,
            "unexplained_bytes": 0, "unexplained_bound_bytes": 0, "compared_with": "smaps_rollup",
            "start": {"anon_bytes": 8 << 20, "file_bytes": 2 << 20, "shmem_bytes": 0, "swap_bytes": 0},
            "end": {"anon_bytes": 200 << 20, "file_bytes": 2 << 20, "shmem_bytes": 0, "swap_bytes": 0},
            "lazyfree_bytes": 190 << 20,
            "causes": rows,
            "faults": {"user": 51_200, "kernel": 3, "user_read": 0, "user_write": 51_200, "user_exec": 0,
                       "kernel_read": 1, "kernel_write": 2},
            "anon_huge_bytes": null, "returned": null, "bridge": [], "mappings": null, "cgroup": null,
        },
        "timeline": [],
        "verdict": null,
        "earlier_epochs": [],
    })
}

fn show(capture: Value, width: usize) -> String {
    let capture: Capture = serde_json::from_value(capture).unwrap();
    let report = table(&capture.host, &capture.epoch, width);
    anstream::adapter::strip_str(&report).to_string()
}

#[test]
fn the_table_at_80_columns() {
    let expected = "\
process 4242 (service), 30.0 s: the capture's time was over
exact; Linux 6.12.1-amd64 x86_64, 8 CPUs, pages of 4K
tp_btf: rss
fentry: madvise
not hooked: mmap: tracefs is not mounted

cause                   calls failed requested    anon    file   shmem    swap
fault                       -      -         - +200.0M       0       0       0
madvise
  DONTNEED                  7      0     8192K  -8192K       0       0       0
  FREE                      1      1    200.0M       0       0       0       0
sum                                            +192.0M       0       0       0

RSS at the start         10.00M
moved by the causes     +192.0M
unexplained                 0 B  compared with smaps_rollup
RSS at the end           202.0M
LazyFree                 190.0M  freed by the program, kept until it is needed
RSS - LazyFree           12.00M  what the program still holds
page faults               51203  51200 in user code, 3 in the kernel
children forked, and not followed: 2; the last one is 4250
";
    assert_eq!(show(capture(), 80), expected);
}

#[test]
fn a_capture_that_was_interrupted_says_so_and_what_is_missing() {
    let mut interrupted = capture();
    interrupted["capture"]["end"] = json!("interrupted");
    interrupted["capture"]["losses"]["skipped_runs"] = Value::Null;
    interrupted["summary"]["compared_with"] = json!("statm");
    interrupted["summary"]["lazyfree_bytes"] = Value::Null;
    interrupted["summary"]["lazyfree_missing"] = json!("it was not read at the last tick");
    let report = show(interrupted, 80);
    for part in [
        "process 4242 (service), 30.0 s: interrupted\n",
        "compared with statm\n",
        "LazyFree: it was not read at the last tick\n",
        "programs: not known; they are read at the end\n",
        "incomplete: memtrace did not bring this capture to its end; at most what came after the last tick is missing\n",
    ] {
        assert!(report.contains(part), "{part:?} is missing in: {report}");
    }
}

#[test]
fn a_wide_terminal_gets_the_sum_of_each_row_and_time() {
    let report = show(capture(), 120);
    let header = report
        .lines()
        .find(|line| line.starts_with("cause"))
        .unwrap();
    assert!(
        header.contains("RSS") && header.ends_with("time"),
        "{header}"
    );
}

#[test]
fn what_is_unexplained_is_shown_with_its_bound() {
    let mut busy = capture();
    busy["summary"]["unexplained_bound_bytes"] = json!(1 << 20);
    assert!(show(busy, 80).contains("0 B  ± 1024K: busy while compared with smaps_rollup"));
    let mut wrong = capture();
    wrong["summary"]["unexplained_bytes"] = json!(-128 << 10);
    assert!(
        show(wrong, 80).contains("unexplained               -128K  compared with smaps_rollup")
    );
    let mut unknown = capture();
    unknown["summary"]["unexplained_bytes"] = Value::Null;
    unknown["summary"]["unexplained_bound_bytes"] = Value::Null;
    assert!(show(unknown, 80).contains("unexplained                   -  there was nothing"));
}

#[test]
fn a_start_that_did_not_stand_still_is_said() {
    let mut busy = capture();
    busy["summary"]["rss_start_settled"] = json!(false);
    let report = show(busy, 80);
    assert!(
        report.contains("RSS at the start         10.00M  busy: some pages off"),
        "{report}"
    );
}

#[test]
fn what_was_lost_is_said() {
    let mut lossy = capture();
    lossy["capture"]["lost_events"] = json!(3);
    lossy["capture"]["losses"]["calls"] = json!(3);
    assert!(show(lossy, 80).contains("incomplete: 3 events were not counted"));
}

#[test]
fn skipped_runs_that_the_kernel_does_not_tell_are_not_zero() {
    assert!(!show(capture(), 80).contains("skipped runs"));
    let mut old = capture();
    old["capture"]["losses"]["skipped_runs"] = Value::Null;
    let report = show(old.clone(), 80);
    assert!(
        report.contains("skipped runs of memtrace's own programs: not known"),
        "{report}"
    );
    old["capture"]["lost_events"] = json!(1);
    let report = show(old, 80);
    assert!(report.contains("skipped runs not known"), "{report}");
}

#[test]
fn what_memtrace_itself_took_is_a_table_of_its_own() {
    let mut asked = capture();
    asked["capture"]["self_stats"] = json!({
        "programs": [
            {"name": "rss_stat", "runs": 123_456, "time_ns": 9_876_480, "ns_per_run": 80, "skipped_runs": 2},
            {"name": "sys_\u{1b}[2Jenter_and_more_than_fits", "runs": 0, "time_ns": null, "ns_per_run": null, "skipped_runs": null},
            {"name": "x", "runs": u64::MAX, "time_ns": u64::MAX, "ns_per_run": u64::MAX, "skipped_runs": u64::MAX},
        ],
        "cpu_user_ns": 12_300_000, "cpu_system_ns": null, "rss_bytes": 24 << 20, "rss_peak_bytes": 32 << 20,
    });
    let report = show(asked, 80);
    let own: Vec<&str> = report
        .lines()
        .skip_while(|line| !line.starts_with("memtrace itself"))
        .collect();
    assert_eq!(
        own,
        [
            "memtrace itself              runs  skipped   ns/run      time",
            "rss_stat                   123456        2       80    9.9 ms",
            "sys_\\u{1b}[2Jenter_and…         0        -        -         -",
            "x                          18.45e   18.45e   18.45e  18.45g s",
            "its process: CPU 12.3 ms user, - system; RSS 24.00M, 32.00M at its peak",
        ]
    );
    assert!(!show(capture(), 80).contains("memtrace itself"));
}

#[test]
fn a_lazyfree_that_is_not_known_has_its_reason() {
    let mut unread = capture();
    unread["summary"]["lazyfree_bytes"] = Value::Null;
    unread["summary"]["lazyfree_missing"] = json!("turned off by --no-smaps");
    let report = show(unread, 80);
    assert!(report.contains("turned off by --no-smaps"), "{report}");
    assert!(!report.contains("RSS - LazyFree"), "{report}");
}

#[test]
fn no_figure_breaks_the_columns() {
    for bytes in [
        1,
        -1,
        4096,
        1023 << 10,
        (1 << 30) - 4096,
        -(1 << 40) + 4096,
        i64::MAX / 8,
        i64::MIN / 8,
    ] {
        let mut extreme = capture();
        for row in extreme["summary"]["causes"].as_array_mut().unwrap() {
            row["by_kind"] = json!({"anon_bytes": bytes, "file_bytes": bytes, "shmem_bytes": bytes, "swap_bytes": bytes});
            if row["calls"].is_number() {
                for field in ["calls", "failed_calls", "requested_bytes"] {
                    row[field] = json!(bytes.unsigned_abs());
                }
            }
        }
        let report = show(extreme, 80);
        let table = report.lines().skip_while(|line| !line.starts_with("cause"));
        for line in table.take_while(|line| !line.is_empty()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let fault = report
            .lines()
            .find(|line| line.starts_with("fault"))
            .unwrap();
        assert_eq!(fault.split_whitespace().count(), 8, "{fault}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let mut hostile = capture();
    hostile["target"]["comm"] = json!("a\u{1b}[2J\u{202e}");
    let rows = hostile["summary"]["causes"].as_array_mut().unwrap();
    let mut other = row("other_process", None, None, 4096);
    other["task"] = json!("x\u{1b}]0;y\u{7}");
    rows.push(other);
    let report = show(hostile, 80);
    assert!(
        !report.contains(['\u{1b}', '\u{7}', '\u{202e}']),
        "{report}"
    );
}

#[test]
fn a_capture_is_complete_unless_something_was_lost_or_is_unexplained() {
    let complete = |capture: Value| {
        serde_json::from_value::<Capture>(capture)
            .unwrap()
            .is_complete()
    };
    assert!(complete(capture()));
    let mut lossy = capture();
    lossy["capture"]["lost_events"] = json!(1);
    assert!(!complete(lossy));
    let mut unexplained = capture();
    unexplained["summary"]["unexplained_bytes"] = json!(4096);
    assert!(!complete(unexplained.clone()));
    let mut earlier = capture();
    earlier["earlier_epochs"] = json!([unexplained]);
    assert!(!complete(earlier));
    let mut unknown = capture();
    unknown["summary"]["unexplained_bytes"] = Value::Null;
    assert!(complete(unknown));
}

#[test]
fn a_capture_survives_being_written_and_read() {
    let parsed: Capture = serde_json::from_value(capture()).unwrap();
    let mut written = Vec::new();
    memtrace::export::json::write(&parsed, &mut written).unwrap();
    let again: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(again, capture());
}

/// The same capture as a kernel without a ledger gives it.
fn approximate() -> Value {
    let mut capture = capture();
    capture["capture"]["mode"] = json!("approximate");
    capture["capture"]["mode_note"] =
        json!("RSS is sampled, there is no ledger: the kernel's BTF has no struct pid");
    capture["capture"]["hooks"] = json!([
        {"name": "rss", "kind": null, "error": "the kernel's BTF has no struct pid"},
        {"name": "madvise", "kind": "fentry"},
        {"name": "fork", "kind": null, "error": "this kernel shows no BTF"},
    ]);
    capture["capture"]["children"] = Value::Null;
    let summary = &mut capture["summary"];
    for name in [
        "rss_start_settled",
        "unexplained_bytes",
        "unexplained_bound_bytes",
        "compared_with",
    ] {
        summary[name] = Value::Null;
    }
    summary["rss_sampling_bound_bytes"] = json!(65 * 16 * 4096 * 3);
    let causes = summary["causes"].as_array_mut().unwrap();
    // Nothing but calls makes a row.
    causes.remove(0);
    for row in causes {
        row["rss_delta_bytes"] = Value::Null;
        row["by_kind"] = Value::Null;
    }
    capture
}

#[test]
fn the_approximate_table_has_no_pages_by_cause_and_says_that_rss_is_sampled() {
    let expected = "\
process 4242 (service), 30.0 s: the capture's time was over
approximate; Linux 6.12.1-amd64 x86_64, 8 CPUs, pages of 4K
approximate: RSS is sampled, there is no ledger: the kernel's BTF has no struct
  pid
fentry: madvise
not hooked: fork: this kernel shows no BTF

cause                   calls failed requested
madvise
  DONTNEED                  7      0     8192K
  FREE                      1      1    200.0M

RSS at the start         10.00M  sampled, ± 12.19M
RSS at the end           202.0M  sampled, ± 12.19M
LazyFree                 190.0M  freed by the program, kept until it is needed
RSS - LazyFree           12.00M  what the program still holds
page faults               51203  51200 in user code, 3 in the kernel
";
    assert_eq!(show(approximate(), 80), expected);
    let wide = show(approximate(), 120);
    let header = wide.lines().find(|line| line.starts_with("cause")).unwrap();
    assert!(
        header.trim_end().ends_with("requested      time"),
        "{header}"
    );
}
