//! The journal beside the capture file: what is there already, what an exec puts into it, what is left of it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use super::{Case, Outcome};
use crate::{
    common::{
        Guard, attached, check_capture, fails_with, json, memtrace, nothing_left, programs_of,
        rest, run, signal, sleeper, text,
    },
    tracing::{Tracing, names_in, report_of, wait_for},
};

pub const CASES: &[Case] = &[
    ("a_journal_that_was_left_is_not_overwritten", left),
    ("a_journal_that_is_being_written_is_not_touched", in_use),
    ("an_empty_journal_is_in_nobodys_way", empty),
    ("what_is_no_journal_is_not_touched", in_the_way),
    ("a_capture_that_fails_to_begin_leaves_no_journal", no_begin),
    ("execs_are_whole_in_the_journal_and_in_the_file", execs),
    (
        "a_killed_capture_to_standard_output_leaves_nothing",
        killed_unnamed,
    ),
    ("a_journal_that_somebody_removes_is_not_missed", removed),
];

/// A refusal that says all of this, before anything was attached: at once, with nothing on standard output.
#[track_caller]
fn refused(file: &Path, parts: &[&str]) {
    let target = sleeper();
    let pid = target.0.id().to_string();
    let output = run(&["-p", &pid, "-o", file.to_str().unwrap()]);
    fails_with(&output, 1, parts);
    assert_eq!(text(&output.stdout), "");
}

fn left() -> Outcome {
    let target = sleeper();
    let tracing = Tracing::attach(target.0.id(), &["-i", "10ms"]);
    tracing.wait_for_lines(3);
    let dir = tempfile::tempdir().unwrap();
    let (file, partial) = (dir.path().join("c.json"), dir.path().join("c.json.partial"));
    fs::copy(tracing.dir().join("capture.json.partial"), &partial).unwrap();
    let before = fs::read(&partial).unwrap();
    let advice = format!("memtrace report {}", partial.display());
    refused(
        &file,
        &["did not come to its end", &advice, "then remove it"],
    );
    assert_eq!(fs::read(&partial).unwrap(), before);
    assert_eq!(names_in(dir.path().to_owned()), ["c.json.partial"]);
    assert_eq!(report_of(&partial).code, Some(3));
    tracing.stop().whole();
    Ok(())
}

fn in_use() -> Outcome {
    let target = sleeper();
    let tracing = Tracing::attach(target.0.id(), &["-i", "10ms"]);
    tracing.wait_for_lines(3);
    let file = tracing.dir().join("capture.json");
    refused(
        &file,
        &["another memtrace, which still runs", "capture.json.partial"],
    );
    // It can be looked at meanwhile.
    let seen = report_of(&tracing.dir().join("capture.json.partial"));
    assert_eq!(seen.code, Some(3));
    assert!(
        seen.error.contains("memtrace is still writing it"),
        "{}",
        seen.error
    );
    let ended = tracing.stop().whole();
    let ticks = ended.capture["timeline"].as_array().unwrap().len();
    assert!(ticks >= seen.capture.epoch.timeline.len());
    Ok(())
}

