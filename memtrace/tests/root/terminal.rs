//! The screen on a real terminal: a pty, whose other end is read as a terminal would.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZero,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::termios::{Termios, tcgetattr},
};

use crate::common::{memtrace, needs_root, sleeper};

const ENTERS: &str = "\u{1b}[?1049h";
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
/// On a host that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a program on it.
struct Tty {
    keys: File,
    terminal: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Seen>>,
    child: Child,
}

struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Tty {
    fn start(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: ROWS.get(),
            ws_col: COLUMNS.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: two system calls, which touch no memory.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(ROWS, COLUMNS, 1000),
            raw: Vec::new(),
        }));
        let keys = File::from(pty.master);
        let mut master = keys.try_clone().unwrap();
        let to = Arc::clone(&seen);
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut part) {
                let mut seen = to.lock().unwrap();
                seen.screen.process(&part[..count]);
                seen.raw.extend_from_slice(&part[..count]);
            }
        });
        Self {
            keys,
            terminal: pty.slave,
            before,
            seen,
            child,
        }
    }

    fn memtrace(arguments: &[&str], environment: &[(&str, &str)], folder: &Path) -> Self {
        let mut command = memtrace();
        command
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .current_dir(folder);
        Self::start(command)
    }

    fn contents(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned()
    }

    fn is_alternate(&self) -> bool {
        self.seen.lock().unwrap().screen.screen().alternate_screen()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let contents = self.contents();
            if contents.contains(text) {
                return contents;
            }
            assert!(Instant::now() < end, "no {text:?} in:\n{contents}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "it does not end:\n{}",
                self.contents()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as it was, and the report is on it.
    #[track_caller]
    fn is_over(&mut self) {
        let status = self.end();
        self.wait_for("memtrace explain");
        assert!(self.raw().contains("RSS at the start"));
        assert_eq!(status.code(), Some(0), "{}", self.contents());
        self.is_given_back();
    }

    #[track_caller]
    fn is_given_back(&self) {
        assert!(!self.is_alternate());
        assert!(!self.seen.lock().unwrap().screen.screen().hide_cursor());
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before);
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_turn_pages_save_a_capture_and_quit() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let folder = tempfile::tempdir().unwrap();
    let pid = target.0.id().to_string();
    let mut tty = Tty::memtrace(&["--pid", &pid], &[], folder.path());
    tty.wait_for("faults/s");
    assert!(tty.is_alternate());
    assert_ne!(tcgetattr(&tty.terminal).unwrap(), tty.before);
    tty.wait_for("live 0:01");
    tty.press("2");
    tty.wait_for("requested");
    tty.press("7");
    tty.wait_for("end the capture, and print the report");
    tty.press("<");
    tty.wait_for("every 500 ms");
    tty.press(" ");
    tty.wait_for("PAUSED");
    tty.press("w");
    tty.wait_for("saved memtrace-");
    let saved: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [saved] = saved.as_slice() else {
        panic!("{saved:?}")
    };
    let capture = memtrace::timeline::read(File::open(saved).unwrap()).unwrap();
    assert_eq!(capture.epoch.target.pid.to_string(), pid);
    assert!(!capture.epoch.timeline.is_empty());
    tty.press("q");
    tty.is_over();
}

#[test]
fn a_resize_is_drawn() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let tty = Tty::memtrace(&["--pid", &pid], &[], Path::new("/"));
    tty.wait_for("faults/s");
    let size = Winsize {
        ws_row: 12,
        ws_col: 50,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tty.seen.lock().unwrap().screen.screen_mut().set_size(
        const { NonZero::new(12).unwrap() },
        const { NonZero::new(50).unwrap() },
    );
    // SAFETY: the structure outlives the call.
    unsafe {
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&tty.keys),
            libc::TIOCSWINSZ,
            &raw const size,
        )
    };
    let end = Instant::now() + PATIENCE;
    let is_drawn = |contents: &str| {
        let rows: Vec<&str> = contents.lines().collect();
        rows.len() == 12 && rows[11].starts_with(" q quit")
    };
    while !is_drawn(&tty.contents()) {
        assert!(Instant::now() < end, "{}", tty.contents());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_and_sigterm_and_the_targets_end_leave_a_report_and_the_terminal_as_it_was() {
    if needs_root() {
        return;
    }
    for how in ["ctrl-c", "SIGTERM", "SIGINT", "target"] {
        let mut target = sleeper();
        let pid = target.0.id().to_string();
        let mut tty = Tty::memtrace(&["--pid", &pid], &[], Path::new("/"));
        tty.wait_for("faults/s");
        match how {
            "ctrl-c" => tty.press("\u{3}"),
            "SIGTERM" => crate::common::signal(&tty.child, libc::SIGTERM),
            "SIGINT" => crate::common::signal(&tty.child, libc::SIGINT),
            _ => {
                target.0.kill().unwrap();
                target.0.wait().unwrap();
            }
        }
        tty.is_over();
    }
}

#[test]
fn a_shell_can_stop_it_and_go_on() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let line = format!(
        "set -m; {} --pid {}; echo stopped; read answer; fg >/dev/null; echo code $?",
        memtrace().get_program().display(),
        target.0.id()
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &line])
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8");
    let mut tty = Tty::start(command);
    tty.wait_for("faults/s");
    tty.press("\u{1a}");
    tty.wait_for("stopped");
    tty.is_given_back();
    tty.press("\n");
    tty.wait_for("faults/s");
    assert!(tty.is_alternate());
    tty.press("q");
    tty.end();
    tty.wait_for("code 0");
    tty.is_given_back();
}

