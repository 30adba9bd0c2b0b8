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
#[expect(dead_code, reason = "shared with tests/cli.rs")]
mod common;
#[path = "../kernel/host.rs"]
#[expect(dead_code, reason = "shared with tests/kernel")]
mod host;
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

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["__native"] => programs::native::main(),
        ["__start"] => programs::native::start(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Programs that grow and stand still: two do not disturb each other, and more would be slower than their ticks.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials = cases::all();
    if arguments.list {
        libtest_mimic::run(&arguments, trials).exit();
    }
    let _alone = host::alone();
    let whole = arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let verdict = judge::close(whole);
    if conclusion.has_failed() || host::things_left_over() > 0 {
        return conclusion.exit_code().max_failure();
    }
    verdict
}

/// A failure whatever the trials say.
trait MaxFailure {
    fn max_failure(self) -> ExitCode;
}

impl MaxFailure for ExitCode {
    fn max_failure(self) -> ExitCode {
        if self == Self::SUCCESS {
            Self::FAILURE
        } else {
            self
        }
    }
}
