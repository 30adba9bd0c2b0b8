//! The views of a capture that goes on: which there are to be, and their threads.

use super::{
    args::Options,
    feed::Viewer,
    output,
    web::{Serving, Web},
};

/// The views that are wanted, with what must be opened before anything is attached.
pub struct Views {
    web: Option<Web>,
}

/// The views that are shown.
pub struct Shown {
    _web: Option<Serving>,
}

impl Views {
    /// Opens what the options ask for.
    ///
    /// # Errors
    ///
    /// Where something cannot be had.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let web = options.web.map(Web::open).transpose()?;
        Ok(Self { web })
    }

    /// Whether there is anything to be shown.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.web.is_some()
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
    pub fn show(self, viewer: &Viewer) -> anyhow::Result<Shown> {
        let serve = |web: Web| {
            for note in web.notes() {
                output::say(&format!("memtrace: {note}"));
            }
            web.serve(viewer.clone())
        };
        let web = self.web.map(serve).transpose()?;
        Ok(Shown { _web: web })
    }
}
