//! The views of a capture that goes on: which there are to be, and their threads.

use std::{
    io::{self, BufRead, BufReader, PipeReader},
    process::Stdio,
    thread,
};

use anyhow::Context as _;

use super::{
    args::Options,
    feed::Viewer,
    output, screen,
    web::{Serving, Web},
};
use crate::view::screen::Look;

/// Most characters of a line that a workload says.
const SAID: usize = 200;

/// The views that are wanted, with what must be opened before anything is attached.
pub struct Views {
    screen: Option<Look>,
    /// What a demo's workload says of its steps, where it must not write on the screen.
    steps: Option<PipeReader>,
    web: Option<Web>,
}

/// The views that are shown.
pub struct Shown {
    screen: Option<screen::Shown>,
    _web: Option<Serving>,
}

impl Views {
    /// Opens what the options ask for. `terminal`: whether it is memtrace's own.
    ///
    /// # Errors
    ///
    /// Where something cannot be had.
    pub fn open(options: &Options, terminal: bool) -> anyhow::Result<Self> {
        Ok(Self {
            web: options.web.map(Web::open).transpose()?,
            screen: screen::wanted(options, terminal),
            steps: None,
        })
    }

    /// Where a program that is started writes its standard error: beside the screen.
    ///
    /// # Errors
    ///
    /// Where there can be no pipe.
    pub fn standard_error(&mut self) -> anyhow::Result<Stdio> {
        if !self.takes_terminal() {
            return Ok(Stdio::inherit());
        }
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        self.steps = Some(reader);
        Ok(writer.into())
    }

    /// Whether there is anything to be shown.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.screen.is_some() || self.web.is_some()
    }

    /// Whether the terminal is a view's own: then nothing is printed until its end.
    #[must_use]
    pub const fn takes_terminal(&self) -> bool {
        self.screen.is_some()
    }

    /// Shows them, each in a thread of its own.
    ///
    /// # Errors
    ///
    /// Where one cannot begin.
    pub fn show(self, viewer: &Viewer) -> anyhow::Result<Shown> {
        if let Some(steps) = self.steps {
            let viewer = viewer.clone();
            let read = move || {
                for line in BufReader::new(steps).lines().map_while(Result::ok) {
                    viewer.say(line.trim().chars().take(SAID).collect());
                }
            };
            let thread = thread::Builder::new().name("steps".to_owned());
            thread.spawn(read).context("cannot start a thread")?;
        }
        let address = self.web.as_ref().map(Web::url);
        if let Some(web) = &self.web {
            let url = (self.screen.is_none()).then(|| format!("live page: {}", web.url()));
            for note in url.into_iter().chain(web.warning().map(str::to_owned)) {
                if self.screen.is_some() {
                    viewer.say(note);
                } else {
                    output::say(&format!("memtrace: {note}"));
                }
            }
        }
        let serve = |web: Web| web.serve(viewer.clone());
        let show = |look| screen::show(look, viewer.clone(), address);
        Ok(Shown {
            _web: self.web.map(serve).transpose()?,
            screen: self.screen.map(show).transpose()?,
        })
    }
}

impl Shown {
    /// Gives the terminal back, before the capture is brought to its end. Other views stay.
    pub fn free_terminal(&mut self) {
        self.screen = None;
    }
}
