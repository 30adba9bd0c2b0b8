//! From readings and samples to ticks and a summary.

use std::collections::BTreeMap;

use memtrace_common::{
    cell::{MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBER_SWAP},
    layout::Pages,
};

use super::{Gone, Start, TakenBack};
use crate::{
    ledger::{Check, Names, Reading, Row, rows, rows_since, rss_of},
    model::{
        Bytes4, CauseRow, CgroupFigures, ErrnoCount, Faults, GoFigures, Mode, Tick, TickCause,
        errno_name,
    },
    observe::{Resident, Smaps, Statm},
};

/// What was read beside the ledger at one tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// `statm`.
    pub statm: Option<Statm>,
    /// RSS by kind from `status`; only in the approximate mode.
    pub resident: Option<Resident>,
    /// `smaps_rollup`, where the throttle allowed it.
    pub smaps: Option<Smaps>,
    /// The ledger against `statm`.
    pub check: Option<Check>,
    /// Go's own figures.
    pub go: Option<GoFigures>,
    /// The memory cgroup's.
    pub cgroup: Option<CgroupFigures>,
}

/// Where RSS comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figures {
    /// The readings.
    Ledger,
    /// Samples: the first one, and the last.
    Sampled { first: Bytes4, last: Bytes4 },
}

/// Collects the ticks of one epoch.
#[derive(Clone, Debug)]
pub struct Recorder {
    page_size: i64,
    begin_ns: u64,
    count_faults: bool,
    last: Reading,
    ticks: Vec<Tick>,
    keeps_all: bool,
    /// Ticks noted.
    noted: u64,
    /// The first one that found something unexplained, and since which none was confirmed to be of this program.
    suspect: Option<u64>,
    rss_start: i64,
    figures: Figures,
}

