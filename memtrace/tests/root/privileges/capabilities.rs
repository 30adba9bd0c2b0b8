//! Which capabilities memtrace needs, what it says where one is missing, and what it gives up.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use memtrace::privilege::{Capabilities, NEEDS};
use serde_json::Value;

use crate::common::copy_program;

use super::who::{
    ALICE, As, BOB, Guard, Held, Installed, Mount, Running, can_read_memory, capture, fails_with,
    file_capabilities, needed_for_reading, needs_root, not_run, root, text, user, whole,
};

const BPF: Capabilities = Capabilities::BPF;
const PERFMON: Capabilities = Capabilities::PERFMON;
const PTRACE: Capabilities = Capabilities::SYS_PTRACE;
const READ_SEARCH: Capabilities = Capabilities::DAC_READ_SEARCH;
const ADMIN: Capabilities = Capabilities::SYS_ADMIN;
const NOTHING: Capabilities = Capabilities::empty();

fn both() -> Capabilities {
    BPF | PERFMON
}

fn trace(pid: u32, command: &mut Command) -> &mut Command {
    command.args(["--pid", &pid.to_string()])
}

fn traced(who: &As, installed: &Installed, pid: u32) -> Value {
    let mut command = installed.memtrace(who);
    let output = trace(pid, &mut command)
        .args(["-d", "200ms", "-q", "-o", "-"])
        .output()
        .unwrap();
    capture(&output)
}

fn hooks(capture: &Value) -> &Vec<Value> {
    capture["capture"]["hooks"].as_array().unwrap()
}

/// The hooks that are missing, each with its reason.
fn missing_hooks(capture: &Value) -> Vec<(&str, &str)> {
    hooks(capture)
        .iter()
        .filter(|hook| hook["kind"].is_null())
        .map(|hook| {
            (
                hook["name"].as_str().unwrap(),
                hook["error"].as_str().unwrap(),
            )
        })
        .collect()
}

/// Whether this kernel hooks system calls without tracefs.
fn has_fentry(capture: &Value) -> bool {
    hooks(capture).iter().any(|hook| hook["kind"] == "fentry")
}

/// The lines for setcap in the README: what each gives, and how.
fn readme_lines() -> Vec<(String, Capabilities, bool)> {
    include_str!("../../../../README.md")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("sudo setcap "))
        .map(|line| {
            let (given, file) = line.split_once(' ').unwrap();
            assert_eq!(file, "target/release/memtrace");
            let (names, flags) = given.split_once('=').unwrap();
            assert!(matches!(flags, "p" | "ep"), "{line}");
            let set = names.split(',').fold(NOTHING, |set, name| {
                let need = NEEDS.iter().find(|need| need.name.to_lowercase() == name);
                set | need.unwrap_or_else(|| panic!("{name}")).capability
            });
            (given.to_owned(), set, flags == "ep")
        })
        .collect()
}

/// memtrace's file with the capabilities of one of these lines: by setcap where the host has it, which then must write what this
/// test writes.
fn installed(given: &str, set: Capabilities, effective: bool) -> Result<Installed, String> {
    let installed = Installed::new();
    installed.set_capabilities(set, effective)?;
    let path = installed.path();
    match Command::new("setcap")
        .args([given, path.to_str().unwrap()])
        .status()
    {
        Ok(status) => {
            assert!(status.success(), "setcap {given}");
            let mut written = [0; 64];
            let length = rustix::fs::getxattr(&path, "security.capability", &mut written).unwrap();
            assert_eq!(written[..length], file_capabilities(set, effective));
        }
        Err(error) => eprintln!("no setcap here ({error}): the attribute is set as setcap would"),
    }
    Ok(installed)
}

