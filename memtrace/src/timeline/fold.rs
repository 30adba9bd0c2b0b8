//! The fold of an epoch: what is known at its beginning, its ticks, and its end, made into its account.
//!
//! It is the only place that fills a [`Summary`]: of a running capture for its views, at the end of an epoch, and of a journal wherever it stops.

use super::{Changes, Known, Returning, bridge};
use crate::{
    model::{
        Account, BridgePart, Bytes4, CaptureInfo, CauseRow, CgroupInfo, End, MappingGroup,
        SelfStats, Summary, TargetInfo, Tick,
    },
    observe::ClosingGauges,
};

/// RSS when an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// RSS in bytes.
    pub rss_bytes: i64,
    /// The same by kind.
    pub kinds: Bytes4,
    /// False if counters moved while they were read; `None` in the approximate mode.
    pub settled: Option<bool>,
    /// False in the approximate mode, in which nothing is known of what was given back.
    pub has_ledger: bool,
}

impl Start {
    const fn of(summary: &Summary) -> Self {
        Self {
            rss_bytes: summary.rss_start_bytes,
            kinds: summary.start,
            settled: summary.rss_start_settled,
            has_ledger: summary.returned.is_some(),
        }
    }
}

/// The last figures of memory that is gone. Those of a process that still has its memory are its last tick's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// By kind, as the kernel's counters stood in the end.
    pub kinds: Bytes4,
    /// What the ledger lacks of them, bytes, with its bound; `None` if there is no ledger to compare.
    pub unexplained: Option<(i64, u64)>,
}

/// What closes an account, beside the ticks.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Why the epoch ended.
    pub end: End,
    /// How long it lasted; `None` for the time of the last tick.
    pub duration_ns: Option<u64>,
    /// Its start by the last reading, if there is one.
    pub start: Option<Start>,
    /// The last figures, if the memory is gone.
    pub gone: Option<Gone>,
    /// The kernel's figure that the last tick was compared with.
    pub compared_with: &'static str,
    /// Why `LazyFree` is not known. Ignored if the last tick has it.
    pub lazyfree_missing: Option<String>,
    /// The last readings beside the ledger; `None` if there were none, as in a journal.
    pub gauges: Option<ClosingGauges>,
    /// The process can still be looked at: else there is no bridge, and there are no mappings.
    pub alive: bool,
    /// The process as it is now, if that may differ from what is known.
    pub target: Option<TargetInfo>,
    /// Runs of memtrace's programs that the kernel skipped.
    pub skipped_runs: Option<u64>,
    /// What memtrace took.
    pub self_stats: Option<SelfStats>,
}

impl Closing {
    /// Returns the closing of an epoch of which nothing more is known than its ticks, which were compared with `statm`.
    #[must_use]
    pub const fn as_at_the_last_tick(end: End) -> Self {
        Self {
            end,
            duration_ns: None,
            start: None,
            gone: None,
            compared_with: "statm",
            lazyfree_missing: None,
            gauges: None,
            alive: true,
            target: None,
            skipped_runs: None,
            self_stats: None,
        }
    }
}

/// The figures of the last tick that an account needs.
#[derive(Clone, Copy, Debug)]
struct Last {
    t_ns: u64,
    rss_bytes: i64,
    kinds: Bytes4,
    unexplained: Option<(i64, Option<u64>)>,
    lazyfree_bytes: Option<u64>,
    anon_huge_bytes: Option<u64>,
}

/// An epoch so far. It keeps no tick.
#[derive(Clone, Debug)]
pub struct Fold {
    target: TargetInfo,
    capture: CaptureInfo,
    start: Start,
    known: Known,
    returning: Returning,
    highest: i64,
    last: Option<Last>,
}

impl Fold {
    /// Begins with what is known before the first tick.
    #[must_use]
    pub const fn begin(
        target: TargetInfo,
        capture: CaptureInfo,
        start: Start,
        known: Known,
    ) -> Self {
        Self {
            target,
            capture,
            start,
            known,
            returning: Returning::new(start.rss_bytes),
            highest: start.rss_bytes,
            last: None,
        }
    }

    /// Begins with an account of that moment, as a journal has it.
    #[must_use]
    pub fn of(opening: Account) -> Self {
        let start = Start::of(&opening.summary);
        let known = Known::of(&opening);
        let Account {
            target, capture, ..
        } = opening;
        Self::begin(target, capture, start, known)
    }

    /// Returns the account of the beginning: nothing has moved yet.
    #[must_use]
    pub fn opening(&self) -> Account {
        self.account(Closing::as_at_the_last_tick(End::Interrupted))
    }

