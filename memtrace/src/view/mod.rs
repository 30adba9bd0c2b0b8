//! What a person reads: plain text, aligned, at 80 columns.

pub mod chart;
mod diff;
mod doctor;
mod dump;
pub mod explain;
mod holdings;
mod live;
pub mod page;
pub mod screen;
mod self_stats;
mod table;
mod verdict;

pub use diff::{diff, page as diff_page};
pub use doctor::doctor;
pub use dump::dump;
pub use live::{Columns, LiveLine, live_header};
pub use table::{replaced, table};
pub use verdict::verdict;

use crate::model::{Epoch, HostInfo};

/// Everything that is said of an epoch at its end: the table, and below it the answer, which is what most people look for.
#[must_use]
pub fn whole(host: &HostInfo, epoch: &Epoch, width: usize) -> String {
    let mut text = table(host, epoch, width);
    if let Some(answer) = &epoch.verdict {
        text.push('\n');
        text.push_str(&verdict(answer, width));
    }
    text
}