#[test]
fn the_readmes_lines_do_what_it_says() {
    if needs_root() {
        return;
    }
    let lines = readme_lines();
    let sets: Vec<Capabilities> = lines.iter().map(|(_, set, _)| *set).collect();
    assert_eq!(
        sets,
        [both(), both() | PTRACE, both() | PTRACE | READ_SEARCH]
    );
    let own = user(ALICE).sleeper();
    let other = user(BOB).sleeper();
    for (given, set, effective) in lines {
        let installed = match installed(&given, set, effective) {
            Ok(installed) => installed,
            Err(reason) => {
                not_run(&reason);
                return;
            }
        };
        let alice = user(ALICE).seeing(Mount::Tracefs);
        let mine = traced(&alice, &installed, own.0.id());
        assert!(mine["summary"]["lazyfree_bytes"].is_number(), "{given}");
        assert!(mine["target"]["exe"].is_string(), "{given}");
        assert!(mine["summary"]["faults"]["user"].is_number(), "{given}");
        let bobs = traced(&alice, &installed, other.0.id());
        let lazyfree = &bobs["summary"]["lazyfree_bytes"];
        if can_read_memory(ALICE, set, other.0.id()) {
            assert!(lazyfree.is_number(), "{given}: {bobs}");
        } else {
            let reason = bobs["summary"]["lazyfree_missing"].as_str().unwrap();
            assert!(
                lazyfree.is_null() && reason.contains("CAP_SYS_PTRACE"),
                "{given}: {bobs}"
            );
        }
        let exe = &bobs["target"]["exe"];
        assert_eq!(exe.is_string(), set.contains(PTRACE), "{given}: {exe}");
        for capture in [&mine, &bobs] {
            let missing = missing_hooks(capture);
            let all = has_fentry(capture) || set.contains(READ_SEARCH);
            assert_eq!(missing.is_empty(), all, "{given}: {missing:?}");
            for (_, reason) in missing {
                assert!(reason.contains("CAP_DAC_READ_SEARCH"), "{reason}");
            }
        }
    }
}

#[test]
fn a_file_without_the_effective_bit_starts_where_a_container_withholds_something() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    if let Err(reason) = installed.set_capabilities(both() | PTRACE, false) {
        not_run(&reason);
        return;
    }
    let target = user(ALICE).sleeper();
    let confined = user(ALICE).withheld(BPF | ADMIN);
    let output = trace(target.0.id(), &mut installed.memtrace(&confined))
        .output()
        .unwrap();
    fails_with(
        &output,
        &["lacks CAP_BPF,", "not even root", "--cap-add=BPF"],
    );
    assert!(!text(&output.stderr).contains("sudo"));
    // What loads nothing needs nothing.
    let help = installed
        .memtrace(&confined)
        .arg("--version")
        .output()
        .unwrap();
    assert!(help.status.success());
    // With the bit, the kernel refuses to start it, and nothing can be said.
    installed.set_capabilities(both() | PTRACE, true).unwrap();
    let error = installed
        .memtrace(&confined)
        .arg("--version")
        .output()
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn each_missing_capability_is_named_with_what_to_type() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let target = user(BOB).sleeper();
    let pid = target.0.id();
    let all = both() | PTRACE | READ_SEARCH;
    for (capability, name, other) in [
        (BPF, "CAP_BPF", "lacks CAP_PERFMON"),
        (PERFMON, "CAP_PERFMON", "lacks CAP_BPF"),
    ] {
        let who = user(ALICE).with(all - capability);
        let output = trace(pid, &mut installed.memtrace(&who)).output().unwrap();
        fails_with(
            &output,
            &[
                &format!("lacks {name}:"),
                &format!("sudo memtrace --pid {pid}"),
            ],
        );
        assert!(!text(&output.stderr).contains(other));
    }
    // The other ones cost their own figures only.
    let with_tracefs = |held| user(ALICE).with(held).seeing(Mount::Tracefs);
    let everything = traced(&with_tracefs(all), &installed, pid);
    assert_eq!(missing_hooks(&everything), []);
    assert!(everything["summary"]["lazyfree_bytes"].is_number());
    assert!(everything["target"]["exe"].is_string());

    let without = traced(&with_tracefs(all - READ_SEARCH), &installed, pid);
    if has_fentry(&without) {
        eprintln!(
            "this kernel takes fentry: CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN are for nothing"
        );
        assert_eq!(missing_hooks(&without), []);
    } else {
        assert_eq!(missing_hooks(&without).len(), 6);
        for (_, reason) in missing_hooks(&without) {
            assert!(reason.contains("CAP_DAC_READ_SEARCH"), "{reason}");
        }
        for row in without["summary"]["causes"].as_array().unwrap() {
            assert!(row["calls"].is_null(), "{row}");
        }
        if fs::read_dir("/sys/kernel/tracing").is_ok_and(|mut entries| entries.next().is_none()) {
            let alone = traced(&user(ALICE).with(all), &installed, pid);
            for (_, reason) in missing_hooks(&alone) {
                assert!(
                    reason.contains("CAP_SYS_ADMIN") && reason.contains("sudo mount -t tracefs"),
                    "{reason}"
                );
            }
            let mounts = traced(&user(ALICE).with(all | ADMIN), &installed, pid);
            assert_eq!(missing_hooks(&mounts), []);
        } else {
            eprintln!("tracefs is mounted here: CAP_SYS_ADMIN is for nothing");
        }
    }
    // CAP_SYS_ADMIN was all there was before 5.8, and stands for both.
    traced(&user(ALICE).with(ADMIN), &installed, pid);
}

