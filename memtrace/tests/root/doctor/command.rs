//! `memtrace doctor` on this host: as root, as nobody, with fewer capabilities, in a PID namespace.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::for_everybody;

const NOBODY: u32 = 65_534;
/// Bits of `include/uapi/linux/capability.h`.
const CAP_SYS_PTRACE: i32 = 19;
const CAP_SYS_ADMIN: i32 = 21;
const CAP_BPF: i32 = 39;

/// A process that ends with its test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn memtrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memtrace"));
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    command
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .env_remove("COLUMNS")
        .stdin(Stdio::null());
}

pub fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("1000").spawn().unwrap())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Says aloud that a test does not run here; fails where it must.
pub fn needs_root() -> bool {
    if nix::unistd::Uid::effective().is_root() {
        return false;
    }
    assert!(
        std::env::var_os("MEMTRACE_REQUIRE_KERNEL").is_none(),
        "this must run here, and cannot: needs root"
    );
    eprintln!("skipped: needs root");
    true
}

/// One test at a time attaches: some look at what all of the host's programs do.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A process's output as the doctor's JSON: valid by the schema in the repository, and of one mind with the exit code.
#[track_caller]
fn report(output: &Output) -> Value {
    let error = text(&output.stderr);
    assert_eq!(error, "");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)));
    let schema: Value = serde_json::from_str(include_str!(
        "../../../../docs/memtrace-doctor-1.schema.json"
    ))
    .unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(report["schema"], "memtrace-doctor/1");
    let works = report["verdict"]["mode"] != "none";
    assert_eq!(output.status.code(), Some(i32::from(!works)), "{report}");
    report
}

#[track_caller]
fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["id"] == id)
        .unwrap_or_else(|| panic!("no check {id} in {report}"))
}

#[track_caller]
fn state<'a>(report: &'a Value, id: &str) -> &'a str {
    check(report, id)["state"].as_str().unwrap()
}

fn doctor() -> Output {
    memtrace().args(["doctor", "--json"]).output().unwrap()
}

/// Runs memtrace without these capabilities, which it cannot have back.
fn without(capabilities: &'static [i32], arguments: &[&str]) -> Output {
    let mut command = memtrace();
    command.args(arguments);
    let drop = move || {
        for capability in capabilities {
            // SAFETY: changes what this process's programs may be allowed.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *capability, 0, 0, 0) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: one system call, which allocates nothing.
    unsafe { command.pre_exec(drop) };
    command.output().unwrap()
}

/// Runs memtrace behind a seccomp filter that refuses `bpf()`, as containers have.
fn without_bpf(arguments: &[&str]) -> Output {
    // `struct seccomp_data` begins with the number of the system call.
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        step(load, 0, 0, 0),
        step(equal, 0, 1, libc::SYS_bpf as u32),
        step(answer, 0, 0, refused),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let mut command = memtrace();
    command.args(arguments);
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the kernel copies the program, which lives as long as the call.
        if unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: one system call, which allocates nothing.
    unsafe { command.pre_exec(install) };
    command.output().unwrap()
}

/// Runs something in namespaces of its own, with the short options that every `unshare` has.
fn unshare(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("unshare");
    clean(&mut command);
    let output = match command.args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(
                std::env::var_os("MEMTRACE_REQUIRE_KERNEL").is_none(),
                "this must run here, and cannot: unshare: {error}"
            );
            eprintln!("skipped: no unshare here: {error}");
            return None;
        }
    };
    if text(&output.stderr).starts_with("unshare: ") {
        eprintln!("skipped: no such namespaces here: {}", text(&output.stderr));
        return None;
    }
    Some(output)
}

/// A copy of memtrace, run by nobody special.
fn for_nobody() -> (tempfile::TempDir, Command) {
    let (dir, mut command) = for_everybody();
    clean(&mut command);
    command.uid(NOBODY).gid(NOBODY);
    (dir, command)
}

