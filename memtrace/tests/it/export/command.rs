//! The command: where it reads from, where it writes to, and what it says where it cannot.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use serde_json::json;

use super::captures::{EXEC, JOURNAL, LAZY_FREE, command, fed, seed, text, value};

const FORMATS: [&str; 4] = ["csv", "jsonl", "openmetrics", "perfetto"];

/// One line on standard error, nothing on standard output.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("memtrace: "), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

#[test]
fn a_file_a_pipe_and_a_redirected_file_are_the_same() {
    let path = seed("exec.json");
    for format in FORMATS {
        let of_file = command(&[path.to_str().unwrap(), "--to", format])
            .output()
            .unwrap();
        assert_eq!(of_file.status.code(), Some(0), "{}", text(&of_file.stderr));
        let piped = fed(command(&["-", "--to", format]), EXEC);
        let redirected = command(&["-", "--to", format])
            .stdin(File::open(&path).unwrap())
            .output()
            .unwrap();
        assert!(!of_file.stdout.is_empty());
        assert!(of_file.stdout == piped.stdout, "{format}");
        assert!(of_file.stdout == redirected.stdout, "{format}");
    }
}

#[test]
fn what_the_shell_has_read_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("behind");
    fs::write(&path, [b"a line\n", LAZY_FREE].concat()).unwrap();
    let mut source = File::open(&path).unwrap();
    source.read_exact(&mut [0; 7]).unwrap();
    let output = command(&["-", "--to", "csv"])
        .stdin(source)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        output.stdout,
        fed(command(&["-", "--to", "csv"]), LAZY_FREE).stdout
    );
}

#[test]
fn the_format_may_come_from_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = seed("lazy-free.json");
    let path = path.to_str().unwrap();
    for format in FORMATS {
        let extension = format
            .replace("openmetrics", "prom")
            .replace("perfetto", "pftrace");
        let out = dir.path().join(format!("out.{extension}"));
        let output = command(&[path, "-o", out.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        let on_stdout = command(&[path, "--to", format]).output().unwrap().stdout;
        assert!(fs::read(&out).unwrap() == on_stdout, "{format}");
        // --to wins.
        let other = dir.path().join(format!("other.{format}"));
        let output = command(&[path, "--to", "csv", "-o", other.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(fs::read_to_string(&other).unwrap().starts_with("epoch,"));
    }
    // Nothing else is left in the folder.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2 * FORMATS.len());
    for arguments in [&[path][..], &[path, "-o", "x.txt"], &[path, "-o", "-"]] {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains("no format: give --to"), "{said}");
        assert!(said.contains("Usage: memtrace export "), "{said}");
    }
}

#[test]
fn broken_files_are_refused_as_report_refuses_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut later = value(LAZY_FREE);
    later["schema"] = json!("memtrace/2");
    let mut wrong = value(LAZY_FREE);
    wrong["timeline"][0]["rss_bytes"] = json!("many");
    let line = JOURNAL.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let paths = [
        file("empty", b""),
        file("cut", &LAZY_FREE[..1000]),
        file("text", b"hello\n"),
        file("later", later.to_string().as_bytes()),
        file("wrong", wrong.to_string().as_bytes()),
        file("journal", &[&JOURNAL[..line], b"{}\n{}\n"].concat()),
        dir.path().to_str().unwrap().to_owned(),
        "/no/such/file".to_owned(),
    ];
    for path in paths {
        let report = reported(&path);
        for format in FORMATS {
            let output = command(&[&path, "--to", format]).output().unwrap();
            refused(&output, &["cannot read "]);
            assert_eq!(text(&output.stderr), report, "{format}");
        }
    }
}

/// What `memtrace report` says of a file that it cannot read.
fn reported(path: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_memtrace"))
        .args(["report", path])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    text(&output.stderr)
}

#[test]
fn a_closed_pipe_ends_it_quietly_and_a_full_disk_does_not() {
    let path = seed("exec.json");
    let path = path.to_str().unwrap();
    for format in FORMATS {
        let mut child = command(&[path, "--to", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Nobody has read anything.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&[path, "--to", format])
            .stdout(full)
            .output()
            .unwrap();
        refused(
            &output,
            &["cannot write to standard output: No space left on device"],
        );
        let output = command(&[path, "--to", format, "-o", "/dev/full"])
            .output()
            .unwrap();
        refused(
            &output,
            &["cannot write /dev/full: No space left on device"],
        );
    }
}

#[test]
fn the_file_is_whole_or_absent_and_never_reached_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let link = dir.path().join("link.csv");
    symlink(&victim, &link).unwrap();
    let capture = seed("lazy-free.json");
    let capture = capture.to_str().unwrap();
    let output = command(&[capture, "-o", link.to_str().unwrap()])
        .output()
        .unwrap();
    refused(&output, &["symbolic link"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // Of a broken capture, nothing is written, and what is there stays.
    let out = dir.path().join("out.csv");
    fs::write(&out, "old").unwrap();
    let broken = dir.path().join("broken.json");
    fs::write(&broken, &LAZY_FREE[..1000]).unwrap();
    let output = command(&[broken.to_str().unwrap(), "-o", out.to_str().unwrap()])
        .output()
        .unwrap();
    refused(&output, &["cannot read "]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "old");
    let output = command(&[capture, "-o", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(fs::read_to_string(&out).unwrap().starts_with("epoch,"));
}

#[test]
fn the_capture_itself_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("capture.csv");
    fs::write(&capture, LAZY_FREE).unwrap();
    let name = capture.to_str().unwrap();
    let output = command(&[name, "-o", name]).output().unwrap();
    refused(&output, &["is the capture itself"]);
    let output = command(&["-", "-o", name])
        .stdin(File::open(&capture).unwrap())
        .output()
        .unwrap();
    refused(&output, &["is the capture itself"]);
    assert_eq!(fs::read(&capture).unwrap(), LAZY_FREE);
}

#[test]
fn a_folder_that_takes_no_file_is_passed_over() {
    let mut command = command(&["-", "--to", "csv"]);
    command.env("TMPDIR", "/proc");
    let output = fed(command, LAZY_FREE);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("epoch,"));
}

#[test]
fn what_is_incomplete_is_exported_and_has_the_exit_code_3() {
    let mut lossy = value(EXEC);
    lossy["earlier_epochs"][0]["capture"]["lost_events"] = json!(7);
    for capture in [lossy.to_string().as_bytes(), JOURNAL] {
        let output = fed(command(&["-", "--to", "jsonl"]), capture);
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stdout).contains("\"verdict\""));
        let said = text(&output.stderr);
        assert!(said.contains("the capture is incomplete"), "{said}");
    }
}

#[test]
fn the_last_line_of_a_journal_that_was_cut_is_left_out_and_that_is_said() {
    let cut = &JOURNAL[..JOURNAL.len() - 10];
    let output = fed(command(&["-", "--to", "csv"]), cut);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains("its last line was cut"), "{said}");
}
