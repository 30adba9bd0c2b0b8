//! What the screen may use: colours, and letters for its lines.

use crate::text::Foreign;
use ratatui_core::style::{Color, Modifier, Style};

use crate::timeline::figures::{Figure, GO_HEAP_INUSE, GO_HEAP_RELEASED, RSS, RSS_LESS_LAZYFREE};

/// Colours of the terminal. The background is always the terminal's own, so each must be seen on a dark one and on a light one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// None: `NO_COLOR`, `--color never`, or a terminal that has none. Bold and dim stay.
    Mono,
    /// The eight of the terminal's own theme.
    Eight,
    /// The 256 of xterm, of which those of the cube are the same everywhere. Those that are used stand out from white and from black by
    /// 3.3 to 1 or more, measured as WCAG 2 does.
    Many,
}

/// What is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub palette: Palette,
    /// Whether the terminal shows more than ASCII.
    pub unicode: bool,
}

/// A line of the chart: those figures that charts always show, in the order in which they hide each other. The first is on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// RSS less `LazyFree`.
    Held,
    /// RSS.
    Rss,
    /// Go's `HeapInuse`.
    HeapInuse,
    /// Go's `HeapReleased`.
    HeapReleased,
}

impl Series {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Held, Self::Rss, Self::HeapInuse, Self::HeapReleased];

    /// Returns the figure that it shows.
    #[must_use]
    pub const fn figure(self) -> &'static Figure {
        match self {
            Self::Held => &RSS_LESS_LAZYFREE,
            Self::Rss => &RSS,
            Self::HeapInuse => &GO_HEAP_INUSE,
            Self::HeapReleased => &GO_HEAP_RELEASED,
        }
    }

    /// Returns its name in the legend, which has little room.
    #[must_use]
    pub fn name(self, look: Look) -> String {
        let minus = if look.unicode { "−" } else { "-" };
        self.figure().short_title().replace(" - ", minus)
    }
}

impl Look {
    /// What the environment says that the terminal can do. `colours`: whether they are wanted at all.
    #[must_use]
    pub fn of(colours: bool, term: &str, colorterm: &str, locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        // The console's font has neither dots nor all of the blocks.
        let unicode = (locale.contains("utf-8") || locale.contains("utf8")) && term != "linux";
        let palette = if !colours || term.starts_with("vt1") || term.starts_with("vt2") {
            Palette::Mono
        } else if term.contains("256color") || term.contains("direct") || !colorterm.is_empty() {
            Palette::Many
        } else {
            Palette::Eight
        };
        Self { palette, unicode }
    }

    const fn colour(self, eight: Color, many: u8) -> Style {
        match self.palette {
            Palette::Mono => Style::new(),
            Palette::Eight => Style::new().fg(eight),
            Palette::Many => Style::new().fg(Color::Indexed(many)),
        }
    }

    /// A line of the chart, and its name.
    #[must_use]
    pub const fn series(self, series: Series) -> Style {
        match series {
            // Blue of the eight is next to black on many terminals.
            Series::Rss => self.colour(Color::Reset, 32),
            Series::Held => self.colour(Color::Green, 28),
            Series::HeapInuse => self.colour(Color::Magenta, 169),
            Series::HeapReleased => self.colour(Color::Yellow, 136),
        }
    }

    /// A line's name. Of the eight colours only some can be read on any background.
    #[must_use]
    pub const fn name(self, series: Series) -> Style {
        match self.palette {
            Palette::Eight => Style::new(),
            Palette::Mono | Palette::Many => self.series(series),
        }
    }

    /// How a line is drawn where colours do not tell it from others: a letter of its own.
    #[must_use]
    pub const fn letter(self, series: Series) -> char {
        match (series, self.unicode) {
            (Series::Rss, true) => '•',
            (Series::Rss, false) => '*',
            (Series::Held, _) => '+',
            (Series::HeapInuse, _) => 'o',
            (Series::HeapReleased, true) => '×',
            (Series::HeapReleased, false) => 'x',
        }
    }

    /// Whether lines are drawn with dots, eight to a cell.
    #[must_use]
    pub const fn dots(self) -> bool {
        self.unicode && !matches!(self.palette, Palette::Mono)
    }

    /// RSS that rose.
    #[must_use]
    pub const fn rise(self) -> Style {
        self.colour(Color::Reset, 32)
    }

    /// RSS that fell.
    #[must_use]
    pub const fn fall(self) -> Style {
        self.colour(Color::Green, 28)
    }

    /// What is right.
    #[must_use]
    pub const fn good(self) -> Style {
        self.colour(Color::Reset, 28)
    }

    /// What is not quite.
    #[must_use]
    pub const fn warn(self) -> Style {
        self.colour(Color::Magenta, 136)
    }

    /// What is not.
    #[must_use]
    pub const fn bad(self) -> Style {
        self.colour(Color::Red, 196).add_modifier(Modifier::BOLD)
    }

    /// Headlines.
    #[must_use]
    pub const fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What does not matter.
    #[must_use]
    pub const fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The title's bar, and the keys of the footer.
    #[must_use]
    pub const fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A text that another program chose; at most so many characters.
    #[must_use]
    pub fn foreign(self, text: impl Into<Foreign>, width: usize) -> String {
        self.plain(&text.into().shown(width))
    }

    /// A text in the letters that the terminal has.
    #[must_use]
    pub fn plain(self, text: &str) -> String {
        if self.unicode || text.is_ascii() {
            return text.to_owned();
        }
        let letters = text.chars().map(|letter| match letter {
            '−' | '–' => '-',
            '·' | '•' => '*',
            '×' => 'x',
            '…' => '~',
            'µ' => 'u',
            _ if letter.is_ascii() => letter,
            _ => '?',
        });
        letters.collect()
    }
}
