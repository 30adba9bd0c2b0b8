//! Captures built in code, and what is asked of each answer.

use std::collections::BTreeMap;

use memtrace::{
    model::{
        Bytes4, Capture, Cause, CauseRow, CgroupFigures, CgroupInfo, End, Epoch, ExpectedRelease,
        GoFigures, HookInfo, MappingGroup, MappingKind, Mode, RuntimeInfo, SCHEMA, Tick, TickCause,
        Verdict,
    },
    verdict::{Trend, evaluate, judge_epoch, show},
    view,
};
use serde_json::{Value, json};

pub const MIB: i64 = 1 << 20;
pub const SECOND: u64 = 1_000_000_000;

/// A capture in the making.
pub struct Scene {
    pub capture: Capture,
}

/// An epoch of nothing, a tick a second.
fn blank() -> Value {
    json!({
        "schema": SCHEMA,
        "memtrace_version": "0.1.0",
        "host": {"kernel": "6.12.1-amd64", "arch": "x86_64", "page_size": 4096, "cpus": 8},
        "target": {"pid": 4242, "comm": "service", "exe": "/usr/bin/service", "cmdline": ["service"],
                   "start_time": 1_790_000_000, "runtime": null},
        "capture": {
            "started_at": "2026-09-21T12:00:00Z", "duration_ns": 0, "interval_ns": SECOND,
            "mode": "exact", "mode_note": null, "hooks": [], "lost_events": 0,
            "losses": {"ring_buffer": 0, "calls": 0, "errnos": 0, "counter_reads": 0, "epochs": 0, "skipped_runs": 0},
            "self_stats": null, "children": null, "end": "duration",
        },
        "summary": {
            "rss_start_bytes": 0, "rss_start_settled": true, "rss_end_bytes": 0, "rss_highest_seen_bytes": 0,
            "rss_sampling_bound_bytes": null, "unexplained_bytes": 0, "unexplained_bound_bytes": 0,
            "compared_with": "smaps_rollup",
            "start": {"anon_bytes": 0, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0},
            "end": {"anon_bytes": 0, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0},
            "lazyfree_bytes": 0, "causes": [],
            "faults": {"user": null, "kernel": null, "user_read": null, "user_write": null, "user_exec": null,
                       "kernel_read": null, "kernel_write": null},
        },
        "timeline": [], "verdict": null, "earlier_epochs": [],
    })
}

/// RSS by kind in MiB, and swap: anon, file, shmem, swap.
pub type Kinds = [i64; 4];

impl Scene {
    /// RSS at the start and at each tick, in MiB, over so many seconds: 4 MiB of files, the rest anonymous.
    pub fn new(seconds: u64, rss: &[i64]) -> Self {
        let kinds: Vec<Kinds> = rss.iter().map(|&mib| [mib - 4, 4, 0, 0]).collect();
        Self::of_kinds(seconds, &kinds)
    }

    /// A steady course.
    pub fn flat(seconds: u64, mib: i64) -> Self {
        Self::new(seconds, &vec![mib; seconds as usize + 1])
    }

