//! The whole timeline as samples with timestamps.

use std::io::{self, Read, Seek, Write};

use super::{
    CALLS, CLOSING, EOF, REQUESTED, RSS_CHANGE, SWAP_CHANGE,
    family::{Family, Labels, cause_labels},
    figure_family,
    shelf::Shelf,
};
use crate::{
    export::{
        ExportError,
        causes::{CauseKey, Causes},
        clock::Clock,
    },
    model::{Capture, Epoch, Tick, TickCause},
    privilege::Invoker,
    timeline::{
        Replay, Sink,
        figures::{FIGURES, Since},
    },
};

/// What each cause has done so far.
const CAUSES: [Family; 4] = [RSS_CHANGE, SWAP_CHANGE, CALLS, REQUESTED];

/// Writes every tick of the capture, and flushes. What does not fit into memory is put into a file without a name, made by `invoker`.
///
/// # Errors
///
/// Where writing fails, the ticks cannot be read again, or the capture does not say when it began.
pub fn write<R: Read + Seek>(
    capture: &Capture,
    causes: &Causes,
    ticks: &mut Replay<R>,
    invoker: Option<&Invoker>,
    mut out: impl Write,
) -> Result<(), ExportError> {
    let keys = causes.all()?;
    let mut collected = Collected {
        shelf: Shelf::new(invoker),
        keys,
        causes,
        figures: vec![Vec::new(); FIGURES.len()],
        changes: std::array::from_fn(|_| Vec::new()),
        ends: vec![String::new(); CLOSING.len()],
        capture,
        epoch: None,
        last_ms: None,
    };
    for epoch in capture.epochs() {
        if Clock::of(&epoch.capture)
            .unix_ns(epoch.capture.duration_ns)
            .is_none()
        {
            return Err(ExportError::NoTime);
        }
    }
    ticks.each(capture, &mut collected)?;
    collected.write(&mut out).map_err(ExportError::Write)
}

/// A series: its place on the shelf, and what its lines begin with.
type SeriesSlot = (usize, String);

struct Collected<'a> {
    shelf: Shelf<'a>,
    causes: &'a Causes,
    keys: &'a [CauseKey],
    /// The series of each figure.
    figures: Vec<Vec<SeriesSlot>>,
    /// The series of each of [`CAUSES`].
    changes: [Vec<SeriesSlot>; 4],
    /// The samples of each family that is known only at the end.
    ends: Vec<String>,
    capture: &'a Capture,
    epoch: Option<Current>,
    /// When the last sample was, in ms since 1970.
    last_ms: Option<u64>,
}

/// The epoch that is being read.
struct Current {
    labels: Labels,
    clock: Clock,
    figures: Vec<usize>,
    faults: Sum,
    changes: Vec<[Change; 4]>,
}

/// A series of a cause.
struct Change {
    place: usize,
    /// What is known of it where nothing happens.
    is_known: bool,
    sum: Sum,
}

/// A sum that is unknown from the first part on that is.
#[derive(Clone, Copy)]
struct Sum(Option<i128>);

impl Sum {
    fn add(&mut self, part: Option<i128>) -> Option<i128> {
        self.0 = self.0.zip(part).map(|(sum, part)| sum.saturating_add(part));
        self.0
    }
}

/// What a tick says of a cause, in the order of [`CAUSES`].
fn said(cause: &TickCause) -> [Option<i128>; 4] {
    let rss = cause.rss_delta_bytes.map(i128::from);
    [
        rss,
        rss.map(|_| cause.swap_delta_bytes.into()),
        cause.calls.map(i128::from),
        cause.requested_bytes.map(i128::from),
    ]
}

