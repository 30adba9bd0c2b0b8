//! `cargo xtask test`: every test, with no more privileges than it needs.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    cargo::{
        Artifact, USERSPACE, artifacts, as_root, cargo, is_root, root, run as run_command,
        target_dir,
    },
    lanes::{Ended, OnFailure, Runner, Step, chore, end_steps_with_this},
    summary::Summary,
    verdicts,
};

/// The test targets of package `memtrace` that attach to a process, and so need root.
const ROOT_TESTS: [&str; 3] = ["kernel", "root", "survival"];
/// The test target that needs Go toolchains.
const GOLANG: &str = "golang";
/// The cases of `survival` that take a CPU offline. Until it is back, pages of any traced process may be unexplained.
const CPU_GOES: &str = "a_cpu_goes";
/// Threads of `root`, whose tests mostly wait.
const ROOT_THREADS: &str = "4";

/// Makes a test that would be skipped fail.
const REQUIRE_KERNEL: &str = "MEMTRACE_REQUIRE_KERNEL";

/// The test programs, grouped by their needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Tests that need neither privileges nor Go.
    Plain,
    /// The documentation's examples.
    Examples,
    Golang,
    Kernel,
    Root,
    Survival,
    /// The cases of `survival` during which nothing else may be traced.
    CpuGoes,
}

impl Part {
    /// Returns the step's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "tests without privileges",
            Self::Examples => "tests in the documentation",
            Self::Golang => "tests of Go programs",
            Self::Kernel => "tests of the kernel side",
            Self::Root => "tests as root",
            Self::Survival => "tests of survival",
            Self::CpuGoes => "tests with a CPU that goes",
        }
    }

    /// Returns the step that runs it.
    pub fn step(self, require_kernel: bool, args: &[OsString]) -> Result<Step> {
        let value = self.to_possible_value().context("a part has a name")?;
        let mut command = chore(["test", "--part", value.get_name()]);
        command.args(require_kernel.then_some("--require-kernel"));
        command.arg("--").args(args);
        let step = Step::new(self.name(), command);
        Ok(match self {
            Self::Kernel | Self::Survival | Self::CpuGoes => step.settling(),
            Self::Plain => step.nice(),
            _ => step,
        })
    }
}

/// Runs every test, in lanes. All runners run, even if one fails; the sum is the last line.
pub fn run(require_kernel: bool, args: &[OsString]) -> Result<ExitCode> {
    let root = root()?;
    // Built as the present user, so that root owns nothing below target/.
    build(&root)?;
    if !is_root() {
        println!("some tests need root: sudo may ask for your password");
        run_command(Command::new("sudo").arg("--validate"))?;
    }
    end_steps_with_this()?;
    let mut runner = Runner::new(target_dir(&root).join("steps"), OnFailure::GoOn)?;
    let lane = |parts: &[Part]| -> Result<Vec<Step>> {
        parts
            .iter()
            .map(|part| part.step(require_kernel, args))
            .collect()
    };
    runner.run(vec![
        lane(&[Part::Plain, Part::Examples])?,
        lane(&[Part::Kernel, Part::Survival])?,
        lane(&[Part::Root, Part::Golang])?,
    ])?;
    runner.run(vec![lane(&[Part::CpuGoes])?])?;
    let summary = sum(&runner.outcome.ended);
    println!("\n{summary}");
    Ok(if runner.outcome.is_good() && summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Adds up the closing lines of all steps that have run tests.
pub fn sum<'a>(steps: impl IntoIterator<Item = &'a Ended>) -> Summary {
    let mut summary = Summary::default();
    for step in steps {
        let before = summary.failed;
        for line in step.output.lines() {
            summary.add(line);
        }
        if !step.good && summary.failed == before {
            // Killed, or it could not begin: no closing line says so, and the sum must not look clean.
            summary.failed += 1;
        }
    }
    summary
}

/// Runs one part.
pub fn run_part(part: Part, require_kernel: bool, args: &[OsString]) -> Result<()> {
    let root = root()?;
    let built = build(&root)?;
    let (privileged, plain) = by_privilege(&built, &root.join("memtrace"));
    if privileged.len() != ROOT_TESTS.len() {
        bail!("memtrace has not all of the test targets {ROOT_TESTS:?}");
    }
    let require = require_kernel || env::var_os("CI").is_some();
    let as_root = |name: &str, more: &[&str]| {
        let target = privileged.iter().find(|target| target.target == name);
        let target = target.with_context(|| format!("there is no test target {name}"))?;
        let mut command = root_test(target, &built, require);
        command.args(more).args(args);
        run_command(&mut command)
    };
    let plainly = |what: &[&str]| {
        let mut command = cargo(&root, ["test", "--locked", "--no-fail-fast"]);
        run_command(command.args(USERSPACE).args(what).arg("--").args(args))
    };
    match part {
        Part::Plain => {
            let mut what = vec!["--lib", "--bins"];
            for target in plain.iter().filter(|target| target.target != GOLANG) {
                what.extend(["--test", &target.target]);
            }
            plainly(&what)
        }
        Part::Examples => plainly(&["--doc"]),
        Part::Golang => plainly(&["--test", GOLANG]),
        Part::Kernel => as_root("kernel", &[]),
        // The arguments may set the threads.
        Part::Root if args.is_empty() => as_root("root", &["--test-threads", ROOT_THREADS]),
        Part::Root => as_root("root", &[]),
        Part::Survival => as_root("survival", &["--skip", CPU_GOES]),
        Part::CpuGoes if args.is_empty() => as_root("survival", &[CPU_GOES]),
        // A runner takes one filter only, and the arguments may have it.
        Part::CpuGoes => {
            let others = others_than_a_cpu_goes(&built)?;
            let skips: Vec<&str> = others.iter().flat_map(|name| ["--skip", name]).collect();
            as_root("survival", &skips)
        }
    }
}

/// Returns the names of the other cases of `survival`.
fn others_than_a_cpu_goes(built: &[Artifact]) -> Result<Vec<String>> {
    let survival = built
        .iter()
        .find(|artifact| artifact.is_test && artifact.target == "survival")
        .context("there is no test target survival")?;
    let listed = crate::cargo::read(Command::new(&survival.executable).arg("--list"))?;
    Ok(listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| !name.contains(CPU_GOES))
        .map(str::to_owned)
        .collect())
}

