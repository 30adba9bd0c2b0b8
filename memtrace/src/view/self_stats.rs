//! What memtrace itself took: a part of the table.

use std::fmt::Write as _;

use crate::{
    model::SelfStats,
    text::format::{BOLD, count, paint, size},
};

const NAME: usize = 24;

/// A row per program, and one for the process.
pub(super) fn self_stats(text: &mut String, stats: &SelfStats) {
    let head = format!(
        "{:<NAME$}{:>9}{:>9}{:>9}{:>10}",
        "memtrace itself", "runs", "skipped", "ns/run", "time"
    );
    let _ = writeln!(text, "\n{}", paint(BOLD, &head));
    let optional = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), count);
    for program in &stats.programs {
        let _ = writeln!(
            text,
            "{:<NAME$}{:>9}{:>9}{:>9}{:>10}",
            program.name.shown(NAME - 1),
            optional(program.runs),
            optional(program.skipped_runs),
            optional(program.ns_per_run),
            ms(program.time_ns),
        );
    }
    let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), size);
    let _ = writeln!(
        text,
        "its process: CPU {} user, {} system; RSS {}, {} at its peak",
        ms(stats.cpu_user_ns),
        ms(stats.cpu_system_ns),
        bytes(stats.rss_bytes),
        bytes(stats.rss_peak_bytes),
    );
}

fn ms(ns: Option<u64>) -> String {
    match ns {
        Some(ns) if ns < 10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        Some(ns) => format!("{} s", count(ns / 1_000_000_000)),
        None => "-".to_owned(),
    }
}
