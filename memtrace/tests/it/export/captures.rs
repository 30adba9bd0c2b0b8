//! Captures to export, and what is wanted of them.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

pub const LAZY_FREE: &[u8] = include_bytes!("../../../../fuzz/seeds/capture/lazy-free.json");
/// Two epochs, an unknown advice that fails, a child.
pub const EXEC: &[u8] = include_bytes!("../../../../fuzz/seeds/capture/exec.json");
/// Of a memtrace that was killed: an exec, a call that failed, a child.
pub const JOURNAL: &[u8] = include_bytes!("../../../../fuzz/seeds/capture/exec.partial");
pub const NULLS: &[u8] = include_bytes!("../../../../fuzz/seeds/capture/nulls.json");
/// Go's figures, and a cgroup's.
pub const SERVICE: &[u8] = include_bytes!("../../../../docs/captures/go1.15-service.json");

pub fn seed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds/capture")
        .join(name)
}

pub fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memtrace"));
    command
        .arg("export")
        .args(arguments)
        .env_remove("COLUMNS")
        .env_remove("SUDO_UID")
        .stdin(Stdio::null());
    command
}

/// With these bytes at standard input.
pub fn fed(mut command: Command, bytes: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything.
        let _ = stdin.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// What `memtrace export - --to FORMAT` makes of a capture; exit code 3 of one that is incomplete.
#[track_caller]
pub fn exported(bytes: &[u8], arguments: &[&str]) -> Vec<u8> {
    let output = fed(command(&[&["-"], arguments].concat()), bytes);
    let code = output.status.code();
    assert!(
        code == Some(0) || code == Some(3),
        "{code:?} {}",
        text(&output.stderr)
    );
    output.stdout
}

/// All epochs of a capture, oldest first.
pub fn epochs(capture: &Value) -> Vec<&Value> {
    let earlier = capture["earlier_epochs"].as_array().unwrap();
    earlier.iter().chain([capture]).collect()
}

pub fn ticks(epoch: &Value) -> &[Value] {
    epoch["timeline"].as_array().unwrap()
}

/// The same without a ledger: what memtrace writes where a kernel allows none.
pub fn approximate(bytes: &[u8]) -> Vec<u8> {
    let mut capture = value(bytes);
    capture["capture"]["mode"] = json!("approximate");
    for tick in capture["timeline"].as_array_mut().unwrap() {
        for cause in tick["causes"].as_array_mut().unwrap() {
            cause["rss_delta_bytes"] = Value::Null;
        }
    }
    capture.to_string().into_bytes()
}

/// Says aloud that a tool is not there; fails where it must be.
pub fn is_missing(tool: &str, package: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", tool])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success();
    if found {
        return false;
    }
    assert!(
        std::env::var_os("MEMTRACE_REQUIRE_RUNTIMES").is_none(),
        "this must run here, and cannot: needs {package}"
    );
    eprintln!("skipped: needs {package}");
    true
}
