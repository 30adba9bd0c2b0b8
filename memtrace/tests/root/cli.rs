//! The command line, as people use and misuse it, on the real kernel. Most of it needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{
    Guard, attached, check_capture, copy_program, fails_with, json, memtrace, needs_root,
    nothing_left, programs_of, rest, row, run, signal, sleeper, text, traced,
};

const NOBODY: u32 = 65_534;

/// A misuse of the command line: clap's message, exit code 2.
#[track_caller]
fn misuse(arguments: &[&str], parts: &[&str]) {
    let output = run(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

// --- misuse -------------------------------------------------------------------------------------------------------------

#[test]
fn nothing_to_trace_is_a_usage_error() {
    misuse(&[], &["nothing to trace", "--pid PID", "memtrace demo"]);
}

#[test]
fn times_out_of_range_are_usage_errors() {
    misuse(&["-p", "1", "-i", "0"], &["from 10ms to 1h"]);
    misuse(&["-p", "1", "-i", "9ms"], &["from 10ms to 1h"]);
    misuse(
        &["-p", "1", "-d", "0"],
        &["leaves nothing to see", "try 30s"],
    );
    misuse(&["-p", "1", "-d", "30"], &["such as 500ms, 30s, 5m or 1h"]);
    misuse(&["-p", "one"], &["invalid value 'one'"]);
    misuse(&["-p", "-1"], &[]);
    misuse(
        &["demo", "nonsense"],
        &["lazy-free", "dontneed", "leak", "populate", "all"],
    );
}

#[test]
fn outputs_that_are_in_each_others_way_are_usage_errors() {
    let both = "both want standard output";
    misuse(&["-p", "1", "--events", "-", "--json", "-"], &[both]);
    misuse(&["-p", "1", "--json", "-", "--html", "-"], &[both]);
    misuse(
        &["-p", "1", "--svg", "-"],
        &["has the table", "report FILE --svg -"],
    );
    misuse(
        &["-p", "1", "-o", "no/x", "--html", "no/./x"],
        &["both name"],
    );
    misuse(
        &["demo", "--json", "no/x", "--svg", "no/x"],
        &["both name", "Usage: memtrace demo "],
    );
}

#[test]
fn a_name_alone_is_answered_with_what_was_meant() {
    misuse(&["4242"], &["memtrace --pid 4242"]);
    misuse(&["Cargo.toml"], &["memtrace report Cargo.toml"]);
    misuse(&["no-such-thing"], &["memtrace -- no-such-thing"]);
    misuse(&["-p", "one"], &["a PID is a number", "pgrep"]);
    misuse(&["-p", "-5"], &["invalid value '-5'", "a PID is a number"]);
}

#[test]
fn a_capture_is_not_replaced_by_what_is_made_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    fs::copy("../docs/captures/go1.15-service.json", &file).unwrap();
    let name = file.to_str().unwrap();
    let before = fs::read(&file).unwrap();
    let itself = ["is the capture itself", "another name"];
    fails_with(&run(&["report", name, "--html", name]), 1, &itself);
    let itself = ["is one of the captures", "another name"];
    fails_with(&run(&["diff", name, name, "--html", name]), 1, &itself);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let capture = "../docs/captures/go1.15-service.json";
    for arguments in [
        &["report", capture, "--html", "-"][..],
        &["report", capture, "--svg", "-"],
        &["diff", capture, capture, "--json"],
        &["diff", capture, capture, "--html", "-"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = memtrace().args(arguments).stdout(writer).output().unwrap();
        assert_eq!(text(&child.stderr), "", "{arguments:?}");
        assert_eq!(child.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_demo_writes_its_page_and_its_chart() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (html, svg) = (dir.path().join("d.html"), dir.path().join("d.svg"));
    let output = memtrace()
        .args(["demo", "populate", "--plain", "--html"])
        .arg(&html)
        .arg("--svg")
        .arg(&svg)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let html = fs::read_to_string(html).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("POPULATE_WRITE"));
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

#[test]
fn a_pid_that_no_process_has() {
    fails_with(
        &run(&["-p", "4194999"]),
        1,
        &["no process has PID 4194999", "pgrep"],
    );
    fails_with(
        &run(&["-p", "4294967295"]),
        1,
        &["no process has PID 4294967295"],
    );
}

#[test]
fn pid_zero_and_the_own_pid() {
    fails_with(&run(&["-p", "0"]), 1, &["PID 0", "idle task"]);
    let output = Command::new("sh")
        .args(["-c", "exec \"$0\" --pid $$", env!("CARGO_BIN_EXE_memtrace")])
        .output()
        .unwrap();
    fails_with(&output, 1, &["is this memtrace itself"]);
}

#[test]
fn a_kernel_thread_has_no_memory() {
    if fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
        fails_with(&run(&["-p", "2"]), 1, &["kthreadd", "is a kernel thread"]);
    } else {
        eprintln!("skipped: no kernel threads are visible in this PID namespace");
    }
}

#[test]
fn a_zombie_has_no_memory_any_more() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    let stat = format!("/proc/{pid}/stat");
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        thread::sleep(Duration::from_millis(5));
    }
    fails_with(&run(&["-p", &pid]), 1, &["zombie", "has ended", &pid]);
    child.wait().unwrap();
}

#[test]
fn a_threads_id_names_its_process() {
    let (tell, told) = std::sync::mpsc::channel();
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        let _ = wait.recv();
    });
    let tid = told.recv().unwrap().to_string();
    let own = std::process::id().to_string();
    fails_with(
        &run(&["-p", &tid]),
        1,
        &["is a thread of process", &format!("memtrace --pid {own}")],
    );
}