#[test]
fn another_users_process_without_ptrace_is_shown_as_far_as_the_kernel_does() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let target = user(BOB).sleeper();
    let pid = target.0.id();
    let seen = traced(&user(ALICE).with(both()), &installed, pid);
    assert!(seen["target"]["exe"].is_null());
    assert_eq!(seen["target"]["cmdline"][1], "1000");
    let summary = &seen["summary"];
    if can_read_memory(ALICE, both(), pid) {
        assert!(summary["lazyfree_bytes"].is_number());
    } else {
        assert_eq!(summary["compared_with"], "statm");
        assert!(summary["lazyfree_bytes"].is_null());
        let reason = summary["lazyfree_missing"].as_str().unwrap();
        assert!(reason.contains("CAP_SYS_PTRACE"), "{reason}");
    }
}

#[test]
fn a_process_that_proc_hides_is_not_said_to_be_absent() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let target = user(BOB).sleeper();
    let pid = target.0.id();
    let without = user(ALICE).with(both()).seeing(Mount::HiddenProc);
    let output = trace(pid, &mut installed.memtrace(&without))
        .output()
        .unwrap();
    fails_with(
        &output,
        &[
            "hidepid",
            "CAP_SYS_PTRACE",
            &format!("sudo memtrace --pid {pid}"),
        ],
    );
    let output = installed
        .memtrace(&without)
        .args(["-p", "4194999"])
        .output()
        .unwrap();
    fails_with(&output, &["no process has PID 4194999"]);
    // What lets it see the process stays until the end.
    let with = user(ALICE).with(both() | PTRACE).seeing(Mount::HiddenProc);
    let seen = traced(&with, &installed, pid);
    assert!(seen["summary"]["lazyfree_bytes"].is_number());
    for tick in seen["timeline"].as_array().unwrap() {
        assert!(tick["vm_bytes"].is_number(), "{tick}");
    }
}

#[test]
fn root_of_a_user_namespace_is_told_that_it_is_not_root() {
    if needs_root() {
        return;
    }
    let target = user(BOB).sleeper();
    let pid = target.0.id().to_string();
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            env!("CARGO_BIN_EXE_memtrace"),
            "-p",
            &pid,
        ])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    if said.starts_with("unshare:") {
        not_run(&format!("no user namespaces: {said}"));
        return;
    }
    fails_with(&output, &["in a user namespace only"]);
}

