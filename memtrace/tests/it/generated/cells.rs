//! A terminal's cells as SVG. What is made of dots and blocks is drawn, since fonts differ in how wide they have them; words are
//! stretched to the width of their cells.

use std::fmt::Write as _;

use ratatui_core::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// A cell, px.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 17.0;
/// From the top of a cell to the line that letters stand on.
const BASE: f64 = 13.0;
const MARGIN: f64 = 12.0;
const INK: &str = "#e6edf3";
const PAPER: &str = "#0d1117";
/// The first 16 colours, as terminals have them more or less.
const BASIC: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4",
    "#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#f0f6fc",
];

/// What a cell looks like, beside its letter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Style {
    ink: String,
    paper: Option<String>,
    bold: bool,
    dim: bool,
}

fn colour(colour: Color) -> Option<String> {
    let basic = |number: usize| Some(BASIC[number].to_owned());
    match colour {
        Color::Reset => None,
        Color::Black => basic(0),
        Color::Red => basic(1),
        Color::Green => basic(2),
        Color::Yellow => basic(3),
        Color::Blue => basic(4),
        Color::Magenta => basic(5),
        Color::Cyan => basic(6),
        Color::Gray => basic(7),
        Color::DarkGray => basic(8),
        Color::LightRed => basic(9),
        Color::LightGreen => basic(10),
        Color::LightYellow => basic(11),
        Color::LightBlue => basic(12),
        Color::LightMagenta => basic(13),
        Color::LightCyan => basic(14),
        Color::White => basic(15),
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        Color::Indexed(number @ 0..16) => basic(number.into()),
        // A cube of 6 × 6 × 6, and 24 greys.
        Color::Indexed(number @ 16..232) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let place = number - 16;
            let [red, green, blue] = [place / 36, place / 6 % 6, place % 6].map(level);
            Some(format!("#{red:02x}{green:02x}{blue:02x}"))
        }
        Color::Indexed(number) => {
            let grey = 8 + 10 * (number - 232);
            Some(format!("#{grey:02x}{grey:02x}{grey:02x}"))
        }
    }
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let (ink, paper) = (colour(cell.fg), colour(cell.bg));
        let (ink, paper) = if cell.modifier.contains(Modifier::REVERSED) {
            let paper = ink.unwrap_or_else(|| INK.to_owned());
            (Some(PAPER.to_owned()), Some(paper))
        } else {
            (ink, paper)
        };
        Self {
            ink: ink.unwrap_or_else(|| INK.to_owned()),
            paper,
            bold: cell.modifier.contains(Modifier::BOLD),
            dim: cell.modifier.contains(Modifier::DIM),
        }
    }
}

/// The parts of a cell that a letter of dots or blocks fills: x, y, width, height, each of 1.
fn shape(symbol: &str) -> Option<Vec<[f64; 4]>> {
    let mut letters = symbol.chars();
    let (letter, None) = (letters.next()?, letters.next()) else {
        return None;
    };
    let code = u32::from(letter);
    let eighths = |count: u32| f64::from(count) / 8.0;
    match letter {
        // The bits of a letter of Braille, from the lowest: down the left column, down the right one, then the last row.
        '\u{2800}'..='\u{28ff}' => {
            const DOTS: [(f64, f64); 8] = [
                (0.0, 0.0),
                (0.0, 1.0),
                (0.0, 2.0),
                (1.0, 0.0),
                (1.0, 1.0),
                (1.0, 2.0),
                (0.0, 3.0),
                (1.0, 3.0),
            ];
            let dots = DOTS
                .iter()
                .enumerate()
                .filter(|(bit, _)| code >> bit & 1 == 1);
            Some(
                dots.map(|(_, (x, y))| [x / 2.0 + 0.06, y / 4.0 + 0.03, 0.36, 0.19])
                    .collect(),
            )
        }
        '▀' => Some(vec![[0.0, 0.0, 1.0, 0.5]]),
        '▁'..='█' => {
            let high = eighths(code - 0x2580);
            Some(vec![[0.0, 1.0 - high, 1.0, high]])
        }
        '▉'..='▏' => Some(vec![[0.0, 0.0, eighths(0x2590 - code), 1.0]]),
        '▐' => Some(vec![[0.5, 0.0, 0.5, 1.0]]),
        '▔' => Some(vec![[0.0, 0.0, 1.0, 0.125]]),
        '▕' => Some(vec![[0.875, 0.0, 0.125, 1.0]]),
        '─' => Some(vec![[0.0, 0.47, 1.0, 0.06]]),
        '│' => Some(vec![[0.44, 0.0, 0.12, 1.0]]),
        _ => None,
    }
}

