//! Limits that memtrace inherits: resource limits, and what a started program gets of them. And a process that has given its
//! memory up.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Case, Outcome};
use crate::{
    common::{fails_with, for_everybody, memtrace, run, sleeper, text},
    programs::{Program, within::first_child},
    tracing::{report_of, state_of, wait_for},
};

pub const CASES: &[Case] = &[
    ("too_few_descriptors_are_one_line", descriptors),
    ("a_low_soft_limit_is_raised", soft_limit),
    ("a_program_gets_the_limits_that_were_there", inherited),
    ("too_little_memory_is_one_line", memory),
    ("too_few_threads_are_one_line", threads),
    ("refused_memory_is_one_line", refused_memory),
    ("a_file_size_limit_is_as_a_full_disk", file_size),
    (
        "a_file_size_limit_ends_the_events_and_no_capture",
        file_size_of_events,
    ),
    (
        "a_file_size_limit_of_standard_output_is_named",
        file_size_of_stdout,
    ),
    (
        "a_process_without_memory_is_not_said_to_have_ended",
        exiting,
    ),
];

/// Has a command run with this soft and this hard limit.
fn limited(mut command: Command, resource: Resource, soft: u64, hard: Option<u64>) -> Command {
    let limit = Rlimit {
        current: Some(soft),
        maximum: hard,
    };
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(move || setrlimit(resource, limit).map_err(io::Error::from));
    }
    command
}

fn with(arguments: &[&str], resource: Resource, limit: u64) -> Output {
    let mut command = memtrace();
    command.args(arguments).stdin(Stdio::null());
    let mut command = limited(command, resource, limit, Some(limit));
    command.output().unwrap()
}

fn descriptors() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let uses: [&[&str]; 4] = [
        &["-p", &pid, "-d", "100ms", "-q"],
        &["-q", "--", "true"],
        &["doctor"],
        &["demo", "--plain"],
    ];
    for limit in [6, 8, 12, 24, 32, 40, 48, 64, 100] {
        let said = format!("RLIMIT_NOFILE is {limit}, of which");
        for arguments in uses {
            let output = with(arguments, Resource::Nofile, limit);
            fails_with(&output, 1, &[&said, "needs 128", "--nofile="]);
        }
    }
    // With as many as are said to be needed, beside those that are open, all goes well.
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, events, html) = (name("c.json"), name("c.jsonl"), name("c.html"));
    let all = ["--json", &json, "--events", &events, "--html", &html];
    let output = with(&[uses[0], &all].concat(), Resource::Nofile, 140);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = with(&["report", &json], Resource::Nofile, 28);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = with(&["report", &json], Resource::Nofile, 12);
    fails_with(&output, 1, &["RLIMIT_NOFILE is 12", "needs 16"]);
    Ok(())
}

fn soft_limit() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let limits = [
        (Resource::Nofile, 32, 4096),
        (Resource::Stack, 64 << 10, 8 << 20),
    ];
    for (resource, soft, hard) in limits {
        let mut command = memtrace();
        command.args(["-p", &pid, "-d", "100ms", "-q"]);
        let output = limited(command, resource, soft, Some(hard))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    Ok(())
}

fn inherited() -> Outcome {
    let shown = [
        "-c",
        "ulimit -Sn; ulimit -Hn; ulimit -Ss; ulimit -Hs; grep ^Sig[IB] /proc/self/status",
    ];
    let ask = |mut command: Command| {
        command.args(shown).stdin(Stdio::null());
        let command = limited(command, Resource::Nofile, 40, Some(4096));
        let output = limited(command, Resource::Stack, 512 << 10, Some(8 << 20))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let mut traced = memtrace();
    traced.args(["-q", "--", "sh"]);
    let without = ask(Command::new("sh"));
    assert_eq!(without.lines().count(), 6, "{without}");
    let with = ask(traced);
    assert!(with.starts_with(&without), "{without}\n{with}");
    Ok(())
}

fn memory() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let uses: [&[&str]; 3] = [
        &["-p", &pid, "-d", "100ms", "-q"],
        &["-q", "--", "true"],
        &["doctor"],
    ];
    let limits = [
        (Resource::As, 60 << 20, "RLIMIT_AS"),
        (Resource::Data, 10 << 20, "RLIMIT_DATA"),
        (Resource::Data, 60 << 20, "RLIMIT_DATA"),
        (Resource::Stack, 64 << 10, "RLIMIT_STACK"),
        (Resource::Stack, 512 << 10, "RLIMIT_STACK"),
    ];
    for (resource, limit, name) in limits {
        for arguments in uses {
            let output = with(arguments, resource, limit);
            fails_with(&output, 1, &[name, "memtrace needs", "prlimit"]);
        }
    }
    Ok(())
}

