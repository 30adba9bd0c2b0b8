//! The timeline, and the capture that it is part of.
//!
//! Pure: readings and samples in, the types of the capture file out; and a capture file's bytes in. `docs/schema.md` documents every field.

mod assemble;
mod bridge;
mod calls;
mod capture;
mod cgroup;
mod history;
mod holdings;
mod joined;
mod journal;
mod live;
mod read;
mod read_journal;
mod recorder;
mod replay;
mod returned;
mod runtime;
mod verdict;

pub use crate::probe::Mode;
pub use assemble::assemble;
pub use bridge::bridge;
pub use calls::{
    Address, CallLine, CallName, EVENTS_SCHEMA, EventLine, EventsFilter, EventsHeader,
    EventsTrailer, Flags,
};
pub use capture::{
    Account, Bytes4, Capture, CaptureInfo, CauseRow, Children, End, Epoch, ErrnoCount, Faults,
    HookInfo, HostInfo, LossInfo, ProgramStats, SCHEMA, SelfStats, Summary, TargetInfo, Tick,
    TickCause,
};
pub use cgroup::{CgroupFigures, CgroupInfo};
pub use history::{CauseName, History, Mark, MarkKind, Moved, Span};
pub use holdings::{BridgePart, MappingGroup, MappingKind, Returned};
pub use joined::Joining;
pub use journal::{Journal, Known, TakenBack};
pub use live::{Finished, Live, Own};
pub use read::{Digest, Position, ReadError, load, read, read_closing};
pub use read_journal::{Loaded, Unassembled};
pub use recorder::{Final, Observed, Recorder};
pub use replay::{Extent, Replay, ReplayError, Sink};
pub use returned::Returning;
pub use runtime::{ExpectedRelease, GoFigures, Missing, RuntimeInfo};
pub use verdict::{Confidence, Evidence, Finding, Formula, Level, Suggestion, Unit, Verdict};