/// Everything is given up but `kept`, by every thread.
#[track_caller]
fn gave_up(running: &Running, uid: u32, kept: Capabilities) {
    for held in running.threads() {
        assert_eq!(held.uids, [uid; 4]);
        assert_eq!(held.permitted, kept, "{held:?}");
        assert_eq!(held.effective, kept, "{held:?}");
        assert_eq!(held.inheritable, NOTHING);
        assert_eq!(held.ambient, NOTHING);
        assert!(held.no_new_privileges);
    }
}

#[test]
fn root_gives_up_what_it_does_not_need_any_more() {
    if needs_root() {
        return;
    }
    let target = user(BOB).sleeper();
    let mut command = root().command(env!("CARGO_BIN_EXE_memtrace"));
    let running = Running::start(trace(target.0.id(), &mut command).args(["-i", "50ms"]));
    gave_up(&running, 0, PTRACE | needed_for_reading());
    for held in running.threads() {
        assert_eq!(held.bounding, NOTHING);
    }
    thread::sleep(Duration::from_millis(200));
    let (report, said) = running.end();
    assert!(report.contains("RSS - LazyFree"), "{report}");
    assert!(
        report.contains("unexplained                 0 B"),
        "{report}"
    );
    assert_eq!(said, "");
}

#[test]
fn under_sudo_memtrace_becomes_who_typed_it() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let folder = installed.folder_of("alice", ALICE, 0o700);
    let file = folder.join("capture.json");
    let own = user(ALICE).sleeper();
    let other = user(BOB).sleeper();
    for (target, kept) in [(&own, NOTHING), (&other, PTRACE)] {
        let mut command = root().command(env!("CARGO_BIN_EXE_memtrace"));
        command
            .env("SUDO_UID", ALICE.to_string())
            .env("SUDO_GID", ALICE.to_string())
            .args(["-i", "50ms", "-o", file.to_str().unwrap()]);
        let running = Running::start(trace(target.0.id(), &mut command));
        gave_up(&running, ALICE, kept | needed_for_reading());
        for held in running.threads() {
            assert_eq!(held.gids, [ALICE; 4]);
            assert_eq!(held.groups, [ALICE]);
            assert_eq!(held.bounding, NOTHING);
        }
        // Who typed it may not take over what root has opened.
        let pid = running.pid();
        for name in ["mem", "maps", "fd"] {
            let looked = user(ALICE)
                .command("/bin/ls")
                .arg(format!("/proc/{pid}/{name}/."))
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            assert!(!looked.status.success(), "{name}");
        }
        running.end();
        let capture: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        whole(&capture);
        assert!(capture["summary"]["lazyfree_bytes"].is_number());
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn root_that_cannot_become_another_user_says_so_or_does_without() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let file = installed
        .folder_of("alice", ALICE, 0o755)
        .join("capture.json");
    let target = user(ALICE).sleeper();
    let without = root().withheld(Capabilities::SETUID);
    let sudo = |command: &mut Command| {
        command
            .env("SUDO_UID", ALICE.to_string())
            .env("SUDO_GID", ALICE.to_string());
    };
    let mut command = without.command(env!("CARGO_BIN_EXE_memtrace"));
    sudo(&mut command);
    let output = command.args(["--", "true"]).output().unwrap();
    let parts = [
        "lacks CAP_SETUID:",
        &format!("user {ALICE}"),
        "unset SUDO_UID",
    ];
    fails_with(&output, &parts);
    let mut command = without.command(env!("CARGO_BIN_EXE_memtrace"));
    sudo(&mut command);
    command.args(["-o", file.to_str().unwrap()]);
    let running = Running::start(trace(target.0.id(), &mut command));
    for held in running.threads() {
        assert_eq!(held.uids, [0; 4]);
        let useful = PTRACE | Capabilities::DAC_OVERRIDE | needed_for_reading();
        assert_eq!(held.permitted, useful, "{held:?}");
    }
    running.end();
    assert_eq!(fs::metadata(&file).unwrap().uid(), ALICE);
}

