//! PID and mount namespaces: the target's, memtrace's own, and a `/proc` that belongs to neither.

use std::{env, process::Command};

use super::{Case, Outcome};
use crate::{
    common::sleeper,
    harness::Workload,
    programs::{Program, within::first_child},
    tracing::{Tracing, wait_for},
};

pub const CASES: &[Case] = &[
    ("a_target_in_a_namespace_of_its_own", target_within),
    ("memtrace_in_a_namespace_of_its_own", memtrace_within),
    ("memtrace_under_the_proc_of_another_namespace", foreign_proc),
];

fn target_within() -> Outcome {
    let own = env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let mut program = Program::own(&["__within", "proc", own, "__workload"]);
    for warm_up in [
        "map z 8",
        "write z 0 8",
        "madvise z 0 4 4",
        "unmap z 0 8",
        "map a 300",
    ] {
        assert_eq!(program.ask(warm_up), "0");
    }
    let target = first_child(program.pid()).unwrap();
    let tracing = Tracing::attach(target, &[]);
    assert_eq!(program.ask("write a 0 200"), "0");
    assert_eq!(program.ask("madvise a 0 50 4"), "0");
    // Its children have two ids each, and the one that is shown is the host's.
    let inside: u32 = program.ask("fork a 100 1").parse().unwrap();
    let outside = wait_for("the child", || first_child(target));
    let ended = tracing.stop().whole();
    assert_eq!(ended.capture["target"]["pid"], target);
    assert!(
        ended.report.contains(&format!("process {target} (")),
        "{}",
        ended.report
    );
    assert_eq!(ended.anon("fault", None), 200);
    assert_eq!(ended.anon("madvise", Some("MADV_DONTNEED")), -50);
    assert_ne!(inside, outside);
    assert_eq!(ended.capture["capture"]["children"]["last_pid"], outside);
    Ok(())
}

/// Runs a part of a case within namespaces of its own; it fails as the part fails.
#[track_caller]
fn run_within(proc: &str, part: &str) {
    let own = env::current_exe().unwrap();
    let output = Command::new(&own)
        .args(["__within", proc])
        .arg(&own)
        .arg(part)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

fn memtrace_within() -> Outcome {
    run_within("proc", "__traced_within");
    Ok(())
}

/// In the namespace, as its first process.
pub fn traced_within() {
    assert_eq!(std::process::id(), 1);
    let mut workload = Workload::start();
    workload.ok("map a 300");
    let pid = workload.pid();
    // Outside, another process has this number.
    assert!(pid < 100, "{pid}");
    let tracing = Tracing::attach(pid, &[]);
    workload.ok("write a 0 200");
    workload.ok("madvise a 0 50 4");
    let child = workload.ok("fork a 100 1");
    let ended = tracing.stop().whole();
    assert_eq!(ended.capture["target"]["pid"], pid);
    assert_eq!(ended.anon("fault", None), 200);
    assert_eq!(ended.anon("madvise", Some("MADV_DONTNEED")), -50);
    assert_eq!(ended.capture["capture"]["children"]["last_pid"], child);
    // And a program that memtrace starts itself.
    let mut command = crate::common::memtrace();
    command.args(["--quiet"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let output = command
        .arg("--json")
        .arg(&file)
        .args(["--", "sh", "-c", "exit 7"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    let capture = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    crate::common::check_capture(&capture);
}

fn foreign_proc() -> Outcome {
    run_within("hosts", "__refused_within");
    Ok(())
}

/// In the namespace, as its first process, under the `/proc` outside.
pub fn refused_within() {
    let target = sleeper();
    let pid = target.0.id();
    // Known by this number there is, if anybody, somebody else.
    let parts = [
        "/proc is not that of memtrace's own PID namespace",
        &format!("PID {pid} there may be another process"),
        "mount -t proc proc /proc",
    ];
    Tracing::start(pid, &["-d", "1s"]).end().refused(&parts);
    let output = crate::common::run(&["--", "true"]);
    crate::common::fails_with(&output, 1, &[parts[0]]);
}
