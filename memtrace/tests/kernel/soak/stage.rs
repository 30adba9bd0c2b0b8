//! What all scenes use: choices, figures, a storm, an observer that goes.

use std::{
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use memtrace::ledger::{Reading, check_ended};
use tempfile::TempDir;

use super::{
    figures::Figures,
    ids::{self, Ids},
};
use crate::{
    harness::{Traced, Tracer, Workload, wait_for},
    storm::Kind,
};

/// `splitmix64`.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.within(0..=from.len() as u64 - 1) as usize]
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.within(0..=at as u64) as usize);
        }
    }

    /// Some time that passes.
    pub fn pause(&mut self, milliseconds: RangeInclusive<u64>) {
        thread::sleep(Duration::from_millis(self.within(milliseconds)));
    }
}

pub fn cpus() -> u64 {
    thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

pub struct Stage {
    pub random: Random,
    figures: Arc<Mutex<Figures>>,
    /// What was loaded by a memtrace that has gone.
    gone: Ids,
    dir: TempDir,
    files: u64,
}

impl Stage {
    pub fn new(seed: u64, figures: Arc<Mutex<Figures>>) -> Self {
        Self {
            random: Random(seed),
            figures,
            gone: Ids::new(),
            dir: TempDir::new().unwrap(),
            files: 0,
        }
    }

    pub fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap());
    }

    /// A path for a capture file.
    pub fn file(&mut self) -> PathBuf {
        self.files += 1;
        self.dir.path().join(format!("{}.json", self.files))
    }

    /// A session of this process.
    pub fn attach(&self, pid: u32) -> Tracer {
        self.count(|figures| figures.sessions += 1);
        Tracer::attach(pid)
    }

    /// Ends a session; nothing of it may stay.
    pub fn detach(&mut self, tracer: Tracer) {
        let own = std::process::id();
        let before = ids::held_by(own);
        drop(tracer);
        let after = ids::held_by(own);
        let gone: Ids = before.difference(&after).copied().collect();
        assert!(!gone.is_empty(), "a session held nothing");
        self.gone(gone);
    }

    /// These were held by somebody who does not hold them any more.
    pub fn gone(&mut self, ids: Ids) {
        self.gone.extend(ids);
    }

    /// Waits until nothing is loaded that a memtrace which has gone had loaded: the kernel frees it a little later.
    pub fn nothing_stays_loaded(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        wait_for("the end of what memtraces had loaded", || {
            let loaded = ids::loaded();
            self.gone.retain(|id| loaded.contains(id));
            self.gone.is_empty().then_some(())
        });
    }

    /// A number of threads: one, as many as there are CPUs, or more.
    pub fn threads(&mut self) -> u64 {
        let most = (2 * cpus() + 4).min(64);
        self.random.within(1..=most)
    }

    /// Begins a storm.
    pub fn begin_storm(&mut self, workload: &mut Workload, kind: Kind) -> u64 {
        let threads = self.threads();
        let seed = self.random.within(1..=1 << 40);
        workload.tell(&format!("storm {threads} told {} {seed}", kind.name()));
        wait_for("the storm", || {
            (workload.threads() as u64 > threads).then_some(())
        });
        threads
    }

    /// A storm, in which something else happens; at rest all must be explained, and each cause must have its pages.
    pub fn storm<T>(
        &mut self,
        traced: &mut Traced,
        kind: Kind,
        meanwhile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = traced.tracer.snapshot();
        let threads = self.begin_storm(&mut traced.workload, kind);
        let result = meanwhile(self);
        assert_eq!(traced.workload.run("stop"), 0);
        self.rest(traced);
        let moved = traced.tracer.moved_since(before);
        let known = traced.workload.known();
        let reading = traced.read();
        assert_eq!(reading.suspense, [0; 4], "left in suspense; {known:?}");
        // Counts of calls come from the calls themselves: exact.
        let freed = moved.calls("madvise MADV_FREE");
        assert_eq!(
            (freed.requested, freed.failed),
            (traced.bytes(known.freed), 0),
            "{known:?}"
        );
        self.count(|figures| figures.storm(&known, |row| moved.pages(row)[1], threads));
        result
    }

    /// Waits until the target stands still, and compares: 0 pages may be unexplained, and nothing lost.
    pub fn rest(&self, traced: &mut Traced) {
        self.settle(traced);
        traced.verify();
        let skipped = traced.tracer.session.skipped_runs().unwrap_or(0);
        assert_eq!(skipped, 0, "skipped runs");
        self.count(|figures| figures.stand_stills += 1);
    }

    /// Waits until nothing of the target's moves any more: reclaim and the like come in their own time.
    pub fn settle(&self, traced: &Traced) {
        traced.workload.settle();
        wait_for("a stand-still", || {
            let before = traced.read();
            thread::sleep(Duration::from_millis(2));
            (before.events == traced.read().events).then_some(())
        });
    }

    /// The epoch that has ended: 0 pages may be unexplained.
    pub fn ended(&self, reading: &Reading) {
        let checked = check_ended(reading).expect("an epoch that has ended");
        assert_eq!(
            checked.unexplained,
            0,
            "pages unexplained at the end of epoch {}, {:?}: start {:?}, moved {:?}, suspense {:?} of {:?}, end {:?}; {} events, {:?}",
            reading.epoch,
            reading.end_kind,
            reading.start,
            reading.moved(),
            reading.suspense,
            reading.last_call,
            reading.end,
            reading.events,
            reading.losses
        );
        self.count(|figures| {
            figures.ends += 1;
            figures.events += reading.events;
        });
    }
}
