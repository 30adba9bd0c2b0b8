//! What a rule returns.

use super::{checks::Checks, evidence::Facts};
use crate::{
    model::{Finding, Missing, Suggestion},
    text::format::sanitized,
};

/// An answer that a rule proposes.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The rule.
    pub id: &'static str,
    /// How much it explains and how much it matters; the highest is the answer. `None` for what is only said beside an answer.
    pub points: Option<i64>,
    /// In a line.
    pub title: String,
    /// In two or three sentences.
    pub text: String,
    /// Its numbers.
    pub facts: Facts,
    /// How sure it is.
    pub checks: Checks,
    /// What to do.
    pub suggestions: Vec<Suggestion>,
    /// What it would have needed.
    pub missing: Vec<Missing>,
}

impl Candidate {
    /// An answer without words yet.
    #[must_use]
    pub fn new(id: &'static str, points: i64) -> Self {
        Self {
            id,
            points: Some(points),
            title: String::new(),
            text: String::new(),
            facts: Facts::default(),
            checks: Checks::default(),
            suggestions: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Something that is only said beside an answer.
    #[must_use]
    pub fn beside(id: &'static str) -> Self {
        Self {
            points: None,
            ..Self::new(id, 0)
        }
    }

    /// As it is said beside another answer.
    #[must_use]
    pub fn into_finding(self) -> Finding {
        Finding {
            id: self.id.into(),
            title: self.title.into(),
            text: self.text.into(),
            evidence: self.facts.evidence,
            suggestions: self.suggestions,
        }
    }
}

/// A text that the process chose, for a sentence: harmless, short, and in quotation marks.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", sanitized(text, 60).replace('"', "'"))
}
