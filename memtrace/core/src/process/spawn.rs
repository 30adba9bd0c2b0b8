//! Starting a program and holding it before its first instruction.
//!
//! The child is forked, and waits at the reading end of a pipe. memtrace learns its process id, attaches everything, and
//! lets go; then the child executes the program. The standard library's own close-on-exec pipe tells why, where it cannot.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_no_new_privs,
};

use super::limits;
use crate::privilege::{Invoker, NEEDS, become_thread};

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program does not exist: 127, as the shell says.
    #[error("{program}: command not found")]
    NotFound {
        /// The program.
        program: String,
    },
    /// The program is there, and what it needs to run is not: 127 too.
    #[error(
        "{program}: it is there, and its interpreter is not; see its first line (#!), or, of a binary, type: file {program}"
    )]
    NoInterpreter {
        /// The program.
        program: String,
    },
    /// The program cannot be executed: 126, as the shell says.
    #[error("{program}: {reason}")]
    NotExecutable {
        /// The program.
        program: String,
        /// What the kernel said.
        reason: String,
    },
    /// There could be no child.
    #[error("cannot start a process: {0}")]
    Fork(String),
}

impl SpawnError {
    /// The shell's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } | Self::NoInterpreter { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Fork(_) => 1,
        }
    }
}

/// What a started program may do.
#[derive(Clone, Debug)]
pub enum Rights {
    /// What it could do if the user had started it without memtrace: those of this user, or of memtrace's own where there is none.
    /// The capabilities that memtrace was given for itself are not passed on.
    Users(Option<Invoker>),
    /// Of the same user, and no capabilities at all, not even those of its file: memtrace itself, as a demo's workload.
    Bare(Option<Invoker>),
}

/// A child that waits for its exec.
pub struct Held {
    /// Its process id.
    pub pid: u32,
    program: String,
    gate: PipeWriter,
    spawner: JoinHandle<io::Result<Child>>,
}

/// A program that runs.
pub struct Spawned {
    child: Child,
}

impl Held {
    /// Forks a child that will execute `command` with these rights, and with this standard error.
    ///
    /// # Errors
    ///
    /// Where the process could not be made.
    pub fn start(
        command: &[OsString],
        rights: Rights,
        standard_error: Stdio,
    ) -> Result<Self, SpawnError> {
        let fork = |error: io::Error| SpawnError::Fork(error.to_string());
        let Some((program, arguments)) = command.split_first() else {
            return Err(SpawnError::Fork("no command was given".into()));
        };
        let (gate_reader, gate) = io::pipe().map_err(fork)?;
        let (mut pid_reader, pid_writer) = io::pipe().map_err(fork)?;
        let mut command = Command::new(program);
        command.args(arguments).stderr(standard_error);
        if let Rights::Users(Some(invoker)) | Rights::Bare(Some(invoker)) = &rights {
            command.envs(invoker.environment());
        }
        prepare(
            &mut command,
            rights,
            gate_reader,
            &pid_writer,
            gate.as_raw_fd(),
        );
        // `spawn` returns only once the child has executed, or could not: so it has a thread of its own.
        let spawner = thread::Builder::new()
            .name("spawn".into())
            .spawn(move || {
                let child = command.spawn();
                drop(pid_writer);
                child
            })
            .map_err(fork)?;
        let program = program.to_string_lossy().into_owned();
        let mut pid = [0; 4];
        if pid_reader.read_exact(&mut pid).is_err() {
            // The child never came so far.
            return match spawner.join() {
                Ok(Err(error)) => Err(failure(program, &error)),
                _ => Err(SpawnError::Fork("the child ended early".into())),
            };
        }
        Ok(Self {
            pid: u32::from_le_bytes(pid),
            program,
            gate,
            spawner,
        })
    }

    /// Lets the child execute its program.
    ///
    /// # Errors
    ///
    /// Where the program could not be executed.
    pub fn release(mut self) -> Result<Spawned, SpawnError> {
        // A child that was killed meanwhile is noticed by `spawn`.
        let _ = self.gate.write_all(b"g");
        drop(self.gate);
        match self.spawner.join() {
            Ok(Ok(child)) => Ok(Spawned { child }),
            Ok(Err(error)) => Err(failure(self.program, &error)),
            Err(_) => Err(SpawnError::Fork(
                "the thread that starts it ended early".into(),
            )),
        }
    }
}

