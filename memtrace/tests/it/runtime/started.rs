//! Starting programs, and waiting until they are what they will be.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use memtrace::{
    inspect::{LiveProcess, inspect},
    model::{Missing, RuntimeInfo},
};

/// A program that waits, and ends with its test.
pub struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Started {
    /// Starts it, and waits until it sleeps and has loaded what it will.
    #[track_caller]
    pub fn new(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self(child);
        let end = Instant::now() + Duration::from_secs(60);
        let mut before = Vec::new();
        // What sleeps, has mapped nothing for a while and waits for no child has started: a version manager's shim
        // waits for its children first, as long as they take.
        let mut still = 0;
        while still < 3 {
            assert!(Instant::now() < end, "{command:?} does not come to rest");
            thread::sleep(Duration::from_millis(100));
            let stat = started.file("stat");
            let state = stat.rsplit(')').next().unwrap().trim().chars().next();
            assert_ne!(state, Some('Z'), "{command:?} has ended");
            let now = started.file("maps");
            let waits = !started
                .file(&format!("task/{}/children", started.pid()))
                .is_empty();
            still = if state == Some('S') && !waits && before == now.as_bytes() {
                still + 1
            } else {
                0
            };
            before = now.into_bytes();
        }
        started
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    fn file(&self, name: &str) -> String {
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn look(&self) -> LiveProcess {
        LiveProcess::open(self.pid()).unwrap()
    }

    pub fn inspect(&self) -> RuntimeInfo {
        inspect(&self.look())
    }
}

/// Where a program is; `None`, said aloud, where it is not installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    if found.is_none() {
        left_out(name);
    }
    found
}

/// Says aloud that something does not run here; fails where it must.
pub fn left_out(what: &str) {
    assert!(
        std::env::var_os("MEMTRACE_REQUIRE_RUNTIMES").is_none(),
        "this must run here, and cannot: there is no {what}"
    );
    eprintln!("left out: there is no {what}");
}

/// A folder of the test's own.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A small C program, compiled; `None`, said aloud, where there is no such compiler.
pub fn compiled(
    folder: &Path,
    name: &str,
    compiler: &str,
    source: &str,
    options: &[&str],
) -> Option<PathBuf> {
    let compiler = installed(compiler)?;
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source).unwrap();
    let program = folder.join(name);
    let done = Command::new(compiler)
        .arg("-o")
        .args([program.as_path(), file.as_path()])
        .args(options)
        .status()
        .unwrap();
    assert!(done.success());
    Some(program)
}

/// Allocates, and waits.
pub const WAITS: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char *memory = malloc(100000);
    memset(memory, 1, 100000);
    for (;;) sleep(1000);
}
"#;

pub fn waiting(folder: &Path) -> Option<PathBuf> {
    compiled(folder, "waits", "cc", WAITS, &[])
}

pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // What the test itself was started with is not the program's.
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

pub fn why<'a>(missing: &'a [Missing], what: &str) -> Option<&'a str> {
    let found = missing.iter().find(|missing| missing.what == what)?;
    Some(found.why.raw())
}

/// The advice that is expected of `by`.
pub fn advice(info: &RuntimeInfo, by: &str) -> Vec<String> {
    let of = info.expected.iter().filter(|release| release.by == by);
    of.filter_map(|release| release.advice.as_ref().map(ToString::to_string))
        .collect()
}
