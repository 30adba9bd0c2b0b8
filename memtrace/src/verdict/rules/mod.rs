//! The rules: each a function from a capture to an answer that it proposes, or none.

mod allocator_holds;
mod cgroup_limit;
mod cgroup_scaling;
mod churn;
mod file_mapped;
mod growing;
mod idle;
mod inconclusive;
mod lazy_free;
mod reclaimed;
mod released;
mod shmem;
mod startup;
mod swapped;
mod thp_inflation;

use super::{candidate::Candidate, case::Analysis, limits, limits::Limit};

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name: part of the capture file's contract.
    pub id: &'static str,
    /// What it finds, in a line.
    pub title: &'static str,
    /// Its page, in Markdown: what it means, how it is told, what to do.
    pub page: &'static str,
    /// The thresholds that it uses.
    pub limits: &'static [Limit],
    /// The rule itself.
    pub(super) propose: fn(&Analysis<'_>) -> Option<Candidate>,
}

macro_rules! rule {
    ($id:literal, $module:ident, $title:literal, [$($limit:ident),*]) => {
        Rule {
            id: $id,
            title: $title,
            page: include_str!(concat!("../../../../docs/explain/", $id, ".md")),
            limits: &[$(limits::$limit),*],
            propose: $module::propose,
        }
    };
}

/// All rules. Where two explain the same amount, the one that stands first is the answer: the more specific one.
pub const RULES: &[Rule] = &[
    rule!(
        "lazy-free",
        lazy_free,
        "Memory is given back with MADV_FREE, and RSS does not show it yet",
        [NOISE, NOISE_PART, WORTH, MOSTLY]
    ),
    rule!(
        "thp-inflation",
        thp_inflation,
        "Huge pages made RSS grow; the program did not",
        [NOISE, NOISE_PART, COLLAPSED]
    ),
    rule!(
        "swapped",
        swapped,
        "RSS fell, but into swap",
        [NOISE, NOISE_PART, WORTH]
    ),
    rule!(
        "reclaimed-under-pressure",
        reclaimed,
        "The kernel took pages back: memory is short",
        [NOISE, NOISE_PART, WORTH]
    ),
    rule!(
        "file-mapped",
        file_mapped,
        "RSS is about mapped files",
        [NOISE, NOISE_PART, MOSTLY, LARGE]
    ),
    rule!(
        "shmem",
        shmem,
        "RSS is about shared memory",
        [NOISE, NOISE_PART, MOSTLY, LARGE]
    ),
    rule!(
        "growing",
        growing,
        "RSS grows and does not level off",
        [
            NOISE,
            NOISE_PART,
            OWN,
            LEVEL,
            SLOWING,
            TICKS,
            SHORT,
            LONG,
            UNSEEN_CYCLES
        ]
    ),
    rule!(
        "churn",
        churn,
        "Memory is given back and taken again, over and over",
        [NOISE, NOISE_PART, CHURNED, TURNS]
    ),
    rule!(
        "allocator-holds",
        allocator_holds,
        "The program freed memory, and its allocator keeps it",
        [NOISE, NOISE_PART, HELD, NEAR, FEW, LEVEL]
    ),
    rule!(
        "released",
        released,
        "RSS went down: memory was given back",
        [NOISE, NOISE_PART, FALL, MOSTLY]
    ),
    rule!(
        "startup",
        startup,
        "RSS grew and has levelled off: start, warm-up",
        [NOISE, NOISE_PART, WORTH, LEVEL, NEAR]
    ),
    rule!(
        "idle",
        idle,
        "RSS did not change: what it is made of",
        [NOISE, NOISE_PART, WORTH, SHORT]
    ),
    rule!(
        "inconclusive",
        inconclusive,
        "The capture does not tell; what would",
        [TICKS, SHORT]
    ),
    rule!(
        "cgroup-limit",
        cgroup_limit,
        "The memory cgroup is near its limit",
        [FULL, SOON]
    ),
    rule!(
        "cgroup-scaling",
        cgroup_scaling,
        "What an autoscaler counts is not what RSS shows",
        [NOISE, APART, PART]
    ),
];