    /// The same by kind.
    pub fn of_kinds(seconds: u64, kinds: &[Kinds]) -> Self {
        let mut capture: Capture = serde_json::from_value(blank()).unwrap();
        let epoch = &mut capture.epoch;
        let bytes = |kinds: &Kinds| Bytes4 {
            anon_bytes: kinds[0] * MIB,
            file_bytes: kinds[1] * MIB,
            shmem_bytes: kinds[2] * MIB,
            swap_bytes: kinds[3] * MIB,
        };
        epoch.capture.duration_ns = seconds * SECOND;
        let ticks = kinds.len() as u64 - 1;
        for (number, kinds) in kinds.iter().enumerate().skip(1) {
            let at = bytes(kinds);
            epoch.timeline.push(Tick {
                t_ns: seconds * SECOND * number as u64 / ticks,
                rss_bytes: at.rss_bytes(),
                anon_bytes: at.anon_bytes,
                file_bytes: at.file_bytes,
                shmem_bytes: at.shmem_bytes,
                swap_bytes: at.swap_bytes,
                vm_bytes: Some(1 << 32),
                lazyfree_bytes: None,
                anon_huge_bytes: None,
                unexplained_bytes: Some(0),
                unexplained_bound_bytes: Some(0),
                faults: Some(0),
                causes: Vec::new(),
                go: None,
                cgroup: None,
            });
        }
        let summary = &mut epoch.summary;
        summary.start = bytes(&kinds[0]);
        summary.end = bytes(kinds.last().unwrap());
        summary.rss_start_bytes = summary.start.rss_bytes();
        summary.rss_end_bytes = summary.end.rss_bytes();
        let seen = epoch.timeline.iter().map(|tick| tick.rss_bytes);
        summary.rss_highest_seen_bytes = seen.max().unwrap_or(0);
        epoch.capture.hooks = ["rss", "mmap", "munmap", "mremap", "brk", "madvise"]
            .map(|name| HookInfo {
                name: name.into(),
                kind: Some(memtrace::model::HookKind::TpBtf),
                error: None,
                fallback: None,
            })
            .to_vec();
        Self { capture }
    }

    pub fn epoch(&mut self) -> &mut Epoch {
        &mut self.capture.epoch
    }

    /// Changes what there is no word for.
    pub fn with(mut self, change: impl FnOnce(&mut Epoch)) -> Self {
        change(&mut self.capture.epoch);
        self
    }

    /// A row of the ledger, in MiB of anonymous memory.
    pub fn moved(self, cause: Cause, advice: Option<&str>, anon: i64) -> Self {
        self.row(cause, advice, None, anon)
    }

    /// A row with calls, and MiB that they asked for.
    pub fn called(
        self,
        cause: Cause,
        advice: Option<&str>,
        calls: u64,
        asked: u64,
        anon: i64,
    ) -> Self {
        self.row(cause, advice, Some((calls, asked)), anon)
    }

    fn row(
        mut self,
        cause: Cause,
        advice: Option<&str>,
        calls: Option<(u64, u64)>,
        anon: i64,
    ) -> Self {
        let by_kind = Bytes4 {
            anon_bytes: anon * MIB,
            ..Bytes4::default()
        };
        self.epoch().summary.causes.push(CauseRow {
            cause,
            advice: advice.map(str::to_owned).map(Into::into),
            task: None,
            calls: calls.map(|calls| calls.0),
            failed_calls: calls.map(|_| 0),
            errnos: Vec::new(),
            requested_bytes: calls.map(|calls| calls.1 * MIB as u64),
            failed_requested_bytes: calls.map(|_| 0),
            shrunk_bytes: calls.map(|_| 0),
            time_ns: calls.map(|calls| calls.0 * 10_000),
            rss_delta_bytes: Some(by_kind.rss_bytes()),
            by_kind: Some(by_kind),
        });
        self
    }

    /// The last row moved MiB into swap too.
    pub fn swapping(self, mib: i64) -> Self {
        self.with(|epoch| {
            let row = epoch.summary.causes.last_mut().unwrap();
            row.by_kind.as_mut().unwrap().swap_bytes = mib * MIB;
        })
    }

    /// What a cause did at a tick.
    pub fn at(self, tick: usize, cause: Cause, advice: Option<&str>, calls: u64, mib: i64) -> Self {
        self.with(|epoch| {
            epoch.timeline[tick].causes.push(TickCause {
                cause,
                advice: advice.map(str::to_owned).map(Into::into),
                task: None,
                calls: Some(calls),
                requested_bytes: None,
                rss_delta_bytes: Some(mib * MIB),
                swap_delta_bytes: 0,
            });
        })
    }

    /// `LazyFree` at the end, MiB.
    pub fn lazyfree(self, mib: u64) -> Self {
        self.with(|epoch| epoch.summary.lazyfree_bytes = Some(mib << 20))
    }

    /// `LazyFree` was not read.
    pub fn no_smaps(self) -> Self {
        self.with(|epoch| {
            epoch.summary.lazyfree_bytes = None;
            epoch.summary.lazyfree_missing = Some("--no-smaps was given".into());
        })
    }

