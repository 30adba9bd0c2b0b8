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
    let cli = Cli::try_parse().unwrap_or_else(|error| usage::unknown(error).exit());
    let result = match cli.command {
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
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // One line, whatever it says: it may quote a file's or a process's name.
            let mut text = crate::text::format::untrusted(&format!("{error:#}"), 2000);
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
    }
}
