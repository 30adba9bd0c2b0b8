//! `cargo xtask fetch`: what the tests need of Debian's archive. It can be done while something else is compiled, since it mostly waits.

use anyhow::{Result, ensure};

use crate::{golang, vm};

/// Fetches Go toolchains and the kernels of the matrix, unless they are here. Where one cannot be had, all others are fetched all the
/// same.
pub fn run() -> Result<()> {
    let mut troubles = Vec::new();
    for result in [golang::run(&golang::Options::default()), vm::fetch_all()] {
        if let Err(error) = result {
            troubles.push(format!("{error:#}"));
        }
    }
    ensure!(troubles.is_empty(), "{}", troubles.join("\n"));
    Ok(())
}
