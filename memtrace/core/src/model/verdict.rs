//! The answer, in the capture file.

use serde::{Deserialize, Serialize};

use super::Missing;
use crate::text::Foreign;

/// The answer: what it is, whether it is a leak, and what to do. Worked out from the capture alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The rule: `lazy-free`, `growing`, …; `memtrace explain ID` has its page.
    pub id: Foreign,
    /// In a line.
    pub title: Foreign,
    /// In two or three sentences, for someone who is not a kernel developer.
    pub text: Foreign,
    /// How sure it is.
    pub confidence: Confidence,
    /// The numbers that it rests on.
    pub evidence: Vec<Evidence>,
    /// What to do, the best first.
    pub suggestions: Vec<Suggestion>,
    /// What else was found.
    #[serde(default)]
    pub also: Vec<Finding>,
    /// What could not be had, and would have made it surer.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// Something else that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The rule.
    pub id: Foreign,
    /// In a line.
    pub title: Foreign,
    /// In a sentence or two.
    pub text: Foreign,
    /// The numbers that it rests on.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    #[serde(default)]
    pub suggestions: Vec<Suggestion>,
}

/// How sure a verdict is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Confidence {
    /// Low, medium or high.
    pub level: Level,
    /// What made it so.
    pub because: Vec<Foreign>,
}

/// A degree of confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A first guess.
    Low,
    /// The figures fit, and something that would settle it is missing.
    Medium,
    /// The figures fit, and nothing that speaks against it is known.
    High,
}

/// A number of the capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// What it is.
    pub what: Foreign,
    /// The number.
    pub value: i64,
    /// Of what.
    pub unit: Unit,
    /// How it comes of `from`.
    pub formula: Formula,
    /// Where its parts stand in this epoch's object: JSON pointers (RFC 6901), such as `/summary/lazyfree_bytes`.
    pub from: Vec<String>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A count.
    Count,
    /// Nanoseconds.
    Ns,
    /// Hundredths.
    Percent,
}

/// How a number comes of those that it is made of. Rounded towards 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// Their sum; of one, the number itself.
    Sum,
    /// The first less all others.
    Difference,
    /// (the first - the second) × 10⁹ / (the third - the fourth): a change over a time in ns.
    PerSecond,
    /// 100 × the first / the sum of the others.
    Percent,
    /// ((the first - the second) / (the third - the fourth)) goes into (the fifth - the sixth) in so many ns: when a limit is met.
    TimeUntil,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Suggestion {
    /// In a sentence, with what it costs.
    pub text: Foreign,
    /// What to type or set, such as `GODEBUG=madvdontneed=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Foreign>,
}
