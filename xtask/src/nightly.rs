//! `cargo xtask nightly`: the tests that take too long for each change.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;

use crate::{
    cargo::{root, target_dir},
    ci::{self, Name},
    lanes::{OnFailure, Runner, Step, chore, end_steps_with_this},
};

/// Runs every step, even if one fails.
pub fn run(fuzz_seconds: u64, soak: Duration) -> Result<ExitCode> {
    end_steps_with_this()?;
    let target = target_dir(&root()?);
    let mut runner = Runner::new(target.join("steps"), OnFailure::GoOn)?;
    let seconds = fuzz_seconds.to_string();
    let soak = humantime::format_duration(soak)
        .to_string()
        .replace(' ', "");
    runner.run(vec![
        vec![
            Name::ObjectAnew.step()?,
            Step::new("fuzzing", chore(["fuzz", "--seconds", &seconds])),
            Step::new("a long soak", chore(["soak", "--time", &soak])).settling(),
        ],
        vec![Name::Fetching.step()?, Name::WholeMatrix.step()?],
    ])?;
    ci::finish(&runner, &target)
}
