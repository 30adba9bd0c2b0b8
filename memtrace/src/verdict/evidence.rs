//! Numbers that can be found in the capture file.
//!
//! A rule never writes a number of its own into an answer. It takes figures from the capture, each with the place where it
//! stands, and combines them by a formula; so `evaluate`, on the file, must come to the same.

use serde_json::Value;

use crate::{
    model::{Epoch, Evidence, Formula, Unit, Verdict},
    text::format,
};

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// A number that stands in an epoch's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What stands there.
    pub value: i64,
}

impl Figure {
    /// A number with its place.
    pub fn new(pointer: impl Into<String>, value: i64) -> Self {
        Self {
            pointer: pointer.into(),
            value,
        }
    }

    /// As [`new`](Self::new); `None` where it is larger than any memory.
    pub fn unsigned(pointer: impl Into<String>, value: u64) -> Option<Self> {
        let value = i64::try_from(value).ok()?;
        Some(Self::new(pointer, value))
    }
}

/// Looks the parts of a piece of evidence up in its epoch's object, and applies its formula. `None` where a part is missing, is
/// no integer, or the formula has no result.
#[must_use]
pub fn evaluate(evidence: &Evidence, epoch: &Value) -> Option<i64> {
    let parts: Option<Vec<i64>> = evidence
        .from
        .iter()
        .map(|pointer| epoch.pointer(pointer)?.as_i64())
        .collect();
    apply(evidence.formula, &parts?)
}

/// The evidence of an answer that does not come of its epoch; none, but where one of the two was changed, or is of another
/// capture.
#[must_use]
pub fn not_found<'a>(verdict: &'a Verdict, epoch: &Epoch) -> Vec<&'a Evidence> {
    // What cannot be written has no numbers.
    let object = serde_json::to_value(epoch).unwrap_or(Value::Null);
    let beside = verdict.also.iter().flat_map(|finding| &finding.evidence);
    let all = verdict.evidence.iter().chain(beside);
    all.filter(|evidence| evaluate(evidence, &object) != Some(evidence.value))
        .collect()
}

/// The result of a formula, rounded towards 0; `None` where there is none, or it is out of range.
#[must_use]
pub fn apply(formula: Formula, parts: &[i64]) -> Option<i64> {
    let mut wide = parts.iter().copied().map(i128::from);
    let result = match formula {
        Formula::Sum => {
            let first = wide.next()?;
            first.checked_add(sum(wide)?)?
        }
        Formula::Difference => {
            let first = wide.next()?;
            first.checked_sub(sum(wide)?)?
        }
        Formula::PerSecond => {
            let [a, b, c, d] = exactly(wide)?;
            (a - b).checked_mul(SECOND)?.checked_div(c - d)?
        }
        Formula::Percent => {
            let first = wide.next()?;
            first.checked_mul(100)?.checked_div(sum(wide)?)?
        }
        Formula::TimeUntil => {
            let [a, b, c, d, e, f] = exactly(wide)?;
            (e - f).checked_mul(c - d)?.checked_div(a - b)?
        }
    };
    i64::try_from(result).ok()
}

fn sum(mut parts: impl Iterator<Item = i128>) -> Option<i128> {
    parts.try_fold(0i128, i128::checked_add)
}

fn exactly<const N: usize>(parts: impl Iterator<Item = i128>) -> Option<[i128; N]> {
    parts.collect::<Vec<_>>().try_into().ok()
}

/// A number as it is printed: in the text of an answer, and in the list of its evidence.
#[must_use]
pub fn show(evidence: &Evidence) -> String {
    rendered(evidence.value, evidence.unit)
}

/// A number of a unit as it is printed.
#[must_use]
pub fn rendered(value: i64, unit: Unit) -> String {
    let minus = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    match unit {
        Unit::Bytes => format!("{minus}{}", format::size(size)),
        Unit::BytesPerSecond => format!("{minus}{}/s", format::size(size)),
        Unit::Count => format!("{minus}{}", format::count(size)),
        Unit::Ns => format!("{minus}{}", format::span(size)),
        Unit::Percent => format!("{value}%"),
    }
}