    pub fn runtime(
        self,
        name: Option<&str>,
        version: Option<&str>,
        allocator: Option<&str>,
    ) -> Self {
        self.with(|epoch| {
            epoch.target.runtime = Some(RuntimeInfo {
                name: name.map(str::to_owned).map(Into::into),
                version: version.map(str::to_owned).map(Into::into),
                allocator: allocator.map(str::to_owned).map(Into::into),
                ..RuntimeInfo::default()
            });
        })
    }

    pub fn go(self, version: &str) -> Self {
        self.runtime(Some("go"), Some(version), Some("go"))
    }

    pub fn setting(self, name: &str, value: &str) -> Self {
        self.with(|epoch| {
            let settings: &mut BTreeMap<_, _> =
                &mut epoch.target.runtime.as_mut().unwrap().settings;
            settings.insert(name.into(), value.into());
        })
    }

    pub fn expects(self, by: &str, advice: &str, why: &str) -> Self {
        self.with(|epoch| {
            epoch
                .target
                .runtime
                .as_mut()
                .unwrap()
                .expected
                .push(ExpectedRelease {
                    by: by.into(),
                    call: "madvise".into(),
                    advice: Some(advice.into()),
                    why: why.into(),
                });
        })
    }

    /// Go's figures at each tick, MiB: in use, allocated, idle, released; and collections.
    pub fn heap(self, of: impl Fn(usize) -> [u64; 5]) -> Self {
        self.with(|epoch| {
            for (number, tick) in epoch.timeline.iter_mut().enumerate() {
                let [inuse, alloc, idle, released, num_gc] = of(number);
                tick.go = Some(GoFigures {
                    sys_bytes: Some((inuse + idle + 10) << 20),
                    heap_sys_bytes: Some((inuse + idle) << 20),
                    heap_alloc_bytes: Some(alloc << 20),
                    heap_inuse_bytes: Some(inuse << 20),
                    heap_released_bytes: Some(released << 20),
                    heap_idle_bytes: Some(idle << 20),
                    stack_inuse_bytes: Some(1 << 20),
                    num_gc: Some(num_gc),
                });
            }
        })
    }

    pub fn mapping(self, kind: MappingKind, name: &str, mib: u64) -> Self {
        self.with(|epoch| {
            epoch
                .summary
                .mappings
                .get_or_insert_default()
                .push(MappingGroup {
                    kind,
                    name: name.into(),
                    mappings: 1,
                    size_bytes: mib << 20,
                    rss_bytes: mib << 20,
                    anon_bytes: 0,
                    lazyfree_bytes: 0,
                    anon_huge_bytes: 0,
                    swap_bytes: 0,
                });
        })
    }

    /// The cgroup, MiB: limit, usage, inactive file; at the start and at the end.
    pub fn cgroup(self, limit: u64, usage: u64, inactive: u64) -> Self {
        let figures = CgroupFigures {
            usage_bytes: Some(usage << 20),
            working_set_bytes: Some((usage - inactive) << 20),
            inactive_file_bytes: Some(inactive << 20),
            oom_kills: Some(3),
            limit_hits: Some(10),
            ..CgroupFigures::default()
        };
        self.with(|epoch| {
            epoch.summary.cgroup = Some(CgroupInfo {
                version: 2,
                path: "/kubepods/pod1".into(),
                limit_bytes: Some(limit << 20),
                start: Some(figures),
                end: Some(figures),
                ..CgroupInfo::default()
            });
        })
    }

    /// As memtrace captures where there is no ledger.
    pub fn approximate(self) -> Self {
        self.with(|epoch| {
            epoch.capture.mode = Mode::Approximate;
            epoch.capture.mode_note = Some("no BTF".into());
            let summary = &mut epoch.summary;
            summary.unexplained_bytes = None;
            summary.unexplained_bound_bytes = None;
            summary.compared_with = None;
            for row in &mut summary.causes {
                row.rss_delta_bytes = None;
                row.by_kind = None;
            }
            for tick in &mut epoch.timeline {
                for cause in &mut tick.causes {
                    cause.rss_delta_bytes = None;
                }
            }
        })
    }

