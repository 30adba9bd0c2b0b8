//! Completion scripts, for those who package memtrace.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use memtrace::cli::Cli;

#[test]
fn completions_are_current() {
    let names = [
        (Shell::Bash, "memtrace.bash"),
        (Shell::Zsh, "_memtrace"),
        (Shell::Fish, "memtrace.fish"),
    ];
    let files: BTreeMap<String, String> = names
        .into_iter()
        .map(|(shell, name)| {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "memtrace", &mut script);
            (name.to_owned(), String::from_utf8(script).unwrap())
        })
        .collect();
    super::current("completions", "", "completions", &files);
}
