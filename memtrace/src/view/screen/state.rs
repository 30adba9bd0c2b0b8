//! What keys do: they change what is shown, or ask the capture for something.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter.
    Char(char),
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Tab.
    Tab,
    /// Shift and tab.
    BackTab,
    /// Escape.
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// What a key asks for, beyond what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To be drawn anew.
    Draw,
    /// All of the terminal, whatever is on it.
    Redraw,
    /// The capture's end.
    Quit,
    /// To stop until the shell goes on with it.
    Suspend,
    /// A capture file of everything so far.
    Save,
    /// Another time between ticks.
    Interval(Duration),
    /// Nothing.
    None,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// A bit of everything.
    Overview,
    /// The ledger.
    Causes,
    /// What was asked for with each advice, and what it moved.
    Advice,
    /// What runs in the process.
    Runtime,
    /// Its memory cgroup.
    Cgroup,
    /// The answer as it stands now.
    Answer,
    /// The keys.
    Help,
}

impl Page {
    /// All of them, in the order of their numbers, from 1.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::Causes,
        Self::Advice,
        Self::Runtime,
        Self::Cgroup,
        Self::Answer,
        Self::Help,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Causes => "causes",
            Self::Advice => "advice",
            Self::Runtime => "runtime",
            Self::Cgroup => "cgroup",
            Self::Answer => "answer",
            Self::Help => "help",
        }
    }

    fn step(self, by: usize) -> Self {
        let place = Self::ALL.iter().position(|page| *page == self);
        let next = (place.unwrap_or(0) + by) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// The order of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Those that moved most since the start come first.
    Total,
    /// Those that moved most at the last tick.
    Interval,
    /// Those that moved most in the window.
    Window,
    /// Those that asked for most.
    Requested,
    /// Those that were called most.
    Calls,
    /// As the report has them.
    Ledger,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::Total,
        Self::Interval,
        Self::Window,
        Self::Requested,
        Self::Calls,
        Self::Ledger,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Interval => "interval",
            Self::Window => "window",
            Self::Requested => "requested",
            Self::Calls => "calls",
            Self::Ledger => "cause",
        }
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|sort| *sort == self);
        let next = (place.unwrap_or(0) + 1) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// How long a time the chart is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// As long as the capture, and then the last five minutes.
    Auto,
    /// One of [`WINDOWS`].
    Level(usize),
    /// Everything.
    Whole,
}

/// What the chart may be of, s.
pub const WINDOWS: [u64; 13] = [
    10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400,
];
/// The longest of them that is chosen by itself.
const LONGEST_AUTO: usize = 5;
/// Times between ticks that can be chosen, ms.
pub const INTERVALS: [u64; 10] = [50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// What is shown, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Which page.
    pub page: Page,
    /// How much time.
    pub zoom: Zoom,
    /// Where the chart ends, ns since the start of the capture; `None` where it follows the capture.
    pub until_ns: Option<u64>,
    /// Whether the figures stand still.
    pub paused: bool,
    /// The order of causes.
    pub sort: Sort,
    /// Whether the chart begins at 0 bytes, and not at the lowest that is in it.
    pub from_zero: bool,
    /// Lines that the page has moved up.
    pub scroll: u16,
    /// Where the page was left for help.
    before_help: Page,
}

impl Default for State {
    fn default() -> Self {
        Self {
            page: Page::Overview,
            zoom: Zoom::Auto,
            until_ns: None,
            paused: false,
            sort: Sort::Total,
            from_zero: true,
            scroll: 0,
            before_help: Page::Overview,
        }
    }
}

/// What there is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// When the last tick was, ns since the start of the capture.
    pub last_ns: u64,
    /// The time between ticks.
    pub interval_ns: u64,
    /// Lines that a page can be moved up by at most.
    pub most_scroll: u16,
    /// Lines of a page that are seen at a time.
    pub lines: u16,
}

impl State {
    /// From when to when the chart is, ns since the start of the capture. Never empty.
    #[must_use]
    pub fn window(&self, last_ns: u64) -> (u64, u64) {
        let to = self.until_ns.map_or(last_ns, |until| until.min(last_ns));
        let length = self.length(last_ns);
        if to < length {
            return (0, length);
        }
        (to - length, to)
    }

    fn length(&self, last_ns: u64) -> u64 {
        let seconds = |level: usize| WINDOWS.get(level).copied().unwrap_or(300) * SECOND;
        match self.zoom {
            Zoom::Whole => last_ns.max(seconds(0)),
            Zoom::Level(level) => seconds(level),
            Zoom::Auto => {
                let fitting = (0..LONGEST_AUTO).find(|&level| seconds(level) >= last_ns);
                seconds(fitting.unwrap_or(LONGEST_AUTO))
            }
        }
    }

