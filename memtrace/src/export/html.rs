//! The page in a file: a finished capture, to be sent to somebody.

use std::io::{self, Write};

use crate::{
    model::{Capture, Tick},
    timeline::{Digest, History},
    view::page::{State, document},
};

/// Most spans of the timeline in a file. A day of ticks of 1 s is in 10,800 spans of 8 s; what that makes of the file's size is in
/// `docs/performance.md`.
const SPANS: usize = 16_384;

/// A timeline that is finer than the one of a live view.
#[derive(Clone, Debug)]
pub struct Finer(History);

impl Default for Finer {
    fn default() -> Self {
        Self(History::with_spans(SPANS))
    }
}

impl Digest for Finer {
    fn note(&mut self, tick: &Tick) {
        self.0.note(tick);
    }
}

/// The state that the page shows of a capture, whose epochs' ticks these timelines have seen: one after the other.
#[must_use]
pub fn state<'a>(capture: &Capture, timelines: impl IntoIterator<Item = &'a Finer>) -> State {
    let mut timelines = timelines.into_iter().map(|Finer(history)| history);
    let mut history = timelines.next().cloned().unwrap_or_default();
    let mut began_ns: u64 = 0;
    let before = &capture.earlier_epochs;
    let later = before.iter().skip(1).chain([&capture.epoch]);
    for ((ended, epoch), part) in before.iter().zip(later).zip(timelines) {
        began_ns = began_ns.saturating_add(ended.capture.duration_ns);
        history.append(part, began_ns, &epoch.target.comm);
    }
    State::of_capture(capture, &history)
}

/// Writes the page of a capture.
///
/// # Errors
///
/// Where writing fails.
pub fn write<'a>(
    capture: &Capture,
    timelines: impl IntoIterator<Item = &'a Finer>,
    mut out: impl Write,
) -> io::Result<()> {
    let page = document(Some(&state(capture, timelines)));
    out.write_all(page.as_bytes())?;
    out.flush()
}
