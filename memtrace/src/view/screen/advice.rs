//! What was asked for with each advice, and what RSS really moved.

use ratatui_core::style::Style;

use super::{pen::Pen, rows::rows, shot::Shot, state::State, table::bar};
use crate::text::{
    format::{change, count, size, span},
    wrapped,
};

const COLUMNS: [(&str, u16); 6] = [
    ("calls", 8),
    ("failed", 8),
    ("requested", 11),
    ("moved", 10),
    ("interval", 10),
    ("per call", 10),
];
const NOTES: [&str; 2] = [
    "requested: what successful calls were about. moved: what RSS gained or lost by them.",
    "MADV_FREE moves nothing at the call: the kernel takes the pages when it needs memory.",
];
/// A longer bar says no more.
const LONGEST_BAR: u16 = 41;

/// Draws it; says how far it can be moved.
pub fn advice(pen: &mut Pen<'_>, shot: &Shot, state: &State) -> u16 {
    let look = pen.look;
    let mut pen = pen.part(
        1,
        1,
        pen.width().saturating_sub(2),
        pen.height().saturating_sub(1),
    );
    let all = rows(shot, state.sort);
    let all: Vec<_> = all
        .iter()
        .filter(|row| row.total.is_some_and(|row| row.advice.is_some()))
        .collect();
    let name = (pen.width() / 4).clamp(16, 34);
    pen.put(0, 0, "advice", look.bold());
    let mut x = name;
    for (title, width) in COLUMNS {
        x += width;
        pen.put_right(x, 0, title, look.bold());
    }
    let bars = pen.width().saturating_sub(x + 2).min(LONGEST_BAR);
    if all.is_empty() {
        pen.put(0, 1, "no advice was given so far", look.dim());
    }
    let room = usize::from(pen.height().saturating_sub(6));
    let most = u16::try_from(all.len().saturating_sub(room)).unwrap_or(u16::MAX);
    let largest = all
        .iter()
        .filter_map(|row| row.total_bytes())
        .map(i64::unsigned_abs)
        .max();
    let skip = usize::from(state.scroll.min(most));
    let mut y = 1;
    for row in all.iter().skip(skip).take(room) {
        let Some(total) = row.total else {
            continue;
        };
        pen.put_name(0, y, name.saturating_sub(1), &row.name);
        let per_call = total.time_ns.zip(total.calls);
        let values = [
            total.calls.map(count),
            total.failed_calls.map(count),
            total.requested_bytes.map(size),
            row.total_bytes().map(change),
            row.interval_bytes().map(change),
            per_call
                .and_then(|(ns, calls)| ns.checked_div(calls))
                .map(short),
        ];
        let mut x = name;
        for ((_, width), value) in COLUMNS.into_iter().zip(values) {
            x += width;
            let is_nothing = value.as_ref().is_none_or(|value| value == "0");
            let style = if is_nothing { look.dim() } else { Style::new() };
            pen.put_right(x, y, value.as_deref().unwrap_or("-"), style);
        }
        if let Some(bytes) = row.total_bytes() {
            bar(&mut pen, x + 2, y, bars, bytes, largest.unwrap_or(0));
        }
        y += 1;
    }
    let width = usize::from(pen.width()).max(20);
    let notes = NOTES.iter().flat_map(|note| wrapped(note, width));
    for (note, line) in notes.zip(y + 1..) {
        pen.put(0, line, &note, look.dim());
    }
    most
}

fn short(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} µs", ns / 1000),
        _ => span(ns),
    }
}
