//! What is judged, and the figures of it with their places.

use super::{
    evidence::Figure,
    shape::Shape,
    trend::{Point, Trend},
};
use crate::model::{
    CaptureInfo, Cause, CauseRow, CgroupFigures, End, HostInfo, Mode, RuntimeInfo, Summary,
    TargetInfo,
};

/// An epoch, with a digest in the place of its ticks.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The host.
    pub host: &'a HostInfo,
    /// The process.
    pub target: &'a TargetInfo,
    /// How it was captured.
    pub capture: &'a CaptureInfo,
    /// The ledger.
    pub summary: &'a Summary,
    /// The ticks.
    pub trend: &'a Trend,
}

/// One of a tick's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Since the start of the epoch.
    Time,
    /// RSS.
    Rss,
    /// Anonymous part.
    Anon,
    /// File part.
    File,
    /// Shared memory.
    Shmem,
    /// Swap.
    Swap,
}

/// A case, and what is worked out of it for all rules.
#[derive(Clone, Debug)]
pub struct Analysis<'a> {
    /// The case.
    pub case: Case<'a>,
    /// How RSS went.
    pub shape: Shape,
}

/// Which causes' rows.
pub type Which = fn(&CauseRow) -> bool;

impl<'a> Analysis<'a> {
    /// Works out what all rules need.
    #[must_use]
    pub fn new(case: Case<'a>) -> Self {
        let shape = Shape::of(&case);
        Self { case, shape }
    }

