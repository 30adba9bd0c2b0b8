//! Every threshold of the rules: written once, used by the rules, and printed on their pages.

use crate::model::Unit;

/// A threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it is, on the pages.
    pub what: &'static str,
    /// Its value.
    pub value: i64,
    /// Of what.
    pub unit: Unit,
}

impl Limit {
    const fn new(what: &'static str, value: i64, unit: Unit) -> Self {
        Self { what, value, unit }
    }

    /// This many hundredths of a number.
    #[must_use]
    pub const fn of(&self, whole: i64) -> i64 {
        // In this order it cannot overflow.
        whole / 100 * self.value + whole % 100 * self.value / 100
    }
}

/// Below this nothing is said about a change, in any rule.
pub const NOISE: Limit = Limit::new("smallest change that counts", 1 << 20, Unit::Bytes);
/// Nor below this part of the highest RSS.
pub const NOISE_PART: Limit = Limit::new(
    "smallest change that counts, of the highest RSS",
    1,
    Unit::Percent,
);
/// `lazy-free`, `swapped` and others: the part of RSS from which on it is worth saying.
pub const WORTH: Limit = Limit::new(
    "smallest part of the highest RSS that is worth an answer",
    5,
    Unit::Percent,
);
/// A trend over less than this is a guess.
pub const SHORT: Limit = Limit::new(
    "capture from which on a trend is more than a guess",
    15_000_000_000,
    Unit::Ns,
);
/// A trend over this much may be trusted.
pub const LONG: Limit = Limit::new(
    "capture from which on a trend may be trusted",
    60_000_000_000,
    Unit::Ns,
);
/// A collector whose cycles cannot be seen may take this long to show where its heap ends.
pub const UNSEEN_CYCLES: Limit = Limit::new(
    "capture from which on growth under a collector that cannot be looked into is more than a guess",
    600_000_000_000,
    Unit::Ns,
);
/// Ticks that a trend needs.
pub const TICKS: Limit = Limit::new("ticks that a trend needs", 6, Unit::Count);
/// Growth that brought no more than this of itself in the last third has levelled off.
pub const LEVEL: Limit = Limit::new(
    "levelled off: part of the rise that fell into the last third of the time, at most",
    10,
    Unit::Percent,
);
/// Growth that brought less than this of itself in the last third is slowing down. Steady growth brings a third.
pub const SLOWING: Limit = Limit::new(
    "slowing down: part of the rise that fell into the last third of the time, less than",
    20,
    Unit::Percent,
);
/// `growing`: what of the rise is the program's own memory. The rest is files, huge pages, or lazily freed.
pub const OWN: Limit = Limit::new(
    "smallest part of the rise that is anonymous or shared memory",
    25,
    Unit::Percent,
);
/// `released`: how far RSS went down.
pub const FALL: Limit = Limit::new(
    "smallest fall from the highest RSS, of it",
    20,
    Unit::Percent,
);
/// `allocator-holds`: what an allocator keeps.
pub const HELD: Limit = Limit::new(
    "smallest part of the highest RSS that is kept",
    20,
    Unit::Percent,
);
/// `allocator-holds`, for allocators that cannot be looked into: RSS stays this close to its highest. What falls further was
/// released, by [`FALL`].
pub const NEAR: Limit = Limit::new(
    "near the highest RSS: at least this much of it",
    80,
    Unit::Percent,
);
/// `allocator-holds`: what was given back since, of the rise, is few.
pub const FEW: Limit = Limit::new(
    "few: what was given back since the highest RSS, of what is kept, at most",
    20,
    Unit::Percent,
);
/// Collapsed huge pages are this part of the rise.
pub const COLLAPSED: Limit = Limit::new(
    "smallest part of all that RSS rose by which huge pages brought",
    25,
    Unit::Percent,
);
/// A kind of page is what RSS is about.
pub const MOSTLY: Limit = Limit::new("mostly: at least this part", 50, Unit::Percent);
/// File pages or shared memory without any change are worth an answer from here on.
pub const LARGE: Limit = Limit::new(
    "large: where nothing changes, at least this much",
    64 << 20,
    Unit::Bytes,
);
/// `churn`: given back and taken again, against the highest RSS.
pub const CHURNED: Limit = Limit::new(
    "smallest amount that was given back and taken again, of the highest RSS",
    100,
    Unit::Percent,
);
/// `churn`: turns of RSS, where it is seen in the ticks alone.
pub const TURNS: Limit = Limit::new(
    "turns of RSS by more than a tenth, where the causes' bytes are not known",
    6,
    Unit::Count,
);
/// `cgroup-limit`: how full.
pub const FULL: Limit = Limit::new(
    "use of the limit from which on it is close",
    80,
    Unit::Percent,
);
/// `cgroup-limit`: how soon.
pub const SOON: Limit = Limit::new(
    "time in which the limit would be met that is soon",
    86_400_000_000_000,
    Unit::Ns,
);
/// `cgroup-scaling`: how far the two figures are apart.
pub const APART: Limit = Limit::new(
    "smallest difference between usage and working set, of usage",
    10,
    Unit::Percent,
);
/// `cgroup-scaling`: of a cgroup of which the process is hardly a part, it says nothing.
pub const PART: Limit = Limit::new(
    "smallest part of the cgroup's usage that RSS of this process is",
    10,
    Unit::Percent,
);
/// The ledger's difference from the kernel's figure that no longer casts doubt.
pub const UNEXPLAINED: Limit = Limit::new(
    "unexplained bytes that cast no doubt, of the highest RSS",
    1,
    Unit::Percent,
);
