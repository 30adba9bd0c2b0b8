//! The memory cgroup: what a container's limit and an autoscaler look at.

use ratatui_core::style::Style;

use super::{pen::Pen, shot::Shot, state::State, text::Text};
use crate::text::format::{count, size};

/// Usage above this part of the limit, percent, is near it.
const NEAR: u64 = 90;

/// Draws it; says how far it can be moved.
pub fn cgroup(pen: &mut Pen<'_>, shot: &Shot, state: &State) -> u16 {
    let look = pen.look;
    let mut text = Text::new(look, pen.width().saturating_sub(2));
    let summary = &shot.account.summary;
    let figures = shot.total.as_ref().and_then(|total| total.cgroup);
    let Some(info) = &summary.cgroup else {
        text.head("no memory cgroup");
        let why = summary
            .cgroup_missing
            .clone()
            .unwrap_or_else(|| "it has not been read yet".into());
        text.note(&why);
        let mut part = pen.part(0, 1, pen.width(), pen.height().saturating_sub(1));
        return text.draw(&mut part, state.scroll);
    };
    text.head(&format!("cgroup v{}", info.version));
    text.entry("path", &info.path);
    if let Some(processes) = info.processes {
        text.entry("processes", count(processes));
    }
    let limit = info.limit_bytes.map_or_else(|| "none".to_owned(), size);
    text.entry("limit", &limit);
    if let Some(path) = info.limit_path.as_ref().filter(|path| **path != info.path) {
        text.entry("limit of", path);
    }
    if let Some(high) = info.high_bytes {
        text.entry("memory.high", size(high));
    }
    let figures = figures.or(info.end).or(info.start);
    if let Some(figures) = figures {
        if let (Some(usage), Some(limit)) = (figures.usage_bytes, info.limit_bytes) {
            let percent = u128::from(usage) * 100 / u128::from(limit.max(1));
            let percent = u64::try_from(percent).unwrap_or(u64::MAX);
            let style = if percent >= NEAR {
                look.bad()
            } else {
                Style::new()
            };
            text.styled(
                "used",
                format!("{} {percent}%", gauge(percent, look.unicode)),
                style,
            );
        }
        text.head("figures");
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), count);
        text.number(
            "usage",
            &bytes(figures.usage_bytes),
            "all that is charged to it",
        );
        text.number(
            "working set",
            &bytes(figures.working_set_bytes),
            "usage less inactive file: as Kubernetes reckons",
        );
        text.number("anon", &bytes(figures.anon_bytes), "anonymous memory");
        text.number("file", &bytes(figures.file_bytes), "page cache, with tmpfs");
        text.number(
            "inactive file",
            &bytes(figures.inactive_file_bytes),
            "goes first; lazily freed pages are in it",
        );
        text.number(
            "shmem",
            &bytes(figures.shmem_bytes),
            "tmpfs and shared memory",
        );
        text.number("kernel", &bytes(figures.kernel_bytes), "kernel memory");
        text.number("swap", &bytes(figures.swap_bytes), "in use");
        text.number(
            "pglazyfree",
            &number(figures.pglazyfree),
            "pages given to MADV_FREE since it was made",
        );
        text.number(
            "pglazyfreed",
            &number(figures.pglazyfreed),
            "of them taken back by the kernel",
        );
        text.number(
            "limit hits",
            &number(figures.limit_hits),
            "how often usage met the limit",
        );
        text.number(
            "OOM kills",
            &number(figures.oom_kills),
            "processes that were OOM-killed in it",
        );
    }
    text.missing(&info.missing);
    let mut part = pen.part(0, 1, pen.width(), pen.height().saturating_sub(1));
    text.draw(&mut part, state.scroll)
}

/// A row of 40 cells.
fn gauge(percent: u64, unicode: bool) -> String {
    let full = usize::try_from(percent.min(100) * 2 / 5).unwrap_or(0);
    let (on, off) = if unicode { ("█", "░") } else { ("#", ".") };
    format!("{}{}", on.repeat(full), off.repeat(40 - full))
}
