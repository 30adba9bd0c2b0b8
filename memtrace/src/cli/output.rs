//! Standard output and standard error. A reader that goes away ends the capture, not in a panic.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use super::args::Color;

/// Where results are printed.
pub struct Out {
    stream: AutoStream<Box<dyn Write>>,
    width: usize,
    closed: bool,
}

impl Out {
    /// Results go to standard output; to standard error where standard output carries the capture itself.
    #[must_use]
    pub fn new(color: Color, json_on_stdout: bool) -> Self {
        let (raw, terminal): (Box<dyn Write>, bool) = if json_on_stdout {
            (Box::new(io::stderr()), io::stderr().is_terminal())
        } else {
            (Box::new(io::stdout()), io::stdout().is_terminal())
        };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let choice = match color {
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
            Color::Auto if terminal && !plain => ColorChoice::AlwaysAnsi,
            Color::Auto => ColorChoice::Never,
        };
        Self {
            stream: AutoStream::new(raw, choice),
            width: width(terminal),
            closed: false,
        }
    }

    /// Columns to use.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Whether the reader has gone.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.closed
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let written = writeln!(self.stream, "{text}").and_then(|()| self.stream.flush());
        if written.is_err() {
            self.closed = true;
        }
    }

    /// Prints text as it is. A reader that has gone is no error.
    ///
    /// # Errors
    ///
    /// Where the text cannot be written for any other reason.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = self.stream.write_all(text.as_bytes());
        match written.and_then(|()| self.stream.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

fn width(terminal: bool) -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let seen = if terminal {
        terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
    } else {
        None
    };
    seen.or(columns).unwrap_or(80).clamp(80, 400)
}

/// Chatter: to standard error, and nobody minds where that is closed.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints bytes to standard output.
///
/// # Errors
///
/// Where it cannot be written to.
pub fn plain(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| anyhow::anyhow!("cannot write to standard output: {error}"))
}