fn number(value: f64) -> String {
    ((value * 100.0).round() / 100.0).to_string()
}

fn place(column: u16, row: u16) -> (f64, f64) {
    (
        MARGIN + WIDTH * f64::from(column),
        MARGIN + HEIGHT * f64::from(row),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Cells in a row that look alike.
struct Run {
    column: u16,
    cells: u16,
    style: Style,
    text: String,
    path: String,
}

impl Run {
    fn draw(&self, svg: &mut String, row: u16) {
        let Self { style, .. } = self;
        let (x, y) = place(self.column, row);
        let wide = WIDTH * f64::from(self.cells);
        if let Some(paper) = &style.paper {
            let (x, y, wide) = (number(x), number(y), number(wide));
            let _ = writeln!(
                svg,
                r#"<rect x="{x}" y="{y}" width="{wide}" height="{HEIGHT}" fill="{paper}"/>"#
            );
        }
        let dim = if style.dim { r#" opacity="0.6""# } else { "" };
        let ink = &style.ink;
        if !self.path.is_empty() {
            let _ = writeln!(svg, r#"<path d="{}" fill="{ink}"{dim}/>"#, self.path);
        }
        let bold = if style.bold {
            r#" font-weight="bold""#
        } else {
            ""
        };
        let fill = if ink == INK {
            String::new()
        } else {
            format!(r#" fill="{ink}""#)
        };
        let mut column = 0;
        for word in words(&self.text) {
            let count = word.chars().count();
            if !word.starts_with(' ') {
                let from = number(x + WIDTH * column as f64);
                let (base, wide) = (number(y + BASE), number(WIDTH * count as f64));
                let _ = writeln!(
                    svg,
                    r#"<text x="{from}" y="{base}" textLength="{wide}" lengthAdjust="spacingAndGlyphs"{fill}{bold}{dim}>{}</text>"#,
                    escaped(word)
                );
            }
            column += count;
        }
    }
}

/// Words, and the spaces between them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter| (letter == ' ') != (first == ' '));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = after;
    }
    words
}

fn runs(buffer: &Buffer, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..buffer.area.width {
        let cell = &buffer[(column, row)];
        let style = Style::of(cell);
        if runs.last().is_none_or(|run| run.style != style) {
            runs.push(Run {
                column,
                cells: 0,
                style,
                text: String::new(),
                path: String::new(),
            });
        }
        let Some(run) = runs.last_mut() else {
            continue;
        };
        run.cells += 1;
        let Some(parts) = shape(cell.symbol()) else {
            run.text.push_str(cell.symbol());
            continue;
        };
        run.text.push(' ');
        let (x, y) = place(column, row);
        for [left, top, wide, high] in parts {
            let (wide, high) = (number(WIDTH * wide), number(HEIGHT * high));
            let (left, top) = (number(x + WIDTH * left), number(y + HEIGHT * top));
            let _ = write!(run.path, "M{left} {top}h{wide}v{high}h-{wide}z");
        }
    }
    runs
}

/// Draws them. `title` is what is said to who cannot see it.
pub fn svg(buffer: &Buffer, title: &str) -> String {
    let (right, bottom) = place(buffer.area.width, buffer.area.height);
    let (wide, high) = (number(right + MARGIN), number(bottom + MARGIN));
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" fill="{INK}" xml:space="preserve">
<title>{}</title>
<rect width="{wide}" height="{high}" rx="8" fill="{PAPER}"/>
"#,
        escaped(title)
    );
    for row in 0..buffer.area.height {
        for run in runs(buffer, row) {
            run.draw(&mut svg, row);
        }
    }
    svg.push_str("</svg>\n");
    svg
}
