//! Steps in lanes that run at the same time, so that steps that wait do not hold up those that compute.
//!
//! Each step is a process. Its output is kept in a file, and printed whole when the step ends.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal, killpg},
    },
    unistd::Pid,
};

use crate::cargo::{is_root, line};

/// From a step's SIGTERM to its SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// A command with a name.
pub struct Step {
    pub name: String,
    command: Command,
    /// Whether it runs to its end even if another step has failed, because it then restores settings of the host.
    settles: bool,
    /// The steps of other lanes that must end before this one begins.
    after: Vec<String>,
}

impl Step {
    pub fn new(name: &str, command: Command) -> Self {
        Self {
            name: name.to_owned(),
            command,
            settles: false,
            after: Vec::new(),
        }
    }

    /// Lets this step begin after a step of another lane.
    pub fn after(mut self, name: &str) -> Self {
        self.after.push(name.to_owned());
        self
    }

    /// Lets this step run to its end even if another one fails.
    pub fn settling(mut self) -> Self {
        self.settles = true;
        self
    }

    /// Gives this step a lower priority than the others.
    pub fn nice(mut self) -> Self {
        let mut command = Command::new("nice");
        command.args(["-n", "5"]).arg(self.command.get_program());
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }
}

/// Returns a command that runs one of this program's chores.
pub fn chore<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    // A step may rebuild the file at this program's path.
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command.args(args);
    command
}

/// A step that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub name: String,
    /// Since the first step began.
    pub began: Duration,
    pub took: Duration,
    pub good: bool,
    /// Everything it printed.
    pub output: String,
}

/// The result of some lanes.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which they ended.
    pub ended: Vec<Ended>,
    /// The names of the steps that never began, or were killed because another one failed.
    pub left_out: Vec<String>,
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        self.left_out.is_empty() && self.ended.iter().all(|step| step.good)
    }

    pub fn failed(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(|step| !step.good)
    }
}

/// Whether a failing step ends the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Stop,
    GoOn,
}

/// Runs lanes and keeps the results.
pub struct Runner {
    begin: Instant,
    folder: PathBuf,
    on_failure: OnFailure,
    pub outcome: Outcome,
}

impl Runner {
    /// Keeps the steps' output in `folder`.
    pub fn new(folder: PathBuf, on_failure: OnFailure) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            begin: Instant::now(),
            folder,
            on_failure,
            outcome: Outcome::default(),
        })
    }

    /// Runs the lanes at the same time, and the steps of a lane in order. Returns whether every step so far succeeded. Runs nothing if
    /// a step of an earlier call failed, unless failures do not stop.
    pub fn run(&mut self, lanes: Vec<Vec<Step>>) -> Result<bool> {
        let stop = AtomicBool::new(
            self.on_failure == OnFailure::Stop && self.outcome.failed().next().is_some(),
        );
        let outcome = Mutex::new(std::mem::take(&mut self.outcome));
        let ran = thread::scope(|scope| {
            let workers: Vec<_> = lanes
                .into_iter()
                .map(|lane| scope.spawn(|| self.lane(lane, &stop, &outcome)))
                .collect();
            for worker in workers {
                match worker.join() {
                    Ok(result) => result?,
                    Err(_) => bail!("a lane's thread ended early"),
                }
            }
            Ok(())
        });
        self.outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        ran?;
        Ok(self.outcome.is_good())
    }

    fn lane(&self, lane: Vec<Step>, stop: &AtomicBool, outcome: &Mutex<Outcome>) -> Result<()> {
        for step in lane {
            let lock = || outcome.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |after: &String| lock().ended.iter().any(|step| step.name == *after);
            while !stop.load(Relaxed) && !step.after.iter().all(is_due) {
                thread::sleep(Duration::from_millis(50));
            }
            if stop.load(Relaxed) {
                lock().left_out.push(step.name);
                continue;
            }
            let name = step.name.clone();
            let ended = self.step(step, stop).inspect_err(|_| {
                stop.store(true, Relaxed);
            })?;
            let mut outcome = lock();
            match ended {
                None => outcome.left_out.push(name),
                Some(ended) => {
                    if !ended.good && self.on_failure == OnFailure::Stop {
                        stop.store(true, Relaxed);
                    }
                    // Under the lock, so that no other step's output comes in between.
                    show(&ended)?;
                    outcome.ended.push(ended);
                }
            }
        }
        Ok(())
    }

    /// Runs a step. Returns `None` if it was killed because another one failed.
    fn step(&self, mut step: Step, stop: &AtomicBool) -> Result<Option<Ended>> {
        let began = self.begin.elapsed();
        let log = self
            .folder
            .join(step.name.replace([' ', '/'], "-") + ".log");
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        step.command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let mut child = start(&mut step.command)?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if stop.load(Relaxed) && !step.settles {
                end(&mut child)?;
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(50));
        };
        let mut output = String::from_utf8_lossy(
            &fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?,
        )
        .into_owned();
        if !status.success() {
            let _ = writeln!(output, "{}: {status}", line(&step.command));
        }
        Ok(Some(Ended {
            name: step.name,
            began,
            took: self.begin.elapsed() - began,
            good: status.success(),
            output,
        }))
    }

    /// Returns a line per step, in the order in which they began, and the total time.
    pub fn table(&self) -> String {
        let mut steps = self.outcome.ended.clone();
        steps.sort_by_key(|step| step.began);
        let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        let mut text = format!("{:width$}  {:>7}  {:>7}\n", "step", "from", "took");
        for step in &steps {
            let failed = if step.good { "" } else { "  FAILED" };
            let _ = writeln!(
                text,
                "{:width$}  {:>5.0} s  {:>5.0} s{failed}",
                step.name,
                step.began.as_secs_f64(),
                step.took.as_secs_f64()
            );
        }
        for name in &self.outcome.left_out {
            let _ = writeln!(text, "{name:width$}  not run, or ended by a failure");
        }
        let _ = write!(
            text,
            "{:width$}  {:>7}  {:>5.0} s",
            "total",
            "",
            self.begin.elapsed().as_secs_f64()
        );
        text
    }
}

