//! The screen: a capture that goes on, on a terminal. Pure: a look at the capture and keys in, a picture out.

mod advice;
mod cgroup;
mod chart;
mod frame;
mod help;
mod look;
mod overview;
mod painted;
mod pen;
mod rows;
mod runtime;
mod shot;
mod state;
mod table;
mod text;

use ratatui_core::{buffer::Buffer, layout::Rect};

pub use look::{Look, Palette, Series};
pub use shot::Shot;
pub use state::{Action, Extent, INTERVALS, Key, Page, Sort, State, WINDOWS, Zoom};

use self::{pen::Pen, rows::Still, text::Text};
use super::verdict;
use crate::{text::format::span, timeline::Live};

/// The least that can be drawn on: columns and rows.
pub const LEAST: (u16, u16) = (40, 10);

/// The screen: what is shown, and how it was last seen.
#[derive(Clone, Debug)]
pub struct Screen {
    look: Look,
    /// Where a browser sees the capture.
    address: Option<String>,
    state: State,
    shot: Option<Shot>,
    extent: Extent,
}

impl Screen {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(look: Look) -> Self {
        Self {
            look,
            address: None,
            state: State::default(),
            shot: None,
            extent: Extent {
                last_ns: 0,
                interval_ns: 0,
                most_scroll: 0,
                lines: 0,
            },
        }
    }

    /// Shows where a browser sees the capture, too: a URL.
    #[must_use]
    pub fn with_address(mut self, address: Option<String>) -> Self {
        self.address = address;
        self
    }

    /// What is shown.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The revision that was seen last.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.shot.as_ref().map(|shot| shot.revision)
    }

    /// Looks at the capture, for a screen of so many columns.
    pub fn look_at(&mut self, live: &Live, width: u16) {
        let columns = chart::columns(width, self.look);
        let shot = Shot::take(live, &self.state, columns, self.shot.as_ref());
        self.extent.last_ns = shot.last_ns;
        self.extent.interval_ns = shot.interval_ns;
        self.shot = Some(shot);
    }

    /// What a key does to it, and what else it asks for.
    pub fn key(&mut self, key: Key) -> Action {
        self.state.key(key, self.extent)
    }

    /// Process id of the target.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shot.as_ref().map(|shot| shot.account.target.pid)
    }

    /// Draws what was seen.
    pub fn draw(&mut self, buffer: &mut Buffer) {
        let area = *buffer.area();
        let mut pen = Pen::new(buffer, area, self.look);
        let Some(shot) = self
            .shot
            .as_ref()
            .filter(|_| pen.width() >= LEAST.0 && pen.height() >= LEAST.1)
        else {
            too_small(&mut pen, area);
            return;
        };
        let lines = pen.height() - frame::ABOVE - frame::BELOW;
        frame::above(&mut pen, shot, &self.state);
        let mut page = pen.rows(frame::ABOVE, lines);
        let state = &self.state;
        let most_scroll = match state.page {
            Page::Overview => {
                overview::overview(&mut page, shot, state);
                0
            }
            Page::Causes => {
                let width = page.width().saturating_sub(1);
                let mut part = page.part(1, 1, width, lines.saturating_sub(1));
                let rows = rows::rows(shot, state.sort);
                let skip = usize::from(state.scroll);
                let room = table::table(&mut part, &rows, Still::of(shot), state.sort, skip);
                u16::try_from(rows.len().saturating_sub(room)).unwrap_or(u16::MAX)
            }
            Page::Advice => advice::advice(&mut page, shot, state),
            Page::Runtime => runtime::runtime(&mut page, shot, state),
            Page::Cgroup => cgroup::cgroup(&mut page, shot, state),
            Page::Answer => answer(&mut page, shot, state),
            Page::Help => help::help(&mut page, state, self.address.as_deref()),
        };
        let mut below = pen.rows(frame::ABOVE + lines, frame::BELOW);
        frame::below(&mut below, shot, self.address.as_deref());
        self.extent.lines = lines;
        self.extent.most_scroll = most_scroll;
        self.state.scroll = self.state.scroll.min(most_scroll);
    }
}

/// The answer as it stands now: as the report has it.
fn answer(pen: &mut Pen<'_>, shot: &Shot, state: &State) -> u16 {
    let mut text = Text::new(pen.look, pen.width());
    match &shot.account.verdict {
        Some(answer) => {
            if let Some(age) = shot.stale_lazyfree() {
                text.note(format!(
                    "as it stands now; LazyFree was read {} ago",
                    span(age)
                ));
            }
            let painted = verdict(answer, usize::from(pen.width().saturating_sub(2)));
            text.extend(painted::lines(&painted, pen.look));
        }
        None => text.note("no answer yet"),
    }
    let mut part = pen.part(0, 1, pen.width(), pen.height().saturating_sub(1));
    text.draw(&mut part, state.scroll)
}

fn too_small(pen: &mut Pen<'_>, area: Rect) {
    let style = pen.look.bold();
    let text = format!(
        "{}x{} is too small: {}x{} please",
        area.width, area.height, LEAST.0, LEAST.1
    );
    pen.put(0, 0, &text, style);
    pen.put(0, 1, "the capture goes on; q ends it", pen.look.dim());
}
