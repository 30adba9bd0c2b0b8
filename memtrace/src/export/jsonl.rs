//! JSON Lines: an object a line, for programs that read a stream.
//!
//! A header; then of each epoch what is known of it, its ticks, its summary and its answer.

use crate::text::Foreign;
use std::io::{self, Read, Seek, Write};

use serde::Serialize;

use super::{ExportError, clock::Clock};
use crate::{
    model::{Capture, CaptureInfo, Epoch, HostInfo, Summary, TargetInfo, Tick, Verdict},
    timeline::{Replay, Sink},
};

/// The value of `schema` in the first line.
pub const SCHEMA: &str = "memtrace-lines/1";

/// A line, by the value of `record`.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    Header {
        schema: &'a str,
        /// The version that captured.
        memtrace_version: &'a Foreign,
        host: &'a HostInfo,
        epochs: usize,
    },
    Epoch {
        epoch: usize,
        target: &'a TargetInfo,
        capture: &'a CaptureInfo,
    },
    Tick {
        epoch: usize,
        /// `null` where the capture does not say when it began.
        time: Option<String>,
        #[serde(flatten)]
        tick: &'a Tick,
    },
    Summary {
        epoch: usize,
        summary: &'a Summary,
    },
    Verdict {
        epoch: usize,
        verdict: &'a Option<Verdict>,
    },
}

/// Writes the capture, and flushes.
///
/// # Errors
///
/// Where writing fails, or the ticks cannot be read again.
pub fn write<R: Read + Seek>(
    capture: &Capture,
    ticks: &mut Replay<R>,
    out: impl Write,
) -> Result<(), ExportError> {
    let mut lines = Lines {
        out,
        epoch: 0,
        clock: Clock::default(),
    };
    lines
        .put(&Line::Header {
            schema: SCHEMA,
            memtrace_version: &capture.memtrace_version,
            host: &capture.host,
            epochs: capture.epochs().count(),
        })
        .map_err(ExportError::Write)?;
    ticks.each(capture, &mut lines)?;
    lines.out.flush().map_err(ExportError::Write)
}

struct Lines<W> {
    out: W,
    epoch: usize,
    clock: Clock,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for Lines<W> {
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        self.epoch = number;
        self.clock = Clock::of(&epoch.capture);
        self.put(&Line::Epoch {
            epoch: number,
            target: &epoch.target,
            capture: &epoch.capture,
        })
    }

    fn tick(&mut self, tick: &Tick) -> io::Result<()> {
        self.put(&Line::Tick {
            epoch: self.epoch,
            time: self.clock.text(tick.t_ns),
            tick,
        })
    }

    fn end(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        self.put(&Line::Summary {
            epoch: number,
            summary: &epoch.summary,
        })?;
        self.put(&Line::Verdict {
            epoch: number,
            verdict: &epoch.verdict,
        })
    }
}
