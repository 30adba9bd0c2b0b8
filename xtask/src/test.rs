//! `cargo xtask test`: every test, with no more privileges than it needs.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::{Artifact, USERSPACE, artifacts, as_root, cargo, line, root},
    summary::Summary,
    verdicts,
};

/// The test targets of package `memtrace` that attach to a process, and so need root.
const ROOT_TESTS: [&str; 3] = ["kernel", "root", "survival"];

/// Makes a test that would be skipped fail.
const REQUIRE_KERNEL: &str = "MEMTRACE_REQUIRE_KERNEL";

/// Runs every test. All runners run, whatever the ones before them say; the sum is the last line.
pub fn run(require_kernel: bool, args: &[OsString]) -> Result<ExitCode> {
    let root = root()?;
    // Built as the present user, so that root owns nothing below target/.
    let built = artifacts(cargo(&root, ["test", "--no-run", "--locked"]).args(USERSPACE))
        .context("the tests do not build")?;
    let (privileged, plain) = by_privilege(&built, &root.join("memtrace"));
    if privileged.is_empty() {
        bail!("memtrace has none of the test targets {ROOT_TESTS:?}");
    }

    let mut summary = Summary::default();
    let mut sound = true;

    let mut command = cargo(&root, ["test", "--locked", "--no-fail-fast"]);
    command.args(USERSPACE).args(["--lib", "--bins"]);
    for target in plain {
        command.args(["--test", &target.target]);
    }
    sound &= tally(&mut summary, command.arg("--").args(args))?;

    let mut command = cargo(&root, ["test", "--locked", "--no-fail-fast", "--doc"]);
    sound &= tally(&mut summary, command.args(USERSPACE).arg("--").args(args))?;

    let require = require_kernel || env::var_os("CI").is_some();
    for target in privileged {
        let mut command = root_test(target, &built, require);
        sound &= tally(&mut summary, command.args(args))?;
    }

    println!("{summary}");
    Ok(if sound && summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

/// Runs a runner or several, shows what they print, and adds their closing lines up; whether all ended well.
fn tally(summary: &mut Summary, command: &mut Command) -> Result<bool> {
    println!("\n== {}", line(command));
    let name = line(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().context("a pipe that was asked for")?;
    let failed_before = summary.failed;
    for bytes in BufReader::new(output).split(b'\n') {
        let bytes = bytes.with_context(|| format!("cannot read what {name} prints"))?;
        // A test may print anything, so this need not be text.
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.write_all(b"\n")?;
        summary.add(&String::from_utf8_lossy(&bytes));
    }
    let status = child.wait()?;
    if !status.success() && summary.failed == failed_before {
        // Killed, or it could not begin: no closing line says so, and the sum must not look clean.
        eprintln!("{name}: {status}, and no test of it says why");
        summary.failed += 1;
    }
    Ok(status.success())
}

#[cfg(test)]
mod tests {
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
        let mut summary = Summary::default();
        let mut command = Command::new("sh");
        command.args(["-c", "kill -9 $$"]);
        assert!(!tally(&mut summary, &mut command).unwrap());
        assert_eq!(summary.to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
