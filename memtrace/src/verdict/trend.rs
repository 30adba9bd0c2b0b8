//! A digest of the timeline: what the rules need of it, in bounded memory.
//!
//! A live capture runs for days and keeps no ticks. It feeds each tick to a [`Trend`] as it comes; a capture file's ticks, fed
//! in the same order, give the same digest.

use crate::text::Foreign;
use crate::{
    model::{Cause, CgroupFigures, GoFigures, Tick},
    timeline::Digest,
};

/// Most points of the history. Where it is full, every second one is left out.
const POINTS: usize = 512;

/// The process at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Which tick of the timeline, from 0.
    pub index: u64,
    /// Since the start of the epoch.
    pub t_ns: u64,
    /// RSS, bytes.
    pub rss: i64,
    /// Of it anonymous.
    pub anon: i64,
    /// Of it file pages.
    pub file: i64,
    /// Of it shared memory.
    pub shmem: i64,
    /// Swapped out, bytes; not part of RSS.
    pub swap: i64,
    /// Go's `HeapAlloc`, bytes.
    pub heap_alloc: Option<u64>,
}

/// Something that a tick read, and which tick that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// Which tick of the timeline, from 0.
    pub index: u64,
    /// Since the start of the epoch.
    pub t_ns: u64,
    /// What it read.
    pub value: T,
}

/// The first, the last and the highest of the ticks that read something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings<T> {
    /// The first one.
    pub first: Read<T>,
    /// The first one that no later one exceeds.
    pub highest: Read<T>,
    /// The last one.
    pub last: Read<T>,
}

/// What the process asked the kernel to take back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Calls that give memory back; 0 where calls are not counted.
    pub calls: u64,
    /// RSS that fell at them, bytes.
    pub fallen: i64,
}

/// The digest. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trend {
    ticks: u64,
    living: u64,
    first: Option<Point>,
    last: Option<Point>,
    highest: Option<Point>,
    lowest: Option<Point>,
    history: Vec<Point>,
    /// Each so many-th living tick is in the history, less one; so that `Default` is 1.
    stride_less_one: u64,
    lazyfree: Option<Readings<u64>>,
    freed_since: u64,
    anon_huge: Option<Readings<u64>>,
    go_first: Option<Read<GoFigures>>,
    go_last: Option<Read<GoFigures>>,
    cgroup_first: Option<Read<CgroupFigures>>,
    cgroup_last: Option<Read<CgroupFigures>>,
    since_highest: Asked,
    swings: Swings,
}

impl Trend {
    /// The digest of no tick.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of a whole timeline.
    #[must_use]
    pub fn of(ticks: &[Tick]) -> Self {
        let mut trend = Self::new();
        for tick in ticks {
            trend.note(tick);
        }
        trend
    }

    /// Takes the next tick in.
    pub fn note(&mut self, tick: &Tick) {
        let index = self.ticks;
        self.ticks += 1;
        self.read(index, tick);
        // A process that ends loses all its memory: no trend.
        if is_torn_down(tick) {
            return;
        }
        let point = Point {
            index,
            t_ns: tick.t_ns,
            rss: tick.rss_bytes,
            anon: tick.anon_bytes,
            file: tick.file_bytes,
            shmem: tick.shmem_bytes,
            swap: tick.swap_bytes,
            heap_alloc: tick.go.and_then(|go| go.heap_alloc_bytes),
        };
        self.first.get_or_insert(point);
        self.last = Some(point);
        if self.lowest.is_none_or(|lowest| point.rss < lowest.rss) {
            self.lowest = Some(point);
        }
        if self.highest.is_none_or(|highest| point.rss > highest.rss) {
            self.highest = Some(point);
            self.since_highest = Asked::default();
        } else {
            self.since_highest.add(tick);
        }
        self.swings.note(point.rss);
        self.remember(point);
    }

    fn read(&mut self, index: u64, tick: &Tick) {
        let t_ns = tick.t_ns;
        let read = |value| Read { index, t_ns, value };
        // A tick reads LazyFree behind its calls.
        self.freed_since = match tick.lazyfree_bytes {
            Some(_) => 0,
            None => self.freed_since.saturating_add(lazily_freed(tick)),
        };
        note_reading(&mut self.lazyfree, tick.lazyfree_bytes.map(read));
        note_reading(&mut self.anon_huge, tick.anon_huge_bytes.map(read));
        if let Some(value) = tick.go {
            let go = Read { index, t_ns, value };
            self.go_first.get_or_insert(go);
            self.go_last = Some(go);
        }
        if let Some(value) = tick.cgroup {
            let cgroup = Read { index, t_ns, value };
            self.cgroup_first.get_or_insert(cgroup);
            self.cgroup_last = Some(cgroup);
        }
    }

    fn remember(&mut self, point: Point) {
        let number = self.living;
        self.living += 1;
        if !number.is_multiple_of(self.stride_less_one + 1) {
            return;
        }
        if self.history.len() == POINTS {
            let mut place = 0usize;
            self.history.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride_less_one = self.stride_less_one * 2 + 1;
            // POINTS is even, so this one is a multiple of the new stride too.
        }
        self.history.push(point);
    }

    /// How many ticks there were.
    #[must_use]
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The first tick at which the process was there.
    #[must_use]
    pub const fn first(&self) -> Option<Point> {
        self.first
    }

    /// The last tick at which the process was there.
    #[must_use]
    pub const fn last(&self) -> Option<Point> {
        self.last
    }

    /// The first tick with the highest RSS.
    #[must_use]
    pub const fn highest(&self) -> Option<Point> {
        self.highest
    }

