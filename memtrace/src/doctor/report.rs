//! What `memtrace doctor` finds: names in its JSON are a contract.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::HookInfo;

/// The value of `schema` in what this version prints.
pub const SCHEMA: &str = "memtrace-doctor/1";

/// Everything that was found.
///
/// `id`, `section`, `state`, `mode` and `kind` are names to rely on; `found`, `cost`, `advice` and `reason` are for people.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(title = "memtrace doctor", rename = "memtrace-doctor/1")
)]
pub struct Report {
    /// Always `memtrace-doctor/1`.
    pub schema: Cow<'static, str>,
    /// Version of the memtrace that looked.
    pub memtrace_version: Cow<'static, str>,
    /// The checks, in the order of their sections.
    pub checks: Vec<Check>,
    /// Each hook in each way that there is, attached for real and detached at once. Empty where nothing could be tried.
    pub attempts: Vec<AttemptInfo>,
    /// What a trace by this process would be.
    pub verdict: Verdict,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Its name.
    pub id: Cow<'static, str>,
    /// The section.
    pub section: Section,
    /// Its name for people.
    #[serde(skip)]
    pub title: Cow<'static, str>,
    /// How it is.
    pub state: State,
    /// The kernel's own value, where it is one setting; `null` where it is none, or could not be read.
    pub value: Option<String>,
    /// What was found.
    pub found: String,
    /// What that costs: columns and rows of memtrace's.
    pub cost: Option<String>,
    /// What to type.
    pub advice: Option<String>,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As memtrace needs it.
    Ok,
    /// Something costs more, or is not to be had: see `cost`.
    Limited,
    /// A trace needs it, and it is not there.
    Missing,
    /// It could not be tried, or read.
    Unknown,
    /// A fact about the host, for whoever reads a capture: neither right nor wrong.
    Info,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Info => "info",
        }
    }
}

/// What the checks are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// memtrace itself, and the kernel.
    Kernel,
    /// What this process is allowed.
    Privileges,
    /// Namespaces and filesystems.
    Place,
    /// The hooks.
    Hooks,
    /// The host's memory settings: what a capture is read with.
    Memory,
}

impl Section {
    /// The headline.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Privileges => "privileges",
            Self::Place => "namespaces and filesystems",
            Self::Hooks => "hooks, each attached and detached again",
            Self::Memory => "memory settings of this host",
        }
    }
}

/// A hook, tried in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttemptInfo {
    /// The hook, as in the capture file, and `find_target`.
    pub hook: Cow<'static, str>,
    /// `tp_btf`, `fentry`, `tracepoint`, or `iter`.
    pub kind: Cow<'static, str>,
    /// Whether the kernel took it.
    pub attached: bool,
    /// What the kernel said where it did not.
    pub error: Option<String>,
}

/// How exact a trace by this process would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TraceMode {
    /// The ledger sees every change of RSS.
    Exact,
    /// There is no ledger: calls, requested bytes and page faults are counted, and RSS is sampled.
    Approximate,
    /// There can be no trace.
    None,
}

/// What a trace by this process would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// How exact.
    pub mode: TraceMode,
    /// Why.
    pub reason: String,
    /// The hooks that a trace would use, and how; those that are missing with their reason. Empty where there is no trace.
    pub hooks: Vec<HookInfo>,
}

impl Report {
    /// Whether a trace works.
    #[must_use]
    pub const fn can_trace(&self) -> bool {
        match self.verdict.mode {
            TraceMode::Exact | TraceMode::Approximate => true,
            TraceMode::None => false,
        }
    }
}

/// Makes checks, step by step.
impl Check {
    /// Nothing is known yet.
    pub(super) fn new(
        section: Section,
        id: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            id: id.into(),
            section,
            title: title.into(),
            state: State::Unknown,
            value: None,
            found: String::new(),
            cost: None,
            advice: None,
        }
    }

    fn is(mut self, state: State, found: impl Into<String>) -> Self {
        self.state = state;
        self.found = found.into();
        self
    }

    pub(super) fn ok(self, found: impl Into<String>) -> Self {
        self.is(State::Ok, found)
    }

    pub(super) fn limited(self, found: impl Into<String>) -> Self {
        self.is(State::Limited, found)
    }

    pub(super) fn missing(self, found: impl Into<String>) -> Self {
        self.is(State::Missing, found)
    }

    pub(super) fn unknown(self, found: impl Into<String>) -> Self {
        self.is(State::Unknown, found)
    }

    pub(super) fn info(self, found: impl Into<String>) -> Self {
        self.is(State::Info, found)
    }

    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(super) fn costs(mut self, cost: impl Into<String>) -> Self {
        self.cost = Some(cost.into());
        self
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
