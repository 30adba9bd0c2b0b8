//! The program `memtrace`, attached to a target.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use memtrace::model::{Capture, End, Epoch};

use super::ids::{self, Ids};
use crate::harness::wait_for;

/// How long memtrace may take to end, once it has a reason to.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of what it printed last that are kept.
const TAIL: usize = 60;

/// What it has printed.
#[derive(Default)]
struct Printed {
    lines: u64,
    /// Reports: one for each epoch.
    reports: u64,
    /// Times that it said that the process has replaced its program: then it has read the epoch before.
    execs: u64,
    /// Lines that no sound capture has.
    bad: Vec<String>,
    tail: VecDeque<String>,
}

impl Printed {
    fn add(&mut self, line: String) {
        self.lines += 1;
        if let Some(value) = line.strip_prefix("unexplained") {
            self.reports += 1;
            if !value.trim_start().starts_with("0 B") {
                self.bad.push(line.clone());
            }
        } else if line.contains("has replaced its program, and is now") {
            self.execs += 1;
        } else if line.starts_with("incomplete:") {
            self.bad.push(line.clone());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// A running memtrace.
pub struct Tool {
    child: Child,
    line: String,
    printed: Arc<Mutex<Printed>>,
    out: Option<JoinHandle<()>>,
    err: Option<JoinHandle<String>>,
    json: Option<PathBuf>,
}

/// What a memtrace that has ended leaves.
pub struct Ended {
    pub status: ExitStatus,
    pub errors: String,
    /// Reports, with one for each epoch.
    pub reports: u64,
    /// Lines of reports that no sound capture has.
    pub bad: Vec<String>,
    tail: String,
    json: Option<PathBuf>,
}

impl Tool {
    /// Starts `memtrace --pid PID` with more arguments, and a capture file where a path is given.
    pub fn start(pid: u32, arguments: &[&str], json: Option<PathBuf>) -> Self {
        let built = env!("CARGO_BIN_EXE_memtrace").into();
        let program = std::env::var_os("CARGO_BIN_EXE_memtrace").unwrap_or(built);
        let mut command = Command::new(program);
        command.args(["--pid", &pid.to_string()]).args(arguments);
        if let Some(path) = &json {
            command.arg("--json").arg(path);
        }
        command
            .env_remove("SUDO_UID")
            .env_remove("SUDO_GID")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the soak, which tells it then.
            .process_group(0);
        let line = format!("memtrace --pid {pid} {}", arguments.join(" "));
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let printed = Arc::new(Mutex::new(Printed::default()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let sink = Arc::clone(&printed);
        let out = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.lock().unwrap().add(line);
            }
        });
        let err = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self {
            child,
            line,
            printed,
            out: Some(out),
            err: Some(err),
            json,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is attached: then it prints the head of its table.
    pub fn attached(&mut self) -> &mut Self {
        wait_for("memtrace's first line", || {
            if self.child.try_wait().unwrap().is_some() {
                let ended = self.end();
                panic!("{} ended at once: {ended}", self.line);
            }
            (self.printed.lock().unwrap().lines > 0).then_some(())
        });
        self
    }

    /// What it holds of eBPF now.
    pub fn holds(&self) -> Ids {
        ids::held_by(self.pid())
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a child that has not been waited for.
        let result = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Stops it, and waits until it is stopped.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.pid());
        wait_for("a stopped memtrace", || {
            let stat = fs::read_to_string(&stat).ok()?;
            // One that has ended by itself does not stop.
            let (_, state) = stat.rsplit_once(") ")?;
            state.starts_with(['T', 'Z', 'X']).then_some(())
        });
    }

    /// Waits until it has read the ends of so many epochs, and made room for others.
    pub fn has_read(&self, execs: u64) {
        wait_for("what memtrace says of an exec", || {
            (self.printed.lock().unwrap().execs >= execs).then_some(())
        });
    }

    /// Fails where it has ended, or has printed what no sound capture prints.
    pub fn must_be_well(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            let ended = self.end();
            panic!("{} ended by itself: {ended}", self.line);
        }
        let printed = self.printed.lock().unwrap();
        assert!(printed.bad.is_empty(), "{}: {:?}", self.line, printed.bad);
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "{} does not end", self.line);
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(out) = self.out.take() {
            out.join().unwrap();
        }
        let errors = self.err.take().map(|err| err.join().unwrap());
        let mut printed = self.printed.lock().unwrap();
        let tail: Vec<_> = printed.tail.drain(..).collect();
        Ended {
            status,
            errors: errors.unwrap_or_default(),
            reports: printed.reports,
            bad: std::mem::take(&mut printed.bad),
            tail: tail.join("\n"),
            json: self.json.take(),
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            status,
            errors,
            tail,
            ..
        } = self;
        write!(f, "{status}\n{errors}{tail}")
    }
}

impl Ended {
    /// Its capture file, which must be there.
    #[track_caller]
    fn capture(&self) -> Capture {
        let path = self.json.as_ref().expect("a capture file was asked for");
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}: {self}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Its capture, where it must be sound: exit code 0, or 3 with something lost that it names; no byte unexplained; sums
    /// that are right, in each epoch.
    #[track_caller]
    pub fn sound_capture(&self, end: End) -> Capture {
        let capture = self.capture();
        for epoch in capture.earlier_epochs.iter().chain([&capture.epoch]) {
            self.check(epoch);
        }
        assert_eq!(capture.epoch.capture.end, end, "{self}");
        let whole = capture.is_complete();
        assert_eq!(
            self.status.code(),
            Some(if whole { 0 } else { 3 }),
            "{self}"
        );
        assert_eq!(self.bad.is_empty(), whole, "{self}");
        assert_eq!(self.errors, "", "{self}");
        capture
    }

    fn check(&self, epoch: &Epoch) {
        let Epoch {
            capture,
            summary,
            timeline,
            ..
        } = epoch;
        assert_eq!(summary.unexplained_bytes, Some(0), "{summary:?}\n{self}");
        let moved: i64 = summary
            .causes
            .iter()
            .filter_map(|row| row.rss_delta_bytes)
            .sum();
        // Of a busy target some pages may be in suspense.
        if summary.unexplained_bound_bytes == Some(0) {
            assert_eq!(
                summary.rss_start_bytes + moved,
                summary.rss_end_bytes,
                "{summary:?}\n{self}"
            );
        }
        let ticked: i64 = timeline
            .iter()
            .flat_map(|tick| &tick.causes)
            .filter_map(|cause| cause.rss_delta_bytes)
            .sum();
        assert_eq!(ticked, moved, "by the ticks, and by the summary\n{self}");
        let losses = &capture.losses;
        assert_eq!(capture.lost_events, losses.total(), "{losses:?}\n{self}");
        assert_eq!(
            capture.lost_events,
            losses.epochs + losses.skipped_runs.unwrap_or(0),
            "{losses:?}\n{self}"
        );
    }

    /// Ticks of a capture, and how many of them found something unexplained.
    pub fn ticks(capture: &Capture) -> (u64, u64) {
        let ticks = || {
            let epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
            epochs.flat_map(|epoch| &epoch.timeline)
        };
        let odd = ticks().filter(|tick| tick.unexplained_bytes.is_some_and(|bytes| bytes != 0));
        (ticks().count() as u64, odd.count() as u64)
    }

    /// Whether a signal killed it.
    pub fn killed_by(&self) -> Option<i32> {
        self.status.signal()
    }
}
