//! The types of the capture file: what a capture holds, and what timeline, verdict, views and exports read.
//!
//! No I/O. `docs/schema.md` documents every field.

mod calls;
mod capture;
mod cause;
mod cgroup;
mod errno;
mod holdings;
mod hooks;
mod runtime;
mod verdict;

pub use calls::{
    Address, CallLine, CallName, EVENTS_SCHEMA, EventLine, EventsFilter, EventsHeader,
    EventsTrailer, Flags,
};
pub use capture::{
    Account, Bytes4, Capture, CaptureInfo, CauseRow, Children, End, Epoch, ErrnoCount, Faults,
    HookInfo, HostInfo, LossInfo, ProgramStats, SCHEMA, SelfStats, Summary, TargetInfo, Tick,
    TickCause,
};
pub use cause::Cause;
pub use cgroup::{CgroupFigures, CgroupInfo};
pub use errno::{errno_name, errno_text, errno_words};
pub use holdings::{BridgePart, MappingGroup, MappingKind, Returned};
pub use hooks::{HookKind, Mode};
pub use runtime::{ExpectedRelease, GoFigures, Missing, RuntimeInfo};
pub use verdict::{Confidence, Evidence, Finding, Formula, Level, Suggestion, Unit, Verdict};
