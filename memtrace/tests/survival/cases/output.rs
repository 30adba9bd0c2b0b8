//! Where the capture goes is full, or gone.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::{Case, Outcome};
use crate::{
    common::{fails_with, memtrace, nothing_left, programs_of, run, sleeper, text},
    tracing::{names_in, report_of, wait_for},
};

pub const CASES: &[Case] = &[
    ("a_disk_that_is_full_keeps_what_was_captured", disk_full),
    ("a_disk_that_is_full_keeps_the_old_file", disk_full_with_old),
    (
        "a_disk_that_is_full_at_the_end_keeps_the_whole_journal",
        disk_full_at_the_end,
    ),
    (
        "a_full_temporary_folder_still_gives_what_was_captured",
        temporary_full,
    ),
    (
        "a_folder_for_temporary_files_is_needed_before_the_trace",
        no_temporary,
    ),
    ("a_full_standard_output", stdout_full),
    ("a_folder_that_goes_away", folder_gone),
    (
        "a_folder_that_takes_no_files_is_named_before_the_trace",
        no_files,
    ),
];

/// A small file system.
struct Small(TempDir);

impl Small {
    /// Of 16 KiB, which no journal of some hundred ticks fits into.
    fn new() -> Self {
        Self::of("size=16k")
    }

    fn of(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = MsFlags::empty();
        mount(Some("none"), dir.path(), Some("tmpfs"), flags, Some(size)).unwrap();
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

/// Traces something into `file`, where there is no room for it. What there was room for is in its journal.
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
    assert!(report.contains(": interrupted"), "{report}");
    let partial = format!("{file}.partial");
    assert!(
        error.contains(&format!("memtrace report {partial}")),
        "{error}"
    );
    let seen = report_of(Path::new(&partial));
    assert_eq!(seen.code, Some(3), "{}", seen.error);
    assert_eq!(seen.error, "", "the half of a line is taken back");
    let ticks = &seen.capture.epoch.timeline;
    assert!(ticks.len() > 5);
    assert!(fs::read(&partial).unwrap().ends_with(b"}\n"));
}

fn disk_full() -> Outcome {
    let small = Small::new();
    fills(&small.path().join("capture.json"));
    assert_eq!(names_in(small.path().to_owned()), ["capture.json.partial"]);
    Ok(())
}

fn disk_full_at_the_end() -> Outcome {
    let small = Small::of("size=512k");
    let file = small.path().join("capture.json");
    let target = sleeper();
    let mut child = memtrace()
        .args(["-p", &target.0.id().to_string(), "-i", "10ms", "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = crate::common::attached(&mut child);
    let partial = small.path().join("capture.json.partial");
    wait_for("a journal of some length", || {
        (fs::metadata(&partial).ok()?.len() > 60_000).then_some(())
    });
    crate::common::signal(&child, libc::SIGSTOP);
    wait_for("a stop", || {
        (crate::tracing::state_of(child.id()) == 'T').then_some(())
    });
    // Room for the journal's last lines, and not for the capture file.
    let free = nix::sys::statvfs::statvfs(small.path()).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    fs::write(
        small.path().join("filler"),
        vec![1; free as usize - (24 << 10)],
    )
    .unwrap();
    crate::common::signal(&child, libc::SIGTERM);
    crate::common::signal(&child, libc::SIGCONT);
    let report = crate::common::rest(out);
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let advice = format!("memtrace report {}", partial.display());
    for part in [
        "cannot write",
        "No space left",
        "make room",
        "kept whole",
        &advice,
    ] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    assert_eq!(
        names_in(small.path().to_owned()),
        ["capture.json.partial", "filler"]
    );
    let seen = report_of(&partial);
    assert_eq!(seen.code, Some(0), "{}", seen.error);
    assert!(
        seen.error.contains("came to its end, and is whole"),
        "{}",
        seen.error
    );
    assert!(
        report.ends_with(&format!("\n\n{}", seen.text)),
        "{report}\n{}",
        seen.text
    );
    Ok(())
}

fn temporary_full() -> Outcome {
    let small = Small::new();
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = memtrace()
        .args(["-p", &pid, "-d", "4s", "-i", "10ms", "-q", "-o", "-"])
        .env("TMPDIR", small.path())
        .output()
        .unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let last = error.lines().last().unwrap();
    for part in ["memtrace: cannot keep more", "No space left", "TMPDIR"] {
        assert!(last.contains(part), "{part:?} is missing in: {last}");
    }
    let capture = crate::common::json(&output);
    assert_eq!(capture["capture"]["end"], "interrupted");
    assert!(capture["timeline"].as_array().unwrap().len() > 5);
    assert_eq!(names_in(small.path().to_owned()), [""; 0]);
    Ok(())
}

fn no_temporary() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let empty = tempfile::tempdir().unwrap();
    // Both of the usual folders are such that no file can be made in them.
    let script =
        "mount -t tmpfs -o ro none /var/tmp && mount -t tmpfs -o ro none /tmp && exec \"$@\"";
    let binary = memtrace().get_program().to_owned();
    // The build may lie below /tmp.
    let copy = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let copied = copy.path().join("memtrace");
    fs::copy(&binary, &copied).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&copied)
        .args(["-p", &pid, "-o", "-"])
        .env("TMPDIR", empty.path().join("none"))
        .output()
        .unwrap();
    fails_with(
        &output,
        1,
        &[
            "no file can be made there",
            "/var/tmp: Read-only",
            "set TMPDIR",
            "--json FILE",
        ],
    );
    Ok(())
}

fn disk_full_with_old() -> Outcome {
    let small = Small::new();
    let file = small.path().join("capture.json");
    fs::write(&file, "an old one").unwrap();
    fills(&file);
    assert_eq!(
        names_in(small.path().to_owned()),
        ["capture.json", "capture.json.partial"]
    );
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

fn no_files() -> Outcome {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let small = Small::new();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(
        None::<&str>,
        small.path(),
        None::<&str>,
        flags,
        None::<&str>,
    )
    .unwrap();
    let removed = tempfile::tempdir().unwrap();
    let removal = format!("rmdir {}; exec \"$@\"", removed.path().display());
    for output in ["--json", "--events", "--html"] {
        let mut command = memtrace();
        command.args(["-p", &pid, "-d", "100ms", output, "x"]);
        let said = command.current_dir(small.path()).output().unwrap();
        fails_with(
            &said,
            1,
            &["cannot write x", "is read-only", "another folder"],
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &removal, "sh"])
            .arg(command.get_program());
        shell.args(command.get_args());
        fs::create_dir_all(removed.path()).unwrap();
        let said = shell.current_dir(removed.path()).output().unwrap();
        fails_with(
            &said,
            1,
            &["cannot write x", "has been removed", "whole path"],
        );
    }
    fs::create_dir_all(removed.path()).unwrap();
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
