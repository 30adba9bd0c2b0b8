//! Running memtrace as a user does, and looking at what it leaves behind.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A process that ends with its test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn memtrace() -> Command {
    // The variable says where the binary is now, should the test have been carried to another machine.
    let binary = std::env::var_os("CARGO_BIN_EXE_memtrace");
    let mut command = Command::new(binary.unwrap_or(env!("CARGO_BIN_EXE_memtrace").into()));
    command
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .env_remove("COLUMNS");
    command
}

/// A copy of memtrace that everybody may run: where the build lies, nobody else may look.
pub fn for_everybody() -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = dir.path().join("memtrace");
    copy_program(memtrace().get_program(), &binary);
    (dir, Command::new(binary))
}

pub fn run(arguments: &[&str]) -> Output {
    memtrace()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("1000").spawn().unwrap())
}

/// Copies a program with `cp`. If this process had the copy open for writing, a fork of another test could inherit the descriptor, and
/// the copy could not be executed (ETXTBSY).
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut copy = Command::new("cp");
    copy.arg(from.as_ref()).arg(to.as_ref());
    assert!(copy.status().unwrap().success());
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Says aloud that a test does not run here; fails where it must.
pub fn needs_root() -> bool {
    if is_root() {
        return false;
    }
    assert!(
        std::env::var_os("MEMTRACE_REQUIRE_KERNEL").is_none(),
        "this must run here, and cannot: needs root"
    );
    eprintln!("skipped: needs root");
    true
}

/// A failure is one line on standard error, which starts with the tool's name, and nothing on standard output.
#[track_caller]
pub fn fails_with(output: &Output, code: i32, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    assert!(error.starts_with("memtrace: "), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// The contract: valid by the schema in the repository, adding up, and whole.
#[track_caller]
pub fn check_capture(capture: &Value) {
    check_sums(capture);
    for epoch in epochs(capture) {
        assert_eq!(epoch["capture"]["lost_events"], 0);
        assert_eq!(epoch["capture"]["mode"], "exact");
    }
}

/// All epochs of a capture, the last one first.
pub fn epochs(capture: &Value) -> Vec<&Value> {
    let mut epochs = vec![capture];
    epochs.extend(capture["earlier_epochs"].as_array().unwrap());
    epochs
}

/// Valid by the schema, and adding up, also where something was not counted.
#[track_caller]
pub fn check_sums(capture: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/memtrace-1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(capture)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    for epoch in epochs(capture) {
        let summary = &epoch["summary"];
        let number = |value: &Value| value.as_i64().unwrap();
        let causes = summary["causes"].as_array().unwrap();
        let moved: i64 = causes
            .iter()
            .map(|row| number(&row["rss_delta_bytes"]))
            .sum();
        for row in causes {
            let kind = &row["by_kind"];
            assert_eq!(
                number(&row["rss_delta_bytes"]),
                number(&kind["anon_bytes"])
                    + number(&kind["file_bytes"])
                    + number(&kind["shmem_bytes"])
            );
        }
        assert_eq!(summary["unexplained_bytes"], 0, "{summary}");
        assert_eq!(
            number(&summary["rss_start_bytes"]) + moved,
            number(&summary["rss_end_bytes"]),
            "{summary}"
        );
        let ticks = epoch["timeline"].as_array().unwrap();
        assert!(!ticks.is_empty());
        let by_ticks: i64 = ticks
            .iter()
            .flat_map(|tick| tick["causes"].as_array().unwrap())
            .map(|cause| number(&cause["rss_delta_bytes"]))
            .sum();
        assert_eq!(by_ticks, moved, "the ticks and the summary differ");
        let times: Vec<i64> = ticks.iter().map(|tick| number(&tick["t_ns"])).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

pub fn row<'a>(capture: &'a Value, cause: &str, advice: Option<&str>) -> &'a Value {
    capture["summary"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["cause"] == cause && row["advice"].as_str() == advice)
        .unwrap_or_else(|| panic!("no row {cause} {advice:?} in {}", capture["summary"]))
}

/// Ids of the eBPF programs that a process holds.
pub fn programs_of(pid: u32) -> Vec<u32> {
    fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let line = info.lines().find(|line| line.starts_with("prog_id:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .collect()
}

/// The kernel frees programs a little after their descriptors are closed.
#[track_caller]
pub fn nothing_left(ids: &[u32]) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let loaded = memtrace::probe::loaded_programs().unwrap();
        let left: Vec<_> = loaded.iter().filter(|(id, _)| ids.contains(id)).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "still loaded: {left:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

pub fn traced(pid: u32, arguments: &[&str]) -> Child {
    memtrace()
        .args(["-p", &pid.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub fn signal(child: &Child, signal: i32) {
    // SAFETY: a child that has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// Waits for the headline, which comes once everything is attached.
pub fn attached(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("RSS"), "{line}");
    out
}

pub fn rest(mut out: impl Read) -> String {
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    text
}