    /// The first tick with the lowest RSS.
    #[must_use]
    pub const fn lowest(&self) -> Option<Point> {
        self.lowest
    }

    /// Points at equal distances, 512 at most.
    #[must_use]
    pub fn history(&self) -> &[Point] {
        &self.history
    }

    /// `LazyFree`, bytes.
    #[must_use]
    pub const fn lazyfree(&self) -> Option<Readings<u64>> {
        self.lazyfree
    }

    /// Bytes given to `MADV_FREE` since `LazyFree` was read last: by so much it may have grown.
    #[must_use]
    pub const fn freed_since_lazyfree(&self) -> u64 {
        self.freed_since
    }

    /// `AnonHugePages`, bytes.
    #[must_use]
    pub const fn anon_huge(&self) -> Option<Readings<u64>> {
        self.anon_huge
    }

    /// Go's own figures at the first tick that has them.
    #[must_use]
    pub const fn go_first(&self) -> Option<Read<GoFigures>> {
        self.go_first
    }

    /// Go's own figures at the last tick that has them.
    #[must_use]
    pub const fn go_last(&self) -> Option<Read<GoFigures>> {
        self.go_last
    }

    /// The cgroup's figures at the first tick that has them.
    #[must_use]
    pub const fn cgroup_first(&self) -> Option<Read<CgroupFigures>> {
        self.cgroup_first
    }

    /// The cgroup's figures at the last tick that has them.
    #[must_use]
    pub const fn cgroup_last(&self) -> Option<Read<CgroupFigures>> {
        self.cgroup_last
    }

    /// What was given back after the tick with the highest RSS.
    #[must_use]
    pub const fn since_highest(&self) -> Asked {
        self.since_highest
    }

    /// How often RSS turned from a rise to a fall or back, counting rises and falls by more than a tenth.
    #[must_use]
    pub const fn turns(&self) -> u64 {
        self.swings.turns
    }
}

impl Asked {
    fn add(&mut self, tick: &Tick) {
        for cause in &tick.causes {
            let moved = cause.rss_delta_bytes.unwrap_or(0);
            if gives_back(cause.cause, cause.advice.as_ref()) {
                self.calls = self.calls.saturating_add(cause.calls.unwrap_or(0));
            }
            if cause.cause.is_own() && moved < 0 {
                self.fallen = self.fallen.saturating_sub(moved);
            }
        }
    }
}

fn lazily_freed(tick: &Tick) -> u64 {
    let freed = tick.causes.iter().filter(|cause| {
        matches!(cause.cause, Cause::Madvise | Cause::ProcessMadvise)
            && cause.advice.as_ref().is_some_and(|it| *it == "MADV_FREE")
    });
    freed.fold(0, |sum: u64, cause| {
        sum.saturating_add(cause.requested_bytes.unwrap_or(0))
    })
}

/// The last tick of a process that ends, or is replaced, shows its memory gone.
fn is_torn_down(tick: &Tick) -> bool {
    let of = |wanted: Cause| {
        let mut rows = tick.causes.iter();
        rows.any(|cause| cause.cause == wanted && cause.rss_delta_bytes.is_none_or(|by| by < 0))
    };
    tick.rss_bytes <= 0 || of(Cause::Exit) || of(Cause::Exec) || of(Cause::OomReaper)
}

/// A call whose purpose is to give memory back. `brk`, `mmap` and `mremap` may do so too, and mostly do not.
#[must_use]
pub fn gives_back(cause: Cause, advice: Option<&Foreign>) -> bool {
    match cause {
        Cause::Munmap => true,
        Cause::Madvise | Cause::ProcessMadvise => matches!(
            advice.map(Foreign::raw),
            Some("MADV_DONTNEED" | "MADV_DONTNEED_LOCKED" | "MADV_FREE" | "MADV_REMOVE")
        ),
        _ => false,
    }
}

fn note_reading(readings: &mut Option<Readings<u64>>, read: Option<Read<u64>>) {
    let Some(read) = read else { return };
    match readings {
        None => {
            *readings = Some(Readings {
                first: read,
                highest: read,
                last: read,
            });
        }
        Some(readings) => {
            if read.value > readings.highest.value {
                readings.highest = read;
            }
            readings.last = read;
        }
    }
}

/// Rises and falls, small ones passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Swings {
    turns: u64,
    /// 1: rising, -1: falling, 0: not known yet.
    direction: i8,
    /// The highest since the last turn to a rise, or the lowest since the last one to a fall.
    extreme: Option<i64>,
}

impl Swings {
    fn note(&mut self, rss: i64) {
        let Some(extreme) = self.extreme else {
            self.extreme = Some(rss);
            return;
        };
        let far = (extreme.max(rss) / 10).max(1 << 20);
        let by = rss.saturating_sub(extreme);
        match self.direction {
            1 if by > 0 => self.extreme = Some(rss),
            -1 if by < 0 => self.extreme = Some(rss),
            0 if by.unsigned_abs() > far.unsigned_abs() => {
                self.direction = if by > 0 { 1 } else { -1 };
                self.extreme = Some(rss);
            }
            1 if by < -far => {
                self.turns += 1;
                self.direction = -1;
                self.extreme = Some(rss);
            }
            -1 if by > far => {
                self.turns += 1;
                self.direction = 1;
                self.extreme = Some(rss);
            }
            _ => {}
        }
    }
}

/// While a capture is read, its ticks go by, and are not kept.
impl Digest for Trend {
    fn note(&mut self, tick: &Tick) {
        Self::note(self, tick);
    }
}