impl Recorder {
    /// Begins with the first reading of an epoch. `begin_ns` is `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn new(page_size: u64, count_faults: bool, first: Reading) -> Self {
        let page_size = page_size as i64;
        let start = Reading {
            start: first.start,
            unsettled: first.unsettled,
            ..Reading::default()
        };
        Self {
            page_size,
            begin_ns: first.begin_ns,
            count_faults,
            rss_start: rss_of(&first.start) * page_size,
            last: start,
            ticks: Vec::new(),
            keeps_all: true,
            noted: 0,
            suspect: None,
            figures: Figures::Ledger,
        }
    }

    /// Begins an epoch of the approximate mode, whose readings tell nothing about RSS.
    #[must_use]
    pub fn sampled(page_size: u64, count_faults: bool, first: Reading, start: Resident) -> Self {
        let start = sampled_bytes(&start);
        Self {
            figures: Figures::Sampled {
                first: start,
                last: start,
            },
            ..Self::new(page_size, count_faults, first)
        }
    }

    /// How exact the figures are.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.figures {
            Figures::Ledger => Mode::Exact,
            Figures::Sampled { .. } => Mode::Approximate,
        }
    }

    /// RSS when the epoch began, bytes.
    #[must_use]
    pub const fn rss_start_bytes(&self) -> i64 {
        match self.figures {
            Figures::Ledger => self.rss_start,
            Figures::Sampled { first, .. } => first.rss_bytes(),
        }
    }

    /// Keeps no more ticks than a report needs, the last one and the last one that has `LazyFree`, unless `all` are wanted.
    #[must_use]
    pub const fn keeping(mut self, all: bool) -> Self {
        self.keeps_all = all;
        self
    }

    /// `CLOCK_MONOTONIC` at the epoch's beginning.
    #[must_use]
    pub const fn begin_ns(&self) -> u64 {
        self.begin_ns
    }

    /// Notes a tick at `now_ns` (`CLOCK_MONOTONIC`). Returns it with what each cause did since the epoch began, by the number of its cell.
    pub fn tick(
        &mut self,
        now_ns: u64,
        reading: &Reading,
        names: &Names<'_>,
        observed: &Observed,
    ) -> (&Tick, BTreeMap<u32, CauseRow>) {
        let mut bytes = self.bytes(&reading.now());
        if let Figures::Sampled { last, .. } = &mut self.figures {
            if let Some(resident) = &observed.resident {
                *last = sampled_bytes(resident);
            }
            bytes = *last;
        }
        let since = reading.since(&self.last);
        let faults = since.faults;
        let (whole, moved) = rows_since(reading, &since, names);
        let tick = Tick {
            t_ns: now_ns.saturating_sub(self.begin_ns),
            rss_bytes: bytes.rss_bytes(),
            anon_bytes: bytes.anon_bytes,
            file_bytes: bytes.file_bytes,
            shmem_bytes: bytes.shmem_bytes,
            swap_bytes: bytes.swap_bytes,
            vm_bytes: observed
                .statm
                .map(|statm| statm.size * self.page_size as u64),
            lazyfree_bytes: observed.smaps.map(|smaps| smaps.lazy_free),
            anon_huge_bytes: observed.smaps.map(|smaps| smaps.anon_huge),
            unexplained_bytes: observed.check.map(|check| self.unexplained(check)),
            unexplained_bound_bytes: observed.check.map(|check| self.bound(check)),
            faults: self.count_faults.then_some(faults.user() + faults.kernel()),
            causes: moved.into_iter().map(|row| self.tick_cause(row)).collect(),
            go: observed.go,
            cgroup: observed.cgroup,
        };
        match (tick.unexplained_bytes, tick.unexplained_bound_bytes) {
            (Some(0), Some(0)) => self.suspect = None,
            (None | Some(0), _) => {}
            _ => self.suspect = self.suspect.or(Some(self.noted)),
        }
        self.noted += 1;
        self.last = reading.clone();
        if !self.keeps_all {
            let outdone = tick.lazyfree_bytes.is_some();
            self.ticks
                .retain(|old| old.lazyfree_bytes.is_some() && !outdone);
        }
        let index = self.ticks.len();
        self.ticks.push(tick);
        let causes = self.by_cell(whole);
        (&self.ticks[index], causes)
    }

    /// Returns the start of the epoch as `reading` has it.
    #[must_use]
    pub fn start(&self, reading: &Reading) -> Start {
        let (kinds, settled) = match self.figures {
            Figures::Ledger => (self.bytes(&reading.start), Some(!reading.unsettled)),
            Figures::Sampled { first, .. } => (first, None),
        };
        Start {
            rss_bytes: kinds.rss_bytes(),
            kinds,
            settled,
            has_ledger: self.figures == Figures::Ledger,
        }
    }

    /// Returns the last figures of memory that is gone: the kernel's own counters at its end, and what `check` has found of them.
    #[must_use]
    pub fn gone(&self, reading: &Reading, check: Option<Check>) -> Gone {
        let end = reading.end.filter(|_| self.figures == Figures::Ledger);
        Gone {
            kinds: end.map(|end| self.bytes(&end)).unwrap_or_default(),
            unexplained: check.map(|check| (self.unexplained(check), self.bound(check))),
        }
    }

    /// What each cause did since the epoch began, by the number of its cell.
    #[must_use]
    pub fn rows(&self, reading: &Reading, names: &Names<'_>) -> BTreeMap<u32, CauseRow> {
        self.by_cell(rows(reading, names))
    }

    fn by_cell(&self, rows: Vec<Row>) -> BTreeMap<u32, CauseRow> {
        rows.into_iter()
            .map(|row| (row.cell, self.cause(row)))
            .collect()
    }

    /// Page faults since the epoch began.
    #[must_use]
    pub fn faults(&self, reading: &Reading) -> Faults {
        let faults = reading.faults;
        let counted = |count: u64| self.count_faults.then_some(count);
        Faults {
            user: counted(faults.user()),
            kernel: counted(faults.kernel()),
            user_read: counted(faults.user_read),
            user_write: counted(faults.user_write),
            user_exec: counted(faults.user_exec),
            kernel_read: counted(faults.kernel_read),
            kernel_write: counted(faults.kernel_write),
        }
    }

    /// At an exec: takes back what the last ticks found unexplained, and says which ticks those are, also where they were not
    /// kept. A process has its new memory while its old one is still torn down, so `statm` was the new program's already.
    pub fn ended_by_exec(&mut self) -> Option<TakenBack> {
        for tick in self.ticks.iter_mut().rev() {
            match (tick.unexplained_bytes, tick.unexplained_bound_bytes) {
                (Some(0), Some(0)) => break,
                _ => tick.take_back(),
            }
        }
        let from = self.suspect.take()?;
        Some(TakenBack {
            from,
            until: self.noted,
        })
    }

    /// How many ticks are kept: what memory grows with.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.ticks.len()
    }

    /// Takes the ticks that were kept, oldest first.
    pub fn take_ticks(&mut self) -> Vec<Tick> {
        std::mem::take(&mut self.ticks)
    }

    /// The ticks that were kept, oldest first.
    #[must_use]
    pub fn into_ticks(self) -> Vec<Tick> {
        self.ticks
    }

    /// What only a ledger knows.
    fn known<T>(&self, value: T) -> Option<T> {
        (self.figures == Figures::Ledger).then_some(value)
    }

    const fn unexplained(&self, check: Check) -> i64 {
        check.unexplained * self.page_size
    }

    const fn bound(&self, check: Check) -> u64 {
        check.bound * self.page_size as u64
    }

    fn bytes(&self, pages: &Pages) -> Bytes4 {
        Bytes4 {
            anon_bytes: pages[MEMBER_ANON] * self.page_size,
            file_bytes: pages[MEMBER_FILE] * self.page_size,
            shmem_bytes: pages[MEMBER_SHMEM] * self.page_size,
            swap_bytes: pages[MEMBER_SWAP] * self.page_size,
        }
    }

    fn tick_cause(&self, row: Row) -> TickCause {
        let bytes = self.bytes(&row.pages);
        TickCause {
            cause: row.cause,
            advice: row.advice.map(Into::into),
            task: row.task.map(Into::into),
            calls: row.calls.as_ref().map(|calls| calls.stats.calls),
            requested_bytes: row.calls.as_ref().map(|calls| calls.stats.requested),
            rss_delta_bytes: self.known(bytes.rss_bytes()),
            swap_delta_bytes: bytes.swap_bytes,
        }
    }

    fn cause(&self, row: Row) -> CauseRow {
        let bytes = self.bytes(&row.pages);
        let stats = row.calls.as_ref().map(|calls| calls.stats);
        CauseRow {
            cause: row.cause,
            advice: row.advice.map(Into::into),
            task: row.task.map(Into::into),
            calls: stats.map(|stats| stats.calls),
            failed_calls: stats.map(|stats| stats.failed),
            errnos: row
                .calls
                .map(|calls| calls.errnos)
                .unwrap_or_default()
                .into_iter()
                .map(|(errno, calls)| ErrnoCount {
                    errno: errno_name(errno).into(),
                    calls,
                })
                .collect(),
            requested_bytes: stats.map(|stats| stats.requested),
            failed_requested_bytes: stats.map(|stats| stats.failed_requested),
            shrunk_bytes: stats.map(|stats| stats.shrunk),
            time_ns: stats.map(|stats| stats.time_ns),
            rss_delta_bytes: self.known(bytes.rss_bytes()),
            by_kind: self.known(bytes),
        }
    }
}