    /// Changes what is shown, and says what else the key asks for.
    pub fn key(&mut self, key: Key, extent: Extent) -> Action {
        match key {
            Key::Interrupt | Key::Char('q' | 'Q') => return Action::Quit,
            Key::Suspend => return Action::Suspend,
            Key::Redraw => return Action::Redraw,
            Key::Char('w' | 'W') => return Action::Save,
            Key::Char('<' | ',') => return interval(extent.interval_ns, false),
            Key::Char('>' | '.') => return interval(extent.interval_ns, true),
            Key::Char(' ' | 'p' | 'P') => self.pause(extent.last_ns),
            Key::Char('+' | '=') => self.closer(extent.last_ns, true),
            Key::Char('-' | '_') => self.closer(extent.last_ns, false),
            Key::Char('0') => self.zoom = Zoom::Whole,
            Key::Char('a' | 'A') => self.zoom = Zoom::Auto,
            Key::Char('y' | 'Y') => self.from_zero = !self.from_zero,
            Key::Char('s' | 'S') => self.sort = self.sort.next(),
            Key::Char('?' | 'h' | 'H') => self.help(),
            Key::Char(digit @ '1'..='7') => self.turn(digit),
            Key::Char('k') | Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Char('j') | Key::Down => self.down(1, extent),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(extent.lines.max(1)),
            Key::PageDown => self.down(extent.lines.max(1), extent),
            Key::Left => self.back(extent.last_ns, true),
            Key::Right => self.back(extent.last_ns, false),
            Key::Home => {
                let length = self.length(extent.last_ns);
                if length < extent.last_ns {
                    self.until_ns = Some(length);
                }
            }
            Key::End => self.follow(),
            Key::Tab => self.open(self.page.step(1)),
            Key::BackTab => self.open(self.page.step(Page::ALL.len() - 1)),
            Key::Escape => {
                self.open(Page::Overview);
                self.follow();
            }
            Key::Char(_) => return Action::None,
        }
        Action::Draw
    }

    fn open(&mut self, page: Page) {
        if self.page != page {
            self.page = page;
            self.scroll = 0;
        }
    }

    fn turn(&mut self, digit: char) {
        let place = digit.to_digit(10).and_then(|digit| digit.checked_sub(1));
        let page = place.and_then(|place| Page::ALL.get(place as usize));
        self.open(page.copied().unwrap_or(self.page));
    }

    /// The same key leads there and back.
    fn help(&mut self) {
        if self.page == Page::Help {
            self.open(self.before_help);
        } else {
            self.before_help = self.page;
            self.open(Page::Help);
        }
    }

    fn down(&mut self, lines: u16, extent: Extent) {
        self.scroll = self.scroll.saturating_add(lines).min(extent.most_scroll);
    }

    fn pause(&mut self, last_ns: u64) {
        if self.paused {
            self.follow();
        } else {
            self.paused = true;
            self.until_ns.get_or_insert(last_ns);
        }
    }

    fn follow(&mut self) {
        self.paused = false;
        self.until_ns = None;
    }

    /// By a quarter of what is seen.
    fn back(&mut self, last_ns: u64, earlier: bool) {
        let length = self.length(last_ns);
        let until = self.until_ns.unwrap_or(last_ns);
        if earlier {
            // Not before there is a window full of it.
            if last_ns > length {
                self.until_ns = Some(until.saturating_sub(length / 4).max(length));
            }
        } else {
            let until = until.saturating_add(length / 4);
            self.until_ns = (until < last_ns || self.paused).then_some(until.min(last_ns));
        }
    }

    fn closer(&mut self, last_ns: u64, closer: bool) {
        let length = self.length(last_ns);
        let found = if closer {
            WINDOWS.iter().rposition(|&s| s * SECOND < length)
        } else {
            WINDOWS.iter().position(|&s| s * SECOND > length)
        };
        if let Some(level) = found {
            self.zoom = Zoom::Level(level);
        }
    }
}

/// The next longer or shorter one that can be chosen.
fn interval(now_ns: u64, longer: bool) -> Action {
    let ms = |ms: &u64| Duration::from_millis(*ms);
    let now = Duration::from_nanos(now_ns);
    let found = if longer {
        INTERVALS.iter().map(ms).find(|ms| *ms > now)
    } else {
        INTERVALS.iter().rev().map(ms).find(|ms| *ms < now)
    };
    found.map_or(Action::None, Action::Interval)
}
