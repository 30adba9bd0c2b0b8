//! What a process calls itself is its own choice.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    process::Command,
};

use super::{Case, Outcome};
use crate::{
    common::{Guard, text},
    tracing::Tracing,
};

pub const CASES: &[Case] = &[
    ("names_that_are_no_text", hostile_names),
    ("a_command_line_of_two_megabytes", long_cmdline),
    ("an_executable_that_was_deleted", deleted),
    ("a_program_of_a_hostile_name_is_executed", hostile_exec),
];

/// Letters, digits, line ends: nothing that a terminal would act on.
#[track_caller]
fn harmless(report: &str) {
    let bad: Vec<char> = report
        .chars()
        .filter(|&letter| letter != '\n' && (letter.is_control() || letter == '\u{202e}'))
        .collect();
    assert!(bad.is_empty(), "{bad:?} in {report}");
}

/// A sleeping process whose program has this name.
fn sleeper_named(name: &[u8]) -> (tempfile::TempDir, Guard) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(OsStr::from_bytes(name));
    fs::copy("/bin/sleep", &program).unwrap();
    let sleeper = Guard(Command::new(&program).arg("1000").spawn().unwrap());
    (dir, sleeper)
}

fn hostile_names() -> Outcome {
    for name in [
        &b"\x1b]0;pwned\x07\x1b[2J"[..],
        b"a\nb\tc\rd",
        b"\xff\xfe\x80\xc3(",
        b") Z 1 (R) 0 (",
        b"fifteen-bytes-x",
        b"cut-after-fifteen-bytes",
        "\u{202e}evil".as_bytes(),
        b" ",
    ] {
        let (dir, target) = sleeper_named(name);
        let ended = Tracing::start(target.0.id(), &["-d", "100ms", "-i", "20ms"])
            .end()
            .whole();
        harmless(&ended.report);
        harmless(&ended.error);
        let shown = &ended.capture["target"];
        let kept = &name[..name.len().min(15)];
        assert_eq!(shown["comm"], text(kept), "{name:?}");
        let program = dir.path().join(OsStr::from_bytes(name));
        assert_eq!(shown["exe"], text(program.as_os_str().as_bytes()));
        assert_eq!(shown["cmdline"][0], shown["exe"]);
        assert_eq!(shown["cmdline"][1], "1000");
    }
    Ok(())
}

fn long_cmdline() -> Outcome {
    // `MAX_ARG_STRLEN` is 128 KiB, with the zero at the end. Zeros add up to no further sleep.
    let long = OsString::from("0".repeat((128 << 10) - 1));
    let target = Guard(
        Command::new("/bin/sleep")
            .arg("1000")
            .args([&long; 14])
            .spawn()
            .unwrap(),
    );
    let ended = Tracing::start(target.0.id(), &["-d", "100ms"])
        .end()
        .whole();
    let words = ended.capture["target"]["cmdline"].as_array().unwrap();
    assert_eq!(words.len(), 16);
    assert!(words[2..].iter().all(|word| word.as_str() == long.to_str()));
    assert!(ended.report.len() < 10_000);
    Ok(())
}

fn deleted() -> Outcome {
    let (dir, target) = sleeper_named(b"short-lived");
    let program = dir.path().join("short-lived");
    // Not before it runs: until then it is the shell of the test.
    crate::tracing::wait_for("the program", || {
        let exe = fs::read_link(format!("/proc/{}/exe", target.0.id())).unwrap();
        (exe == program).then_some(())
    });
    fs::remove_file(&program).unwrap();
    let ended = Tracing::start(target.0.id(), &["-d", "100ms"])
        .end()
        .whole();
    let shown = format!("{} (deleted)", program.display());
    assert_eq!(ended.capture["target"]["exe"], shown);
    assert_eq!(ended.capture["target"]["comm"], "short-lived");
    Ok(())
}

fn hostile_exec() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(OsStr::from_bytes(b"\x1b[31m\n\xffred"));
    fs::copy("/bin/sleep", &program).unwrap();
    let go = dir.path().join("go");
    let target = Guard(
        Command::new("sh")
            .args([
                "-c",
                "while [ ! -e \"$0\" ]; do sleep 0.05; done; exec \"$1\" 1000",
            ])
            .arg(&go)
            .arg(&program)
            .spawn()
            .unwrap(),
    );
    let tracing = Tracing::attach(target.0.id(), &["-i", "50ms"]);
    fs::write(&go, "").unwrap();
    tracing.wait_for("has replaced its program");
    tracing.wait_for_lines(2);
    let ended = tracing.stop().whole();
    harmless(&ended.report);
    assert_eq!(ended.capture["target"]["comm"], "\u{1b}[31m\n\u{fffd}red");
    Ok(())
}
