//! A memtrace that runs, and what it leaves behind.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{check_capture, memtrace, text};

/// How long something is waited for that must come: long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `look` finds something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no sign of {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a process prints, line by line, taken from it as it comes.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn read(source: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                kept.lock().unwrap().push(text(&line));
            }
        });
        Self { lines, reader }
    }

    fn count(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    fn any(&self, part: &str) -> bool {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(part))
    }

    fn all(self) -> String {
        self.reader.join().unwrap();
        self.lines.lock().unwrap().join("\n")
    }
}

/// A memtrace that runs, with its capture going to a file.
pub struct Tracing {
    child: Child,
    out: Lines,
    err: Lines,
    dir: TempDir,
}

/// How a memtrace ended.
pub struct Ended {
    pub status: ExitStatus,
    /// `null` where there is no file.
    pub capture: Value,
    /// Standard output.
    pub report: String,
    /// Standard error.
    pub error: String,
    /// Names in the folder of the capture.
    pub left: Vec<String>,
}

impl Tracing {
    /// Starts memtrace on a process; does not wait.
    pub fn start(pid: u32, arguments: &[&str]) -> Self {
        let mut command = memtrace();
        command.args(["--pid", &pid.to_string()]).args(arguments);
        Self::run(command)
    }

    /// Starts memtrace on a process, and waits until everything is attached.
    #[track_caller]
    pub fn attach(pid: u32, arguments: &[&str]) -> Self {
        let mut tracing = Self::start(pid, arguments);
        tracing.wait_attached();
        tracing
    }

    /// Runs a command line of memtrace to which the option for the capture is added.
    pub fn run(command: Command) -> Self {
        Self::run_with(command, &[])
    }

    /// As `run`, with more to come after that option, such as `--` and a command.
    pub fn run_with(mut command: Command, rest: &[&OsStr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = command
            .arg("--json")
            .arg(dir.path().join("capture.json"))
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            out: Lines::read(child.stdout.take().unwrap()),
            err: Lines::read(child.stderr.take().unwrap()),
            child,
            dir,
        }
    }

    /// Waits for the headline, which comes once everything is attached.
    #[track_caller]
    pub fn wait_attached(&mut self) {
        wait_for("the headline", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("memtrace ended: {status}: {:?}", self.err.lines.lock());
            }
            self.out.any("LazyFree").then_some(())
        });
    }

    /// Waits until a line says this.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        wait_for(part, || self.out.any(part).then_some(()));
    }

    /// How many lines it has printed.
    pub fn lines(&self) -> usize {
        self.out.count()
    }

    /// Waits for so many further lines.
    #[track_caller]
    pub fn wait_for_lines(&self, more: usize) {
        let before = self.lines();
        wait_for("lines", || (self.lines() >= before + more).then_some(()));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of the capture.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Ends the capture as Ctrl-C does.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal(libc::SIGTERM);
        self.end()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status = wait_for("memtrace's end", || self.child.try_wait().unwrap());
        let capture = fs::read(self.dir.path().join("capture.json")).map_or(Value::Null, |bytes| {
            serde_json::from_slice(&bytes).expect("a whole capture")
        });
        let empty = || Lines::read(std::io::empty());
        let out = std::mem::replace(&mut self.out, empty());
        let err = std::mem::replace(&mut self.err, empty());
        Ended {
            status,
            capture,
            report: out.all(),
            error: err.all(),
            left: names_in(self.dir.path().to_owned()),
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of a process, a letter.
pub fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// What `memtrace report` says of a file.
pub struct Reported {
    pub code: Option<i32>,
    pub text: String,
    pub error: String,
    /// What it has read.
    pub capture: memtrace::model::Capture,
}

/// Reads a capture file or a journal, in both ways.
#[track_caller]
pub fn report_of(file: &Path) -> Reported {
    let output = memtrace().arg("report").arg(file).output().unwrap();
    let bytes = fs::read(file).unwrap();
    Reported {
        code: output.status.code(),
        text: text(&output.stdout),
        error: text(&output.stderr),
        capture: memtrace::timeline::read(&bytes[..]).expect("what memtrace wrote can be read"),
    }
}

/// The names in a folder, hidden ones too.
pub fn names_in(dir: PathBuf) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

impl Ended {
    /// Asserts that the capture is whole and adds up, and that nothing lies beside it.
    #[track_caller]
    pub fn whole(self) -> Self {
        assert_eq!(
            self.status.code(),
            Some(0),
            "{}\n{}",
            self.error,
            self.report
        );
        check_capture(&self.capture);
        assert_eq!(self.capture["summary"]["unexplained_bound_bytes"], 0);
        assert_eq!(self.left, ["capture.json"]);
        assert!(!self.error.contains("panicked"), "{}", self.error);
        self
    }

    /// Asserts that it failed with one line, which says all of this, and that there is no capture.
    #[track_caller]
    pub fn refused(&self, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{}", self.error);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        assert!(self.error.starts_with("memtrace: "), "{}", self.error);
        for part in parts {
            assert!(
                self.error.contains(part),
                "{part:?} is missing in: {}",
                self.error
            );
        }
        assert_eq!(self.left, [""; 0]);
    }

    /// Pages of the last epoch that one row moved.
    pub fn pages(&self, cause: &str, advice: Option<&str>, kind: &str) -> i64 {
        let page = self.capture["host"]["page_size"].as_i64().unwrap();
        let rows = self.capture["summary"]["causes"].as_array().unwrap();
        rows.iter()
            .filter(|row| row["cause"] == cause && row["advice"].as_str() == advice)
            .map(|row| row["by_kind"][kind].as_i64().unwrap() / page)
            .sum()
    }

    /// Anonymous pages of the last epoch that one row moved.
    pub fn anon(&self, cause: &str, advice: Option<&str>) -> i64 {
        self.pages(cause, advice, "anon_bytes")
    }
}
