//! Where the capture goes is full, or gone.

use std::{fs, path::Path, process::Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::{Case, Outcome};
use crate::{
    common::{memtrace, nothing_left, programs_of, run, sleeper, text},
    tracing::{names_in, wait_for},
};

pub const CASES: &[Case] = &[
    ("a_disk_that_is_full_has_no_half_of_a_capture", disk_full),
    ("a_disk_that_is_full_keeps_the_old_file", disk_full_with_old),
    ("a_full_standard_output", stdout_full),
    ("a_folder_that_goes_away", folder_gone),
];

/// A file system of 16 KiB, which no capture of some hundred ticks fits into.
struct Small(TempDir);

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = MsFlags::empty();
        mount(
            Some("none"),
            dir.path(),
            Some("tmpfs"),
            flags,
            Some("size=16k"),
        )
        .unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.path(), MntFlags::MNT_DETACH) {
            eprintln!("{} stays mounted: {error}", self.path().display());
        }
    }
}

/// Traces something into `file`, where there is no room for it.
#[track_caller]
fn fills(file: &Path) {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let file = file.to_str().unwrap();
    let output = run(&["-p", &pid, "-d", "4s", "-i", "10ms", "-o", file]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    for part in ["memtrace: cannot write", file, "No space left", "make room"] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    // The table is not lost with the file.
    let report = text(&output.stdout);
    assert!(
        report.contains("unexplained                 0 B"),
        "{report}"
    );
}

fn disk_full() -> Outcome {
    let small = Small::new();
    fills(&small.path().join("capture.json"));
    assert_eq!(names_in(small.path().to_owned()), [""; 0]);
    Ok(())
}

fn disk_full_with_old() -> Outcome {
    let small = Small::new();
    let file = small.path().join("capture.json");
    fs::write(&file, "an old one").unwrap();
    fills(&file);
    assert_eq!(names_in(small.path().to_owned()), ["capture.json"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "an old one");
    Ok(())
}

fn stdout_full() -> Outcome {
    let target = sleeper();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let pid = target.0.id().to_string();
    let output = memtrace()
        .args(["-p", &pid, "-d", "100ms", "--json", "-"])
        .stdout(full)
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let last = error.lines().last().unwrap();
    for part in ["memtrace: ", "standard output", "No space left"] {
        assert!(last.contains(part), "{part:?} is missing in: {last}");
    }
    assert!(!error.contains("panicked"), "{error}");
    Ok(())
}

fn folder_gone() -> Outcome {
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("capture.json");
    let mut child = memtrace()
        .args(["-p", &target.0.id().to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = crate::common::attached(&mut child);
    let ids = programs_of(child.id());
    wait_for("an empty folder", || fs::remove_dir_all(&folder).ok());
    crate::common::signal(&child, libc::SIGTERM);
    let report = crate::common::rest(out);
    assert!(report.contains("stopped by hand"), "{report}");
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("cannot write"), "{error}");
    nothing_left(&ids);
    Ok(())
}