    /// Notes a tick, whose figures are those of `known`.
    pub fn tick(&mut self, tick: &Tick, known: Known) {
        self.know(known);
        self.note(tick);
    }

    /// Notes a tick of a journal, with what has changed since the one before.
    pub(super) fn changed(&mut self, tick: &Tick, changes: Changes) {
        changes.apply(&mut self.known);
        self.take_news();
        self.note(tick);
    }

    /// Replaces what is known without a tick.
    pub fn know(&mut self, known: Known) {
        self.known = known;
        self.take_news();
    }

    /// Sets the longest time between ticks.
    pub fn set_interval(&mut self, interval_ns: u64) {
        self.capture.interval_ns = interval_ns;
    }

    fn take_news(&mut self) {
        if let Some(target) = self.known.target.take() {
            self.target = target;
        }
        if let Some(hooks) = self.known.hooks.take() {
            self.capture.hooks = hooks;
        }
    }

    fn note(&mut self, tick: &Tick) {
        self.returning.tick(&tick.causes, tick.rss_bytes);
        self.highest = self.highest.max(tick.rss_bytes);
        self.last = Some(Last {
            t_ns: tick.t_ns,
            rss_bytes: tick.rss_bytes,
            kinds: Bytes4 {
                anon_bytes: tick.anon_bytes,
                file_bytes: tick.file_bytes,
                shmem_bytes: tick.shmem_bytes,
                swap_bytes: tick.swap_bytes,
            },
            unexplained: tick
                .unexplained_bytes
                .map(|bytes| (bytes, tick.unexplained_bound_bytes)),
            lazyfree_bytes: tick.lazyfree_bytes,
            anon_huge_bytes: tick.anon_huge_bytes,
        });
    }

    /// Returns the account of everything so far, without a verdict.
    #[must_use]
    pub fn account(&self, mut closing: Closing) -> Account {
        let Known {
            mut losses,
            children,
            ..
        } = self.known;
        losses.skipped_runs = closing.skipped_runs.or(losses.skipped_runs);
        let at_last = self.last.map(|last| last.t_ns);
        let opened = self.capture.duration_ns;
        let capture = CaptureInfo {
            duration_ns: closing.duration_ns.or(at_last).unwrap_or(opened),
            lost_events: losses.total(),
            losses,
            self_stats: closing.self_stats.take(),
            children: children.or(self.capture.children),
            end: closing.end,
            ..self.capture.clone()
        };
        Account {
            target: closing.target.take().unwrap_or_else(|| self.target.clone()),
            capture,
            summary: self.summary(closing),
            verdict: None,
        }
    }

    fn summary(&self, closing: Closing) -> Summary {
        let start = closing.start.unwrap_or(self.start);
        let Figures {
            kinds,
            rss_bytes,
            unexplained,
            compared_with,
            lazyfree_bytes,
            anon_huge_bytes,
        } = self.figures(start, &closing);
        let missing = closing.lazyfree_missing;
        let lazyfree_missing = missing.filter(|_| lazyfree_bytes.is_none());
        let gauged = closing.gauges.map(|gauges| {
            if !closing.alive {
                return Gauged {
                    cgroup: or_why(gauges.cgroup),
                    ..Gauged::default()
                };
            }
            let missing = lazyfree_missing.as_deref();
            Gauged::of(gauges, kinds, rss_bytes, lazyfree_bytes, missing)
        });
        let Gauged {
            bridge,
            mappings: (mappings, mappings_missing),
            cgroup: (cgroup, cgroup_missing),
        } = gauged.unwrap_or_default();
        let causes: Vec<CauseRow> = self.known.causes.values().cloned().collect();
        let returned = self.returning.returned(&causes, &self.capture.hooks);
        Summary {
            rss_start_bytes: start.rss_bytes,
            rss_start_settled: start.settled,
            rss_end_bytes: rss_bytes,
            rss_highest_seen_bytes: self.highest,
            rss_sampling_bound_bytes: self.known.sampling_bound_bytes,
            unexplained_bytes: unexplained.map(|(bytes, _)| bytes),
            unexplained_bound_bytes: unexplained.and_then(|(_, bound)| bound),
            compared_with: unexplained.map(|_| compared_with.into()),
            start: start.kinds,
            end: kinds,
            lazyfree_bytes,
            lazyfree_missing: lazyfree_missing.map(Into::into),
            anon_huge_bytes,
            returned: start.has_ledger.then_some(returned),
            causes,
            faults: self.known.faults,
            bridge,
            mappings,
            mappings_missing: mappings_missing.map(Into::into),
            cgroup,
            cgroup_missing: cgroup_missing.map(Into::into),
        }
    }

