//! `cargo xtask ci`: what must hold of every change.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    bench,
    cargo::{USERSPACE, cargo, root, run as run_command},
    fetch::Ahead,
    fuzz, object, soak, test, verdicts, vm,
};

/// How long each fuzz target runs here: long enough to see that it does, and the seeds hold.
const FUZZ_SECONDS: u64 = 2;
/// Long enough for each of the soak's scenes to have its turn.
const SOAK: Duration = Duration::from_secs(60);

/// Runs the steps in order, each under a headline and with its time, up to the first that fails.
pub fn run() -> Result<ExitCode> {
    let root = root()?;
    let cargo = |args: &[&str]| cargo(&root, args);
    let denied = ["--", "-D", "warnings"];
    // Most of it is waiting for the network, and the first steps need none of it.
    let fetching = Ahead::start()?;

    step("formatting", || {
        run_command(&mut cargo(&["fmt", "--all", "--check"]))
    })?;
    step("lints of the user side", || {
        let mut clippy = cargo(&["clippy", "--all-targets", "--locked"]);
        run_command(clippy.args(USERSPACE).args(denied))
    })?;
    step("lints of the kernel side", || {
        run_command(kernel_lints(&mut cargo(&[])).args(denied))
    })?;
    step("the eBPF object", object::check)?;
    step("documentation", || {
        let mut doc = cargo(&["doc", "--no-deps", "--locked"]);
        run_command(doc.args(USERSPACE).env("RUSTDOCFLAGS", "-D warnings"))
    })?;

    step("fuzzing", || {
        let mut format = cargo(&["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]);
        run_command(&mut format)?;
        fuzz::run(&[], FUZZ_SECONDS)
    })?;
    step("a soak of a minute", || soak::step(SOAK))?;
    step("a short benchmark", bench::step)?;
    step("Go toolchains and kernels", || {
        print!("{}", fetching.finish()?);
        Ok(())
    })?;
    step("the verdict suite", verdicts::step)?;
    step("the kernel matrix", vm::matrix)?;

    // The last step without a time of its own: the output ends with the sum of the tests.
    headline("tests");
    test::run(false, &[])
}

/// The kernel side against the host's target, for which stable Rust brings clippy and a `core`. Its programs are not run.
fn kernel_lints(cargo: &mut Command) -> &mut Command {
    // A crate without std has nothing to unwind with, and the host's default is to unwind.
    cargo.env("CARGO_PROFILE_DEV_PANIC", "abort").args([
        "clippy",
        "--package",
        "memtrace-ebpf",
        "--locked",
    ])
}

fn headline(name: &str) {
    println!("\n== {name}");
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    headline(name);
    let begin = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    println!(
        "== {name}: {verdict} after {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    result
}