#[test]
fn without_privileges_it_says_what_is_missing() {
    if needs_root() {
        return;
    }
    // Where the build lies, nobody may not look.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = dir.path().join("memtrace");
    copy_program(env!("CARGO_BIN_EXE_memtrace"), &binary);
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = Command::new(&binary)
        .args(["-p", &pid])
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    fails_with(
        &output,
        1,
        &[
            "CAP_BPF and CAP_PERFMON",
            &format!("sudo memtrace --pid {pid}"),
        ],
    );
    let output = Command::new(&binary)
        .args(["demo", "leak"])
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    fails_with(&output, 1, &["CAP_BPF", "sudo memtrace demo leak"]);
}

#[test]
fn output_that_cannot_be_written_is_said_before_anything_is_traced() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let begun = Instant::now();
    fails_with(
        &run(&["-p", &pid, "-o", &path("no/such/file.json")]),
        1,
        &["does not exist", "mkdir -p"],
    );
    fails_with(
        &run(&["-p", &pid, "-o", dir.path().to_str().unwrap()]),
        1,
        &["is a folder"],
    );
    std::os::unix::fs::symlink("/etc/passwd", path("link")).unwrap();
    fails_with(
        &run(&["-p", &pid, "-o", &path("link")]),
        1,
        &["symbolic link"],
    );
    fails_with(
        &run(&["-p", &pid, "-o", "/proc/capture.json"]),
        1,
        &["cannot write /proc/capture.json"],
    );
    // A capture without --duration would still be running.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

// --- ends ---------------------------------------------------------------------------------------------------------------

#[test]
fn ctrl_c_sigterm_and_duration_end_in_a_whole_report() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    for number in [libc::SIGINT, libc::SIGTERM] {
        let mut child = traced(target.0.id(), &[]);
        let out = attached(&mut child);
        signal(&child, number);
        let report = rest(out);
        assert!(report.contains("stopped by hand"), "{report}");
        assert!(
            report.contains("unexplained                 0 B"),
            "{report}"
        );
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let output = run(&[
        "-p",
        &target.0.id().to_string(),
        "-d",
        "300ms",
        "-i",
        "100ms",
    ]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        report.contains("unexplained                 0 B"),
        "{report}"
    );
    let wide: Vec<&str> = report
        .lines()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(wide.is_empty(), "{wide:?}");
    assert!(!report.contains('\x1b'), "{report}");
}

