//! Between a look-up and what follows it, the process may end, and its id may become another one's.

use std::{fs, os::unix::ffi::OsStrExt, process::Command};

use super::{Case, Outcome, Skip};
use crate::{
    common::{Guard, nothing_left, programs_of, sleeper},
    programs::within::with_pid,
    tracing::{Ended, Tracing, state_of, wait_for},
};

pub const CASES: &[Case] = &[
    ("a_process_that_ends_before_the_attach", ends_before),
    ("a_pid_that_is_reused_before_the_attach", reused_before),
    ("a_pid_that_is_reused_before_the_report", reused_after),
];

/// A process that the test made with an id of its choice.
struct Made(u32);

impl Made {
    fn new(pid: u32) -> Result<Self, Skip> {
        let made = with_pid(pid, &[c"/bin/sleep", c"1000"]);
        let made = made.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL) => {
                Skip::Absent("clone3 with a choice of the PID".into())
            }
            _ => panic!("no process {pid}: {error}"),
        })?;
        assert_eq!(made, pid);
        wait_for("the exec", || {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
            (comm == "sleep\n").then_some(())
        });
        Ok(Self(made))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: a child that has not been waited for.
        unsafe {
            libc::kill(self.0 as i32, libc::SIGKILL);
            libc::waitpid(self.0 as i32, std::ptr::null_mut(), 0);
        }
    }
}

/// A memtrace that has looked its target up, and has not attached yet: it is stopped.
struct Held(Tracing);

impl Held {
    fn start(pid: u32) -> Self {
        wait_for("memtrace between look-up and attach", || {
            let tracing = Tracing::start(pid, &["-d", "1s"]);
            wait_for("the look-up", || holds_a_pidfd(tracing.pid()).then_some(()));
            tracing.signal(libc::SIGSTOP);
            wait_for("the stop", || {
                (state_of(tracing.pid()) == 'T').then_some(())
            });
            // Where it has loaded something meanwhile, once more.
            programs_of(tracing.pid())
                .is_empty()
                .then_some(Self(tracing))
        })
    }

    fn let_go(self) -> Ended {
        self.0.signal(libc::SIGCONT);
        self.0.end()
    }
}

fn holds_a_pidfd(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| {
        fds.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|link| {
                let link = link.as_os_str().as_bytes();
                // An inode of its own since 6.9.
                link.ends_with(b"[pidfd]") || link.starts_with(b"pidfd:")
            })
        })
    })
}

fn ends_before() -> Outcome {
    let mut target = sleeper();
    let pid = target.0.id();
    let held = Held::start(pid);
    target.0.kill().unwrap();
    target.0.wait().unwrap();
    let said = format!("process {pid} ended while memtrace was attaching");
    held.let_go().refused(&[&said]);
    Ok(())
}

fn reused_before() -> Outcome {
    let mut target = sleeper();
    let pid = target.0.id();
    let held = Held::start(pid);
    target.0.kill().unwrap();
    target.0.wait().unwrap();
    let _other = Made::new(pid)?;
    // The kernel side finds a process of this id, and it is not the one that was looked up.
    let said = format!("process {pid} ended while memtrace was attaching");
    held.let_go().refused(&[&said]);
    Ok(())
}

fn reused_after() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("the-first-one");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut target = Guard(Command::new(&program).arg("999").spawn().unwrap());
    let pid = target.0.id();
    let tracing = Tracing::attach(pid, &["-i", "50ms"]);
    tracing.wait_for_lines(3);
    let ids = programs_of(tracing.pid());
    tracing.signal(libc::SIGSTOP);
    target.0.kill().unwrap();
    target.0.wait().unwrap();
    let _other = Made::new(pid)?;
    tracing.signal(libc::SIGCONT);
    let ended = tracing.end().whole();
    assert_eq!(ended.capture["capture"]["end"], "target_exited");
    assert_eq!(ended.capture["summary"]["rss_end_bytes"], 0);
    assert_eq!(ended.capture["target"]["comm"], "the-first-one");
    assert_eq!(ended.capture["target"]["exe"].as_str(), program.to_str());
    assert_eq!(ended.capture["target"]["cmdline"][1], "999");
    assert!(ended.report.contains("(the-first-one)"), "{}", ended.report);
    nothing_left(&ids);
    Ok(())
}