fn empty() -> Outcome {
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    fs::write(dir.path().join("c.json.partial"), "").unwrap();
    let pid = target.0.id().to_string();
    let output = run(&["-p", &pid, "-d", "50ms", "-q", "-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(names_in(dir.path().to_owned()), ["c.json"]);
    Ok(())
}

fn in_the_way() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    let partial = dir.path().join("c.json.partial");
    let victim = dir.path().join("victim");
    fs::write(&victim, "").unwrap();
    symlink(&victim, &partial).unwrap();
    refused(&file, &["something is there already", "c.json.partial"]);
    assert!(partial.is_symlink());
    assert_eq!(fs::read(&victim).unwrap(), b"");
    fs::remove_file(&partial).unwrap();
    fs::create_dir(&partial).unwrap();
    refused(&file, &["something is there already"]);
    fs::remove_dir(&partial).unwrap();
    // Somebody else's, even an empty one.
    fs::write(&partial, "").unwrap();
    std::os::unix::fs::chown(&partial, Some(65_534), Some(65_534)).unwrap();
    refused(&file, &["something is there already"]);
    assert!(partial.exists());
    Ok(())
}

fn no_begin() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    let output = run(&["-o", file.to_str().unwrap(), "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(names_in(dir.path().to_owned()), [""; 0]);
    Ok(())
}

fn execs() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("c.json"), dir.path().join("copy"));
    let partial = dir.path().join("c.json.partial");
    // The third program copies the journal in mid-trace.
    let script = format!(
        "sleep 0.2; exec sh -c 'sleep 0.2; exec sh -c \"sleep 0.3; cp {} {}; sleep 0.1\"'",
        partial.display(),
        copy.display()
    );
    let output = run(&[
        "-i",
        "20ms",
        "-o",
        file.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        &script,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let capture: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    check_capture(&capture);
    let earlier = capture["earlier_epochs"].as_array().unwrap();
    assert_eq!(earlier.len(), 2);
    for epoch in earlier {
        assert_eq!(epoch["capture"]["end"], "exec");
        assert!(epoch["timeline"].as_array().unwrap().len() > 3);
    }
    assert_eq!(names_in(dir.path().to_owned()), ["c.json", "copy"]);
    // What had ended by then, the journal had as it is in the file.
    let seen = report_of(&copy);
    assert_eq!(seen.code, Some(3));
    let epochs = serde_json::to_value(&seen.capture.earlier_epochs).unwrap();
    assert_eq!(epochs, capture["earlier_epochs"]);
    let ticks = serde_json::to_value(&seen.capture.epoch.timeline).unwrap();
    let ticks = ticks.as_array().unwrap();
    assert!(ticks.len() > 3);
    assert!(capture["timeline"].as_array().unwrap().starts_with(ticks));
    // The sum holds at the last tick, too.
    let summary = &seen.capture.epoch.summary;
    let moved: i64 = summary
        .causes
        .iter()
        .filter_map(|row| row.rss_delta_bytes)
        .sum();
    assert_eq!(summary.unexplained_bytes, Some(0));
    if summary.unexplained_bound_bytes == Some(0) {
        assert_eq!(summary.rss_start_bytes + moved, summary.rss_end_bytes);
    }
    Ok(())
}

fn killed_unnamed() -> Outcome {
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let pid = target.0.id().to_string();
    let arguments = ["-p", &pid, "-i", "10ms", "-o", "-"];
    let start = || {
        let mut child = memtrace()
            .args(arguments)
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut error = std::io::BufReader::new(child.stderr.take().unwrap());
        for _ in 0..4 {
            std::io::BufRead::read_line(&mut error, &mut String::new()).unwrap();
        }
        (child, error)
    };
    let (mut child, _error) = start();
    let ids = programs_of(child.id());
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    nothing_left(&ids);
    assert_eq!(names_in(dir.path().to_owned()), [""; 0]);
    let (child, error) = start();
    assert_eq!(names_in(dir.path().to_owned()), [""; 0]);
    signal(&child, libc::SIGINT);
    let reader = std::thread::spawn(|| rest(error));
    let output = child.wait_with_output().unwrap();
    check_capture(&json(&output));
    assert_eq!(output.status.code(), Some(0));
    reader.join().unwrap();
    Ok(())
}

fn removed() -> Outcome {
    let target = Guard(Command::new("sleep").arg("1000").spawn().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    let mut child = memtrace()
        .args(["-i", "10ms", "-p", &target.0.id().to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = attached(&mut child);
    let partial = dir.path().join("c.json.partial");
    wait_for("ticks", || {
        (fs::metadata(&partial).ok()?.len() > 8000).then_some(())
    });
    fs::remove_file(&partial).unwrap();
    // What somebody puts there is not memtrace's.
    fs::write(&partial, "mine").unwrap();
    signal(&child, libc::SIGTERM);
    rest(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    check_capture(&serde_json::from_slice(&fs::read(&file).unwrap()).unwrap());
    assert_eq!(fs::read(&partial).unwrap(), b"mine");
    Ok(())
}