fn threads() -> Outcome {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    // Not root, and without CAP_SYS_RESOURCE: the limit does not count for others.
    let held = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_PTRACE;
    let (_dir, mut command) = for_everybody();
    command.args(["-q", "--", "true"]).current_dir("/");
    // SAFETY: system calls with numbers.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_KEEPCAPS, 1);
            if libc::setgid(54_321) != 0 || libc::setuid(54_321) != 0 {
                return Err(io::Error::last_os_error());
            }
            let sets = CapabilitySets {
                effective: held,
                permitted: held,
                inheritable: held,
            };
            set_capabilities(None, sets)?;
            for capability in held.iter() {
                rustix::thread::configure_capability_in_ambient_set(capability, true)?;
            }
            Ok(())
        });
    }
    let output = limited(command, Resource::Nproc, 1, Some(1))
        .output()
        .unwrap();
    fails_with(&output, 1, &["RLIMIT_NPROC is 1", "needs 4", "--nproc="]);
    Ok(())
}

fn refused_memory() -> Outcome {
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let name = file.to_str().unwrap();
    let pid = target.0.id().to_string();
    let output = run(&["-p", &pid, "-d", "100ms", "-q", "-o", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut capture: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    capture["target"]["comm"] = "A".repeat(20 << 20).into();
    fs::write(&file, capture.to_string()).unwrap();
    let output = with(&["report", name], Resource::Data, 24 << 20);
    let said = format!("RLIMIT_DATA is {} bytes", 24 << 20);
    fails_with(&output, 1, &["out of memory", &said, "--data=unlimited"]);
    Ok(())
}

fn file_size() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.json");
    let name = file.to_str().unwrap();
    let output = with(
        &["-p", &pid, "-d", "4s", "-i", "10ms", "-q", "-o", name],
        Resource::Fsize,
        16 << 10,
    );
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let partial = dir.path().join("capture.json.partial");
    let advice = format!("memtrace report {}", partial.display());
    for part in [
        "File too large",
        "RLIMIT_FSIZE",
        "--fsize=unlimited",
        &advice,
    ] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    assert!(!file.exists());
    assert!(report_of(&partial).capture.epoch.timeline.len() > 5);
    // What cannot be written at the end: the old file stays.
    fs::write(dir.path().join("old.html"), "old").unwrap();
    let html = dir.path().join("old.html");
    let arguments = [
        "report",
        partial.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
    ];
    let output = with(&arguments, Resource::Fsize, 1 << 10);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("RLIMIT_FSIZE"), "{error}");
    assert_eq!(fs::read_to_string(&html).unwrap(), "old");
    Ok(())
}

fn file_size_of_events() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, events) = (name("c.json"), name("c.jsonl"));
    let output = with(
        &[
            "-q",
            "-o",
            "/dev/null",
            "--events",
            &events,
            "--html",
            &json,
            "--",
            "sh",
            "-c",
            "ls / >&2",
        ],
        Resource::Fsize,
        1 << 10,
    );
    // The page does not fit either, and that is the capture's own error.
    let error = text(&output.stderr);
    assert!(
        error.contains(&format!("cannot write events to {events}: File too large")),
        "{error}"
    );
    assert!(error.contains("the capture goes on without"), "{error}");
    assert!(!error.contains("--events-min-bytes"), "{error}");
    assert!(text(&output.stdout).contains("unexplained"), "{error}");
    let lines = fs::read_to_string(&events).unwrap();
    assert!(lines.ends_with("}\n"), "{lines}");
    // Without another output the exit code says that the events are incomplete.
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = with(
        &["-p", &pid, "-d", "200ms", "-q", "--events", &events],
        Resource::Fsize,
        100,
    );
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(text(&output.stdout).contains("time was over"), "{error}");
    Ok(())
}

fn file_size_of_stdout() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let mut command = memtrace();
    command
        .args(["-p", &pid, "-d", "100ms", "-q"])
        .stdout(tempfile::tempfile().unwrap());
    let output = limited(command, Resource::Fsize, 100, Some(100))
        .output()
        .unwrap();
    fails_with(
        &output,
        1,
        &["cannot write to standard output: File too large"],
    );
    Ok(())
}

/// The first process of a PID namespace gives up its memory, and then waits for its children: for one that a tracer keeps.
fn exiting() -> Outcome {
    let mut program = Program::own(&["__within", "hosts", "sh", "-c", "sleep 1000 & read line"]);
    let init = wait_for("the first process", || first_child(program.pid()));
    let child = wait_for("its child", || first_child(init));
    // SAFETY: numbers; this thread becomes the tracer of a process of the test's own.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child, 0usize, 0usize) };
    assert_eq!(seized, 0, "{}", io::Error::last_os_error());
    program.tell("");
    wait_for("the memory's end", || {
        let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
        (!status.contains("VmRSS")).then_some(())
    });
    assert_ne!(state_of(init), 'Z');
    let output = run(&["-p", &init.to_string(), "-d", "100ms"]);
    let said = format!("process {init} (sh) is exiting: its memory is gone");
    fails_with(&output, 1, &[&said, "another process"]);
    // SAFETY: numbers; a tracer may wait for what it traces.
    unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), libc::__WALL) };
    Ok(())
}