fn sampled_bytes(resident: &Resident) -> Bytes4 {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Bytes4 {
        anon_bytes: signed(resident.anon),
        file_bytes: signed(resident.file),
        shmem_bytes: signed(resident.shmem),
        swap_bytes: signed(resident.swap),
    }
}

#[cfg(test)]
mod tests {
    use memtrace_common::cell::{FAULT, MUNMAP};

    use super::*;

    fn reading(faults: i64, munmap: i64) -> Reading {
        let mut reading = Reading {
            start: [5, 10, 0, 0],
            begin_ns: 1_000,
            ..Reading::default()
        };
        reading.cells[FAULT as usize][MEMBER_ANON] = faults;
        reading.cells[MUNMAP as usize][MEMBER_ANON] = munmap;
        reading
    }

    #[test]
    fn a_tick_shows_the_state_and_what_moved_since_the_last_one() {
        let mut recorder = Recorder::new(4096, true, reading(0, 0));
        let names = Names::default();
        recorder.tick(2_000, &reading(7, 0), &names, &Observed::default());
        let (tick, _) = recorder.tick(3_000, &reading(9, -4), &names, &Observed::default());
        assert_eq!(tick.t_ns, 2_000);
        assert_eq!(tick.rss_bytes, (5 + 10 + 9 - 4) * 4096);
        assert_eq!(tick.causes.len(), 2);
        assert_eq!(tick.causes[0].rss_delta_bytes, Some(2 * 4096));
        assert_eq!(tick.causes[1].rss_delta_bytes, Some(-4 * 4096));
        assert_eq!(tick.vm_bytes, None);
        assert_eq!(tick.lazyfree_bytes, None);
    }