#[test]
fn the_targets_death_ends_in_a_whole_report() {
    if needs_root() {
        return;
    }
    let mut target = sleeper();
    let mut child = traced(target.0.id(), &["--json", "-"]);
    // The lines are on standard error, standard output is the capture.
    let mut chatter = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    chatter.read_line(&mut line).unwrap();
    target.0.kill().unwrap();
    target.0.wait().unwrap();
    let output = child.wait_with_output().unwrap();
    let capture = json(&output);
    check_capture(&capture);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(capture["capture"]["end"], "target_exited");
    assert_eq!(capture["summary"]["rss_end_bytes"], 0);
    let report = rest(chatter);
    assert!(report.contains("the process ended"), "{report}");
}

#[test]
fn a_closed_standard_output_ends_the_capture_and_loses_nothing() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let mut child = traced(
        target.0.id(),
        &["-i", "50ms", "--json", file.to_str().unwrap()],
    );
    drop(attached(&mut child));
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("standard output was closed"), "{error}");
    check_capture(&serde_json::from_slice(&fs::read(&file).unwrap()).unwrap());
}

#[test]
fn an_exec_closes_one_epoch_and_opens_the_next() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!(
        "while [ ! -e {0} ]; do :; done; exec sleep 1000",
        go.display()
    );
    let target = Guard(Command::new("sh").args(["-c", &script]).spawn().unwrap());
    let mut child = traced(target.0.id(), &["--json", "-"]);
    let mut chatter = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    chatter.read_line(&mut line).unwrap();
    fs::write(&go, "").unwrap();
    while !line.contains("has replaced its program") {
        line.clear();
        assert!(
            chatter.read_line(&mut line).unwrap() > 0,
            "it ended too soon"
        );
    }
    thread::sleep(Duration::from_millis(300));
    signal(&child, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    let capture = json(&output);
    check_capture(&capture);
    let earlier = capture["earlier_epochs"].as_array().unwrap();
    assert_eq!(earlier.len(), 1);
    assert_eq!(earlier[0]["capture"]["end"], "exec");
    assert_eq!(earlier[0]["summary"]["rss_end_bytes"], 0);
    assert_eq!(capture["capture"]["end"], "signal");
    assert_eq!(capture["target"]["comm"], "sleep");
    assert_eq!(capture["target"]["cmdline"][1], "1000");
}

#[test]
fn a_target_that_dies_while_memtrace_starts_is_no_panic() {
    if needs_root() {
        return;
    }
    for delay in [0, 5, 20, 50, 100, 200] {
        let mut target = sleeper();
        let child = traced(target.0.id(), &["-d", "2s", "-q"]);
        thread::sleep(Duration::from_millis(delay));
        target.0.kill().unwrap();
        target.0.wait().unwrap();
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        assert!(!error.contains("panicked"), "{error}");
        match output.status.code() {
            Some(0) => assert!(text(&output.stdout).contains("the process ended")),
            Some(1) => assert_eq!(error.lines().count(), 1, "{error}"),
            other => panic!("exit code {other:?}: {error}"),
        }
    }
}

#[test]
fn nothing_stays_attached_also_after_sigkill() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    for number in [libc::SIGTERM, libc::SIGKILL] {
        let mut child = traced(target.0.id(), &[]);
        let out = attached(&mut child);
        let ids = programs_of(child.id());
        let loaded = memtrace::probe::loaded_programs().unwrap();
        let rss = loaded
            .iter()
            .find(|(id, name)| ids.contains(id) && name == "rss_stat");
        assert!(rss.is_some(), "{ids:?} {loaded:?}");
        signal(&child, number);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), (number == libc::SIGKILL).then_some(number));
        drop(out);
        nothing_left(&ids);
    }
}

// --- commands -----------------------------------------------------------------------------------------------------------

