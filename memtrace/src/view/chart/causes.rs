//! Causes: what each moved, in bars that add up, and what is worth a mark.

use std::{cmp::Reverse, fmt::Write as _};

use crate::timeline::{CauseName, History, Moved, Span};

/// A cause, and what it moved in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Place in [`History::names`].
    pub name: u16,
    /// What RSS gained by it, bytes: the sum of the bars' parts above 0.
    pub gained: i128,
    /// What RSS lost by it: the sum of those below, not above 0.
    pub lost: i128,
}

/// Part of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Place in [`History::names`].
    pub name: u16,
    /// What it moved, bytes; never 0.
    pub bytes: i128,
    /// Where the part begins: the sum of those of the same sign before it.
    pub from: i128,
}

/// What moved in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Since, ns since the start of the capture.
    pub from_ns: u64,
    /// Until.
    pub to_ns: u64,
    /// By cause, stacked upwards and downwards from 0.
    pub parts: Vec<Part>,
}

/// The change of RSS by cause, in at most `most` bars. What the parts of a cause add up to is what the capture's ticks add up to.
#[must_use]
pub fn bars(history: &History, most: usize) -> Vec<Bar> {
    let spans = history.spans(0, u64::MAX, most);
    spans.iter().map(bar).collect()
}

fn bar(span: &Span) -> Bar {
    let (mut up, mut down) = (0, 0);
    let moved = span.causes.iter();
    let parts = moved.filter_map(|moved: &Moved| {
        let bytes = i128::from(moved.rss_delta_bytes?);
        let end = match bytes {
            0 => return None,
            1.. => &mut up,
            _ => &mut down,
        };
        let from = *end;
        *end += bytes;
        Some(Part {
            name: moved.name,
            bytes,
            from,
        })
    });
    Bar {
        parts: parts.collect(),
        from_ns: span.from_ns,
        to_ns: span.t_ns,
    }
}

/// The causes that moved anything in the bars, those that moved most first.
#[must_use]
pub fn ranked(bars: &[Bar]) -> Vec<Ranked> {
    let mut found: Vec<Ranked> = Vec::new();
    for part in bars.iter().flat_map(|bar| &bar.parts) {
        let place = found.iter().position(|ranked| ranked.name == part.name);
        let place = place.unwrap_or_else(|| {
            found.push(Ranked {
                name: part.name,
                gained: 0,
                lost: 0,
            });
            found.len() - 1
        });
        if let Some(ranked) = found.get_mut(place) {
            ranked.gained += part.bytes.max(0);
            ranked.lost += part.bytes.min(0);
        }
    }
    found.sort_by_key(|ranked| (Reverse(ranked.gained - ranked.lost), ranked.name));
    found
}

/// The spans in which memory was given back that is worth a mark, at most `most`, in the order of time: the span's end, the cause,
/// bytes, and whether RSS fell by it (else it was only asked for, with `MADV_FREE`). `least` is what is worth one.
#[must_use]
pub fn releases(history: &History, least: i128, most: usize) -> Vec<(u64, u16, i128, bool)> {
    let mut found = Vec::new();
    for span in history.spans(0, u64::MAX, usize::MAX) {
        for moved in &span.causes {
            let name = history.names().get(usize::from(moved.name));
            let is_lazy =
                name.is_some_and(|name| name.advice.as_ref().is_some_and(|it| *it == "MADV_FREE"));
            let is_end = name.is_some_and(|name| matches!(name.cause.name(), "exec" | "exit"));
            let fell = -i128::from(moved.rss_delta_bytes.unwrap_or(0));
            if is_lazy {
                let asked = i128::from(moved.requested_bytes.unwrap_or(0));
                found.push((span.t_ns, moved.name, asked, false));
            } else if !is_end {
                found.push((span.t_ns, moved.name, fell, true));
            }
        }
    }
    found.retain(|&(_, _, bytes, _)| bytes > 0 && bytes >= least);
    found.sort_by_key(|&(t_ns, _, bytes, _)| (Reverse(bytes), t_ns));
    found.truncate(most);
    found.sort_by_key(|&(t_ns, ..)| t_ns);
    found
}

/// What was asked for with `MADV_FREE` by causes that have moved nothing, which is what they do at once.
pub fn asked(history: &History) -> impl Iterator<Item = (u16, i128)> {
    let whole = history.spans(0, u64::MAX, 1).into_iter();
    let moved = whole.flat_map(|span| span.causes);
    moved.filter_map(|moved| {
        let name = history.names().get(usize::from(moved.name))?;
        let is_lazy = name.advice.as_ref().is_some_and(|it| *it == "MADV_FREE");
        let asked = moved.requested_bytes.filter(|&bytes| bytes > 0)?;
        (is_lazy && moved.rss_delta_bytes == Some(0)).then(|| (moved.name, i128::from(asked)))
    })
}

impl CauseName {
    /// In a line: `madvise FREE`, `reclaim kswapd0`. Harmless, and short.
    #[must_use]
    pub fn label(&self) -> String {
        let mut name = self.cause.name().to_owned();
        let advice = self.advice.as_ref().map(|advice| advice.without("MADV_"));
        for part in advice.iter().chain(&self.task) {
            let _ = write!(name, " {part:.20}");
        }
        name
    }
}
