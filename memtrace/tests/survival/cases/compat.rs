//! 32-bit programs: the ledger is right, and what is asked for is not known.

use std::{fs, path::Path, process::Stdio};

use memtrace::model::CallName;
use serde_json::Value;

use super::{Case, Outcome, Skip};
use crate::{
    common::{check_capture, epochs, memtrace, text},
    programs::{Program, code32},
    tracing::{Ended, Tracing},
};

pub const CASES: &[Case] = &[
    ("a_32_bit_program_has_a_ledger_and_no_calls", running),
    ("an_exec_of_a_32_bit_program_takes_the_calls_away", executed),
    ("a_32_bit_program_that_ends_at_once", ended_at_once),
];

/// The program, as far as this kernel runs it.
fn program(dir: &Path) -> Result<Program, Skip> {
    let path = dir.join("code32");
    match code32::write(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            return Err(Skip::Absent("the 32-bit program of these tests".into()));
        }
        written => written.unwrap(),
    }
    Program::try_start(&path, &[]).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOEXEC) => Skip::Absent("32-bit programs".into()),
        _ => panic!("{error}"),
    })
}

#[track_caller]
fn check(ended: &Ended) {
    assert_eq!(ended.anon("fault", None), code32::FAULT);
    assert_eq!(
        ended.anon("madvise", Some("MADV_DONTNEED")),
        code32::DONTNEED
    );
    assert_eq!(ended.anon("munmap", None), code32::MUNMAP);
    assert_eq!(ended.anon("mmap", None), code32::MMAP);
    assert_eq!(ended.anon("mremap", None), code32::MREMAP);
    assert_eq!(ended.anon("brk", None), code32::BRK);
    for row in ended.capture["summary"]["causes"].as_array().unwrap() {
        for field in ["calls", "failed_calls", "requested_bytes", "time_ns"] {
            assert_eq!(row[field], Value::Null, "{row}");
        }
    }
    for name in CallName::ALL.map(CallName::name) {
        let hook = hook(&ended.capture, name);
        assert_eq!(hook["kind"], Value::Null, "{hook}");
        assert!(hook["error"].as_str().unwrap().contains("32-bit"), "{hook}");
    }
    for tick in ended.capture["timeline"].as_array().unwrap() {
        for cause in tick["causes"].as_array().unwrap() {
            assert_eq!(cause["calls"], Value::Null, "{cause}");
        }
    }
    let said = "not hooked: mmap munmap mremap brk madvise process_madvise: 32-bit process:";
    assert!(ended.report.contains(said), "{}", ended.report);
}

fn hook<'a>(epoch: &'a Value, name: &str) -> &'a Value {
    let hooks = epoch["capture"]["hooks"].as_array().unwrap();
    hooks.iter().find(|hook| hook["name"] == name).unwrap()
}

fn running() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut program = program(dir.path())?;
    // Its code and its stack are in.
    program.ask("go");
    let tracing = Tracing::attach(program.pid(), &[]);
    program.ask("go");
    let ended = tracing.stop().whole();
    check(&ended);
    assert!(ended.capture["summary"]["faults"]["user"].as_i64() >= Some(code32::FAULT));
    Ok(())
}

fn executed() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    drop(program(dir.path())?);
    let path = dir.path().join("code32");
    let script = format!("read line; echo here; read line; exec {}", path.display());
    let mut shell = Program::start("sh", &["-c", &script]);
    shell.ask("");
    let tracing = Tracing::attach(shell.pid(), &[]);
    shell.tell("");
    tracing.wait_for("has replaced its program");
    shell.ask("go");
    let ended = tracing.stop().whole();
    let epochs = epochs(&ended.capture);
    assert_eq!(epochs.len(), 2);
    assert_ne!(hook(epochs[1], "madvise")["kind"], Value::Null);
    let anon = ended.anon("madvise", Some("MADV_DONTNEED"));
    assert_eq!(anon, code32::DONTNEED);
    for row in epochs[0]["summary"]["causes"].as_array().unwrap() {
        assert_eq!(row["calls"], Value::Null, "{row}");
    }
    Ok(())
}

/// It has ended before anybody could look at it, again and again.
fn ended_at_once() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    drop(program(dir.path())?);
    let path = dir.path().join("code32");
    let file = dir.path().join("capture.json");
    for _ in 0..5 {
        let output = memtrace()
            .args(["-q", "-o"])
            .arg(&file)
            .arg("--")
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let capture: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        check_capture(&capture);
        for row in capture["summary"]["causes"].as_array().unwrap() {
            assert_eq!(row["calls"], Value::Null, "{row}");
        }
        let hook = hook(&capture, "mmap");
        assert_eq!(hook["kind"], Value::Null, "{hook}");
        assert!(hook["error"].as_str().unwrap().contains("32-bit"), "{hook}");
    }
    Ok(())
}