    fn figures(&self, start: Start, closing: &Closing) -> Figures {
        if let Some(Gone { kinds, unexplained }) = closing.gone {
            return Figures {
                kinds,
                rss_bytes: kinds.rss_bytes(),
                unexplained: unexplained.map(|(bytes, bound)| (bytes, Some(bound))),
                compared_with: "counters",
                lazyfree_bytes: None,
                anon_huge_bytes: None,
            };
        }
        let Some(last) = self.last else {
            return Figures {
                kinds: start.kinds,
                rss_bytes: start.rss_bytes,
                unexplained: None,
                compared_with: closing.compared_with,
                lazyfree_bytes: None,
                anon_huge_bytes: None,
            };
        };
        // The kernel's figure, as of memory that is gone; what the ledger lacks of it is unexplained.
        let missing = last.unexplained.map_or(0, |(bytes, _)| bytes);
        Figures {
            kinds: last.kinds,
            rss_bytes: last.rss_bytes.saturating_add(missing),
            unexplained: last.unexplained,
            compared_with: closing.compared_with,
            lazyfree_bytes: last.lazyfree_bytes,
            anon_huge_bytes: last.anon_huge_bytes,
        }
    }
}

/// What an epoch ends with.
struct Figures {
    kinds: Bytes4,
    rss_bytes: i64,
    unexplained: Option<(i64, Option<u64>)>,
    compared_with: &'static str,
    lazyfree_bytes: Option<u64>,
    anon_huge_bytes: Option<u64>,
}

/// A value, or why there is none, as a summary has it.
type OrWhy<T> = (Option<T>, Option<String>);

/// The parts of a summary that the gauges fill.
#[derive(Default)]
struct Gauged {
    bridge: Vec<BridgePart>,
    mappings: OrWhy<Vec<MappingGroup>>,
    cgroup: OrWhy<CgroupInfo>,
}

impl Gauged {
    fn of(
        gauges: ClosingGauges,
        kinds: Bytes4,
        rss_bytes: i64,
        lazyfree_bytes: Option<u64>,
        lazyfree_missing: Option<&str>,
    ) -> Self {
        let ClosingGauges {
            cgroup,
            mappings,
            go,
        } = gauges;
        let mappings = match mappings {
            Some(mappings) => or_why(mappings),
            // What may not be walked for LazyFree may not be walked for this either.
            None => (None, lazyfree_missing.map(str::to_owned)),
        };
        let walked = mappings.0.as_deref();
        Self {
            bridge: bridge(kinds, rss_bytes, lazyfree_bytes, go.as_ref(), walked),
            mappings,
            cgroup: or_why(cgroup),
        }
    }
}

fn or_why<T>(read: Result<T, String>) -> OrWhy<T> {
    match read {
        Ok(read) => (Some(read), None),
        Err(why) => (None, Some(why)),
    }
}

#[cfg(test)]
mod tests {
    use memtrace_common::cell::{FAULT, MEMBER_ANON, MUNMAP};

    use super::*;
    use crate::{
        ledger::{Check, Names, Reading},
        model::{Faults, HookInfo, HookKind, LossInfo, Mode},
        observe::{Resident, Smaps},
        timeline::{Observed, Recorder},
    };

    const PAGE: i64 = 4096;

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

    fn target(comm: &str) -> TargetInfo {
        TargetInfo {
            pid: 7,
            comm: comm.into(),
            exe: None,
            cmdline: Vec::new(),
            start_time: None,
            runtime: None,
        }
    }

    fn hook(name: &str) -> HookInfo {
        HookInfo {
            name: name.into(),
            kind: Some(HookKind::TpBtf),
            error: None,
            fallback: None,
        }
    }

    fn capture() -> CaptureInfo {
        CaptureInfo {
            started_at: String::new().into(),
            duration_ns: 0,
            interval_ns: 5,
            mode: Mode::Exact,
            mode_note: None,
            hooks: vec![hook("madvise"), hook("process_madvise")],
            lost_events: 0,
            losses: LossInfo::default(),
            self_stats: None,
            children: None,
            end: End::Interrupted,
        }
    }

    struct Run {
        recorder: Recorder,
        fold: Fold,
        last: Reading,
    }

    impl Run {
        fn new(recorder: Recorder, first: Reading) -> Self {
            let known = Known {
                faults: recorder.faults(&Reading::default()),
                ..Known::default()
            };
            let start = recorder.start(&first);
            Self {
                recorder,
                fold: Fold::begin(target("a"), capture(), start, known),
                last: first,
            }
        }

