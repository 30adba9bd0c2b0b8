//! The workload's process, from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A workload that waits for what to do.
pub struct Worker {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one, on one CPU alone where that is given.
    pub fn start(bench: &Path, cpu: Option<usize>) -> Result<Self> {
        let mut command = Command::new(bench);
        command.arg("work");
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the workload")?;
        let commands = child.stdin.take().context("a pipe that was asked for")?;
        let answers = child.stdout.take().context("a pipe that was asked for")?;
        Ok(Self {
            child,
            commands,
            answers: BufReader::new(answers),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something, and waits until that is done.
    pub fn ask<T: DeserializeOwned>(&mut self, what: &str) -> Result<T> {
        writeln!(self.commands, "{what}").context("the workload has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the workload, asked for {what}, said {line:?}"))?;
        if let Some(error) = answer.get("error") {
            bail!("{what}: {}", error.as_str().unwrap_or_default());
        }
        Ok(serde_json::from_value(answer)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