/// Builds every test program.
pub fn build(root: &Path) -> Result<Vec<Artifact>> {
    artifacts(cargo(root, ["test", "--no-run", "--locked"]).args(USERSPACE))
        .context("the tests do not build")
}

/// The integration tests of all packages: those that need root, in the order of `ROOT_TESTS`, and the others.
fn by_privilege<'a>(
    built: &'a [Artifact],
    memtrace: &Path,
) -> (Vec<&'a Artifact>, Vec<&'a Artifact>) {
    let rank = |artifact: &Artifact| {
        let rank = ROOT_TESTS.iter().position(|name| *name == artifact.target);
        rank.filter(|_| artifact.package == memtrace)
    };
    let (mut privileged, plain): (Vec<_>, Vec<_>) = built
        .iter()
        .filter(|artifact| artifact.is_test && artifact.kind == "test")
        // It wants the programs of many languages, and has a chore of its own.
        .filter(|artifact| artifact.package != memtrace || artifact.target != verdicts::TARGET)
        .partition(|artifact| rank(artifact).is_some());
    privileged.sort_by_key(|artifact| rank(artifact));
    (privileged, plain)
}

/// A test runner as root, with the directory and the variables that cargo gives one.
pub fn root_test(target: &Artifact, built: &[Artifact], require: bool) -> Command {
    let programs: Vec<(String, &OsStr)> = built
        .iter()
        .filter(|artifact| {
            artifact.package == target.package && artifact.kind == "bin" && !artifact.is_test
        })
        .map(|bin| {
            (
                format!("CARGO_BIN_EXE_{}", bin.target),
                bin.executable.as_os_str(),
            )
        })
        .collect();
    let mut variables: Vec<(&str, &OsStr)> = programs
        .iter()
        .map(|(name, path)| (name.as_str(), *path))
        .collect();
    variables.push(("CARGO_MANIFEST_DIR", target.package.as_os_str()));
    if require {
        variables.push((REQUIRE_KERNEL, OsStr::new("1")));
    }
    let mut command = as_root(&target.executable, &variables);
    command.current_dir(&target.package);
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn artifact(package: &str, target: &str, kind: &str, is_test: bool) -> Artifact {
        Artifact {
            package: package.into(),
            target: target.into(),
            kind: kind.into(),
            is_test,
            executable: format!("/t/{target}").into(),
        }
    }

    #[test]
    fn only_memtraces_own_root_tests_run_as_root_and_the_verdict_suite_by_itself() {
        let built = [
            artifact("/w/memtrace", "root", "test", true),
            artifact("/w/memtrace", "it", "test", true),
            artifact("/w/memtrace", "kernel", "test", true),
            artifact("/w/memtrace", "memtrace", "bin", false),
            artifact("/w/memtrace", "memtrace", "lib", true),
            artifact("/w/other", "kernel", "test", true),
            artifact("/w/memtrace", "survival", "test", true),
            artifact("/w/memtrace", "verdicts", "test", true),
        ];
        let (privileged, plain) = by_privilege(&built, Path::new("/w/memtrace"));
        let expected = [2, 0, 6].map(|index: usize| &built[index]);
        assert_eq!(privileged, expected);
        assert_eq!(plain, [&built[1], &built[5]]);
    }

    #[test]
    fn a_runner_that_dies_counts_as_a_failure() {
        let ended = |good, output: &str| Ended {
            name: "a".to_owned(),
            began: Duration::ZERO,
            took: Duration::ZERO,
            good,
            output: output.to_owned(),
        };
        let closing = |verdict: &str, failed: u32| {
            format!(
                "test result: {verdict}. 1 passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
            )
        };
        let steps = [
            ended(false, "killed\n"),
            ended(false, &closing("FAILED", 2)),
            ended(true, &closing("ok", 0)),
        ];
        assert_eq!(sum(&steps).to_string(), "2 passed, 3 failed, 0 skipped");
    }
}
