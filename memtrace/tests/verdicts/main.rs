//! The verdicts: real programs, each in one situation that people ask about, each traced as a user traces it, and judged from that
//! capture alone.
//!
//! `table.rs` says what is expected of each case; the cases make the situation, and assert what the ledger must show of it. Each
//! capture stays in `target/verdicts/`, with what memtrace printed beside it. Needs root; what a case needs of the host beyond that, and
//! what to type where it is missing, the case says. `cargo xtask verdicts` runs this, and writes `docs/verdicts.md`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is not as expected is a case that fails"
)]

mod cases;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "shared with tests/root")]
mod common;
#[path = "../kernel/host.rs"]
#[expect(dead_code, reason = "shared with tests/kernel")]
mod host;
mod interrupt;
mod judge;
mod page;
mod program;
mod programs;
mod stage;
mod table;
mod tools;
#[path = "../survival/tracing.rs"]
#[expect(dead_code, reason = "shared with tests/survival")]
mod tracing;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use table::TABLE;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "__native"] => programs::native::main(),
        [_, "__start"] => programs::native::start(),
        _ => {}
    }
    // Names of cases, as many as one likes; everything else is as with other tests.
    let is_case = |word: &String| TABLE.iter().any(|case| case.name == word);
    let (chosen, words): (Vec<_>, Vec<_>) = words.into_iter().partition(is_case);
    // The page in `docs/` is going to be another one.
    let (bless, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word == "--bless");
    let mut arguments = Arguments::from_iter(words);
    // Programs that grow and stand still: two do not disturb each other, and more would be slower than their ticks.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let mut trials = cases::all();
    trials.retain(|trial| chosen.is_empty() || chosen.iter().any(|name| name == trial.name()));
    if arguments.list {
        libtest_mimic::run(&arguments, trials).exit();
    }
    let _alone = host::alone();
    interrupt::note();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let sound = judge::close(!bless.is_empty());
    if sound && host::things_left_over() == 0 && !conclusion.has_failed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
