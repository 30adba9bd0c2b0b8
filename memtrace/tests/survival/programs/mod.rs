//! What this binary is, run again: programs to trace, beside the workload of `tests/kernel`.

pub mod breed;
pub mod code32;
pub mod crowd;
pub mod hung;
pub mod within;

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A program that reads a line and answers with one.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Runs this binary again.
    pub fn own(arguments: &[&str]) -> Self {
        Self::start(std::env::current_exe().unwrap(), arguments)
    }

    pub fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        Self::try_start(program, arguments).unwrap()
    }

    pub fn try_start(program: impl AsRef<OsStr>, arguments: &[&str]) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            // A group of its own, so that a signal can reach its children too.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for the next line.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the program ended");
        line.trim_end().to_owned()
    }

    /// Tells it something, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: a group whose leader has not been waited for.
        unsafe { libc::killpg(self.child.id() as i32, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

/// The lines of standard input.
fn lines() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

fn answer(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}
