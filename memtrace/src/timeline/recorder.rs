//! From readings and samples to ticks and a summary.

use std::collections::BTreeMap;

use memtrace_common::{
    cell::{MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBER_SWAP},
    layout::Pages,
};

use super::{Returning, TakenBack};
use crate::{
    ledger::{Check, Names, Reading, Row, rows, rss_of},
    model::{
        Bytes4, CauseRow, CgroupFigures, ErrnoCount, Faults, GoFigures, HookInfo, Mode, Summary,
        Tick, TickCause, errno_name,
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
    /// `smaps_rollup`, where the ration allowed it.
    pub smaps: Option<Smaps>,
    /// The ledger against `statm`.
    pub check: Option<Check>,
    /// Go's own figures.
    pub go: Option<GoFigures>,
    /// The memory cgroup's.
    pub cgroup: Option<CgroupFigures>,
}

/// What closes an epoch.
#[derive(Clone, Debug, Default)]
pub struct Final {
    /// The ledger against the kernel's own figures.
    pub check: Option<Check>,
    /// What those figures were.
    pub compared_with: Option<String>,
    /// `LazyFree` in bytes.
    pub lazyfree_bytes: Option<u64>,
    /// Why there is none.
    pub lazyfree_missing: Option<String>,
    /// `AnonHugePages` in bytes.
    pub anon_huge_bytes: Option<u64>,
    /// How far sampled figures may be off; `None` in the exact mode.
    pub sampling_bound_bytes: Option<u64>,
    /// The memory is gone.
    pub gone: bool,
}

impl Final {
    /// Takes note of what `smaps_rollup` said, if it was read.
    pub fn note_smaps(&mut self, smaps: Option<Smaps>) {
        self.lazyfree_bytes = smaps.map(|smaps| smaps.lazy_free);
        self.anon_huge_bytes = smaps.map(|smaps| smaps.anon_huge);
    }
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
    highest: i64,
    rss_start: i64,
    figures: Figures,
    returning: Returning,
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
            highest: rss_of(&first.start) * page_size,
            rss_start: rss_of(&first.start) * page_size,
            last: start,
            ticks: Vec::new(),
            keeps_all: true,
            noted: 0,
            suspect: None,
            figures: Figures::Ledger,
            returning: Returning::new(rss_of(&first.start) * page_size),
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
            highest: start.rss_bytes(),
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

    /// Notes a tick at `now_ns` (`CLOCK_MONOTONIC`), and returns it.
    pub fn tick(
        &mut self,
        now_ns: u64,
        reading: &Reading,
        names: &Names<'_>,
        observed: &Observed,
    ) -> &Tick {
        let mut bytes = self.bytes(&reading.now());
        if let Figures::Sampled { last, .. } = &mut self.figures {
            if let Some(resident) = &observed.resident {
                *last = sampled_bytes(resident);
            }
            bytes = *last;
        }
        let since = reading.since(&self.last);
        let faults = since.faults;
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
            causes: rows(&since, names)
                .into_iter()
                .map(|row| self.tick_cause(row))
                .collect(),
            go: observed.go,
            cgroup: observed.cgroup,
        };
        match (tick.unexplained_bytes, tick.unexplained_bound_bytes) {
            (Some(0), Some(0)) => self.suspect = None,
            (None | Some(0), _) => {}
            _ => self.suspect = self.suspect.or(Some(self.noted)),
        }
        self.noted += 1;
        self.returning.tick(&tick.causes, tick.rss_bytes);
        self.highest = self.highest.max(tick.rss_bytes);
        self.last = reading.clone();
        if !self.keeps_all {
            let outdone = tick.lazyfree_bytes.is_some();
            self.ticks
                .retain(|old| old.lazyfree_bytes.is_some() && !outdone);
        }
        let index = self.ticks.len();
        self.ticks.push(tick);
        &self.ticks[index]
    }

    /// The summary of the epoch, from its last reading. `hooks` are those that were attached.
    #[must_use]
    pub fn summary(
        &self,
        reading: &Reading,
        names: &Names<'_>,
        hooks: &[HookInfo],
        closing: Final,
    ) -> Summary {
        let causes: Vec<CauseRow> = self.rows(reading, names).into_values().collect();
        let end = reading.end.unwrap_or_else(|| reading.now());
        let (start, end_bytes) = match self.figures {
            Figures::Ledger => (self.bytes(&reading.start), self.bytes(&end)),
            Figures::Sampled { first, .. } if closing.gone => (first, Bytes4::default()),
            Figures::Sampled { first, last } => (first, last),
        };
        // The kernel's figure, as where it has ended; what the ledger lacks of it is unexplained.
        let missing = match (self.figures, reading.end, closing.check) {
            (Figures::Ledger, None, Some(check)) => self.unexplained(check),
            _ => 0,
        };
        Summary {
            rss_start_bytes: start.rss_bytes(),
            rss_start_settled: (self.figures == Figures::Ledger).then_some(!reading.unsettled),
            rss_sampling_bound_bytes: closing.sampling_bound_bytes,
            rss_end_bytes: end_bytes.rss_bytes() + missing,
            rss_highest_seen_bytes: self.highest,
            unexplained_bytes: closing.check.map(|check| self.unexplained(check)),
            unexplained_bound_bytes: closing.check.map(|check| self.bound(check)),
            compared_with: closing.compared_with,
            start,
            end: end_bytes,
            lazyfree_bytes: closing.lazyfree_bytes,
            lazyfree_missing: closing.lazyfree_missing,
            anon_huge_bytes: closing.anon_huge_bytes,
            returned: self.known(self.returning.returned(&causes, hooks)),
            causes,
            faults: self.faults(reading),
            bridge: Vec::new(),
            mappings: None,
            mappings_missing: None,
            cgroup: None,
            cgroup_missing: None,
        }
    }

    /// The summary at the beginning, before the first tick: nothing has moved yet.
    #[must_use]
    pub fn opening(&self, sampling_bound_bytes: Option<u64>) -> Summary {
        let closing = Final {
            sampling_bound_bytes,
            ..Final::default()
        };
        self.summary(&self.last, &Names::default(), &[], closing)
    }

    /// What each cause did since the epoch began, by the number of its cell.
    #[must_use]
    pub fn rows(&self, reading: &Reading, names: &Names<'_>) -> BTreeMap<u32, CauseRow> {
        rows(reading, names)
            .into_iter()
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
            advice: row.advice,
            task: row.task,
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
            advice: row.advice,
            task: row.task,
            calls: stats.map(|stats| stats.calls),
            failed_calls: stats.map(|stats| stats.failed),
            errnos: row
                .calls
                .map(|calls| calls.errnos)
                .unwrap_or_default()
                .into_iter()
                .map(|(errno, calls)| ErrnoCount {
                    errno: errno_name(errno),
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
        let tick = recorder.tick(3_000, &reading(9, -4), &names, &Observed::default());
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
        let tick = recorder.tick(
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
            let tick = recorder.tick(at, &reading(at as i64, 0), &names, &observed);
            assert_eq!(tick.t_ns, at - 1_000);
        }
        let summary = recorder.summary(&reading(0, 0), &names, &[], Final::default());
        assert_eq!(summary.rss_highest_seen_bytes, 6_015 * 4096);
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

    #[test]
    fn the_summary_adds_up() {
        let mut recorder = Recorder::new(4096, true, reading(0, 0));
        let names = Names::default();
        recorder.tick(2_000, &reading(90, 0), &names, &Observed::default());
        let last = reading(90, -80);
        recorder.tick(3_000, &last, &names, &Observed::default());
        let summary = recorder.summary(&last, &names, &[], Final::default());
        let causes: i64 = summary
            .causes
            .iter()
            .filter_map(|row| row.rss_delta_bytes)
            .sum();
        assert_eq!(summary.rss_start_bytes + causes, summary.rss_end_bytes);
        assert_eq!(summary.rss_highest_seen_bytes, 105 * 4096);
        assert_eq!(summary.unexplained_bytes, None);
    }

    #[test]
    fn what_is_unexplained_is_part_of_the_sum() {
        let recorder = Recorder::new(4096, true, reading(0, 0));
        let last = reading(90, -80);
        let closing = Final {
            check: Some(Check {
                unexplained: 3,
                bound: 0,
            }),
            ..Final::default()
        };
        let summary = recorder.summary(&last, &Names::default(), &[], closing);
        let causes: i64 = summary
            .causes
            .iter()
            .filter_map(|row| row.rss_delta_bytes)
            .sum();
        let unexplained = summary.unexplained_bytes.unwrap();
        assert_eq!(unexplained, 3 * 4096);
        assert_eq!(
            summary.rss_start_bytes + causes + unexplained,
            summary.rss_end_bytes
        );
    }

    #[test]
    fn an_ended_epoch_ends_with_the_kernels_figure() {
        let recorder = Recorder::new(4096, true, reading(0, 0));
        let mut last = reading(0, -15);
        last.end = Some([0; 4]);
        let summary = recorder.summary(&last, &Names::default(), &[], Final::default());
        assert_eq!(summary.rss_end_bytes, 0);
    }

    #[test]
    fn faults_that_were_not_counted_are_null() {
        let recorder = Recorder::new(4096, false, reading(0, 0));
        let summary = recorder.summary(&reading(0, 0), &Names::default(), &[], Final::default());
        assert_eq!(summary.faults, Faults::default());
    }

    #[test]
    fn samples_stand_where_there_is_no_ledger_and_its_columns_are_null() {
        let resident = |anon| Resident {
            anon,
            file: 8192,
            shmem: 0,
            swap: 4096,
            threads: 1,
        };
        let mut called = Reading::default();
        called.calls[0].calls = 3;
        let names = Names {
            hooked: &["mmap"],
            ..Names::default()
        };
        let mut recorder = Recorder::sampled(4096, true, Reading::default(), resident(4096));
        assert_eq!(recorder.mode(), Mode::Approximate);
        let observed = Observed {
            resident: Some(resident(40_960)),
            ..Observed::default()
        };
        let tick = recorder.tick(1_000, &called, &names, &observed);
        assert_eq!((tick.rss_bytes, tick.swap_bytes), (49_152, 4096));
        assert_eq!(tick.causes[0].calls, Some(3));
        assert_eq!(tick.causes[0].rss_delta_bytes, None);
        let closing = Final {
            sampling_bound_bytes: Some(262_144),
            ..Final::default()
        };
        let summary = recorder.summary(&called, &names, &[], closing.clone());
        assert_eq!(summary.rss_start_bytes, 12_288);
        assert_eq!(summary.rss_end_bytes, 49_152);
        assert_eq!(summary.rss_highest_seen_bytes, 49_152);
        assert_eq!(summary.rss_sampling_bound_bytes, Some(262_144));
        assert_eq!(summary.rss_start_settled, None);
        assert_eq!(summary.unexplained_bytes, None);
        assert_eq!(summary.causes[0].by_kind, None);
        let gone = Final {
            gone: true,
            ..closing
        };
        assert_eq!(
            recorder.summary(&called, &names, &[], gone).rss_end_bytes,
            0
        );
    }
}
