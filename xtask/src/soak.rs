//! `cargo xtask soak`: targets that storm, execute, fork and die, again and again, and memtrace attached through it all.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{USERSPACE, artifacts, cargo, root, run as run_command},
    test::root_test,
};

/// The soak as it is used by hand: of memtrace as it is shipped, in place of this process, so that Ctrl-C is its own.
pub fn run(time: Duration, seed: Option<u64>) -> Result<ExitCode> {
    let what = ["--release", "--package", "memtrace", "--test", "kernel"];
    let error = command(time, seed, &what)?.exec();
    Err(error).context("cannot start the soak as root")
}

/// The soak as a step among others: of what the tests are built with, so that nothing is built for it alone.
pub fn step(time: Duration) -> Result<()> {
    run_command(&mut command(time, None, &USERSPACE)?)
}

fn command(time: Duration, seed: Option<u64>, what: &[&str]) -> Result<Command> {
    let root = root()?;
    let built = artifacts(cargo(&root, ["test", "--no-run", "--locked"]).args(what))
        .context("the soak does not build")?;
    let memtrace = root.join("memtrace");
    let kernel = built
        .iter()
        .find(|artifact| {
            artifact.is_test && artifact.package == memtrace && artifact.target == "kernel"
        })
        .context("memtrace has no test target `kernel`, which the soak is part of")?;
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let mut command = root_test(kernel, &built, false);
    command.args(["__soak", &time.as_millis().to_string(), &seed.to_string()]);
    Ok(command)
}
