//! The command line.

mod args;
mod demo;
mod diff;
mod doctor;
mod event_options;
mod events;
mod explain;
mod export;
mod extra;
mod fail_on;
mod feed;
mod journal;
mod lines;
mod load;
mod logging;
mod memory;
mod observers;
mod output;
mod privileges;
mod report;
mod screen;
mod shared;
mod sink;
mod tasks;
mod trace;
mod usage;
mod views;
mod watched;
mod web;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use args::{Cli, Command};
pub use fail_on::FailOn;
pub use memory::Allocator;

use crate::process::limits::{self, Work};

/// Exit codes: part of the contract.
pub mod exit {
    /// Something went wrong.
    pub const ERROR: u8 = 1;
    /// The command line was wrong.
    pub const USAGE: u8 = 2;
    /// The capture is incomplete: events were lost, or bytes are unexplained beyond the stated bound. Or the file of `--events` is:
    /// calls are missing in it.
    pub const INCOMPLETE: u8 = 3;
    /// The answer, or what is said beside it, is one of those given with `--fail-on`.
    pub const FOUND: u8 = 4;
}

/// Runs memtrace with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    memory::hold_little();
    // Before anything that takes memory, descriptors or stack.
    if let Err(error) = limits::adjust() {
        return failed(&error.into());
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| usage::unknown(error).exit());
    let work = match cli.command {
        None | Some(Command::Demo(_) | Command::Doctor(_)) => Some(Work::Trace),
        Some(Command::Report(_) | Command::Export(_) | Command::Diff(_)) => Some(Work::Read),
        Some(Command::Explain(_) | Command::Workload { .. } | Command::Completions { .. }) => None,
    };
    run(cli, work).unwrap_or_else(|error| failed(&error))
}

fn run(cli: Cli, work: Option<Work>) -> anyhow::Result<ExitCode> {
    work.map_or(Ok(()), limits::check)?;
    match cli.command {
        None => trace::run(cli.trace),
        Some(Command::Demo(demo)) => demo::run(demo),
        Some(Command::Report(args)) => report::run(args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Workload { scenario }) => demo::workload(scenario),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "memtrace", &mut script);
            output::plain(&script).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // One line, whatever it says: it may quote a file's or a process's name.
    let mut text = crate::text::format::sanitized(&format!("{error:#}"), 2000);
    if error
        .downcast_ref()
        .is_some_and(crate::probe::ProbeError::is_of_the_host)
    {
        text.push_str("; memtrace doctor shows what this host allows");
    }
    output::say(&format!("memtrace: {text}"));
    match error.downcast_ref::<crate::process::SpawnError>() {
        Some(spawn) => ExitCode::from(spawn.exit_code()),
        None => ExitCode::from(exit::ERROR),
    }
}
