//! The ledger against the real kernel: deterministic workloads whose page counts are known beforehand.
//!
//! Each case starts the workload (this binary, run again), attaches, gives it commands, and compares what the ledger says with
//! what must have happened, and with `statm` and `smaps_rollup` while the workload stands still. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is not as expected is a case that fails"
)]

mod cases;
mod harness;
mod host;
mod soak;
mod storm;
mod uring;
mod workload;

use libtest_mimic::{Arguments, Trial};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("__workload") => workload::main(),
        // What a child of the workload executes.
        Some("__nothing") => return,
        // `cargo xtask soak`.
        Some("__soak") => soak::main(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Page counts are exact whatever else runs, but the host's own reclaim and swap are shared.
    arguments.test_threads = Some(1);
    let trials: Vec<Trial> = cases::all();
    let _alone = (!arguments.list).then(host::alone);
    libtest_mimic::run(&arguments, trials).exit();
}
