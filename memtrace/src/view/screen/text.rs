//! Pages of text, which may be longer than the screen.

use crate::text::Foreign;
use ratatui_core::{
    style::Style,
    text::{Line, Span},
};

use super::{Look, pen::Pen};
use crate::{model::Missing, text::wrapped};

/// Columns of a name.
const NAME: usize = 18;
/// Most columns of the name of what is not known.
const LONGEST_NAME: usize = 32;
/// A text from outside may be of any length.
const LONGEST: usize = 600;
/// Lines longer than this are hard to read.
const WIDEST: usize = 110;

/// Lines that are put together one by one.
pub struct Text {
    lines: Vec<Line<'static>>,
    look: Look,
    width: usize,
}

impl Text {
    /// An empty one, for so many columns.
    #[must_use]
    pub fn new(look: Look, width: u16) -> Self {
        Self {
            lines: Vec::new(),
            look,
            width: usize::from(width).clamp(30, WIDEST),
        }
    }

    /// A headline, after an empty line where it is not the first.
    pub fn head(&mut self, title: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines
            .push(Line::styled(self.look.plain(title), self.look.bold()));
    }

    /// A name, and text that hangs behind it. All of it may come from outside.
    pub fn entry(&mut self, name: impl Into<Foreign>, text: impl Into<Foreign>) {
        self.styled(name, text, Style::new());
    }

    /// The same in a style.
    pub fn styled(&mut self, name: impl Into<Foreign>, text: impl Into<Foreign>, style: Style) {
        self.hanging(name, NAME, text, style);
    }

    /// The same, with so many columns for the name.
    fn hanging(
        &mut self,
        name: impl Into<Foreign>,
        columns: usize,
        text: impl Into<Foreign>,
        style: Style,
    ) {
        let name = self.look.foreign(name, columns - 1);
        let text = self.look.foreign(text, LONGEST);
        let rows = wrapped(&text, self.width.saturating_sub(columns + 1).max(10));
        for (row, number) in rows.into_iter().zip(0..) {
            let shown = if number == 0 { name.as_str() } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(format!(" {shown:<columns$}"), self.look.dim()),
                Span::styled(row, style),
            ]));
        }
    }

    /// A name, a number in a column, and a note.
    pub fn number(&mut self, name: &str, value: &str, note: &str) {
        let name = self.look.foreign(name, NAME - 1);
        self.lines.push(Line::from(vec![
            Span::raw(format!(" {name:<NAME$}")),
            Span::styled(format!("{value:>9}"), self.look.bold()),
            Span::styled(format!("  {}", self.look.plain(note)), self.look.dim()),
        ]));
    }

    /// A paragraph.
    pub fn note(&mut self, text: impl Into<Foreign>) {
        let text = self.look.foreign(text, LONGEST);
        for row in wrapped(&text, self.width.saturating_sub(1)) {
            self.lines
                .push(Line::styled(format!(" {row}"), self.look.dim()));
        }
    }

    /// What could not be had.
    pub fn missing(&mut self, missing: &[Missing]) {
        if missing.is_empty() {
            return;
        }
        self.head("not known");
        let longest = missing
            .iter()
            .map(|missing| missing.what.to_string().chars().count());
        let columns = (longest.max().unwrap_or(0) + 2).clamp(NAME, LONGEST_NAME);
        for missing in missing {
            self.hanging(&missing.what, columns, &missing.why, Style::new());
        }
    }

    /// Lines that were made elsewhere.
    pub fn extend(&mut self, lines: Vec<Line<'static>>) {
        self.lines.extend(lines);
    }

    /// Draws from the `scroll`th line on; says how far it can be moved.
    pub fn draw(self, pen: &mut Pen<'_>, scroll: u16) -> u16 {
        let all = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        let is_longer = all > pen.height();
        // Where it is longer than the screen, the last row says so.
        let room = pen.height().saturating_sub(u16::from(is_longer));
        let most = all.saturating_sub(room);
        let first = scroll.min(most);
        let shown = self.lines.iter().skip(usize::from(first));
        for (line, y) in shown.zip(0..room) {
            pen.line(1, y, line);
        }
        if is_longer {
            let last = first.saturating_add(room);
            let text = format!("lines {} to {last} of {all}: up, down", first + 1);
            pen.put_right(pen.width(), room, &text, self.look.dim());
        }
        most
    }
}
