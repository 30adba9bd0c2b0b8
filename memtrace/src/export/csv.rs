//! CSV: a row for each tick, of all epochs.
//!
//! Columns have the capture file's names, units included, and stand in a fixed order; the causes' columns, at the end, are those of
//! this capture. What could not be had is an empty field. Quoting is that of RFC 4180; lines end in LF, which every reader takes, and
//! which leaves no CR in the last column for `cut` and `awk`.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, Read, Seek, Write},
};

use csv::Writer;

use super::{
    ExportError,
    causes::{CauseKey, Causes, Quiet},
    clock::Clock,
};
use crate::{
    model::{Capture, Epoch, Tick, TickCause},
    text::format::sanitized,
    timeline::{Replay, Sink, figures::FIGURES},
};

/// Characters of a text. The kernel's names have 15 at most; a file may hold any.
const TEXT: usize = 200;
/// What a row begins with.
const FIRST: [&str; 5] = ["epoch", "time", "t_ns", "pid", "comm"];

/// Writes the capture, and flushes.
///
/// # Errors
///
/// Where writing fails, the ticks cannot be read again, or there are more causes than columns.
pub fn write<R: Read + Seek>(
    capture: &Capture,
    causes: &Causes,
    ticks: &mut Replay<R>,
    out: impl Write,
) -> Result<(), ExportError> {
    let mut table = Table {
        out: Writer::from_writer(out),
        causes,
        keys: causes.all()?,
        epoch: None,
        field: String::new(),
    };
    table.header().map_err(ExportError::Write)?;
    ticks.each(capture, &mut table)?;
    table.out.flush().map_err(ExportError::Write)
}

struct Table<'a, W: Write> {
    out: Writer<W>,
    causes: &'a Causes,
    keys: &'a [CauseKey],
    epoch: Option<Current>,
    /// The field that is written.
    field: String,
}

/// What the rows of an epoch have in common.
struct Current {
    number: usize,
    clock: Clock,
    pid: u32,
    comm: String,
    /// What is known of each cause at a tick that does not name it.
    quiet: Vec<Quiet>,
}

impl<W: Write> Table<'_, W> {
    fn header(&mut self) -> io::Result<()> {
        for name in FIRST {
            self.text(name)?;
        }
        for figure in FIGURES {
            self.text(figure.name)?;
        }
        for key in self.keys {
            let name = sanitized(&key.name(), TEXT);
            if key.cause.is_call() {
                self.text(&format!("{name}_calls"))?;
                self.text(&format!("{name}_requested_bytes"))?;
            }
            self.text(&format!("{name}_rss_delta_bytes"))?;
            self.text(&format!("{name}_swap_delta_bytes"))?;
        }
        self.end_row()
    }

    fn row(&mut self, epoch: &Current, tick: &Tick) -> io::Result<()> {
        self.number(Some(epoch.number))?;
        self.text(&epoch.clock.text(tick.t_ns).unwrap_or_default())?;
        self.number(Some(tick.t_ns))?;
        self.number(Some(epoch.pid))?;
        self.text(&epoch.comm)?;
        for figure in FIGURES {
            self.number(figure.of_tick(tick))?;
        }
        let mut named = vec![None; self.keys.len()];
        for cause in &tick.causes {
            if let Some(place) = self.causes.place(cause).and_then(|at| named.get_mut(at)) {
                *place = Some(cause);
            }
        }
        for ((key, quiet), cause) in self.keys.iter().zip(&epoch.quiet).zip(named) {
            if key.cause.is_call() {
                self.number(cause.map_or(quiet.calls, |cause| cause.calls))?;
                self.number(cause.map_or(quiet.calls, |cause| cause.requested_bytes))?;
            }
            let rss = |cause: &TickCause| cause.rss_delta_bytes;
            // Without a ledger it is not known either.
            let swap = |cause: &TickCause| rss(cause).map(|_| cause.swap_delta_bytes);
            self.number(cause.map_or(quiet.bytes, rss))?;
            self.number(cause.map_or(quiet.bytes, swap))?;
        }
        self.end_row()
    }

    fn number(&mut self, value: Option<impl Display>) -> io::Result<()> {
        self.field.clear();
        if let Some(value) = value {
            let _ = write!(self.field, "{value}");
        }
        self.out.write_field(&self.field).map_err(io_error)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.out
            .write_field(harmless(text).as_bytes())
            .map_err(io_error)
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.out.write_record(None::<&[u8]>).map_err(io_error)
    }
}

impl<W: Write> Sink for Table<'_, W> {
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        self.epoch = Some(Current {
            number,
            clock: Clock::of(&epoch.capture),
            pid: epoch.target.pid,
            comm: epoch.target.comm.shown(TEXT),
            quiet: self
                .keys
                .iter()
                .map(|key| key.quiet(&epoch.capture))
                .collect(),
        });
        Ok(())
    }

    fn tick(&mut self, tick: &Tick) -> io::Result<()> {
        let Some(epoch) = self.epoch.take() else {
            return Ok(());
        };
        let written = self.row(&epoch, tick);
        self.epoch = Some(epoch);
        written
    }

    fn end(&mut self, _: usize, _: &Epoch) -> io::Result<()> {
        self.epoch = None;
        Ok(())
    }
}

/// With its kind, which the library's own conversion loses.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A spreadsheet takes a text that begins like a formula for one, and works it out: OWASP, CSV injection. An apostrophe before it
/// makes it a text.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_formula = text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if is_formula {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_taken_for_a_formula() {
        for (text, safe) in [
            ("service", "service"),
            ("=1+1", "'=1+1"),
            ("-2", "'-2"),
            ("+1", "'+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            (" =1", "' =1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), safe, "{text}");
        }
    }
}