#[test]
fn a_file_with_capabilities_gives_them_up_too() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    if let Err(reason) = installed.set_capabilities(both() | PTRACE | READ_SEARCH | ADMIN, false) {
        not_run(&reason);
        return;
    }
    let own = user(ALICE).sleeper();
    let other = user(BOB).sleeper();
    for (target, kept) in [(&own, NOTHING), (&other, PTRACE)] {
        let mut command = installed.memtrace(&user(ALICE));
        let running = Running::start(trace(target.0.id(), &mut command));
        gave_up(&running, ALICE, kept | needed_for_reading());
        running.end();
    }
}

#[test]
fn the_log_of_the_kernel_side_is_read_without_privileges() {
    if needs_root() {
        return;
    }
    let output = root()
        .command(env!("CARGO_BIN_EXE_memtrace"))
        .env("SUDO_UID", ALICE.to_string())
        .args([
            "-q",
            "--bpf-log",
            "--",
            "sh",
            "-c",
            "sleep 0.2; exec sleep 0.2",
        ])
        .env("SUDO_GID", ALICE.to_string())
        .output()
        .unwrap();
    let log = text(&output.stderr);
    assert!(log.contains("epoch 1 begins: exec"), "{log}");
}

/// A process that replaces its program by `program`, to sleep, once it is told to.
fn execs_when_told(installed: &Installed, who: u32, program: &Path) -> (Guard, PathBuf) {
    let go = installed.path().with_file_name("go");
    let script = format!(
        "while [ ! -e {} ]; do :; done; exec {} 1000",
        go.display(),
        program.display()
    );
    let target = Guard(
        user(who)
            .command("/bin/sh")
            .args(["-c", &script])
            .spawn()
            .unwrap(),
    );
    (target, go)
}

/// Traces it across its exec; the capture of the new program.
fn across_an_exec(command: &mut Command, target: &Guard, go: &Path, file: &Path) -> Value {
    command.args(["-i", "50ms", "-o"]).arg(file);
    let mut running = Running::start(trace(target.0.id(), command));
    fs::write(go, "").unwrap();
    running.wait_for("has replaced its program");
    running.wait_for("RSS");
    thread::sleep(Duration::from_millis(200));
    running.end();
    let capture: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    whole(&capture);
    assert_eq!(capture["target"]["comm"], "sleep");
    assert_eq!(capture["earlier_epochs"].as_array().unwrap().len(), 1);
    capture
}

#[test]
fn after_an_exec_the_new_program_is_seen_as_far_as_the_old_one_was() {
    if needs_root() {
        return;
    }
    for held in [both(), both() | PTRACE] {
        let installed = Installed::new();
        let file = installed
            .folder_of("alice", ALICE, 0o700)
            .join("capture.json");
        let (target, go) = execs_when_told(&installed, BOB, Path::new("/bin/sleep"));
        let mut command = installed.memtrace(&user(ALICE).with(held));
        let capture = across_an_exec(&mut command, &target, &go, &file);
        let summary = &capture["summary"];
        assert_eq!(
            summary["lazyfree_bytes"].is_number(),
            can_read_memory(ALICE, held, target.0.id()),
            "{summary}"
        );
        let exe = &capture["target"]["exe"];
        assert_eq!(exe.is_string(), held.contains(PTRACE), "{exe}");
    }
}

#[test]
fn a_program_that_protects_itself_after_the_drop_is_not_taken_for_the_old_one() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let file = installed
        .folder_of("alice", ALICE, 0o700)
        .join("capture.json");
    // Who may execute a program and not read it may not look into it either.
    let program = installed.path().with_file_name("sleep");
    copy_program("/bin/sleep", &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o711)).unwrap();
    let (target, go) = execs_when_told(&installed, ALICE, &program);
    let mut command = root().command(env!("CARGO_BIN_EXE_memtrace"));
    command
        .env("SUDO_UID", ALICE.to_string())
        .env("SUDO_GID", ALICE.to_string());
    let capture = across_an_exec(&mut command, &target, &go, &file);
    let old = &capture["earlier_epochs"][0];
    assert!(old["target"]["exe"].is_string());
    assert!(capture["target"]["exe"].is_null());
    let summary = &capture["summary"];
    assert!(summary["lazyfree_bytes"].is_null());
    assert_eq!(summary["compared_with"], "statm");
    let reason = summary["lazyfree_missing"].as_str().unwrap();
    assert!(reason.contains("CAP_SYS_PTRACE"), "{reason}");
}

