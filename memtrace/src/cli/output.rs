//! Standard output and standard error. A reader that goes away ends the capture, not in a panic.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use super::args::Color;

/// Where results are printed.
pub struct Out {
    stream: AutoStream<Box<dyn Write>>,
    width: usize,
    /// Why nothing more can be printed.
    closed: Option<io::Error>,
    /// What is kept back while a view has the terminal, and how many bytes of it were left out.
    held: Option<(String, usize)>,
}

/// Most bytes that are kept back: a process may replace its program any number of times.
const MOST_HELD: usize = 1 << 20;

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
            closed: None,
            held: None,
        }
    }

    /// Keeps what is printed back until [`Self::release`]: a view has the terminal.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Prints what was kept back: the newest of it.
    pub fn release(&mut self) {
        if let Some((text, left_out)) = self.held.take() {
            if left_out > 0 {
                self.line(&format!(
                    "({left_out} bytes of earlier reports are left out)"
                ));
            }
            self.line(text.trim_matches('\n'));
        }
    }

    fn keep_back(&mut self, text: &str) -> bool {
        let Some((held, left_out)) = &mut self.held else {
            return false;
        };
        held.push_str(text);
        if held.len() > MOST_HELD {
            let mut cut = held.len() - MOST_HELD / 2;
            while !held.is_char_boundary(cut) {
                cut += 1;
            }
            *left_out += cut;
            held.drain(..cut);
        }
        true
    }

    /// Columns to use.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Returns whether nothing more can be printed: the reader has gone, or the disk is full.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns what ended the printing, as a line for people; `None` if nothing did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let error = self.closed.as_ref()?;
        let what = match error.kind() {
            io::ErrorKind::BrokenPipe => "standard output was closed".to_owned(),
            _ => format!("cannot write to standard output: {error}"),
        };
        Some(format!(
            "{what}, so the capture ended; --quiet with --json FILE needs no reader"
        ))
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) {
        if self.closed() || self.keep_back(&format!("{text}\n")) {
            return;
        }
        let written = writeln!(self.stream, "{text}").and_then(|()| self.stream.flush());
        self.closed = written.err();
    }

    /// Prints text as it is. A reader that has gone is no error.
    ///
    /// # Errors
    ///
    /// Where the text cannot be written for any other reason.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        if self.closed() || self.keep_back(text) {
            return Ok(());
        }
        let written = self.stream.write_all(text.as_bytes());
        match written.and_then(|()| self.stream.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = Some(error);
                Ok(())
            }
            other => other,
        }
    }
}

/// Nothing that was kept back is lost, however a view ends.
impl Drop for Out {
    fn drop(&mut self) {
        self.release();
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
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// What became of writing to standard output. A reader that has gone, such as `head`, has seen what it wanted.
///
/// # Errors
///
/// Where it could not be written to for any other reason.
pub fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}
