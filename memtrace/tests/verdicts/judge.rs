//! What memtrace said, beside what was expected.

use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use memtrace::model::{Confidence, Level, RuntimeInfo, Verdict};

use crate::{
    cases::REQUIRE,
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
    let is = |ids: &[&str]| ids.contains(&verdict.id.raw());
    let right =
        is(expected.verdicts) || is(expected.guesses) && verdict.confidence.level == Level::Low;
    (!right).then(|| format!("the verdict is not {}: {verdict:#?}", expected.ids()))
}

fn wrong_runtime(expected: &Expected, runtime: &RuntimeInfo) -> Vec<String> {
    let mut faults = Vec::new();
    if runtime.name.as_ref().map(|it| it.raw()) != expected.runtime {
        faults.push(format!(
            "the runtime is {:?}: {runtime:#?}",
            expected.runtime
        ));
    }
    let version = runtime
        .version
        .as_ref()
        .map(|it| it.raw())
        .unwrap_or_default();
    if !version.starts_with(expected.version) {
        faults.push(format!("its version is {}: {runtime:#?}", expected.version));
    }
    if runtime.allocator.as_ref().map(|it| it.raw()) != Some(expected.allocator) {
        faults.push(format!(
            "the allocator is {}: {runtime:#?}",
            expected.allocator
        ));
    }
    faults
}

/// That a wrong answer is seen, tried on answers that are made up: while all of them are right, no case shows it.
pub fn checks() -> Vec<Trial> {
    vec![Trial::test("a_wrong_answer_is_seen", || {
        for expected in TABLE {
            let right = expected.verdicts[0];
            assert_eq!(wrong_verdict(expected, &verdict(right, Level::Low)), None);
            let wrong = wrong_verdict(expected, &verdict("something-else", Level::High));
            assert!(wrong.is_some());
            for guess in expected.guesses {
                assert_eq!(wrong_verdict(expected, &verdict(guess, Level::Low)), None);
                assert!(wrong_verdict(expected, &verdict(guess, Level::Medium)).is_some());
            }
            let mut runtime = RuntimeInfo {
                name: expected.runtime.map(str::to_owned).map(Into::into),
                version: Some(expected.version.into()),
                allocator: Some(expected.allocator.into()),
                ..RuntimeInfo::default()
            };
            assert_eq!(wrong_runtime(expected, &runtime), [""; 0]);
            runtime.name = Some("cobol".into());
            runtime.allocator = None;
            assert_eq!(wrong_runtime(expected, &runtime).len(), 2);
        }
        Ok(())
    })]
}

fn verdict(id: &str, level: Level) -> Verdict {
    Verdict {
        id: id.into(),
        title: String::new().into(),
        text: String::new().into(),
        confidence: Confidence {
            level,
            because: Vec::new(),
        },
        evidence: Vec::new(),
        suggestions: Vec::new(),
        also: Vec::new(),
        missing: Vec::new(),
    }
}

/// Prints the table, and says what no case can see by itself: whether this build judges at all. Writes the page, where all cases were
/// played, and compares it with the one in `docs/`, unless that is to be blessed. Whether all of that is as it should be.
pub fn close(bless: bool) -> bool {
    let mut lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    lines.sort_by_key(|line| TABLE.iter().position(|case| case.name == line.name));
    if lines.is_empty() {
        return true;
    }
    println!("{}", page::terminal(&lines));
    let verdicts = everywhere("verdict", &lines, |line| line.got.is_some());
    let runtimes = everywhere("runtime", &lines, |line| line.runtime.is_some());
    // A page of some cases, or of a build that does not judge, would be no page.
    let whole = lines.len() == TABLE.len() && lines.iter().all(|line| line.got.is_some());
    page::keep(&lines, whole);
    let current = bless || !whole || page::is_current(&lines);
    verdicts && runtimes && current
}

/// Whether each capture has this. A build whose captures never have it does not make it: that is said aloud, and fails only where
/// everything must be tested.
fn everywhere(what: &str, lines: &[Line], has: fn(&Line) -> bool) -> bool {
    let without: Vec<&str> = lines
        .iter()
        .filter(|line| !has(line))
        .map(|line| line.name)
        .collect();
    if without.is_empty() {
        return true;
    }
    if without.len() < lines.len() {
        eprintln!("no {what} in the captures of {}", without.join(", "));
        return false;
    }
    eprintln!(
        "NOT JUDGED: no capture of this build has a {what}; what the ledger shows was tested alone"
    );
    std::env::var_os(REQUIRE).is_none()
}
