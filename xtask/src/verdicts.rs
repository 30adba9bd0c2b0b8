//! `cargo xtask verdicts`: real programs, each in a situation that people ask about, and what memtrace says of each.

use std::{
    env, fs,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    cargo::{USERSPACE, artifacts, cargo, root, run as run_command, target_dir},
    test::root_test,
};

/// The test target of package `memtrace`.
pub const TARGET: &str = "verdicts";

/// The generated page: in `docs/`, and as the runner leaves it beside the captures.
const PAGE: &str = "verdicts.md";

#[derive(Args)]
pub struct Options {
    /// Which; all, where none is given.
    cases: Vec<String>,
    /// Writes docs/verdicts.md, where all cases end as expected.
    #[arg(long, conflicts_with = "cases")]
    bless: bool,
    /// Lists the cases.
    #[arg(long, conflicts_with = "bless")]
    list: bool,
    /// What would be skipped, for want of a program or a setting of the host, fails; so it does where CI is set.
    #[arg(long)]
    require: bool,
}

/// The suite as it is used by hand.
pub fn run(options: &Options) -> Result<ExitCode> {
    let require = options.require || env::var_os("CI").is_some();
    let mut command = command(require)?;
    command.args(&options.cases);
    for (given, option) in [(options.list, "--list"), (options.bless, "--bless")] {
        command.args(given.then_some(option));
    }
    run_command(&mut command)?;
    if options.bless {
        bless()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The suite as a step among others.
pub fn step() -> Result<()> {
    run_command(&mut command(env::var_os("CI").is_some())?)
}

/// Builds memtrace and the suite as the present user. The programs that the suite builds, and its captures, are that user's too: it gives
/// them to who owns the target directory.
fn command(require: bool) -> Result<Command> {
    let root = root()?;
    let mut build = cargo(&root, ["test", "--no-run", "--locked", "--test", TARGET]);
    let built = artifacts(build.args(USERSPACE)).context("the verdict suite does not build")?;
    let suite = built
        .iter()
        .find(|artifact| artifact.is_test && artifact.target == TARGET)
        .context("memtrace has no test target `verdicts`")?;
    Ok(root_test(suite, &built, require))
}

fn bless() -> Result<()> {
    let root = root()?;
    let made = target_dir(&root).join(TARGET).join(PAGE);
    if !made.exists() {
        bail!("there is no page to bless: not every case was played and judged");
    }
    let page = root.join("docs").join(PAGE);
    let text = fs::read(&made).with_context(|| format!("cannot read {}", made.display()))?;
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    println!("wrote {}", page.display());
    Ok(())
}
