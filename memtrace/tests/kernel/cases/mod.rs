//! The cases, by what they move.

mod advice;
mod approximate;
mod cgroup;
mod events;
mod failing;
mod file;
mod foreign;
mod huge;
mod life;
mod map;
mod storms;
mod swap;
mod touch;

use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};

use crate::harness::{REQUIRE, kernel_release};

/// Why a case did not run.
pub enum Skip {
    /// This kernel has no such thing, whatever is done about it.
    Absent(String),
    /// It could run on this kernel, and did not.
    NotRun(String),
}

type Outcome = Result<(), Skip>;
type Case = (&'static str, fn() -> Outcome);

const WILLNEED: i32 = 3;
const DONTNEED: i32 = 4;
const FREE: i32 = 8;
const REMOVE: i32 = 9;
const MERGEABLE: i32 = 12;
const HUGEPAGE: i32 = 14;
const COLD: i32 = 20;
const PAGEOUT: i32 = 21;
const POPULATE_READ: i32 = 22;
const POPULATE_WRITE: i32 = 23;
const DONTNEED_LOCKED: i32 = 24;
const COLLAPSE: i32 = 25;
const GUARD_INSTALL: i32 = 102;

pub fn all() -> Vec<Trial> {
    [
        touch::CASES,
        advice::CASES,
        map::CASES,
        huge::CASES,
        file::CASES,
        swap::CASES,
        foreign::CASES,
        life::CASES,
        failing::CASES,
        events::CASES,
        storms::CASES,
    ]
    .concat()
    .into_iter()
    .map(|(name, case)| Trial::ignorable_test(name, move || run(name, || with_ledger(case))))
    .chain(
        approximate::CASES
            .iter()
            .chain(cgroup::CASES)
            .map(|&(name, case)| Trial::ignorable_test(name, move || run(name, case))),
    )
    .collect()
}

/// Runs a case that needs a ledger, which not every kernel allows: 5.15 and later must.
fn with_ledger(case: fn() -> Outcome) -> Outcome {
    static NO_LEDGER: OnceLock<Option<String>> = OnceLock::new();
    match NO_LEDGER.get_or_init(approximate::no_ledger) {
        None => case(),
        Some(reason) if kernel_release() < (5, 15) => {
            Err(Skip::Absent(format!("what a ledger rests on: {reason}")))
        }
        Some(reason) => Err(Skip::NotRun(reason.clone())),
    }
}

fn run(name: &str, case: impl FnOnce() -> Outcome) -> Result<Completion, Failed> {
    let outcome = if nix::unistd::Uid::effective().is_root() {
        case()
    } else {
        Err(Skip::NotRun("needs root".to_owned()))
    };
    let reason = match outcome {
        Ok(()) => return Ok(Completion::Completed),
        Err(Skip::Absent(what)) => format!("this kernel does not have {what}"),
        Err(Skip::NotRun(reason)) if std::env::var_os(REQUIRE).is_some() => {
            return Err(format!("this must run here, and did not: {reason}").into());
        }
        Err(Skip::NotRun(reason)) => reason,
    };
    eprintln!("\nNOT TESTED: {name}: {reason}");
    Ok(Completion::ignored_with(reason))
}

fn needs_advice(advice: i32, name: &str) -> Outcome {
    if crate::host::knows_advice(advice) {
        Ok(())
    } else {
        Err(Skip::Absent(name.to_owned()))
    }
}
