//! Files. One format, one module.

mod causes;
pub mod clock;
pub mod csv;
mod error;
pub mod events;
pub mod file;
mod folder;
pub mod html;
pub mod journal;
pub mod json;
pub mod jsonl;
pub mod openmetrics;
pub mod perfetto;
pub mod spool;
pub mod svg;

pub use causes::{CauseKey, Causes, Quiet, TooMany};
pub use error::ExportError;