fn show(ended: &Ended) -> io::Result<()> {
    let Ended {
        name, output, took, ..
    } = ended;
    let verdict = if ended.good { "done" } else { "FAILED" };
    let mut out = io::stdout().lock();
    writeln!(out, "\n== {name}\n{}", output.trim_end())?;
    writeln!(
        out,
        "== {name}: {verdict} after {:.1} s",
        took.as_secs_f64()
    )?;
    out.flush()
}

/// Starts a step in a process group of its own, which ends with this process.
fn start(command: &mut Command) -> Result<Child> {
    // Without root, only the terminal's own Ctrl-C reaches the programs that sudo runs.
    if is_root() {
        command.process_group(0);
    }
    // SAFETY: only system calls, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            SigSet::all().thread_unblock()?;
            Ok(prctl::set_pdeathsig(Signal::SIGTERM)?)
        });
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))
}

/// Kills a step and its children.
fn end(child: &mut Child) -> Result<ExitStatus> {
    let group = Pid::from_raw(child.id().cast_signed());
    let signal = |signal| {
        if is_root() {
            let _ = killpg(group, signal);
        } else {
            let _ = nix::sys::signal::kill(group, signal);
        }
    };
    signal(Signal::SIGTERM);
    let begin = Instant::now();
    while begin.elapsed() < GRACE {
        if let Some(status) = child.try_wait()? {
            // Its own children may still run.
            signal(Signal::SIGKILL);
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(20));
    }
    signal(Signal::SIGKILL);
    Ok(child.wait()?)
}

/// Makes Ctrl-C and SIGTERM end the steps before this process: their process groups are not the terminal's. Call it before any thread
/// starts.
pub fn end_steps_with_this() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        for child in children() {
            let _ = killpg(child, Signal::SIGTERM);
        }
        std::process::exit(128 + signal as i32);
    });
    Ok(())
}

/// Returns the children of this process.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step::new(name, command)
    }

    fn run(on_failure: OnFailure, lanes: Vec<Vec<Step>>) -> (bool, Outcome) {
        let folder = tempfile::tempdir().unwrap();
        let mut runner = Runner::new(folder.path().to_owned(), on_failure).unwrap();
        let good = runner.run(lanes).unwrap();
        (good, runner.outcome)
    }

    #[test]
    fn lanes_run_beside_each_other_and_steps_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("there").display().to_string();
        // Each lane waits for the other one.
        let there =
            format!("touch {file}; until [ -e {file}2 ]; do sleep 0.01; done; echo one >&2");
        let second = format!("until [ -e {file} ]; do sleep 0.01; done");
        let (good, outcome) = run(
            OnFailure::Stop,
            vec![
                vec![step("a", &there)],
                vec![step("b", &second), step("c", &format!("touch {file}2"))],
            ],
        );
        assert!(good);
        let mut names: Vec<_> = outcome.ended.iter().map(|step| &*step.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c"]);
        let first = outcome.ended.iter().find(|step| step.name == "a").unwrap();
        assert_eq!(first.output, "one\n");
    }

    #[test]
    fn a_failure_ends_what_computes_and_waits_for_what_settles() {
        let folder = tempfile::tempdir().unwrap();
        let settled = folder.path().join("settled");
        let settling = format!("sleep 0.5; touch {}", settled.display());
        let begin = Instant::now();
        let (good, outcome) = run(
            OnFailure::Stop,
            vec![
                vec![step("breaks", "echo why; exit 3"), step("later", "true")],
                vec![step("computes", "sleep 60 & wait")],
                vec![step("settles", &settling).settling()],
            ],
        );
        assert!(!good);
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(settled.exists());
        let failed: Vec<_> = outcome.failed().collect();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].output.starts_with("why\n"), "{failed:?}");
        assert!(failed[0].output.contains("exit status: 3"), "{failed:?}");
        let mut left_out = outcome.left_out;
        left_out.sort();
        assert_eq!(left_out, ["computes", "later"]);
    }

    #[test]
    fn a_step_waits_for_one_of_another_lane() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("there").display().to_string();
        let (good, _) = run(
            OnFailure::Stop,
            vec![
                vec![step("second", &format!("test -e {file}")).after("first")],
                vec![step("first", &format!("sleep 0.3; touch {file}"))],
            ],
        );
        assert!(good);
    }

    #[test]
    fn where_failures_go_on_everything_runs() {
        let (good, outcome) = run(
            OnFailure::GoOn,
            vec![vec![step("breaks", "exit 1"), step("later", "true")]],
        );
        assert!(!good);
        assert_eq!(outcome.ended.len(), 2);
    }

    #[test]
    fn a_nice_step_is_the_same_command() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $A $(pwd) $(nice)"])
            .env("A", "1")
            .current_dir("/");
        let before = String::from_utf8(Command::new("nice").output().unwrap().stdout).unwrap();
        let expected = before.trim().parse::<i32>().unwrap() + 5;
        let (_, outcome) = run(OnFailure::Stop, vec![vec![Step::new("a", command).nice()]]);
        assert_eq!(
            outcome.ended[0].output.trim(),
            format!("1 / {}", expected.min(19))
        );
    }
}
