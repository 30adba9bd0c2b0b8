//! What is on every page: the title, the pages, the state of the capture, and the keys.

use ratatui::style::{Modifier, Style};

use super::{Page, State, Zoom, pen::Pen, shot::Shot};
use crate::{
    timeline::{Finished, Mode},
    view::format::{change, clock, count, size, span},
};

/// Rows above a page.
pub const ABOVE: u16 = 2;
/// Rows below it.
pub const BELOW: u16 = 3;

/// Above the page.
pub fn above(pen: &mut Pen<'_>, shot: &Shot, state: &State) {
    let look = pen.look;
    pen.row_style(0, look.bar());
    let target = &shot.account.target;
    let mut title = format!(
        " memtrace  {} ({})",
        look.foreign(&target.comm, 15),
        target.pid
    );
    let runtime = target.runtime.as_ref();
    let version = runtime.and_then(|runtime| runtime.version.as_ref().or(runtime.name.as_ref()));
    if let Some(version) = version {
        title.push_str("  ");
        title.push_str(&look.foreign(version, 24));
    }
    let end = pen.put(0, 0, &title, look.bar());
    let text = format!("{} ", moment(shot, state));
    let length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
    if end + 2 + length <= pen.width() {
        pen.put_right(pen.width(), 0, &text, look.bar());
    } else {
        // The end of a long name matters less than whether the picture stands still.
        let text = format!(" {text}");
        pen.put_right(pen.width(), 0, &text, look.bar());
    }
    let mut x: u16 = 1;
    for (page, number) in Page::ALL.into_iter().zip(1..) {
        let style = if page == state.page {
            look.bold().add_modifier(Modifier::UNDERLINED)
        } else {
            look.dim()
        };
        x = pen.put(x, 1, &format!("{number} {}", page.name()), style) + 2;
    }
}

fn moment(shot: &Shot, state: &State) -> String {
    let now = clock(shot.last_ns);
    let every = format!("every {}", span(shot.interval_ns));
    let (from, to) = shot.window;
    let length = match state.zoom {
        Zoom::Whole => "whole".to_owned(),
        _ => short(to.saturating_sub(from)),
    };
    let what = match (&shot.ended, state.paused, state.until_ns) {
        (Some(_), ..) => "ended".to_owned(),
        (None, true, _) => "PAUSED".to_owned(),
        (None, false, Some(until)) => format!("until {}", clock(until)),
        (None, false, None) => "live".to_owned(),
    };
    format!("{what}  {now}  {length}  {every}")
}

/// A length of time without needless parts: `20 s`, `5 min`, `2 h`.
fn short(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        _ => format!("{} h", s / 3600),
    }
}

/// Below the page: what was said, the state of the capture, and the keys.
pub fn below(pen: &mut Pen<'_>, shot: &Shot) {
    let look = pen.look;
    if let Some((t_ns, text)) = shot.said.last() {
        let end = pen.put(1, 0, &clock(*t_ns), look.dim());
        pen.put(end + 2, 0, &look.foreign(text, 300), look.warn());
    }
    let mut x: u16 = 1;
    for (text, style) in state(shot, pen) {
        let length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        if x.saturating_add(length) > pen.width() {
            break;
        }
        x = pen.put(x, 1, &text, style) + 2;
    }
    let arrows = if look.unicode { "←→" } else { "arrows" };
    let keys = [
        ("q", "quit"),
        ("space", "pause"),
        ("+-", "zoom"),
        (arrows, "scroll"),
        ("<>", "interval"),
        ("s", "sort"),
        ("w", "save"),
        ("?", "help"),
        ("tab", "pages"),
    ];
    let mut x: u16 = 1;
    for (key, what) in keys {
        let length = key.chars().count() + 1 + what.chars().count();
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if x.saturating_add(length) > pen.width() {
            break;
        }
        x = pen.put(x, 2, key, look.bold()) + 1;
        x = pen.put(x, 2, what, look.dim()) + 2;
    }
}

/// The capture's own state, the most important first.
fn state(shot: &Shot, pen: &Pen<'_>) -> Vec<(String, Style)> {
    let look = pen.look;
    let capture = &shot.account.capture;
    let summary = &shot.account.summary;
    let mut parts = Vec::new();
    match &shot.ended {
        Some(Finished::With(error)) => parts.push((look.foreign(error, 120), look.bad())),
        Some(Finished::Regularly(_)) | None => {}
    }
    match (capture.mode, summary.rss_sampling_bound_bytes) {
        (Mode::Exact, _) => parts.push(("exact".to_owned(), look.good())),
        (Mode::Approximate, Some(bound)) => {
            parts.push((format!("approximate ±{}", size(bound)), look.warn()));
        }
        (Mode::Approximate, None) => parts.push(("approximate".to_owned(), look.warn())),
    }
    let counted = |what: &str, number: u64| {
        let style = if number == 0 { look.dim() } else { look.bad() };
        (format!("{what} {}", count(number)), style)
    };
    parts.push(counted("lost", capture.lost_events));
    if capture.mode == Mode::Exact {
        parts.push(
            match (summary.unexplained_bytes, summary.unexplained_bound_bytes) {
                (Some(0), _) => ("unexplained 0 B".to_owned(), look.dim()),
                (Some(bytes), Some(0)) => (format!("unexplained {}", change(bytes)), look.bad()),
                (Some(bytes), bound) => (
                    format!(
                        "unexplained {} ±{}",
                        change(bytes),
                        size(bound.unwrap_or(0))
                    ),
                    look.warn(),
                ),
                (None, _) => ("unexplained -".to_owned(), look.dim()),
            },
        );
    }
    let gap_ns = shot.total.as_ref().map_or(0, |total| total.gap_ns);
    parts.push(match shot.gaps {
        0 => ("gaps 0".to_owned(), look.dim()),
        gaps => (format!("gaps {gaps} ({})", span(gap_ns)), look.bad()),
    });
    let missing = capture
        .hooks
        .iter()
        .filter(|hook| hook.kind.is_none())
        .count();
    if missing > 0 {
        parts.push((format!("{missing} not hooked"), look.warn()));
    }
    let cpu = shot
        .cpu_percent()
        .map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}%"));
    let rss = shot.own.rss_bytes.map_or_else(|| "-".to_owned(), size);
    parts.push((format!("memtrace: CPU {cpu} RSS {rss}"), look.dim()));
    parts
}