    /// The process ended: its last tick shows its memory gone.
    pub fn exited(self) -> Self {
        self.with(|epoch| {
            epoch.capture.end = End::TargetExited;
            let gone = epoch.summary.end;
            epoch.summary.end = Bytes4::default();
            epoch.summary.rss_end_bytes = 0;
            let mut last = epoch.timeline.last().unwrap().clone();
            last.t_ns += 1000;
            (
                last.rss_bytes,
                last.anon_bytes,
                last.file_bytes,
                last.shmem_bytes,
            ) = (0, 0, 0, 0);
            last.causes = vec![TickCause {
                cause: Cause::Exit,
                advice: None,
                task: None,
                calls: None,
                requested_bytes: None,
                rss_delta_bytes: Some(-gone.rss_bytes()),
                swap_delta_bytes: 0,
            }];
            epoch.timeline.push(last);
        })
    }

    /// The answer, after everything that must hold of every answer was asked of it.
    #[track_caller]
    pub fn judge(&self) -> Verdict {
        judged(&self.capture)
    }
}

#[track_caller]
pub fn judged(capture: &Capture) -> Verdict {
    let verdict = judge_epoch(&capture.host, &capture.epoch);
    sound(&capture.epoch, &verdict);
    verdict
}

/// What must hold of every answer, whatever the capture.
#[track_caller]
pub fn sound(epoch: &Epoch, verdict: &Verdict) {
    let object = serde_json::to_value(epoch).unwrap();
    let of_also = verdict.also.iter().flat_map(|finding| &finding.evidence);
    for evidence in verdict.evidence.iter().chain(of_also) {
        assert_eq!(
            evaluate(evidence, &object),
            Some(evidence.value),
            "{evidence:?}"
        );
        assert!(!evidence.from.is_empty());
    }
    let said = |title: &str, text: &str, evidence: &[memtrace::model::Evidence]| {
        let shown: Vec<String> = evidence.iter().map(show).collect();
        for part in [title, text] {
            let left = unexplained_numbers(part, &shown);
            assert!(left.is_empty(), "{left:?} in {part:?}, of {shown:?}");
        }
    };
    said(verdict.title.raw(), verdict.text.raw(), &verdict.evidence);
    for finding in &verdict.also {
        said(finding.title.raw(), finding.text.raw(), &finding.evidence);
    }
    assert!(!verdict.title.is_empty() && !verdict.text.is_empty());
    assert!(!verdict.confidence.because.is_empty());
    assert!(
        verdict.title.raw().chars().count() < 200,
        "{}",
        verdict.title
    );
    assert!(
        verdict.text.raw().chars().count() < 1200,
        "{}",
        verdict.text
    );
    let known: Vec<&str> = memtrace::verdict::rules()
        .iter()
        .map(|rule| rule.id)
        .collect();
    assert!(known.contains(&verdict.id.raw()));
    for finding in &verdict.also {
        assert!(known.contains(&finding.id.raw()));
        assert_ne!(finding.id, verdict.id);
    }
    assert_eq!(
        Trend::of(&epoch.timeline),
        Trend::of(&epoch.timeline.clone())
    );
    for width in [80, 120] {
        let shown = view::verdict(verdict, width);
        assert!(!shown.is_empty());
    }
}

/// Numbers of a text that are no evidence's: names in quotation marks may hold any.
fn unexplained_numbers(text: &str, shown: &[String]) -> Vec<String> {
    let outside: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let mut rest = outside;
    let mut longest: Vec<&String> = shown.iter().collect();
    longest.sort_by_key(|number| std::cmp::Reverse(number.len()));
    for number in longest {
        // Only as a word of its own.
        let mut kept = String::new();
        let mut left = rest.as_str();
        while let Some(place) = left.find(number.as_str()) {
            let (before, after) = (&left[..place], &left[place + number.len()..]);
            let inside = before.ends_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
                || after.starts_with(|c: char| c.is_ascii_alphanumeric());
            kept.push_str(before);
            kept.push_str(if inside { number } else { "#" });
            left = after;
        }
        kept.push_str(left);
        rest = kept;
    }
    rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}
