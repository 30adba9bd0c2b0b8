//! What is on every page: the title, the pages, the state of the capture, and the keys.

use ratatui_core::{
    style::{Modifier, Style},
    text::Span,
};

use super::{Page, State, Zoom, pen::Pen, shot::Shot};
use crate::{
    model::Mode,
    text::format::{change, clock, count, size, span},
    timeline::Finished,
};

/// Rows above a page.
pub const ABOVE: u16 = 2;
/// Rows below it.
pub const BELOW: u16 = 3;

/// Above the page.
pub fn above(pen: &mut Pen<'_>, shot: &Shot, state: &State) {
    let look = pen.look;
    pen.row_style(0, look.bar());
    title(pen, shot, state);
    pages(pen, state);
}

/// Who is traced, and when this is: in as many words as there is room for.
fn title(pen: &mut Pen<'_>, shot: &Shot, state: &State) {
    let look = pen.look;
    let target = &shot.account.target;
    let name = format!("{} ({})", look.foreign(&target.comm, 15), target.pid);
    let runtime = target.runtime.as_ref();
    let version = runtime.and_then(|runtime| runtime.version.as_ref().or(runtime.name.as_ref()));
    let version = version.map(|version| format!("  {}", look.foreign(version, 24)));
    let who = [
        format!(" memtrace  {name}{}", version.unwrap_or_default()),
        format!(" memtrace  {name}"),
        format!(" {name}"),
    ];
    let when = moment(shot, state).map(|text| format!("  {text} "));
    // The name of the process matters more than the last part of the time, and this more than the version of what runs in it.
    let choices = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (2, 2)];
    let width = |text: &str| Span::raw(text).width();
    let room = usize::from(pen.width());
    let fitting = choices.into_iter().find_map(|(left, right)| {
        let (who, when) = (who.get(left)?, when.get(right)?);
        (width(who) + width(when) <= room).then_some((who, when))
    });
    let [_, _, name] = &who;
    let [_, _, time] = &when;
    let (who, when) = fitting.unwrap_or((name, time));
    pen.put(0, 0, who, look.bar());
    // The end of a long name matters less than whether the picture stands still.
    pen.put_right(pen.width(), 0, when, look.bar());
}

/// The pages. Where there is no room for their names and numbers, the names stay: tab leads through them. At last the numbers do.
fn pages(pen: &mut Pen<'_>, state: &State) {
    let look = pen.look;
    let text = |with_number: bool, with_name: bool, page: Page, number: usize| match (
        with_number,
        with_name || page == state.page,
    ) {
        (true, true) => format!("{number} {}", page.name()),
        (true, false) => number.to_string(),
        (false, _) => page.name().to_owned(),
    };
    let all = |with_number: bool, with_name: bool| -> Vec<(Page, String)> {
        let pages = Page::ALL.into_iter().zip(1..);
        pages
            .map(|(page, number)| (page, text(with_number, with_name, page, number)))
            .collect()
    };
    let choices =
        [(true, true), (false, true), (true, false)].map(|(number, name)| all(number, name));
    let length = |pages: &[(Page, String)]| -> usize {
        pages.iter().map(|(_, text)| text.chars().count() + 2).sum()
    };
    // Of the two columns behind the last one, one is that before the first.
    let fits = |pages: &&Vec<(Page, String)>| length(pages) <= usize::from(pen.width()) + 1;
    let [.., shortest] = &choices;
    let mut x: u16 = 1;
    for (page, text) in choices.iter().find(fits).unwrap_or(shortest) {
        let style = if *page == state.page {
            look.bold().add_modifier(Modifier::UNDERLINED)
        } else {
            look.dim()
        };
        x = pen.put(x, 1, text, style) + 2;
    }
}

/// Whether the picture stands still, when it is of, and how much time; from many words to few.
fn moment(shot: &Shot, state: &State) -> [String; 3] {
    let now = clock(shot.last_ns);
    let time = match state.until_ns {
        Some(until) if until < shot.last_ns => format!("{} of {now}", clock(until)),
        _ => now,
    };
    let what = match (&shot.ended, state.paused, state.until_ns) {
        (Some(_), ..) => "ended",
        (None, true, _) => "PAUSED",
        (None, false, Some(_)) => "until",
        (None, false, None) => "live",
    };
    let (from, to) = shot.window;
    let length = match state.zoom {
        Zoom::Whole => "whole".to_owned(),
        _ => short(to.saturating_sub(from)),
    };
    let every = match shot.interval_ns % 1_000_000_000 {
        0 => short(shot.interval_ns),
        _ => span(shot.interval_ns),
    };
    [
        format!("{what} {time}  window {length}  every {every}"),
        format!("{what} {time}  {length}"),
        format!("{what} {time}"),
    ]
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

/// How long something that was said stays where the web page's address is else.
const NEWS_NS: u64 = 20_000_000_000;

/// Below the page: what was said or where the web page is, the state of the capture, and the keys.
pub fn below(pen: &mut Pen<'_>, shot: &Shot, address: Option<&str>) {
    let look = pen.look;
    let is_news = |t_ns: u64| shot.last_ns.saturating_sub(t_ns) < NEWS_NS;
    match (shot.said.last(), address) {
        (Some((t_ns, text)), address) if address.is_none() || is_news(*t_ns) => {
            let end = pen.put(1, 0, &clock(*t_ns), look.dim());
            pen.put(end + 2, 0, &look.foreign(text, 300), look.warn());
        }
        (_, Some(address)) => {
            // In a row of its own, so that a click or a double click takes all of it.
            let end = pen.put(1, 0, "page", look.dim());
            pen.put(end + 1, 0, &look.foreign(address, 300), Style::new());
        }
        (_, None) => {}
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
        ("?", "help"),
        ("space", "pause"),
        ("+-", "zoom"),
        (arrows, "time"),
        ("<>", "interval"),
        ("s", "sort"),
        ("w", "save"),
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
