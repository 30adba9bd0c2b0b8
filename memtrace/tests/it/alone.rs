//! Runs a test in a process of its own, because it measures that process's memory, or needs another current directory.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

/// Set in the process that runs one test alone.
const ALONE: &str = "MEMTRACE_TEST_ALONE";

/// Returns true if the calling test is alone in its process. Otherwise runs it again, in a process of its own with the current directory
/// `directory`, and returns false; panics if it fails there.
#[track_caller]
pub fn alone(test: &str, directory: &Path) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(ALONE, "1")
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    eprintln!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test}, alone in its process: {}",
        output.status
    );
    false
}
