//! What memtrace said, beside what was expected.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use libtest_mimic::Failed;
use memtrace::timeline::{RuntimeInfo, Verdict};

use crate::{
    page::{self, Line},
    stage::Shown,
    table::{Expected, TABLE},
};

/// The cases that were played.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Compares, where this build says something at all, and notes it for the page.
pub fn judge(expected: &'static Expected, shown: &Shown) -> Result<(), Failed> {
    let epoch = &shown.capture.epoch;
    let verdict = epoch.verdict.as_ref();
    let runtime = epoch.target.runtime.as_ref();
    let line = Line::new(expected, shown);
    LINES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line);
    let faults: Vec<String> = verdict
        .and_then(|verdict| wrong_verdict(expected, verdict))
        .into_iter()
        .chain(
            runtime
                .into_iter()
                .flat_map(|runtime| wrong_runtime(expected, runtime)),
        )
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

fn wrong_verdict(expected: &Expected, verdict: &Verdict) -> Option<String> {
    let ids = expected.verdicts;
    (!ids.contains(&verdict.id.as_str()))
        .then(|| format!("the verdict is not {}: {verdict:#?}", ids.join(" or ")))
}

fn wrong_runtime(expected: &Expected, runtime: &RuntimeInfo) -> Vec<String> {
    let mut faults = Vec::new();
    if runtime.name.as_deref() != expected.runtime {
        faults.push(format!(
            "the runtime is {:?}: {runtime:#?}",
            expected.runtime
        ));
    }
    let version = runtime.version.as_deref().unwrap_or_default();
    if !version.starts_with(expected.version) {
        faults.push(format!("its version is {}: {runtime:#?}", expected.version));
    }
    if runtime.allocator.as_deref() != Some(expected.allocator) {
        faults.push(format!(
            "the allocator is {}: {runtime:#?}",
            expected.allocator
        ));
    }
    faults
}

/// Prints the table, writes the page, and says what no case can see of itself: whether this build judges at all. With all cases
/// played, whether the page in `docs/` still holds.
pub fn close(whole: bool) -> ExitCode {
    let mut lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    lines.sort_by_key(|line| TABLE.iter().position(|case| case.name == line.name));
    if lines.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{}", page::terminal(&lines));
    let without = |has: fn(&Line) -> bool| -> Vec<&str> {
        let lines = lines.iter().filter(|line| !has(line));
        lines.map(|line| line.name).collect()
    };
    let mut sound = true;
    for (what, without) in [
        ("verdict", without(|line| line.got.is_some())),
        ("runtime", without(|line| line.runtime.is_some())),
    ] {
        if without.len() == lines.len() {
            eprintln!(
                "\nNOT JUDGED: captures of this build have no {what}: only the ledger was tested"
            );
            sound &= std::env::var_os(crate::cases::REQUIRE).is_none();
        } else if !without.is_empty() {
            eprintln!("\nno {what} in the captures of: {}", without.join(", "));
            sound = false;
        }
    }
    page::keep(&lines);
    if whole && lines.len() == TABLE.len() {
        sound &= page::is_current(&lines);
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
