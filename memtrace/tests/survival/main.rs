//! What production does to a tracer: every failure that memtrace must survive, provoked for real.
//!
//! Each case runs the binary as a user does, on a process of its own, and looks at what it says, what it writes, and what it
//! leaves behind. The failures of the ledger itself are among the cases of `tests/kernel`; wrong usage is in `tests/root/cli.rs`.
//! Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is not as expected is a case that fails"
)]

#[path = "../common/bomb.rs"]
mod bomb;
mod cases;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "shared with tests/root")]
mod common;
#[path = "../kernel/harness.rs"]
#[expect(dead_code, reason = "shared with tests/kernel")]
mod harness;
#[path = "../kernel/host.rs"]
#[expect(dead_code, reason = "shared with tests/kernel")]
mod host;
mod programs;
#[path = "../kernel/storm.rs"]
#[expect(dead_code, reason = "shared with tests/kernel")]
mod storm;
mod tracing;
#[path = "../kernel/uring.rs"]
mod uring;
#[path = "../kernel/workload.rs"]
mod workload;

use std::path::Path;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["__workload", ..] => workload::main(),
        // What a child of the workload executes.
        ["__nothing", ..] => return,
        ["__breed"] => return programs::breed::main(),
        ["__crowd"] => return programs::crowd::main(),
        ["__hung", way, folder] => programs::hung::main(way, Path::new(folder)),
        ["__traced_within"] => return cases::traced_within(),
        ["__refused_within"] => return cases::refused_within(),
        ["__within", proc, ref command @ ..] => programs::within::main(proc, command),
        _ => {}
    }
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> = cases::all();
    libtest_mimic::run(&arguments, trials).exit();
}