    #[test]
    fn the_first_tick_counts_from_the_start_of_the_epoch() {
        let mut recorder = Recorder::new(4096, true, reading(3, 0));
        let (tick, _) = recorder.tick(
            2_000,
            &reading(3, 0),
            &Names::default(),
            &Observed::default(),
        );
        assert_eq!(tick.causes[0].rss_delta_bytes, Some(3 * 4096));
    }

    #[test]
    fn a_report_needs_two_ticks_at_most() {
        let mut recorder = Recorder::new(4096, true, reading(0, 0)).keeping(false);
        let names = Names::default();
        let with_smaps = Observed {
            smaps: Some(Smaps {
                rss: 0,
                lazy_free: 8192,
                anon_huge: 0,
                swap: 0,
                took: std::time::Duration::ZERO,
            }),
            ..Observed::default()
        };
        for (at, observed) in [
            (2_000, Observed::default()),
            (3_000, with_smaps),
            (4_000, with_smaps),
            (5_000, Observed::default()),
            (6_000, Observed::default()),
        ] {
            let (tick, _) = recorder.tick(at, &reading(at as i64, 0), &names, &observed);
            assert_eq!(tick.t_ns, at - 1_000);
        }
        let kept: Vec<_> = recorder
            .into_ticks()
            .iter()
            .map(|tick| (tick.t_ns, tick.lazyfree_bytes))
            .collect();
        assert_eq!(kept, [(3_000, Some(8192)), (5_000, None)]);
    }

    #[test]
    fn what_was_compared_in_the_midst_of_an_exec_is_no_finding() {
        let mut recorder = Recorder::new(4096, true, reading(0, 0));
        let found = [(0, 0), (3, 0), (0, 0), (-9, 0), (0, 7), (1, 0)];
        for (at, (unexplained, bound)) in (2_000..).step_by(1_000).zip(found) {
            let observed = Observed {
                check: Some(Check { unexplained, bound }),
                ..Observed::default()
            };
            recorder.tick(at, &reading(0, 0), &Names::default(), &observed);
        }
        assert_eq!(
            recorder.ended_by_exec(),
            Some(TakenBack { from: 3, until: 6 })
        );
        let left: Vec<_> = recorder
            .into_ticks()
            .iter()
            .map(|tick| tick.unexplained_bytes.map(|bytes| bytes / 4096))
            .collect();
        // One that a later tick confirms to be of this program stays.
        assert_eq!(left, [Some(0), Some(3), Some(0), None, Some(0), None]);
    }
}