#[test]
fn the_verdict_is_what_a_trace_then_does() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let report = report(&doctor());
    let target = sleeper();
    let trace = memtrace()
        .args(["-q", "-d", "100ms", "-o", "-", "-p"])
        .arg(target.0.id().to_string())
        .output()
        .unwrap();
    if report["verdict"]["mode"] == "none" {
        assert_eq!(trace.status.code(), Some(1), "{report}");
        return;
    }
    let capture: Value = serde_json::from_slice(&trace.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&trace.stderr)));
    assert_eq!(report["verdict"]["mode"], capture["capture"]["mode"]);
    assert_eq!(report["verdict"]["hooks"], capture["capture"]["hooks"]);
    assert_eq!(check(&report, "kernel")["value"], capture["host"]["kernel"]);
    // A way that a trace uses has been tried, and taken.
    for hook in capture["capture"]["hooks"].as_array().unwrap() {
        let tried = report["attempts"].as_array().unwrap().iter();
        let mut tried = tried.filter(|attempt| attempt["hook"] == hook["name"]);
        assert!(
            hook["kind"].is_null()
                || tried.any(|attempt| attempt["kind"] == hook["kind"]
                    && attempt["attached"] == Value::Bool(true)),
            "{hook} in {report}"
        );
    }
}

#[test]
fn root_is_told_what_is_refused_and_why() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let report = report(&doctor());
    for attempt in report["attempts"].as_array().unwrap() {
        let error = attempt["error"].as_str();
        assert_eq!(attempt["attached"], error.is_none(), "{attempt}");
        // In a line, and with the kernel's own reason.
        assert!(
            error.is_none_or(|error| !error.is_empty() && !error.contains('\n')),
            "{attempt}"
        );
    }
    if state(&report, "bpf_load") != "ok" {
        assert_eq!(report["attempts"].as_array().unwrap().len(), 0);
        assert_eq!(state(&report, "hooks"), "unknown");
        return;
    }
    let fentry = report["attempts"].as_array().unwrap().iter();
    let refused = fentry
        .filter(|attempt| attempt["kind"] == "fentry" && attempt["attached"] == false)
        .count();
    assert_eq!(state(&report, "fentry") == "ok", refused == 0, "{report}");
    for capability in ["cap_bpf", "cap_perfmon"] {
        assert_eq!(state(&report, capability), "ok");
    }
    assert_eq!(check(&report, "user")["value"], "0");
}

#[test]
fn nobody_is_told_what_could_not_be_tried() {
    if needs_root() {
        return;
    }
    let (_dir, mut command) = for_nobody();
    let report = report(&command.args(["doctor", "--json"]).output().unwrap());
    assert_eq!(report["verdict"]["mode"], "none");
    assert_eq!(report["attempts"].as_array().unwrap().len(), 0);
    for id in ["hooks", "bpf_load", "own_ledger", "cap_bpf"] {
        let found = report["checks"].as_array().unwrap().iter();
        for check in found.filter(|check| check["id"] == id) {
            assert_ne!(check["state"], "ok", "{check}");
        }
    }
    assert_eq!(state(&report, "hooks"), "unknown");
    assert!(
        check(&report, "hooks")["found"]
            .as_str()
            .unwrap()
            .contains("not tried")
    );
    let reason = report["verdict"]["reason"].as_str().unwrap();
    assert!(reason.contains("CAP_BPF and CAP_PERFMON"), "{reason}");
    // What everybody may read is read.
    assert_eq!(state(&report, "swappiness"), "info");
    assert_eq!(check(&report, "user")["value"], NOBODY.to_string());
}

#[test]
fn a_capability_that_is_missing_is_named_with_what_it_costs() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let report = report(&without(
        &[CAP_SYS_ADMIN, CAP_SYS_PTRACE],
        &["doctor", "--json"],
    ));
    for (id, lost) in [
        ("cap_sys_admin", "--self-stats"),
        ("cap_sys_ptrace", "LazyFree"),
    ] {
        let check = check(&report, id);
        assert_eq!(check["state"], "limited", "{check}");
        assert!(check["found"].as_str().unwrap().contains("bounding set"));
        assert!(check["cost"].as_str().unwrap().contains(lost), "{check}");
        assert!(check["advice"].as_str().unwrap().contains("--cap-add"));
    }
    assert_eq!(state(&report, "cap_bpf"), "ok");
}

