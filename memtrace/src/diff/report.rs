//! What `memtrace diff --json` prints: names in it are a contract, see `docs/schema.md`.

use serde::{Deserialize, Serialize};

use super::{Quantity, Unit};
use crate::{
    model::{Cause, End, Level, Mode},
    text::Foreign,
};

/// The value of `schema`.
pub const SCHEMA: &str = "memtrace-diff/1";

/// Two captures side by side. A is the first one on the command line, B the second; a change is B less A.
///
/// Bytes are integers, signed where they are a change. What a side does not know is `null`, never 0. Times are ns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(title = "memtrace diff", rename = "memtrace-diff/1")
)]
pub struct Diff {
    /// Always `memtrace-diff/1`.
    pub schema: String,
    /// Version of the memtrace that compared them.
    pub memtrace_version: String,
    /// What changed, in a line, for people.
    pub headline: String,
    /// What the comparison rests on: the conditions that differ, and what follows.
    pub conditions: Conditions,
    /// The first capture.
    pub a: Side,
    /// The second capture.
    pub b: Side,
    /// The answers.
    pub answers: Answers,
    /// A row for each cause of either capture.
    pub causes: Vec<CauseDiff>,
    /// Everything else that is a number.
    pub figures: Vec<Figure>,
}

/// One of the captures: its last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Side {
    /// The file.
    pub file: String,
    /// Process id.
    pub pid: u32,
    /// The kernel's name of the process, which it chose itself.
    pub comm: Foreign,
    /// Start of the epoch, RFC 3339, UTC.
    pub started_at: Foreign,
    /// How long it lasted.
    pub duration_ns: u64,
    /// How exact it is.
    pub mode: Mode,
    /// Why it ended.
    pub end: End,
    /// Programs that the process ran before, in the same capture: they are not compared.
    pub earlier_epochs: u64,
    /// Whether nothing was lost, and nothing is unexplained beyond the stated bound, in any epoch.
    pub is_complete: bool,
    /// RSS over time, 512 points at most.
    pub rss: Vec<RssPoint>,
}

/// RSS at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RssPoint {
    /// Since the start of the epoch.
    pub t_ns: u64,
    /// RSS.
    pub rss_bytes: i64,
}

/// What the comparison rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conditions {
    /// What is not the same in both.
    pub differ: Vec<Condition>,
    /// What is known of both, and the same.
    pub same: Vec<String>,
    /// Whether numbers that grow with time are compared per second, since the captures last differently long.
    pub by_rate: bool,
    /// What follows of it for the comparison, for people.
    pub notes: Vec<String>,
}

/// Something that is not the same in both captures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// What: `kernel`, `runtime.version`, `setting:GODEBUG`, …
    pub what: String,
    /// The same for people.
    pub title: Foreign,
    /// Of A; `null` where it has none, or does not know.
    pub a: Option<Foreign>,
    /// Of B.
    pub b: Option<Foreign>,
    /// What it is a condition of.
    pub of: Of,
}

/// What something is a condition of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The program, its runtime and its settings: may explain a change.
    Program,
    /// The host and the cgroup: may explain a change.
    Host,
    /// What follows of the others, such as how memory is expected to be given back.
    Consequence,
    /// The capture: bears on whether the two can be compared.
    Capture,
}

/// One cause in both captures. A cause that has no row in a capture moved nothing there: 0 where that is known, else `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CauseDiff {
    /// The cause.
    pub cause: Cause,
    /// The advice by the kernel's name, or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Foreign>,
    /// The other task that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Foreign>,
    /// Calls.
    pub calls: Quantity,
    /// Bytes that they asked for.
    pub requested_bytes: Quantity,
    /// RSS change. `null` on a side whose mode is approximate.
    pub rss_delta_bytes: Quantity,
}

/// A number of both captures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Figure {
    /// Its name, as in the capture file.
    pub name: String,
    /// The same for people.
    pub title: String,
    /// What it belongs to.
    pub group: Group,
    /// What it counts.
    pub unit: Unit,
    /// The number.
    pub quantity: Quantity,
}

/// What a figure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// RSS and what is beside it.
    Memory,
    /// Page faults, and what was given back and taken again.
    Activity,
    /// Go's own figures, at the last tick that has them.
    Go,
    /// The memory cgroup, at the end.
    Cgroup,
}

/// The answers of both captures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answers {
    /// Of A; `null` where there is none.
    pub a: Option<Answer>,
    /// Of B.
    pub b: Option<Answer>,
    /// Whether they are not the same rule's; `null` where one is missing.
    pub changed: Option<bool>,
    /// What changed, in a sentence.
    pub text: String,
}

/// An answer in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The rule.
    pub id: Foreign,
    /// In a line.
    pub title: Foreign,
    /// How sure it is.
    pub confidence: Level,
    /// Rules that are said beside it.
    pub also: Vec<Foreign>,
}
