//! Tests that must be alone in their process, because they look at its memory, or change its directory.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

/// Set in the process that runs one test alone.
const ALONE: &str = "MEMTRACE_TEST_ALONE";

/// Returns whether the calling test is alone in its process, and may go on. If not, runs it again, in a process of its own whose
/// present directory is `directory`, and fails as it fails; then the caller has nothing left to do.
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