        fn exact() -> Self {
            let first = reading(0, 0);
            Self::new(Recorder::new(PAGE as u64, true, first.clone()), first)
        }

        fn tick(&mut self, now_ns: u64, reading: Reading, observed: &Observed) {
            let faults = self.recorder.faults(&reading);
            let names = Names {
                hooked: &["mmap"],
                ..Names::default()
            };
            let (tick, causes) = self.recorder.tick(now_ns, &reading, &names, observed);
            let known = Known {
                causes,
                faults,
                ..Known::default()
            };
            self.fold.tick(tick, known);
            self.last = reading;
        }

        fn summary(&self, closing: Closing) -> Summary {
            self.fold.account(closing).summary
        }
    }

    fn closing() -> Closing {
        Closing::as_at_the_last_tick(End::Signal)
    }

    fn of_causes(summary: &Summary) -> i64 {
        let rows = summary.causes.iter();
        rows.filter_map(|row| row.rss_delta_bytes).sum()
    }

    fn unexplained(pages: i64) -> Observed {
        Observed {
            check: Some(Check {
                unexplained: pages,
                bound: 2,
            }),
            ..Observed::default()
        }
    }

    #[test]
    fn the_summary_adds_up() {
        let mut run = Run::exact();
        run.tick(2_000, reading(90, 0), &Observed::default());
        run.tick(3_000, reading(90, -80), &Observed::default());
        let account = run.fold.account(closing());
        let summary = account.summary;
        assert_eq!(
            summary.rss_start_bytes + of_causes(&summary),
            summary.rss_end_bytes
        );
        assert_eq!(summary.rss_highest_seen_bytes, 105 * PAGE);
        assert_eq!(summary.unexplained_bytes, None);
        assert_eq!(summary.compared_with, None);
        assert_eq!(account.capture.duration_ns, 2_000);
    }

    #[test]
    fn what_is_unexplained_is_part_of_the_sum() {
        let mut run = Run::exact();
        run.tick(2_000, reading(90, -80), &unexplained(3));
        let summary = run.summary(closing());
        assert_eq!(summary.unexplained_bytes, Some(3 * PAGE));
        assert_eq!(summary.unexplained_bound_bytes, Some(2 * PAGE as u64));
        assert_eq!(
            summary.compared_with.as_ref().map(|it| it.raw()),
            Some("statm")
        );
        assert_eq!(
            summary.rss_start_bytes + of_causes(&summary) + 3 * PAGE,
            summary.rss_end_bytes
        );
        let with = Closing {
            compared_with: "smaps_rollup",
            ..closing()
        };
        assert_eq!(
            run.summary(with).compared_with.as_ref().map(|it| it.raw()),
            Some("smaps_rollup")
        );
    }

    #[test]
    fn memory_that_is_gone_ends_with_the_kernels_figures() {
        let mut run = Run::exact();
        let smaps = Smaps {
            rss: 0,
            lazy_free: 8192,
            anon_huge: 1,
            swap: 0,
            took: std::time::Duration::ZERO,
        };
        let observed = Observed {
            smaps: Some(smaps),
            ..unexplained(1)
        };
        run.tick(2_000, reading(0, 0), &observed);
        assert_eq!(run.summary(closing()).lazyfree_bytes, Some(8192));
        let mut last = reading(0, -15);
        last.end = Some([0, 1, 0, 0]);
        let check = Check {
            unexplained: -4,
            bound: 0,
        };
        let summary = run.summary(Closing {
            gone: Some(run.recorder.gone(&last, Some(check))),
            lazyfree_missing: Some("gone".to_owned()),
            ..closing()
        });
        assert_eq!(summary.rss_end_bytes, PAGE);
        assert_eq!(summary.end.rss_bytes(), PAGE);
        assert_eq!(summary.unexplained_bytes, Some(-4 * PAGE));
        assert_eq!(
            summary.compared_with.as_ref().map(|it| it.raw()),
            Some("counters")
        );
        // What the last tick read was of memory that is no more.
        assert_eq!(summary.lazyfree_bytes, None);
        assert_eq!(summary.anon_huge_bytes, None);
        assert_eq!(
            summary.lazyfree_missing.as_ref().map(|it| it.raw()),
            Some("gone")
        );
    }

