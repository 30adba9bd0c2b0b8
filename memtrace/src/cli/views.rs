//! The views of a capture that goes on: which there are to be, and their threads.

use super::{args::Options, feed::Viewer};

/// The views that are wanted, with what must be opened before anything is attached.
pub struct Views {}

/// The views that are shown.
pub struct Shown {}

impl Views {
    /// Opens what the options ask for.
    ///
    /// # Errors
    ///
    /// Where something cannot be had.
    pub fn open(_options: &Options) -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Whether there is anything to be shown.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        false
    }

    /// Whether the terminal is a view's own: then nothing is printed until its end.
    #[must_use]
    pub const fn takes_terminal(&self) -> bool {
        false
    }

    /// Shows them, each in a thread of its own.
    ///
    /// # Errors
    ///
    /// Where one cannot begin.
    pub fn show(self, _viewer: &Viewer) -> anyhow::Result<Shown> {
        Ok(Shown {})
    }
}