    /// What runs in the process.
    #[must_use]
    pub fn runtime(&self) -> Option<&'a RuntimeInfo> {
        self.case.target.runtime.as_ref()
    }

    /// Whether the process was there at the end.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let end = self.case.capture.end;
        !matches!(end, End::TargetExited | End::Exec) && self.case.summary.rss_end_bytes > 0
    }

    /// Whether the ledger saw every change.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.case.capture.mode == Mode::Exact
    }

    /// A tick's figure with its place.
    #[must_use]
    pub fn at(&self, point: &Point, field: Field) -> Option<Figure> {
        let (name, value) = match field {
            Field::Time => {
                return Figure::unsigned(format!("/timeline/{}/t_ns", point.index), point.t_ns);
            }
            Field::Rss => ("rss_bytes", point.rss),
            Field::Anon => ("anon_bytes", point.anon),
            Field::File => ("file_bytes", point.file),
            Field::Shmem => ("shmem_bytes", point.shmem),
            Field::Swap => ("swap_bytes", point.swap),
        };
        Some(Figure::new(
            format!("/timeline/{}/{name}", point.index),
            value,
        ))
    }

    /// How long the epoch lasted.
    #[must_use]
    pub fn duration(&self) -> Option<Figure> {
        Figure::unsigned("/capture/duration_ns", self.case.capture.duration_ns)
    }

    /// RSS, or a part of it, when the epoch began.
    #[must_use]
    pub fn start(&self, field: Field) -> Figure {
        let summary = self.case.summary;
        let start = &summary.start;
        match field {
            Field::Rss | Field::Time => {
                Figure::new("/summary/rss_start_bytes", summary.rss_start_bytes)
            }
            Field::Anon => Figure::new("/summary/start/anon_bytes", start.anon_bytes),
            Field::File => Figure::new("/summary/start/file_bytes", start.file_bytes),
            Field::Shmem => Figure::new("/summary/start/shmem_bytes", start.shmem_bytes),
            Field::Swap => Figure::new("/summary/start/swap_bytes", start.swap_bytes),
        }
    }

    /// RSS, or a part of it, at the end; of a process that has ended, at the last tick before.
    #[must_use]
    pub fn now(&self, field: Field) -> Figure {
        if !self.is_alive()
            && let Some(last) = self.case.trend.last()
            && let Some(figure) = self.at(&last, field)
        {
            return figure;
        }
        let summary = self.case.summary;
        let end = &summary.end;
        match field {
            Field::Rss | Field::Time => {
                Figure::new("/summary/rss_end_bytes", summary.rss_end_bytes)
            }
            Field::Anon => Figure::new("/summary/end/anon_bytes", end.anon_bytes),
            Field::File => Figure::new("/summary/end/file_bytes", end.file_bytes),
            Field::Shmem => Figure::new("/summary/end/shmem_bytes", end.shmem_bytes),
            Field::Swap => Figure::new("/summary/end/swap_bytes", end.swap_bytes),
        }
    }

    /// By how much RSS, or a part of it, has risen since the epoch began.
    #[must_use]
    pub fn rise(&self, field: Field) -> i64 {
        let now = self.now(field).value;
        now.saturating_sub(self.start(field).value)
    }

    /// The highest RSS that a tick saw.
    #[must_use]
    pub fn highest(&self) -> Figure {
        let seen = self.case.trend.highest();
        seen.and_then(|point| self.at(&point, Field::Rss))
            .filter(|figure| figure.value >= self.case.summary.rss_end_bytes)
            .filter(|figure| figure.value >= self.case.summary.rss_start_bytes)
            .unwrap_or_else(|| {
                let (start, end) = (self.start(Field::Rss), self.now(Field::Rss));
                if start.value > end.value { start } else { end }
            })
    }

    /// `LazyFree`: at the end, or where that was not read, at the last tick that read it; `None` where much was freed lazily since.
    #[must_use]
    pub fn lazyfree(&self) -> Option<Figure> {
        if let Some(bytes) = self.case.summary.lazyfree_bytes.filter(|_| self.is_alive()) {
            return Figure::unsigned("/summary/lazyfree_bytes", bytes);
        }
        let trend = self.case.trend;
        // What was freed since may be as much as everything.
        let freed = i64::try_from(trend.freed_since_lazyfree()).unwrap_or(i64::MAX);
        if freed >= self.noise() {
            return None;
        }
        let last = trend.lazyfree()?.last;
        Figure::unsigned(
            format!("/timeline/{}/lazyfree_bytes", last.index),
            last.value,
        )
    }

    /// `AnonHugePages` likewise.
    #[must_use]
    pub fn anon_huge(&self) -> Option<Figure> {
        if let Some(bytes) = self
            .case
            .summary
            .anon_huge_bytes
            .filter(|_| self.is_alive())
        {
            return Figure::unsigned("/summary/anon_huge_bytes", bytes);
        }
        let last = self.case.trend.anon_huge()?.last;
        Figure::unsigned(
            format!("/timeline/{}/anon_huge_bytes", last.index),
            last.value,
        )
    }

    /// The causes' rows, with their places.
    pub fn rows(&self, which: Which) -> impl Iterator<Item = (usize, &'a CauseRow)> {
        let rows = self.case.summary.causes.iter().enumerate();
        rows.filter(move |(_, row)| which(row))
    }

    /// RSS changes of some rows; those that changed nothing are left out.
    #[must_use]
    pub fn moved(&self, which: Which) -> Vec<Figure> {
        let moved = |(place, row): (usize, &CauseRow)| {
            let bytes = row.rss_delta_bytes.filter(|&bytes| bytes != 0)?;
            let pointer = format!("/summary/causes/{place}/rss_delta_bytes");
            Some(Figure::new(pointer, bytes))
        };
        self.rows(which).filter_map(moved).collect()
    }

    /// Rises alone.
    #[must_use]
    pub fn rises(&self, which: Which) -> Vec<Figure> {
        let mut moved = self.moved(which);
        moved.retain(|figure| figure.value > 0);
        moved
    }

    /// Falls alone.
    #[must_use]
    pub fn falls(&self, which: Which) -> Vec<Figure> {
        let mut moved = self.moved(which);
        moved.retain(|figure| figure.value < 0);
        moved
    }

    /// A count of calls, bytes or times of some rows; those without are left out.
    #[must_use]
    pub fn of_calls(&self, which: Which, of: OfCalls) -> Vec<Figure> {
        let figure = |(place, row): (usize, &CauseRow)| {
            let (name, value) = match of {
                OfCalls::Calls => ("calls", row.calls),
                OfCalls::Requested => ("requested_bytes", row.requested_bytes),
                OfCalls::Time => ("time_ns", row.time_ns),
            };
            Figure::unsigned(
                format!("/summary/causes/{place}/{name}"),
                value.filter(|&value| value > 0)?,
            )
        };
        self.rows(which).filter_map(figure).collect()
    }

    /// Whether calls of this name were counted.
    #[must_use]
    pub fn is_hooked(&self, name: &str) -> bool {
        let mut hooks = self.case.capture.hooks.iter();
        hooks.any(|hook| hook.name == name && hook.kind.is_some())
    }

    /// The smallest change of bytes that counts.
    #[must_use]
    pub fn noise(&self) -> i64 {
        self.shape.noise
    }

    /// The cgroup's latest figures: their pointer, and they.
    #[must_use]
    pub fn cgroup_now(&self) -> Option<(String, CgroupFigures)> {
        let end = self.case.summary.cgroup.as_ref().and_then(|info| info.end);
        if let Some(figures) = end {
            return Some(("/summary/cgroup/end".to_owned(), figures));
        }
        let last = self.case.trend.cgroup_last()?;
        Some((format!("/timeline/{}/cgroup", last.index), last.value))
    }

    /// The cgroup's earliest figures likewise.
    #[must_use]
    pub fn cgroup_start(&self) -> Option<(String, CgroupFigures)> {
        let start = self
            .case
            .summary
            .cgroup
            .as_ref()
            .and_then(|info| info.start);
        if let Some(figures) = start {
            return Some(("/summary/cgroup/start".to_owned(), figures));
        }
        let first = self.case.trend.cgroup_first()?;
        Some((format!("/timeline/{}/cgroup", first.index), first.value))
    }

    /// Whether the program began during the capture: what it did is what programs do when they start.
    #[must_use]
    pub fn began_here(&self) -> bool {
        let mut rows = self.case.summary.causes.iter();
        let exec = rows.any(|row| {
            row.cause == Cause::Exec && row.rss_delta_bytes.is_none_or(|bytes| bytes > 0)
        });
        exec || self.case.summary.rss_start_bytes < super::limits::NOISE.value
    }
}

/// A figure of a row's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfCalls {
    /// How many.
    Calls,
    /// Bytes that they asked for.
    Requested,
    /// Time in them.
    Time,
}

/// The sum of figures; `None` where it is out of range.
#[must_use]
pub fn total(figures: &[Figure]) -> Option<i64> {
    figures
        .iter()
        .try_fold(0i64, |sum, figure| sum.checked_add(figure.value))
}

/// `part` in hundredths of `whole`, from 0 to 100.
#[must_use]
pub fn share(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    let percent = i128::from(part) * 100 / i128::from(whole);
    i64::try_from(percent.clamp(0, 100)).unwrap_or(0)
}