    #[test]
    fn faults_that_were_not_counted_are_null() {
        let first = reading(0, 0);
        let recorder = Recorder::new(PAGE as u64, false, first.clone());
        let run = Run::new(recorder, first);
        assert_eq!(run.fold.opening().summary.faults, Faults::default());
        let counted = Run::exact().fold.opening().summary.faults;
        assert_eq!(counted.user, Some(0));
    }

    #[test]
    fn samples_stand_if_there_is_no_ledger_and_its_columns_are_null() {
        let resident = |anon| Resident {
            anon,
            file: 8192,
            shmem: 0,
            swap: 4096,
            threads: 1,
        };
        let mut called = Reading::default();
        called.calls[0].calls = 3;
        let first = Reading::default();
        let recorder = Recorder::sampled(PAGE as u64, true, first.clone(), resident(4096));
        assert_eq!(recorder.mode(), Mode::Approximate);
        let mut run = Run::new(recorder, first);
        let observed = Observed {
            resident: Some(resident(40_960)),
            ..Observed::default()
        };
        run.tick(1_000, called, &observed);
        let summary = run.summary(closing());
        assert_eq!(summary.rss_start_bytes, 12_288);
        assert_eq!(summary.rss_end_bytes, 49_152);
        assert_eq!(summary.rss_highest_seen_bytes, 49_152);
        assert_eq!(summary.rss_start_settled, None);
        assert_eq!(summary.unexplained_bytes, None);
        assert_eq!(summary.returned, None);
        assert_eq!(summary.causes[0].calls, Some(3));
        assert_eq!(summary.causes[0].by_kind, None);
        let gone = run.recorder.gone(&run.last, None);
        let summary = run.summary(Closing {
            gone: Some(gone),
            ..closing()
        });
        assert_eq!(summary.rss_end_bytes, 0);
    }

    fn gauges(mappings: Option<Result<Vec<MappingGroup>, String>>) -> ClosingGauges {
        ClosingGauges {
            cgroup: Err("no cgroup".to_owned()),
            mappings,
            go: None,
        }
    }

    #[test]
    fn what_is_beside_the_ledger_is_there_if_it_was_read() {
        let mut run = Run::exact();
        run.tick(2_000, reading(3, 0), &Observed::default());
        let unwalked = run.summary(Closing {
            gauges: Some(gauges(None)),
            lazyfree_missing: Some("too large".to_owned()),
            ..closing()
        });
        let parts: i64 = unwalked.bridge.iter().map(|part| part.bytes).sum();
        assert_eq!(parts, unwalked.rss_end_bytes);
        assert_eq!(
            unwalked.mappings_missing.as_ref().map(|it| it.raw()),
            Some("too large")
        );
        assert_eq!(
            unwalked.cgroup_missing.as_ref().map(|it| it.raw()),
            Some("no cgroup")
        );
        let walked = run.summary(Closing {
            gauges: Some(gauges(Some(Ok(Vec::new())))),
            ..closing()
        });
        assert_eq!(walked.mappings, Some(Vec::new()));
        assert_eq!(walked.mappings_missing, None);
        let over = run.summary(Closing {
            gauges: Some(gauges(None)),
            alive: false,
            lazyfree_missing: Some("gone".to_owned()),
            ..closing()
        });
        assert!(over.bridge.is_empty());
        assert_eq!(over.mappings_missing, None);
        assert_eq!(
            over.cgroup_missing.as_ref().map(|it| it.raw()),
            Some("no cgroup")
        );
        let unread = run.summary(closing());
        assert!(unread.bridge.is_empty());
        assert_eq!(unread.cgroup_missing, None);
    }

    #[test]
    fn news_replace_what_was_known_and_stay() {
        let mut run = Run::exact();
        let tick = |run: &mut Run, known| {
            let reading = reading(1, 0);
            let names = Names::default();
            let (tick, _) = run
                .recorder
                .tick(2_000, &reading, &names, &Observed::default());
            run.fold.tick(tick, known);
        };
        tick(
            &mut run,
            Known {
                target: Some(target("b")),
                hooks: Some(vec![hook("mmap")]),
                losses: LossInfo {
                    calls: 2,
                    ..LossInfo::default()
                },
                ..Known::default()
            },
        );
        tick(&mut run, Known::default());
        run.fold.set_interval(9);
        let account = run.fold.account(Closing {
            skipped_runs: Some(3),
            ..closing()
        });
        assert_eq!(account.target.comm, "b");
        assert_eq!(account.capture.hooks.len(), 1);
        assert_eq!(account.capture.interval_ns, 9);
        assert_eq!(account.capture.lost_events, 3);
        assert_eq!(account.capture.losses.skipped_runs, Some(3));
    }
}
