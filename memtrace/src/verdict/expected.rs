//! What a runtime is expected to do, against what was seen.

use super::{case::Analysis, checks::Checks};

/// Most characters of a reason.
const SENTENCE: usize = 200;

/// Notes whether an advice that was seen is one that this program is expected to use.
/// `seen` is how much of it was asked for, as it is printed.
pub fn note(analysis: &Analysis<'_>, advice: &str, seen: Option<&str>, checks: &mut Checks) {
    let Some(runtime) = analysis.runtime() else {
        return;
    };
    let mut ways = runtime.expected.iter();
    let found = ways.find(|way| way.advice.as_ref().is_some_and(|it| *it == advice));
    match found {
        Some(way) => {
            let seen = seen.map(|bytes| format!("; {bytes} of it was seen"));
            checks.holds(format!(
                "{advice} is what to expect here: {}{}",
                way.why.shown(SENTENCE),
                seen.unwrap_or_default()
            ));
        }
        None if runtime.expected.iter().any(|way| way.advice.is_some()) => {
            checks.holds(format!(
                "{advice} is not what this program's allocator is expected to use: other code in it does, or a setting"
            ));
        }
        None => {}
    }
}
