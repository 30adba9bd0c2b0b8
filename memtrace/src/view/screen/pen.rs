//! Writing into a part of the screen, never beyond it.

use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::Look;

/// Draws in one part of the screen. Places are counted from its corner; what does not fit is not drawn.
pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    /// The part.
    pub area: Rect,
    /// With what.
    pub look: Look,
}

impl<'a> Pen<'a> {
    /// One for a part of a buffer.
    pub fn new(buffer: &'a mut Buffer, area: Rect, look: Look) -> Self {
        let area = area.intersection(*buffer.area());
        Self { buffer, area, look }
    }

    /// One for a part of this part: so many rows from `y` on.
    pub fn rows(&mut self, y: u16, rows: u16) -> Pen<'_> {
        self.part(0, y, self.area.width, rows)
    }

    /// One for a part of this part.
    pub fn part(&mut self, x: u16, y: u16, width: u16, height: u16) -> Pen<'_> {
        let x = x.min(self.area.width);
        let y = y.min(self.area.height);
        let area = Rect {
            x: self.area.x + x,
            y: self.area.y + y,
            width: width.min(self.area.width - x),
            height: height.min(self.area.height - y),
        };
        Pen {
            buffer: self.buffer,
            area,
            look: self.look,
        }
    }

    /// Columns.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.area.width
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> u16 {
        self.area.height
    }

    /// Writes, and says where it ended.
    pub fn put(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        self.put_within(x, y, self.area.width.saturating_sub(x), text, style)
    }

    /// Writes into so many columns, and says where it ended.
    pub fn put_within(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let width = width.min(self.area.width.saturating_sub(x));
        if y >= self.area.height || width == 0 {
            return x;
        }
        let text = self.look.plain(text);
        let (left, top) = (self.area.x + x, self.area.y + y);
        let (end, _) = self
            .buffer
            .set_stringn(left, top, &text, usize::from(width), style);
        end.saturating_sub(self.area.x)
    }

    /// Writes a name into so many columns. One that does not fit shows that by its last letter.
    pub fn put_name(&mut self, x: u16, y: u16, width: u16, name: &str) {
        let end = self.put_within(x, y, width, name, Style::new());
        let whole = Span::raw(self.look.plain(name)).width();
        if whole > usize::from(width)
            && end > x
            && let Some(mark) = self.look.plain("…").chars().next()
        {
            self.letter(end - 1, y, mark, Style::new());
        }
    }

    /// Writes so that it ends before column `end`.
    pub fn put_right(&mut self, end: u16, y: u16, text: &str, style: Style) {
        let text = self.look.plain(text);
        let width = u16::try_from(Span::raw(text.as_str()).width()).unwrap_or(u16::MAX);
        if width <= end {
            self.put(end - width, y, &text, style);
        }
    }

    /// Writes a line.
    pub fn line(&mut self, x: u16, y: u16, line: &Line<'_>) {
        let mut x = x;
        for span in &line.spans {
            x = self.put(x, y, &span.content, line.style.patch(span.style));
        }
    }

    /// One letter.
    pub fn letter(&mut self, x: u16, y: u16, letter: char, style: Style) {
        if x < self.area.width
            && y < self.area.height
            && let Some(cell) = self.buffer.cell_mut((self.area.x + x, self.area.y + y))
        {
            cell.set_char(letter).set_style(style);
        }
    }

    /// A style for a row.
    pub fn row_style(&mut self, y: u16, style: Style) {
        if y < self.area.height {
            let row = Rect {
                y: self.area.y + y,
                height: 1,
                ..self.area
            };
            self.buffer.set_style(row, style);
        }
    }
}
