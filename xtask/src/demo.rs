//! `cargo xtask demo`: the first thing to try.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::cargo::{artifacts, as_root, cargo, root};

/// Builds memtrace as the present user, and becomes `memtrace demo` as root.
pub fn run(args: &[OsString]) -> Result<()> {
    let built = artifacts(&mut cargo(
        &root()?,
        ["build", "--release", "--locked", "--package", "memtrace"],
    ))?;
    let memtrace = built
        .iter()
        .find(|artifact| artifact.target == "memtrace" && artifact.kind == "bin")
        .context("cargo built no program `memtrace`")?;
    // In place of this process, so that Ctrl-C, the terminal and the exit code are memtrace's own.
    let error = as_root(&memtrace.executable, &[])
        .arg("demo")
        .args(args)
        .exec();
    Err(error).context("cannot start `memtrace demo` as root")
}