#[test]
fn where_tracing_fails_the_error_names_the_doctor() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = without(&[CAP_BPF, CAP_SYS_ADMIN], &["-p", &pid]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("lacks CAP_BPF"), "{error}");
    assert!(error.contains("memtrace doctor"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    // In a user namespace every capability is there, and none of them counts.
    let Some(output) = unshare(&["-U", "-r", env!("CARGO_BIN_EXE_memtrace"), "-p", &pid]) else {
        return;
    };
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("user namespace"), "{error}");
    assert!(error.contains("memtrace doctor"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn in_a_user_namespace_it_says_that_capabilities_do_not_count() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let binary = env!("CARGO_BIN_EXE_memtrace");
    let Some(output) = unshare(&["-U", "-r", binary, "doctor", "--json"]) else {
        return;
    };
    let report = report(&output);
    assert_eq!(report["verdict"]["mode"], "none");
    assert_eq!(state(&report, "user_namespace"), "missing");
    // Nothing that the kernel would refuse is asked of it.
    assert_eq!(state(&report, "bpf_load"), "unknown");
    assert_eq!(state(&report, "cap_bpf"), "limited");
}

#[test]
fn behind_a_seccomp_filter_it_says_what_may_refuse() {
    if needs_root() {
        return;
    }
    let report = report(&without_bpf(&["doctor", "--json"]));
    assert_eq!(report["verdict"]["mode"], "none");
    assert_eq!(check(&report, "seccomp")["value"], "2");
    assert_eq!(state(&report, "seccomp"), "limited");
    assert_eq!(state(&report, "bpf_load"), "missing");
    assert_eq!(state(&report, "cap_bpf"), "ok");
    let reason = report["verdict"]["reason"].as_str().unwrap();
    assert!(reason.contains("EPERM"), "{reason}");
}

#[test]
fn in_a_pid_namespace_of_its_own_it_says_so() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let script = "mount -t proc proc /proc && exec \"$0\" doctor --json";
    let binary = env!("CARGO_BIN_EXE_memtrace");
    let Some(output) = unshare(&["-p", "-f", "-m", "sh", "-c", script, binary]) else {
        return;
    };
    let report = report(&output);
    let namespace = check(&report, "pid_namespace");
    assert_eq!(namespace["value"], "own");
    // A ledger of the wrong process would be found out.
    assert_eq!(report["verdict"]["mode"], "exact", "{report}");
    assert_eq!(namespace["state"], "ok", "{report}");
    assert_eq!(state(&report, "proc"), "ok");
}

#[test]
fn people_read_lines_of_80_columns() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let output = memtrace().arg("doctor").output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(text(&output.stderr), "");
    assert!(!shown.contains('\x1b'), "{shown}");
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for part in [
        "\nkernel\n",
        "\nprivileges\n",
        "CAP_BPF",
        "\nverdict\n",
        "swappiness",
    ] {
        assert!(shown.contains(part), "{part} is missing in: {shown}");
    }
    let coloured = memtrace()
        .args(["doctor", "--color", "always"])
        .output()
        .unwrap();
    let coloured = text(&coloured.stdout);
    assert!(coloured.contains("\x1b["), "{coloured}");
}

/// Ids of the eBPF programs that a live process holds.
fn held() -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read_dir(process.path().join("fdinfo")).ok())
        .flat_map(|descriptors| descriptors.flatten())
        .filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok())
        .filter_map(|info| {
            let line = info.lines().find(|line| line.starts_with("prog_id:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .collect()
}

/// What is mounted to read the kernel's tracepoints and its lockdown.
fn mounted() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(" tracefs ") || line.contains(" securityfs "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn nothing_stays_attached_or_mounted() {
    if needs_root() {
        return;
    }
    let _alone = alone();
    let loaded = || memtrace::probe::loaded_programs().unwrap();
    let (mounts, before) = (mounted(), loaded());
    report(&doctor());
    assert_eq!(mounted(), mounts);
    // Another memtrace on this host may have begun meanwhile, and holds what is its own. The kernel frees programs a little
    // after their descriptors are closed.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<(u32, String)> = loaded()
            .into_iter()
            .filter(|program| !before.contains(program))
            .collect();
        let held = held();
        let left: Vec<_> = left.iter().filter(|(id, _)| !held.contains(id)).collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "still loaded: {left:?}");
        thread::sleep(Duration::from_millis(100));
    }
}
