//! What a benchmark measured, as it is written to a file: single figures, nothing derived.

use serde::{Deserialize, Serialize};

/// Names this version of the file.
pub const SCHEMA: &str = "memtrace-bench/1";

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub schema: String,
    pub memtrace_version: String,
    pub host: Host,
    /// Not optimised: memtrace's own figures are then not those of what is shipped.
    #[serde(default)]
    pub debug_build: bool,
    /// Bytes of the memtrace program, and of the eBPF object in it.
    pub binary_bytes: u64,
    pub object_bytes: u64,
    pub rounds: u32,
    /// How long each operation was repeated in each visit, in batches.
    pub millis: u32,
    pub conditions: Vec<Condition>,
    pub samples: Vec<Sample>,
    pub startup: Vec<Startup>,
    pub own: Vec<Own>,
    pub size: Vec<CaptureSize>,
    /// Resident bytes of the process whose pauses were measured.
    pub pauses_rss_bytes: u64,
    pub pauses: Vec<PauseSample>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub arch: String,
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub thp: String,
    /// Runnable processes while it began, of `/proc/loadavg`: above 1, something else was running.
    pub load: String,
}

/// What is attached while the workloads run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition {
    pub name: String,
    /// What was typed; empty where nothing was.
    pub command: String,
    /// What it hooks, or what it is for.
    pub note: String,
    /// Why it could not be measured.
    pub missing: Option<String>,
}

/// What a workload does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Fault4k,
    FaultThp,
    Dontneed,
    Free,
    MmapMunmap,
    Brk,
    Getppid,
    FileRead,
}

impl Operation {
    pub const ALL: [Self; 8] = [
        Self::Fault4k,
        Self::FaultThp,
        Self::Dontneed,
        Self::Free,
        Self::MmapMunmap,
        Self::Brk,
        Self::Getppid,
        Self::FileRead,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault4k => "fault_4k",
            Self::FaultThp => "fault_thp",
            Self::Dontneed => "dontneed",
            Self::Free => "free",
            Self::MmapMunmap => "mmap_munmap",
            Self::Brk => "brk",
            Self::Getppid => "getppid",
            Self::FileRead => "file_read",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The process that is traced.
    Target,
    /// Another process on the same host.
    Bystander,
}

/// Every row of the table: who does what.
pub const ROWS: [(Who, Operation); 11] = [
    (Who::Target, Operation::Fault4k),
    (Who::Target, Operation::FaultThp),
    (Who::Target, Operation::Dontneed),
    (Who::Target, Operation::Free),
    (Who::Target, Operation::MmapMunmap),
    (Who::Target, Operation::Brk),
    (Who::Target, Operation::Getppid),
    (Who::Target, Operation::FileRead),
    (Who::Bystander, Operation::Fault4k),
    (Who::Bystander, Operation::Getppid),
    (Who::Bystander, Operation::FileRead),
];

/// One visit of a condition: ns per operation, of each batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub round: u32,
    pub condition: String,
    pub who: Who,
    pub operation: Operation,
    pub ns: Vec<f64>,
}

/// One start of memtrace on a running process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Startup {
    /// From before the fork until the first line, which comes once all is attached and read.
    pub attached_ns: u64,
    /// From SIGINT until the end of the table.
    pub reported_ns: u64,
    /// From SIGINT until the process is gone.
    pub gone_ns: u64,
}

/// What memtrace itself took for one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Own {
    pub target_rss_bytes: u64,
    pub target_threads: usize,
    /// Whether the target's threads allocate and give back meanwhile.
    pub busy: bool,
    pub interval_ns: u64,
    pub wall_ns: u64,
    /// CPU time of all its threads.
    pub cpu_ns: u64,
    pub rss_bytes: u64,
    pub rss_peak_bytes: u64,
}

/// How large a capture file is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaptureSize {
    pub busy: bool,
    pub ticks: u64,
    /// Of the timeline alone.
    pub timeline_bytes: u64,
    /// Of the whole file.
    pub file_bytes: u64,
}

/// How long calls took: mmap and munmap of a page together, in ns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pauses {
    pub calls: usize,
    pub p50: u64,
    pub p999: u64,
    pub max: u64,
}

impl Pauses {
    /// Of all calls' times, in ascending order.
    pub fn of_sorted(took: &[u64]) -> Self {
        let at = |share: f64| {
            let last = took.len().saturating_sub(1);
            took.get((last as f64 * share).round() as usize)
                .copied()
                .unwrap_or(0)
        };
        Self {
            calls: took.len(),
            p50: at(0.5),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

/// The same under one condition, in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PauseSample {
    pub round: u32,
    pub condition: String,
    pub pauses: Pauses,
}