impl Sink for Collected<'_> {
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        let labels = Labels::of(number, epoch);
        let mut figures = Vec::new();
        for (figure, series) in FIGURES.iter().zip(&mut self.figures) {
            let place = self.shelf.add();
            series.push((place, figure_family(figure).series(&labels.text(&[]))));
            figures.push(place);
        }
        let mut changes = Vec::new();
        for key in self.keys {
            let own = cause_labels(key.cause, key.advice.as_ref(), key.task.as_ref());
            let quiet = key.quiet(&epoch.capture);
            let has_calls = key.cause.is_call() && quiet.calls.is_some();
            let known = [
                quiet.bytes.is_some(),
                quiet.bytes.is_some(),
                has_calls,
                has_calls,
            ];
            let series = self.changes.each_mut();
            let mut families = CAUSES.iter().zip(series).zip(known);
            changes.push(std::array::from_fn(|_| {
                let place = self.shelf.add();
                let mut is_known = false;
                if let Some(((family, series), known)) = families.next() {
                    series.push((place, family.series(&labels.text(&own))));
                    is_known = known;
                }
                Change {
                    place,
                    is_known,
                    sum: Sum(is_known.then_some(0)),
                }
            }));
        }
        self.epoch = Some(Current {
            labels,
            clock: Clock::of(&epoch.capture),
            figures,
            faults: Sum(Some(0)),
            changes,
        });
        self.last_ms = None;
        Ok(())
    }

    fn tick(&mut self, tick: &Tick) -> io::Result<()> {
        let Some(epoch) = &mut self.epoch else {
            return Ok(());
        };
        let faults = epoch.faults.add(tick.faults.map(i128::from));
        let mut named = vec![None; epoch.changes.len()];
        for cause in &tick.causes {
            if let Some(place) = self.causes.place(cause).and_then(|at| named.get_mut(at)) {
                *place = Some(said(cause));
            }
        }
        for (changes, named) in epoch.changes.iter_mut().zip(named) {
            for (change, said) in changes.iter_mut().zip(named.unwrap_or([Some(0); 4])) {
                change.sum.add(said);
            }
        }
        // Prometheus keeps ms, and takes one sample of each.
        let ms = epoch.clock.unix_ns(tick.t_ns).map(|ns| ns / 1_000_000);
        if ms.is_none() || ms <= self.last_ms {
            return Ok(());
        }
        self.last_ms = ms;
        let time = time(ms.unwrap_or_default());
        for (figure, place) in FIGURES.iter().zip(&epoch.figures) {
            let value = match figure.since {
                Since::LastTick => faults,
                Since::Now | Since::Before => figure.of_tick(tick),
            };
            if let Some(value) = value {
                self.shelf.put(*place, &format!("{value} {time}\n"))?;
            }
        }
        for change in epoch
            .changes
            .iter()
            .flatten()
            .filter(|change| change.is_known)
        {
            if let Some(sum) = change.sum.0 {
                self.shelf.put(change.place, &format!("{sum} {time}\n"))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: usize, epoch: &Epoch) -> io::Result<()> {
        let Some(Current { labels, clock, .. }) = self.epoch.take() else {
            return Ok(());
        };
        let Some(ns) = clock.unix_ns(epoch.capture.duration_ns) else {
            return Ok(());
        };
        let time = time(ns / 1_000_000);
        for ((family, samples), text) in CLOSING.iter().zip(&mut self.ends) {
            let mut lines = Vec::new();
            for (own, value) in samples(&self.capture.host, epoch) {
                family.sample(&mut lines, &labels.text(&own), &value, Some(&time))?;
            }
            text.push_str(&String::from_utf8_lossy(&lines));
        }
        Ok(())
    }
}

/// ms since 1970 as the format wants them.
fn time(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

impl Collected<'_> {
    fn write(self, out: &mut impl Write) -> io::Result<()> {
        for (figure, series) in FIGURES.iter().zip(&self.figures) {
            self.family(&figure_family(figure), series, out)?;
        }
        for (family, series) in CAUSES.iter().zip(&self.changes) {
            self.family(family, series, out)?;
        }
        for ((family, _), samples) in CLOSING.iter().zip(&self.ends) {
            if !samples.is_empty() {
                family.header(out)?;
                out.write_all(samples.as_bytes())?;
            }
        }
        out.write_all(EOF)?;
        out.flush()
    }

    fn family(
        &self,
        family: &Family,
        series: &[SeriesSlot],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut is_first = true;
        for (place, prefix) in series {
            if self.shelf.is_empty(*place) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                family.header(out)?;
            }
            self.shelf.copy(*place, prefix, out)?;
        }
        Ok(())
    }
}
