//! The timeline, and the capture that it is part of.
//!
//! Pure: readings and samples in, the types of the capture file out; and a capture file's bytes in. `docs/schema.md` documents every field.

mod assemble;
mod bridge;
mod capture_file;
pub mod figures;
mod fold;
mod history;
mod joined;
mod journal;
mod lines;
mod live;
mod read;
mod read_journal;
mod recorder;
mod replay;
mod returned;

pub use assemble::assemble;
pub use bridge::bridge;
pub use fold::{Closing, Fold, Gone, Start};
pub use history::{CauseName, History, Mark, MarkKind, Moved, Span};
pub use joined::Joining;
use journal::Changes;
pub use journal::{Journal, Known, TakenBack};
pub use live::{Finished, Live, Own};
pub use read::{Digest, Position, ReadError, load, read, read_closing};
pub use read_journal::{Loaded, Unassembled};
pub use recorder::{Observed, Recorder};
pub use replay::{Extent, Replay, ReplayError, Sink};
pub use returned::Returning;
