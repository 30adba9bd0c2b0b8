//! The storm: threads that fault, advise and unmap at once, each counting what it did.

use std::{
    ptr,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::harness::kernel_release;

/// What the storm knows that it did, in pages; in the order in which [`run`] writes it to region memory.
#[derive(Default)]
pub struct Totals {
    faulted: AtomicU64,
    dontneeded: AtomicU64,
    unmapped: AtomicU64,
    freed: AtomicU64,
}

/// What the workload answers on file descriptor 3 after a storm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Pages faulted in.
    pub faulted: u64,
    /// Pages that `MADV_DONTNEED` released.
    pub dontneeded: u64,
    /// Pages that `munmap` released.
    pub unmapped: u64,
    /// Pages given to `MADV_FREE`, and not reclaimed.
    pub freed: u64,
}

impl Known {
    /// What the ledger's rows must show, in anonymous pages.
    pub fn rows(&self) -> [(&'static str, i64); 4] {
        [
            ("fault", self.faulted as i64),
            ("madvise MADV_DONTNEED", -(self.dontneeded as i64)),
            ("munmap", -(self.unmapped as i64)),
            ("madvise MADV_FREE", 0),
        ]
    }

    /// Pages that moved in all.
    pub const fn total(&self) -> u64 {
        self.faulted + self.dontneeded + self.unmapped
    }
}

/// How far a cause may be off, per page that moved in all: docs/accuracy.md states it.
pub fn share() -> f64 {
    if kernel_release() >= (6, 2) {
        0.001
    } else {
        // A counter is one number, whose change the first of two events takes whole.
        0.005
    }
}

/// The pages that a storm is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Single pages.
    Small,
    /// Huge pages.
    Huge,
    /// Both, side by side.
    Mixed,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Huge => "huge",
            Self::Mixed => "mixed",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Self {
        [Self::Small, Self::Huge, Self::Mixed]
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("a kind of storm")
    }
}

const HUGE: usize = 2 << 20;
/// A mapping has at most so many units, where they are huge.
const MOST_HUGE: usize = 8;
/// The same where they are pages.
const MOST_SMALL: usize = 3000;
/// No call of a storm is about more bytes than this.
pub const MOST_BYTES: u64 = (HUGE * MOST_HUGE) as u64;

/// Storms with `threads` threads until `wait` comes back; answers through file descriptor 3.
pub fn run(threads: usize, kind: Kind, seed: u64, wait: impl FnOnce()) -> i64 {
    let totals = Totals::default();
    let barrier = Barrier::new(threads);
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        for index in 0..threads {
            let (totals, barrier, goes_on) = (&totals, &barrier, &goes_on);
            scope.spawn(move || {
                barrier.wait();
                storm(totals, kind, seed ^ (index as u64 + 1), goes_on);
            });
        }
        wait();
        goes_on.store(false, Relaxed);
    });
    let words = [
        totals.faulted.load(Relaxed),
        totals.dontneeded.load(Relaxed),
        totals.unmapped.load(Relaxed),
        totals.freed.load(Relaxed),
    ];
    // SAFETY: 32 bytes from an array of 32 bytes.
    unsafe { libc::write(3, words.as_ptr().cast(), 32) };
    0
}

fn storm(totals: &Totals, kind: Kind, mut seed: u64, goes_on: &AtomicBool) {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let mut random = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    while goes_on.load(Relaxed) {
        let huge = match kind {
            Kind::Small => false,
            Kind::Huge => true,
            Kind::Mixed => random() % 2 == 0,
        };
        let unit = if huge { HUGE } else { page };
        let pages_per_unit = (unit / page) as u64;
        let units = 1 + random() % if huge { MOST_HUGE } else { MOST_SMALL };
        let bytes = units * unit;
        // SAFETY: a fresh mapping that only this thread uses, inside which everything below stays.
        unsafe {
            let mapped = bytes + if huge { HUGE } else { 0 };
            let start = libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
            .cast::<u8>();
            let base = start.wrapping_add(start.align_offset(unit));
            libc::madvise(
                base.cast(),
                bytes,
                if huge {
                    libc::MADV_HUGEPAGE
                } else {
                    libc::MADV_NOHUGEPAGE
                },
            );
            let touch = |count: usize| {
                for at in 0..count {
                    base.add(at * unit).write_volatile(1);
                }
            };
            touch(units);
            totals
                .faulted
                .fetch_add(units as u64 * pages_per_unit, Relaxed);
            let mut held = units;
            let part = 1 + random() % units;
            match random() % 3 {
                0 => {
                    libc::madvise(base.cast(), part * unit, libc::MADV_DONTNEED);
                    totals
                        .dontneeded
                        .fetch_add(part as u64 * pages_per_unit, Relaxed);
                    held -= part;
                    if random() % 2 == 0 {
                        touch(part);
                        totals
                            .faulted
                            .fetch_add(part as u64 * pages_per_unit, Relaxed);
                        held += part;
                    }
                }
                1 => {
                    libc::madvise(base.cast(), part * unit, libc::MADV_FREE);
                    totals
                        .freed
                        .fetch_add(part as u64 * pages_per_unit, Relaxed);
                    touch(part);
                }
                _ => {}
            }
            libc::munmap(start.cast(), mapped);
            totals
                .unmapped
                .fetch_add(held as u64 * pages_per_unit, Relaxed);
        }
    }
}
