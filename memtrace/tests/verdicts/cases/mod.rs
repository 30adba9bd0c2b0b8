//! The cases, by what makes their situation.

mod allocators;
mod go;
mod kernel;
mod names;
mod runtimes;
mod shapes;

use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Completion, Failed, Trial};

use crate::{
    interrupt,
    judge::{self, judge},
    stage::{Shown, Stage},
    table::TABLE,
};

/// Set where the tests must run: then what would be skipped fails.
pub const REQUIRE: &str = "MEMTRACE_REQUIRE_KERNEL";

/// Why a case did not run.
pub enum Skip {
    /// This host has no such thing, whatever is done about it.
    Absent(String),
    /// It could run on this host, and did not.
    NotRun(String),
}

type Outcome = Result<Shown, Skip>;
type Case = (&'static str, fn(&Stage) -> Outcome);

/// Held by each case for reading, by those that change the host for writing.
static HOST: RwLock<()> = RwLock::new(());

pub fn all() -> Vec<Trial> {
    let together = [
        go::CASES,
        allocators::CASES,
        runtimes::CASES,
        shapes::CASES,
        kernel::CASES,
        names::CASES,
    ]
    .concat();
    let alone = [go::ALONE, kernel::ALONE].concat();
    for expected in TABLE {
        let mut cases = together.iter().chain(&alone);
        assert!(
            cases.any(|(name, _)| *name == expected.name),
            "{}",
            expected.name
        );
    }
    let together = together.into_iter().map(|(name, case)| {
        Trial::ignorable_test(name, move || {
            let _together = HOST.read().unwrap_or_else(PoisonError::into_inner);
            run(name, case)
        })
    });
    let alone = alone.into_iter().map(|(name, case)| {
        Trial::ignorable_test(name, move || {
            let _alone = HOST.write().unwrap_or_else(PoisonError::into_inner);
            run(name, case)
        })
    });
    judge::checks()
        .into_iter()
        .chain(together)
        .chain(alone)
        .collect()
}

fn run(name: &'static str, case: fn(&Stage) -> Outcome) -> Result<Completion, Failed> {
    let expected = TABLE.iter().find(|expected| expected.name == name);
    let expected = expected.expect("each case has a line in the table");
    let outcome = if interrupt::came() {
        Err(Skip::NotRun("interrupted".to_owned()))
    } else if crate::common::is_root() {
        case(&Stage { name })
    } else {
        Err(Skip::NotRun("needs root".to_owned()))
    };
    let reason = match outcome {
        Ok(shown) => return judge(expected, &shown).map(|()| Completion::Completed),
        Err(Skip::Absent(what)) => format!("this host does not have {what}"),
        Err(Skip::NotRun(reason)) if std::env::var_os(REQUIRE).is_some() => {
            return Err(format!("this must run here, and did not: {reason}").into());
        }
        Err(Skip::NotRun(reason)) => reason,
    };
    eprintln!("\nNOT TESTED: {name}: {reason}");
    Ok(Completion::ignored_with(reason))
}
