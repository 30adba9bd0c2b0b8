//! One look at a process: what it is, and whether Go's figures can be read.

use super::{InspectError, Metered, Process, go, runtime};
use crate::model::RuntimeInfo;

/// What one look at a process has found, within one budget.
#[derive(Debug)]
pub struct Findings {
    /// What runs in it.
    pub runtime: RuntimeInfo,
    /// Where a Go program keeps its figures, or why they cannot be had; `None` if they were not looked for, or it is no Go program.
    pub go: Option<Result<go::Reader, InspectError>>,
}

impl Findings {
    /// Looks at a process, for Go's figures too if `wants_go`.
    #[must_use]
    pub fn of(process: &dyn Process, wants_go: bool) -> Self {
        let process = &Metered::new(process);
        let runtime = runtime::within(process);
        let is_go = runtime.name.as_ref().is_some_and(|it| *it == "go");
        let go = (wants_go && is_go).then(|| go::Reader::within(process));
        Self { runtime, go }
    }
}