#[test]
fn the_demos_steps_do_not_tear_it() {
    if needs_root() {
        return;
    }
    let mut tty = Tty::memtrace(&["demo", "dontneed"], &[], Path::new("/"));
    let shown = tty.wait_for("demo: filled 200 MiB");
    assert!(tty.is_alternate());
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[21].contains("demo: filled 200 MiB"), "{shown}");
    assert!(rows[23].starts_with(" q quit"), "{shown}");
    tty.is_over();
    assert!(tty.raw().contains("unexplained"));
}

#[test]
fn there_is_none_where_it_is_not_wanted() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let trace = ["--pid", &pid, "--duration", "1s"];
    let with = |more: &'static str| [trace.as_slice(), &[more]].concat();
    for (arguments, environment) in [
        (with("--plain"), ("A", "B")),
        (with("--quiet"), ("A", "B")),
        (trace.to_vec(), ("TERM", "dumb")),
        (trace.to_vec(), ("TERM", "")),
        (vec!["--", "sleep", "0.2"], ("A", "B")),
    ] {
        let mut tty = Tty::memtrace(&arguments, &[environment], Path::new("/"));
        let status = tty.end();
        tty.wait_for("memtrace explain");
        assert_eq!(status.code(), Some(0), "{}", tty.contents());
        assert!(!tty.raw().contains(ENTERS), "{arguments:?} {environment:?}");
    }
}

#[test]
fn colours_are_not_used_where_they_are_not_wanted() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let colour = |raw: &str| raw.contains("\u{1b}[38;5;");
    for (arguments, environment, coloured) in [
        (vec!["--pid", &pid], ("A", "B"), true),
        (vec!["--pid", &pid], ("NO_COLOR", "1"), false),
        (vec!["--pid", &pid, "--color", "never"], ("A", "B"), false),
        (
            vec!["--pid", &pid, "--color", "always"],
            ("NO_COLOR", "1"),
            true,
        ),
    ] {
        let mut tty = Tty::memtrace(&arguments, &[environment], Path::new("/"));
        tty.wait_for("faults/s");
        let raw = tty.raw();
        assert_eq!(colour(&raw), coloured, "{arguments:?} {environment:?}");
        tty.press("q");
        tty.is_over();
    }
}
