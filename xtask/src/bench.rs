//! `cargo xtask bench`: what memtrace costs, beside what others cost that see the same.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::cargo::{USERSPACE, artifacts, as_root, cargo, root, run as run_command, target_dir};

/// Builds memtrace and its benchmark as the present user, and becomes the benchmark as root, so that Ctrl-C and the exit code are
/// its own.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    let mut command = command("bench")?;
    let names_its_files = |arg: &OsString| arg == "--json" || arg == "--from";
    if !args.iter().any(names_its_files) {
        command.arg("--json").arg(figures("bench.json")?);
    }
    let error = command.args(args).exec();
    Err(error).context("cannot start the benchmark as root")
}

/// A short run of what the tests are built with, as a step among others: that it runs to its end, and finds all that it looks
/// for. It judges no time.
pub fn step() -> Result<()> {
    let mut command = command("dev")?;
    command.args(["--quick", "--only", "memtrace", "--json"]);
    run_command(command.arg(figures("bench-quick.json")?))
}

/// A file below the target directory, made by the present user, so that it stays theirs.
fn figures(name: &str) -> Result<PathBuf> {
    let file = target_dir(&root()?).join(name);
    File::options()
        .create(true)
        .append(true)
        .open(&file)
        .with_context(|| format!("cannot make {}", file.display()))?;
    Ok(file)
}

fn command(profile: &str) -> Result<Command> {
    let build = [
        "bench",
        "--no-run",
        "--locked",
        "--bench",
        "cost",
        "--profile",
        profile,
    ];
    let built = artifacts(cargo(&root()?, build).args(USERSPACE))
        .context("the benchmark does not build")?;
    let bench = built
        .iter()
        .find(|artifact| artifact.target == "cost" && artifact.kind == "bench")
        .context("memtrace has no benchmark `cost`")?;
    Ok(as_root(&bench.executable, &[]))
}
