//! What a person reads: plain text, aligned, at 80 columns.

mod doctor;
pub mod explain;
pub mod format;
mod live;
mod self_stats;
mod table;
mod verdict;

pub use doctor::doctor;
pub use live::{LiveLine, live_header};
pub use table::{replaced, table};
pub use verdict::verdict;