#[test]
fn a_commands_exit_code_is_passed_on() {
    if needs_root() {
        return;
    }
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)] {
        let output = run(&["-q", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
    fails_with(
        &run(&["--", "/no/such/program"]),
        127,
        &["/no/such/program", "not found"],
    );
    fails_with(
        &run(&["--", "no-such-program-anywhere"]),
        127,
        &["not found"],
    );
    fails_with(
        &run(&["--", "/etc/passwd"]),
        126,
        &["/etc/passwd", "ermission denied"],
    );
    fails_with(&run(&["--", "/tmp"]), 126, &["/tmp"]);
}

#[test]
fn a_command_is_traced_from_its_first_instruction() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let output = run(&[
        "-q",
        "-o",
        file.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2",
    ]);
    assert!(text(&output.stdout).starts_with("out\n"));
    assert!(text(&output.stderr).starts_with("err\n"));
    let capture: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    check_capture(&capture);
    assert_eq!(capture["earlier_epochs"].as_array().unwrap().len(), 0);
    // The arguments' pages are there, the program's are not yet.
    assert!(capture["summary"]["rss_start_bytes"].as_i64().unwrap() <= 64 << 10);
    assert!(row(&capture, "mmap", None)["calls"].as_u64().unwrap() > 0);
    assert!(
        row(&capture, "exit", None)["rss_delta_bytes"]
            .as_i64()
            .unwrap()
            < 0
    );
}

#[test]
fn under_sudo_the_command_and_the_file_belong_to_who_typed_it() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let output = memtrace()
        .args([
            "-q",
            "-o",
            file.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            "id -u; id -g; id -G",
        ])
        .env("SUDO_UID", NOBODY.to_string())
        .env("SUDO_GID", NOBODY.to_string())
        .output()
        .unwrap();
    let out = text(&output.stdout);
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("65534"), "{out}{}", text(&output.stderr));
    assert_eq!(lines.next(), Some("65534"));
    assert_eq!(lines.next(), Some("65534"));
    let file = fs::metadata(&file).unwrap();
    assert_eq!((file.uid(), file.gid()), (NOBODY, NOBODY));
}

