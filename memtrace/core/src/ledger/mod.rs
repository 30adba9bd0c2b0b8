//! The ledger: what moved a process's RSS, cause by cause, adding up exactly.
//!
//! Pure: data in, data out. [`Reading`] is what the kernel side counted, summed over the CPUs; [`rows`] names it, and
//! [`check`] holds it against what the kernel says of itself.

mod check;
mod reading;
mod row;

pub use check::{Check, check, check_ended};
pub use reading::{Errno, Losses, Reading, TaskName, add_pages, rss_of};
pub use row::{Calls, Names, Row, rows, rows_since};