/// The evidence that a rule collects. Each of its functions notes a number, and returns it as it is printed, for the text.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// In the order in which it was noted.
    pub evidence: Vec<Evidence>,
}

impl Facts {
    /// A number as it stands in the capture.
    pub fn is(&mut self, what: &str, unit: Unit, figure: &Figure) -> Option<String> {
        self.note(what, unit, Formula::Sum, &[figure])
    }

    /// A sum.
    pub fn sum(&mut self, what: &str, unit: Unit, figures: &[Figure]) -> Option<String> {
        let figures: Vec<&Figure> = figures.iter().collect();
        self.note(what, unit, Formula::Sum, &figures)
    }

    /// The first less the second.
    pub fn less(&mut self, what: &str, unit: Unit, from: &Figure, less: &Figure) -> Option<String> {
        self.note(what, unit, Formula::Difference, &[from, less])
    }

    /// The first in hundredths of the second.
    pub fn percent(&mut self, what: &str, part: &Figure, whole: &Figure) -> Option<String> {
        self.note(what, Unit::Percent, Formula::Percent, &[part, whole])
    }

    /// Notes what comes of a formula. `None`, and nothing noted, where it has no result.
    pub fn note(
        &mut self,
        what: &str,
        unit: Unit,
        formula: Formula,
        figures: &[&Figure],
    ) -> Option<String> {
        let parts: Vec<i64> = figures.iter().map(|figure| figure.value).collect();
        let evidence = Evidence {
            what: what.into(),
            value: apply(formula, &parts)?,
            unit,
            formula,
            from: figures
                .iter()
                .map(|figure| figure.pointer.clone())
                .collect(),
        };
        let shown = show(&evidence);
        if !self.evidence.contains(&evidence) {
            self.evidence.push(evidence);
        }
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_what_they_say() {
        for (formula, parts, result) in [
            (Formula::Sum, &[7][..], Some(7)),
            (Formula::Sum, &[7, -3, 1], Some(5)),
            (Formula::Difference, &[7, 3, 1], Some(3)),
            (
                Formula::PerSecond,
                &[30, 10, 4_000_000_000, 2_000_000_000],
                Some(10),
            ),
            (Formula::Percent, &[1, 2, 1], Some(33)),
            (Formula::Percent, &[-1, 3], Some(-33)),
            // 20 bytes in 2 ns: 100 bytes take 10 ns.
            (Formula::TimeUntil, &[30, 10, 5, 3, 150, 50], Some(10)),
        ] {
            assert_eq!(apply(formula, parts), result, "{formula:?} {parts:?}");
        }
    }

    #[test]
    fn what_has_no_result_has_none() {
        for (formula, parts) in [
            (Formula::Sum, &[][..]),
            (Formula::Sum, &[i64::MAX, 1]),
            (Formula::Difference, &[i64::MIN, 1]),
            (Formula::Difference, &[]),
            (Formula::PerSecond, &[1, 2, 3]),
            (Formula::PerSecond, &[1, 2, 3, 3]),
            (Formula::Percent, &[1]),
            (Formula::Percent, &[1, 5, -5]),
            (Formula::TimeUntil, &[1, 1, 2, 1, 9, 8]),
            (
                Formula::TimeUntil,
                &[1, 0, i64::MAX, i64::MIN, i64::MAX, i64::MIN],
            ),
        ] {
            assert_eq!(apply(formula, parts), None, "{formula:?} {parts:?}");
        }
    }

    #[test]
    fn evidence_is_found_in_the_object_that_it_points_into() {
        let epoch =
            serde_json::json!({"summary": {"a": 12, "b": null, "c": "x"}, "timeline": [{"t": 5}]});
        let of = |from: &[&str]| Evidence {
            what: String::new().into(),
            value: 0,
            unit: Unit::Count,
            formula: Formula::Sum,
            from: from.iter().map(|&pointer| pointer.to_owned()).collect(),
        };
        assert_eq!(
            evaluate(&of(&["/summary/a", "/timeline/0/t"]), &epoch),
            Some(17)
        );
        for missing in ["/summary/b", "/summary/c", "/timeline/1/t", "/summary", "x"] {
            assert_eq!(evaluate(&of(&[missing]), &epoch), None, "{missing}");
        }
    }
}