/// What the child does between fork and exec.
fn prepare(
    command: &mut Command,
    rights: Rights,
    gate: PipeReader,
    pid_writer: &PipeWriter,
    gate_writer: RawFd,
) {
    let pid_fd = pid_writer.as_raw_fd();
    let hook = move || {
        // Only async-signal-safe calls here: this is a forked child of a process that may have threads.
        limits::restore();
        let (Rights::Users(invoker) | Rights::Bare(invoker)) = &rights;
        if let Some(invoker) = invoker {
            become_thread(invoker)?;
        }
        if matches!(rights, Rights::Bare(_)) {
            set_no_new_privs(true)?;
            set_capabilities(None, NOTHING)?;
        } else {
            for need in &NEEDS {
                // A kernel without ambient capabilities passes none on.
                let _ = configure_capability_in_ambient_set(need.capability, false);
            }
        }
        let pid = std::process::id().to_le_bytes();
        // SAFETY: descriptors that the fork has copied; the buffers are of the given lengths. Closing our copy of the
        // gate's writing end lets the read end where memtrace dies.
        unsafe {
            libc::close(gate_writer);
            if libc::write(pid_fd, pid.as_ptr().cast(), pid.len()) != 4 {
                return Err(io::Error::last_os_error());
            }
            let mut byte = 0u8;
            if libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
                // memtrace has gone: so does the child.
                libc::_exit(1);
            }
        }
        Ok(())
    };
    // SAFETY: the hook allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(hook);
    }
}

const NOTHING: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

fn failure(program: String, error: &io::Error) -> SpawnError {
    // Only a name with a slash is not looked for in PATH.
    let is_there = program.contains('/') && Path::new(&program).exists();
    match error.raw_os_error() {
        Some(libc::ENOENT) if is_there => SpawnError::NoInterpreter { program },
        Some(libc::ENOENT) => SpawnError::NotFound { program },
        Some(libc::EACCES) if is_there && Path::new(&program).is_dir() => {
            SpawnError::NotExecutable {
                reason: "it is a folder; give the name of a program".to_owned(),
                program,
            }
        }
        Some(libc::EAGAIN | libc::ENOMEM) => SpawnError::Fork(error.to_string()),
        _ => SpawnError::NotExecutable {
            program,
            reason: error.to_string(),
        },
    }
}

impl Spawned {
    /// Waits for the program's end.
    ///
    /// # Errors
    ///
    /// Where waiting fails.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Sends it a signal, or with 0 asks whether one could be sent; one that has ended does not mind.
    ///
    /// # Errors
    ///
    /// Where the program has become somebody else, whom memtrace may not signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return Ok(());
        };
        // SAFETY: the child has not been waited for, so the id is its own.
        if unsafe { libc::kill(pid, signal) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// The program's end, if it has ended.
    ///
    /// # Errors
    ///
    /// Where waiting fails.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_held_program_runs_only_once_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let held = Held::start(
            &words(&["touch", mark.to_str().unwrap()]),
            Rights::Users(None),
            Stdio::inherit(),
        )
        .unwrap();
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!mark.exists());
        let mut spawned = held.release().unwrap();
        assert!(spawned.wait().unwrap().success());
        assert!(mark.exists());
    }

    #[test]
    fn the_exit_code_is_the_programs_own() {
        let held = Held::start(
            &words(&["sh", "-c", "exit 42"]),
            Rights::Users(None),
            Stdio::inherit(),
        )
        .unwrap();
        assert_eq!(held.release().unwrap().wait().unwrap().code(), Some(42));
    }

    #[test]
    fn a_missing_program_is_127_and_one_without_permission_126() {
        let held = Held::start(
            &words(&["/nonexistent/program"]),
            Rights::Users(None),
            Stdio::inherit(),
        )
        .unwrap();
        let Err(error) = held.release() else {
            panic!("it cannot run")
        };
        assert_eq!(error.exit_code(), 127);
        let held = Held::start(
            &words(&["/etc/passwd"]),
            Rights::Users(None),
            Stdio::inherit(),
        )
        .unwrap();
        let Err(error) = held.release() else {
            panic!("it cannot run")
        };
        assert_eq!(error.exit_code(), 126);
    }

    #[test]
    fn a_program_that_is_there_is_not_said_to_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        // Written by another process: what this one has open for writing, no thread of it could execute.
        let make = "echo '#!/no/such/interpreter' > \"$0\"; chmod +x \"$0\"";
        let mut shell = Command::new("sh");
        assert!(
            shell
                .args(["-c", make])
                .arg(&script)
                .status()
                .unwrap()
                .success()
        );
        for (program, code, part) in [
            (script.to_str().unwrap(), 127, "its interpreter is not"),
            ("/tmp", 126, "it is a folder"),
        ] {
            let held = Held::start(&words(&[program]), Rights::Users(None), Stdio::inherit());
            let Err(error) = held.unwrap().release() else {
                panic!("it cannot run")
            };
            assert_eq!(error.exit_code(), code);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_child_that_is_not_let_go_ends_with_its_holder() {
        let held = Held::start(
            &words(&["sleep", "1000"]),
            Rights::Users(None),
            Stdio::inherit(),
        )
        .unwrap();
        let pid = held.pid;
        drop(held.gate);
        let child = held.spawner.join().unwrap();
        assert!(child.is_err() || child.unwrap().wait().is_ok());
        assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());
    }
}
