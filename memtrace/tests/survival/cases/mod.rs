//! The cases, by what goes wrong.

mod compat;
mod crowds;
mod ends;
mod journal;
mod limits;
mod looks;
mod lookup;
mod losses;
mod names;
mod output;
mod spaces;
mod stops;

pub use spaces::{refused_within, traced_within};

use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Completion, Failed, Trial};

use crate::harness::REQUIRE;

/// Why a case did not run.
pub enum Skip {
    /// This host has no such thing, whatever is done about it.
    Absent(String),
    /// It could run on this host, and did not.
    NotRun(String),
}

type Outcome = Result<(), Skip>;
type Case = (&'static str, fn() -> Outcome);

/// Held by each case for reading, by those that must run alone for writing.
static HOST: RwLock<()> = RwLock::new(());

pub fn all() -> Vec<Trial> {
    let together = [
        looks::CASES,
        lookup::CASES,
        ends::CASES,
        crowds::CASES,
        stops::CASES,
        losses::CASES,
        spaces::CASES,
        compat::CASES,
        names::CASES,
        output::CASES,
        journal::CASES,
        limits::CASES,
    ]
    .concat();
    let together = together.into_iter().map(|(name, case)| {
        Trial::ignorable_test(name, move || {
            let _together = HOST.read().unwrap_or_else(PoisonError::into_inner);
            run(name, case)
        })
    });
    let alone = stops::ALONE.iter().map(|&(name, case)| {
        Trial::ignorable_test(name, move || {
            let _alone = HOST.write().unwrap_or_else(PoisonError::into_inner);
            run(name, case)
        })
    });
    together.chain(alone).collect()
}

fn run(name: &str, case: fn() -> Outcome) -> Result<Completion, Failed> {
    let outcome = if crate::common::is_root() {
        case()
    } else {
        Err(Skip::NotRun("needs root".to_owned()))
    };
    let reason = match outcome {
        Ok(()) => return Ok(Completion::Completed),
        Err(Skip::Absent(what)) => format!("this host does not have {what}"),
        Err(Skip::NotRun(reason)) if std::env::var_os(REQUIRE).is_some() => {
            return Err(format!("this must run here, and did not: {reason}").into());
        }
        Err(Skip::NotRun(reason)) => reason,
    };
    eprintln!("\nNOT TESTED: {name}: {reason}");
    Ok(Completion::ignored_with(reason))
}
