//! The keys, and what the columns are.

use super::{pen::Pen, state::State, text::Text};

/// All keys.
const KEYS: [(&str, &str); 16] = [
    (
        "q, Ctrl-C",
        "end the capture, and print the report; once more: end memtrace at once",
    ),
    (
        "space, p",
        "let the figures stand still; the capture goes on",
    ),
    ("+  -", "show less time, more time"),
    (
        "0  a",
        "show everything; show as much as there is, up to 5 min",
    ),
    (
        "left  right",
        "back and forth in time, by a quarter of what is seen",
    ),
    ("home  end", "to the start; to the present, following it"),
    (
        "y",
        "let the chart begin at 0 bytes, or at the lowest that is seen",
    ),
    ("<  >", "take ticks more often, less often"),
    (
        "s",
        "sort causes by the next column; the headline of that is underlined",
    ),
    (
        "w",
        "write a capture of everything so far, memtrace-PID-TIME.json, here",
    ),
    ("1 to 7, tab", "another page"),
    (
        "up  down",
        "move the page, where it is longer than the screen; page up, page down",
    ),
    ("esc", "to the overview, and to the present"),
    ("?  h", "this page, and back"),
    ("Ctrl-L", "draw everything anew"),
    (
        "Ctrl-Z",
        "stop memtrace; fg in the shell goes on. Meanwhile there are no ticks: a gap",
    ),
];

/// Draws it; says how far it can be moved.
pub fn help(pen: &mut Pen<'_>, state: &State, address: Option<&str>) -> u16 {
    let mut text = Text::new(pen.look, pen.width().saturating_sub(2));
    if let Some(address) = address {
        text.head("the page for a browser");
        // As wide as may be, so that it stays whole to be copied.
        text.note(address);
    }
    text.head("keys");
    for (keys, what) in KEYS {
        text.entry(keys, what);
    }
    text.head("what is shown");
    text.entry(
        "interval",
        "what RSS moved at the last tick; where the chart ends in the past, at the tick there",
    );
    text.entry(
        "window",
        "in the time that the chart shows; on wide screens",
    );
    text.entry("total", "since the start, or since the last exec");
    text.entry("RSS−LazyFree", "what the program holds. LazyFree is read now and then, since that takes locks of the process: dots lead from one reading to the next. Where its figure is dim, it is older than 2 s");
    text.entry(
        "lines in one place",
        "where lines meet in a cell, each has it in turn",
    );
    text.entry("-", "not known");
    text.entry(
        "~",
        "sampled, and may be off by the bound in the last line but one",
    );
    text.entry(
        "gaps",
        "ticks further apart than twice the interval: the line is broken there",
    );
    let mut part = pen.part(0, 1, pen.width(), pen.height().saturating_sub(1));
    text.draw(&mut part, state.scroll)
}
