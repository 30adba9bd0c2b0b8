//! `cargo xtask ci`: the tests of every change. docs/internals/testing.md says what runs when, and why.

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    bench,
    cargo::{USERSPACE, cargo, root, run as run_command, target_dir},
    fetch, fuzz,
    lanes::{OnFailure, Runner, Step, chore, end_steps_with_this},
    object::{self, Rebuild},
    soak,
    test::{self, Part},
    verdicts, vm,
};

/// Long enough for each of the soak's scenes to have its turn.
const SOAK: Duration = Duration::from_secs(60);

/// The steps other than the test programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    Formatting,
    UserLints,
    KernelLints,
    Object,
    ObjectAnew,
    Documentation,
    TestPrograms,
    Fetching,
    Matrix,
    WholeMatrix,
    Verdicts,
    Soak,
    Benchmark,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Formatting => "formatting",
            Self::UserLints => "lints of the user side",
            Self::KernelLints => "lints of the kernel side",
            Self::Object | Self::ObjectAnew => "the eBPF object",
            Self::Documentation => "documentation",
            Self::TestPrograms => "building the tests",
            Self::Fetching => "Go toolchains and kernels",
            Self::Matrix | Self::WholeMatrix => "the kernel matrix",
            Self::Verdicts => "the verdict suite",
            Self::Soak => "a soak of a minute",
            Self::Benchmark => "a short benchmark",
        }
    }

    pub fn step(self) -> Result<Step> {
        let value = self.to_possible_value().context("a step has a name")?;
        Ok(Step::new(self.text(), chore(["step", value.get_name()])))
    }
}

/// Runs one step.
pub fn step(name: Name) -> Result<()> {
    let root = root()?;
    // Lints and documentation share hardly an artifact with the tests. In a folder of their own, they do not wait for cargo's lock.
    let lints = target_dir(&root).join("lints");
    let checked = |args: &[&str]| {
        let mut command = cargo(&root, args);
        command.arg("--locked").arg("--target-dir").arg(&lints);
        command
    };
    let denied = ["--", "-D", "warnings"];
    match name {
        Name::Formatting => {
            run_command(&mut cargo(&root, ["fmt", "--all", "--check"]))?;
            let fuzz = ["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"];
            run_command(&mut cargo(&root, fuzz))?;
            fuzz::is_locked(&root)
        }
        Name::UserLints => {
            let mut clippy = checked(&["clippy", "--all-targets"]);
            run_command(clippy.args(USERSPACE).args(denied))
        }
        Name::KernelLints => {
            // The kernel side against the host's target, for which stable Rust brings clippy and a `core`. Its programs are not run.
            let mut clippy = checked(&["clippy", "--package", "memtrace-ebpf"]);
            // A crate without std has nothing to unwind with, and the host's default is to unwind.
            clippy.env("CARGO_PROFILE_DEV_PANIC", "abort");
            run_command(clippy.args(denied))
        }
        Name::Object => object::check(Rebuild::IfDue),
        Name::ObjectAnew => object::check(Rebuild::Always),
        Name::Documentation => {
            let mut doc = checked(&["doc", "--no-deps"]);
            run_command(doc.args(USERSPACE).env("RUSTDOCFLAGS", "-D warnings"))
        }
        Name::TestPrograms => test::build(&root).map(|_| ()),
        Name::Fetching => fetch::run(),
        Name::Matrix => vm::matrix(false),
        Name::WholeMatrix => vm::matrix(true),
        Name::Verdicts => verdicts::step(),
        Name::Soak => soak::step(SOAK),
        Name::Benchmark => bench::step(),
    }
}

/// Runs the steps in lanes and stops at the first failure. `all` ignores the records of green results. The output ends with the sum of
/// the tests.
pub fn run(all: bool) -> Result<ExitCode> {
    end_steps_with_this()?;
    let target = target_dir(&root()?);
    let mut runner = Runner::new(target.join("steps"), OnFailure::Stop)?;
    let built = Name::TestPrograms.text();
    let test = |part: Part| Ok::<_, anyhow::Error>(part.step(false, &[])?.after(built));
    let (object, matrix) = if all {
        (Name::ObjectAnew, Name::WholeMatrix)
    } else {
        (Name::Object, Name::Matrix)
    };
    runner.run(vec![
        // What computes.
        vec![
            Name::Formatting.step()?,
            Name::UserLints.step()?.nice(),
            Name::KernelLints.step()?.nice(),
            object.step()?.nice(),
            Name::Documentation.step()?.nice(),
            test(Part::Plain)?,
            test(Part::Examples)?,
        ],
        // What changes settings of the host, one after the other.
        vec![
            Name::TestPrograms.step()?,
            test(Part::Kernel)?,
            test(Part::Survival)?,
            Name::Verdicts
                .step()?
                .after(Name::Fetching.text())
                .settling(),
            Name::Soak.step()?.settling(),
        ],
        // What waits for other things.
        vec![
            test(Part::Root)?,
            test(Part::Golang)?.after(Name::Fetching.text()),
            Name::Benchmark.step()?,
        ],
        vec![Name::Fetching.step()?, matrix.step()?.nice().after(built)],
    ])?;
    // Nothing else may be traced meanwhile.
    runner.run(vec![vec![test(Part::CpuGoes)?]])?;
    finish(&runner, &target)
}

/// Prints the times and the sum of the tests. Fails with the step's name if a step other than a test failed.
pub fn finish(runner: &Runner, target: &std::path::Path) -> Result<ExitCode> {
    let table = runner.table();
    println!("\n{table}\n");
    let file = target.join("step-times.txt");
    fs::write(&file, table + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    let is_test = |name: &str| {
        let mut parts = Part::value_variants().iter();
        parts.any(|part| part.name() == name)
    };
    let failed: Vec<&str> = runner
        .outcome
        .failed()
        .map(|step| step.name.as_str())
        .collect();
    let tests = runner.outcome.ended.iter();
    let tests: Vec<_> = tests.filter(|step| is_test(&step.name)).collect();
    if !tests.is_empty() {
        println!("{}", test::sum(tests));
    }
    if let Some(name) = failed.iter().find(|name| !is_test(name)) {
        anyhow::bail!("{name} failed");
    }
    Ok(if runner.outcome.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
