//! Text that is painted for a terminal's scrollback, as lines of the screen: so what the report says is written once.

use ratatui_core::{
    style::Style,
    text::{Line, Span},
};

use super::Look;

/// The lines of a text with the styles of `view::format`. Whatever else it came with was made harmless before it was painted.
#[must_use]
pub fn lines(text: &str, look: Look) -> Vec<Line<'static>> {
    text.lines().map(|line| one(line, look)).collect()
}

fn one(text: &str, look: Look) -> Line<'static> {
    let mut line = Line::default();
    let mut style = Style::new();
    let mut pieces = text.split('\u{1b}');
    let mut push = |text: &str, style: Style| {
        if !text.is_empty() {
            line.push_span(Span::styled(look.plain(text), style));
        }
    };
    push(pieces.next().unwrap_or_default(), style);
    for piece in pieces {
        let (code, text) = piece.split_once('m').unwrap_or((piece, ""));
        style = match code.trim_start_matches('[') {
            "1" => style.patch(look.bold()),
            "2" => style.patch(look.dim()),
            "31" => style.patch(look.bad()),
            "32" => style.patch(look.good()),
            "33" => style.patch(look.warn()),
            _ => Style::new(),
        };
        push(text, style);
    }
    line
}