#[test]
fn a_program_gets_nothing_of_what_memtrace_was_given() {
    if needs_root() {
        return;
    }
    let status = ["-q", "--", "cat", "/proc/self/status"];
    let held = |output: &std::process::Output| {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("status");
        fs::write(&file, &output.stdout).unwrap();
        Held::of(&file)
    };
    let installed = Installed::new();
    let ambient = installed
        .memtrace(&user(ALICE).with(both() | PTRACE))
        .args(status)
        .output()
        .unwrap();
    let by_ambient = held(&ambient);
    assert_eq!(
        (by_ambient.permitted, by_ambient.ambient),
        (NOTHING, NOTHING)
    );
    // It is started as without memtrace: it may still execute a file with privileges.
    assert!(!by_ambient.no_new_privileges);
    match installed.set_capabilities(both() | PTRACE, true) {
        Ok(()) => {
            let output = installed
                .memtrace(&user(ALICE))
                .args(status)
                .output()
                .unwrap();
            let by_file = held(&output);
            assert_eq!((by_file.permitted, by_file.ambient), (NOTHING, NOTHING));
            assert_eq!(by_file.uids, [ALICE; 4]);
        }
        Err(reason) => {
            not_run(&reason);
        }
    }
}

#[test]
fn the_demo_runs_for_a_user_whose_file_has_capabilities() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    if let Err(reason) = installed.set_capabilities(both(), true) {
        not_run(&reason);
        return;
    }
    let output = installed
        .memtrace(&user(ALICE))
        .args(["demo", "lazy-free", "-o", "-"])
        .output()
        .unwrap();
    let capture = capture(&output);
    assert!(capture["summary"]["lazyfree_bytes"].as_u64().unwrap() >= 199 << 20);
    // The workload is the same file, and has none of its capabilities.
    let running = Running::start(installed.memtrace(&user(ALICE)).args(["demo", "leak"]));
    let pid = running.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let workload = children.split_whitespace().next().unwrap();
    let held = Held::of(Path::new(&format!("/proc/{workload}/status")));
    assert_eq!(held.permitted, NOTHING);
    assert_eq!(held.uids, [ALICE; 4]);
    running.end();
}

#[test]
fn nobody_becomes_another_user_by_an_environment_variable() {
    if needs_root() {
        return;
    }
    let id = ["-q", "--", "sh", "-c", "id -u; id -g"];
    let first_lines = |output: &std::process::Output| -> String {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        text(&output.stdout)
            .lines()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lie = |command: &mut Command| {
        command
            .env("SUDO_UID", BOB.to_string())
            .env("SUDO_GID", BOB.to_string());
    };
    let wanted = format!("{ALICE} {ALICE}");
    let installed = Installed::new();
    let mut command = installed.memtrace(&user(ALICE).with(both()));
    lie(&mut command);
    assert_eq!(first_lines(&command.args(id).output().unwrap()), wanted);
    // A set-user-ID file of root's, which nobody should make, and somebody will.
    fs::set_permissions(installed.path(), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut command = installed.memtrace(&user(ALICE));
    lie(&mut command);
    let output = command.args(id).output().unwrap();
    if text(&output.stderr).contains("lacks") {
        not_run("the temporary folder is on a file system with nosuid");
        return;
    }
    assert_eq!(first_lines(&output), wanted);
    let target = user(ALICE).sleeper();
    let mut command = installed.memtrace(&user(ALICE));
    lie(&mut command);
    let running = Running::start(trace(target.0.id(), &mut command));
    gave_up(&running, ALICE, needed_for_reading());
    running.end();
}
