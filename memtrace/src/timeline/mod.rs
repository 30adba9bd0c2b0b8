//! The timeline, and the capture that it is part of.
//!
//! Pure: readings and samples in, the types of the capture file out; and a capture file's bytes in. `docs/schema.md` documents every field.

mod capture;
mod read;
mod recorder;

pub use crate::probe::Mode;
pub use capture::{
    Bytes4, Capture, CaptureInfo, CauseRow, Children, End, Epoch, ErrnoCount, Faults, HookInfo,
    HostInfo, LossInfo, ProgramStats, SCHEMA, SelfStats, Summary, TargetInfo, Tick, TickCause,
};
pub use read::{Position, ReadError, read, read_closing};
pub use recorder::{Final, Observed, Recorder};