#[test]
fn a_capture_that_ends_first_waits_for_the_command() {
    if needs_root() {
        return;
    }
    let output = run(&["-q", "-d", "100ms", "--", "sh", "-c", "sleep 4; exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("the capture's time was over"));
    assert!(text(&output.stderr).contains("waiting for its exit code"));
}

#[test]
fn the_demo_shows_the_articles_case() {
    if needs_root() {
        return;
    }
    let output = run(&["demo", "lazy-free", "--json", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let capture = json(&output);
    check_capture(&capture);
    let free = row(&capture, "madvise", Some("MADV_FREE"));
    assert_eq!(free["calls"], 1);
    assert_eq!(free["requested_bytes"], 200 << 20);
    assert_eq!(free["rss_delta_bytes"], 0);
    let mib = |value: &Value| value.as_i64().unwrap() >> 20;
    assert!(mib(&capture["summary"]["rss_end_bytes"]) >= 200);
    assert!(mib(&capture["summary"]["lazyfree_bytes"]) >= 199);
    let stored = capture["verdict"].clone();
    assert_eq!(stored["id"], "lazy-free");
    // While it went on, no ticks were kept; of the file, all are there.
    let capture = memtrace::timeline::read(&output.stdout[..]).unwrap();
    let judged = memtrace::verdict::judge_epoch(&capture.host, &capture.epoch);
    assert_eq!(serde_json::to_value(&judged).unwrap(), stored);
    let not_found = memtrace::verdict::not_found(&judged, &capture.epoch);
    assert!(not_found.is_empty(), "{not_found:?}");
}

#[test]
fn an_answer_is_an_exit_code_where_the_command_itself_is_content() {
    if needs_root() {
        return;
    }
    let sleeps = |code: &str, rule: &str| {
        let script = format!("sleep 0.3; exit {code}");
        let arguments = ["--quiet", "--fail-on", rule, "--", "sh", "-c", &script];
        run(&arguments).status.code()
    };
    let every = "idle,startup,inconclusive,growing";
    assert_eq!(sleeps("0", every), Some(4));
    assert_eq!(sleeps("0", "swapped"), Some(0));
    assert_eq!(sleeps("7", every), Some(7));
}

#[test]
fn every_demo_adds_up() {
    if needs_root() {
        return;
    }
    for (scenario, cause, advice, mib) in [
        ("dontneed", "madvise", Some("MADV_DONTNEED"), -200),
        ("leak", "fault", None, 100),
        ("populate", "madvise", Some("MADV_POPULATE_WRITE"), 100),
    ] {
        let output = run(&["demo", scenario, "-i", "200ms", "--json", "-"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let capture = json(&output);
        check_capture(&capture);
        let moved = row(&capture, cause, advice)["by_kind"]["anon_bytes"]
            .as_i64()
            .unwrap();
        // A fault is also how the workload's own program, which is memtrace's, gets its data: one or two MiB.
        let own = if cause == "fault" { 2 << 20 } else { 0 };
        let asked = mib << 20;
        assert!(
            (asked..=asked + own).contains(&moved),
            "{scenario}: {moved}"
        );
    }
}

#[test]
fn parts_that_are_turned_off_are_null_and_not_zero() {
    if needs_root() {
        return;
    }
    let output = run(&[
        "-o",
        "-",
        "--no-smaps",
        "--no-syscalls",
        "--no-faults",
        "--",
        "sh",
        "-c",
        "exit 0",
    ]);
    let capture = json(&output);
    check_capture(&capture);
    assert_eq!(capture["summary"]["faults"]["user"], Value::Null);
    assert_eq!(capture["summary"]["lazyfree_bytes"], Value::Null);
    for row in capture["summary"]["causes"].as_array().unwrap() {
        assert_eq!(row["calls"], Value::Null, "{row}");
        assert_eq!(row["requested_bytes"], Value::Null, "{row}");
    }
    let target = sleeper();
    let output = run(&[
        "-p",
        &target.0.id().to_string(),
        "-d",
        "100ms",
        "--no-smaps",
        "-o",
        "-",
    ]);
    let capture = json(&output);
    check_capture(&capture);
    assert_eq!(capture["summary"]["lazyfree_bytes"], Value::Null);
    assert_eq!(capture["summary"]["compared_with"], "statm");
    assert!(
        capture["summary"]["lazyfree_missing"]
            .as_str()
            .unwrap()
            .contains("--no-smaps")
    );
}

#[test]
fn a_hostile_process_name_stays_text() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program: PathBuf = dir.path().join("a\x1b[31m\nb");
    copy_program("/bin/sleep", &program);
    let target = Guard(Command::new(&program).arg("1000").spawn().unwrap());
    let pid = target.0.id().to_string();
    let output = run(&["-p", &pid, "-d", "100ms"]);
    let report = text(&output.stdout);
    assert!(!report.contains('\x1b'), "{report}");
    assert!(report.contains("(a\\u{1b}[31m"), "{report}");
    let output = run(&["-p", &pid, "-d", "100ms", "-o", "-"]);
    assert_eq!(json(&output)["target"]["comm"], "a\x1b[31m\nb");
}

#[test]
fn a_name_that_is_no_text_is_no_reason_to_refuse_a_process() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(OsStr::from_bytes(b"\xff) R 1 (\xfe"));
    copy_program("/bin/sleep", &program);
    let target = Guard(
        Command::new(&program)
            .arg("1000")
            .arg0(OsStr::from_bytes(b"\xff\xfe"))
            .spawn()
            .unwrap(),
    );
    let pid = target.0.id().to_string();
    let capture = json(&run(&["-p", &pid, "-d", "100ms", "-o", "-"]));
    check_capture(&capture);
    assert_eq!(capture["target"]["comm"], "\u{fffd}) R 1 (\u{fffd}");
    assert_eq!(
        capture["target"]["cmdline"],
        serde_json::json!(["\u{fffd}\u{fffd}", "1000"])
    );
}

#[test]
fn a_report_is_what_the_live_run_has_printed() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let file = file.to_str().unwrap();
    let report = || run(&["report", file]);
    // Nothing but the tables: one for the shell, one for what it becomes.
    let script = "true; exec sleep 0.2";
    let live = run(&["-q", "-o", file, "--", "sh", "-c", script]);
    assert_eq!(live.status.code(), Some(0), "{}", text(&live.stderr));
    let live = text(&live.stdout);
    assert_eq!(live.matches("\ncause ").count(), 2, "{live}");
    assert_eq!(text(&report().stdout), live.trim_start());
    // LazyFree, calls, huge figures: behind the lines of the demo.
    let live = run(&["demo", "lazy-free", "-o", file]);
    assert_eq!(live.status.code(), Some(0), "{}", text(&live.stderr));
    let printed = text(&report().stdout);
    assert!(printed.starts_with("process "), "{printed}");
    assert!(
        text(&live.stdout).ends_with(&format!("\n\n{printed}")),
        "{printed}"
    );
}

#[test]
fn colours_only_where_they_are_wanted() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let plain = run(&["-p", &pid, "-d", "50ms"]);
    assert!(!text(&plain.stdout).contains('\x1b'));
    let coloured = run(&["-p", &pid, "-d", "50ms", "--color", "always"]);
    assert!(text(&coloured.stdout).contains("\x1b[1m"));
}

#[test]
fn the_kernel_sides_log_is_there_when_asked_for() {
    if needs_root() {
        return;
    }
    let output = run(&["-q", "--bpf-log", "--", "sh", "-c", "sleep 0.2"]);
    let log = text(&output.stderr);
    assert!(log.contains("epoch 0 begins: exec"), "{log}");
    let output = run(&["-q", "--", "sh", "-c", "sleep 0.2"]);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(script.contains("smaps-limit"), "{script}");
    }
}

/// The capture of a kernel whose BTF is hidden, in a mount namespace of its own.
fn without_btf(arguments: &str) -> Output {
    Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(format!(
            "mount -t tmpfs none /sys/kernel/btf && exec {} {arguments}",
            env!("CARGO_BIN_EXE_memtrace")
        ))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn without_btf_rss_is_sampled_and_what_only_a_ledger_knows_is_null() {
    if needs_root() {
        return;
    }
    let output = without_btf("-q -i 100ms --json - -- sh -c 'true; true; exit 0'");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let capture = json(&output);
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/memtrace-1.schema.json")).unwrap();
    assert!(jsonschema::is_valid(&schema, &capture));
    assert_eq!(capture["capture"]["mode"], "approximate");
    let note = capture["capture"]["mode_note"].as_str().unwrap();
    assert!(note.contains("CONFIG_DEBUG_INFO_BTF"), "{note}");
    assert_eq!(capture["capture"]["children"], Value::Null);
    let summary = &capture["summary"];
    assert_eq!(summary["unexplained_bytes"], Value::Null);
    assert!(summary["rss_sampling_bound_bytes"].as_u64().unwrap() > 0);
    let mmap = row(&capture, "mmap", None);
    assert!(mmap["calls"].as_u64().unwrap() > 0);
    assert!(mmap["requested_bytes"].as_u64().unwrap() > 0);
    assert_eq!(mmap["rss_delta_bytes"], Value::Null);
    assert_eq!(mmap["by_kind"], Value::Null);
    assert!(summary["faults"]["user"].as_u64().unwrap() > 0);
    // Where the break was, only BTF tells; and which task is a thread.
    let missing: Vec<&str> = capture["capture"]["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|hook| hook["kind"].is_null())
        .map(|hook| hook["name"].as_str().unwrap())
        .collect();
    assert_eq!(missing, ["rss", "fork", "brk"]);
    assert!(
        summary["causes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["cause"] != "brk" || row["calls"].is_null())
    );
}

#[test]
fn without_btf_an_exact_capture_is_refused_with_the_reason() {
    if needs_root() {
        return;
    }
    let output = without_btf("--mode exact --pid 1");
    fails_with(&output, 1, &["CONFIG_DEBUG_INFO_BTF"]);
}
