//! The cases, by what goes wrong.

mod compat;
mod crowds;
mod ends;
mod lookup;
mod losses;
mod names;
mod output;
mod spaces;
mod stops;

pub use spaces::{refused_within, traced_within};

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

pub fn all() -> Vec<Trial> {
    [
        lookup::CASES,
        ends::CASES,
        crowds::CASES,
        stops::CASES,
        losses::CASES,
        spaces::CASES,
        compat::CASES,
        names::CASES,
        output::CASES,
    ]
    .concat()
    .into_iter()
    .map(|(name, case)| Trial::ignorable_test(name, move || run(name, case)))
    .collect()
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
