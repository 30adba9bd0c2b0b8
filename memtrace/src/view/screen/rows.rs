//! The ledger's rows for the screen: in total, in the window, and at the last tick.

use super::{Sort, shot::Shot};
use crate::text::Foreign;
use crate::{
    model::{Cause, CauseRow, Mode},
    timeline::{CauseName, Moved, Span},
};

/// Characters of a name that are looked at.
const NAME: usize = 64;

/// A row.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// What it is called, harmless.
    pub name: String,
    /// Since the start of the epoch; `None` where the ledger does not have it yet, or not in this epoch.
    pub total: Option<&'a CauseRow>,
    /// In the chart's time.
    pub window: Option<Moved>,
    /// At the last tick.
    pub interval: Option<Moved>,
    still: Still,
}

/// What a cause moved that a span does not name, bytes: a span names all that did anything. `None` where it is not known.
#[derive(Clone, Copy, Debug)]
pub struct Still {
    /// In the chart's time.
    pub window: Option<i64>,
    /// At the last tick.
    pub interval: Option<i64>,
    /// Since the start.
    pub total: Option<i64>,
}

impl Still {
    /// As it is for a picture.
    #[must_use]
    pub fn of(shot: &Shot) -> Self {
        let exact = shot.account.capture.mode == Mode::Exact;
        Self {
            window: (exact && shot.sum.is_some()).then_some(0),
            interval: (exact && shot.last.is_some()).then_some(0),
            total: exact.then_some(0),
        }
    }
}

impl Row<'_> {
    /// What it moved since the start, bytes.
    #[must_use]
    pub fn total_bytes(&self) -> Option<i64> {
        self.total.and_then(|row| row.rss_delta_bytes)
    }

    /// What it moved in the chart's time.
    #[must_use]
    pub fn window_bytes(&self) -> Option<i64> {
        self.window
            .map_or(self.still.window, |moved| moved.rss_delta_bytes)
    }

    /// What it moved at the last tick.
    #[must_use]
    pub fn interval_bytes(&self) -> Option<i64> {
        self.interval
            .map_or(self.still.interval, |moved| moved.rss_delta_bytes)
    }

    fn key(&self, sort: Sort) -> (u64, u64) {
        let size = |bytes: Option<i64>| bytes.unwrap_or(0).unsigned_abs();
        let requested = self.total.and_then(|row| row.requested_bytes).unwrap_or(0);
        let asked = |moved: Option<Moved>| moved.and_then(|moved| moved.requested_bytes);
        match sort {
            Sort::Total => (size(self.total_bytes()), requested),
            Sort::Window => (size(self.window_bytes()), asked(self.window).unwrap_or(0)),
            Sort::Interval => (
                size(self.interval_bytes()),
                asked(self.interval).unwrap_or(0),
            ),
            Sort::Requested => (requested, size(self.total_bytes())),
            Sort::Calls => (self.total.and_then(|row| row.calls).unwrap_or(0), 0),
            Sort::Ledger => (0, 0),
        }
    }
}

/// All rows, those first that the order wants first; else as the ledger has them.
#[must_use]
pub fn rows(shot: &Shot, sort: Sort) -> Vec<Row<'_>> {
    let moved = |span: &Option<Span>, known: &dyn Fn(&CauseName) -> bool| {
        let place = shot.names.iter().position(known)?;
        let moved = span.as_ref()?.causes.iter();
        moved
            .copied()
            .find(|moved| usize::from(moved.name) == place)
    };
    let still = Still::of(shot);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for row in &shot.account.summary.causes {
        let same = |name: &CauseName| {
            name.cause == row.cause && name.advice == row.advice && name.task == row.task
        };
        rows.push(Row {
            name: name(row.cause, row.advice.as_ref(), row.task.as_ref()),
            total: Some(row),
            window: moved(&shot.sum, &same),
            interval: moved(&shot.last, &same),
            still,
        });
    }
    for known in &shot.names {
        let is_there = |row: &CauseRow| {
            row.cause == known.cause && row.advice == known.advice && row.task == known.task
        };
        if shot.account.summary.causes.iter().any(is_there) {
            continue;
        }
        let same = |name: &CauseName| name == known;
        let row = Row {
            name: name(known.cause, known.advice.as_ref(), known.task.as_ref()),
            total: None,
            window: moved(&shot.sum, &same),
            interval: moved(&shot.last, &same),
            still,
        };
        if row.window.is_some() || row.interval.is_some() {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.key(sort)));
    rows
}

fn name(cause: Cause, advice: Option<&Foreign>, task: Option<&Foreign>) -> String {
    let call = match cause {
        Cause::OtherProcess => "other",
        cause => cause.name(),
    };
    match (advice, task) {
        (Some(advice), _) => format!("{call} {:.NAME$}", advice.without("MADV_")),
        (None, Some(task)) => format!("{call}: {task:.NAME$}"),
        (None, None) => call.to_owned(),
    }
}
