//! The capture file: names in it are a contract.

use serde::{Deserialize, Serialize};

use super::{
    BridgePart, CgroupFigures, CgroupInfo, GoFigures, MappingGroup, Returned, RuntimeInfo, Verdict,
};
use crate::{
    model::{Cause, HookKind, Mode},
    text::Foreign,
};

/// The value of `schema` in files that this version writes.
pub const SCHEMA: &str = "memtrace/1";

/// A whole capture.
///
/// Bytes are integers, signed where they are a change. What could not be had is `null`, never 0. Times are ns.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(title = "memtrace capture", rename = "memtrace/1")
)]
pub struct Capture {
    /// Always `memtrace/1`.
    pub schema: String,
    /// Version of the memtrace that wrote the file.
    pub memtrace_version: Foreign,
    /// The host.
    pub host: HostInfo,
    /// The last epoch: the program that ran at the end.
    #[serde(flatten)]
    pub epoch: Epoch,
    /// Programs that the process ran before, oldest first: one for each exec during the capture.
    pub earlier_epochs: Vec<Epoch>,
}

impl Capture {
    /// Whether it is whole: nothing lost, nothing unexplained beyond the stated bound, in any epoch.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.epochs().all(Epoch::is_complete)
    }

    /// All epochs, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.earlier_epochs.iter().chain([&self.epoch])
    }
}

/// One program's time: from the start of the capture, or an exec, to the next exec or the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Epoch {
    /// The process.
    pub target: TargetInfo,
    /// How it was captured.
    pub capture: CaptureInfo,
    /// The ledger.
    pub summary: Summary,
    /// The ticks, oldest first.
    pub timeline: Vec<Tick>,
    /// The answer; `null` where memtrace did not end the capture itself.
    pub verdict: Option<Verdict>,
}

impl Epoch {
    /// Whether it came to its end, nothing was lost, and nothing is unexplained beyond the stated bound.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let unexplained = self.summary.unexplained_bytes;
        self.capture.end != End::Interrupted
            && self.capture.lost_events == 0
            && unexplained.is_none_or(|bytes| bytes == 0)
    }

    /// Puts the two parts of an epoch together.
    #[must_use]
    pub fn of(account: Account, timeline: Vec<Tick>) -> Self {
        let Account {
            target,
            capture,
            summary,
            verdict,
        } = account;
        Self {
            target,
            capture,
            summary,
            timeline,
            verdict,
        }
    }

    /// The epoch without its ticks.
    #[must_use]
    pub fn into_account(self) -> Account {
        let Self {
            target,
            capture,
            summary,
            timeline: _,
            verdict,
        } = self;
        Account {
            target,
            capture,
            summary,
            verdict,
        }
    }
}

/// An epoch without its ticks: what a journal holds of its beginning and of its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The process.
    pub target: TargetInfo,
    /// How it was captured.
    pub capture: CaptureInfo,
    /// The ledger.
    pub summary: Summary,
    /// The answer.
    pub verdict: Option<Verdict>,
}

/// The process. `comm`, `exe` and `cmdline` are what the process chose to call itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetInfo {
    /// Process id.
    pub pid: u32,
    /// The kernel's name of it, up to 15 bytes.
    pub comm: Foreign,
    /// Path of the executable; `null` where it could not be read.
    pub exe: Option<Foreign>,
    /// Arguments.
    pub cmdline: Vec<Foreign>,
    /// When the process started, seconds since 1970; `null` where it could not be read.
    pub start_time: Option<i64>,
    /// What runs in it; `null` where memtrace could not look.
    pub runtime: Option<RuntimeInfo>,
}

/// The host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostInfo {
    /// Kernel release.
    pub kernel: Foreign,
    /// Architecture.
    pub arch: Foreign,
    /// Bytes of a page.
    pub page_size: u64,
    /// CPUs online.
    pub cpus: u32,
}

/// Why a capture, or an epoch of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// `--duration` was over.
    Duration,
    /// Ctrl-C, SIGTERM, a key of the terminal view, or a reader that closed standard output. Also in a file that was saved from the
    /// terminal view, while the capture went on.
    Signal,
    /// The process ended.
    TargetExited,
    /// The process replaced its program.
    Exec,
    /// memtrace did not end it itself: it was killed, or could not go on writing. Everything is as at the last tick.
    Interrupted,
}

/// How the epoch was captured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CaptureInfo {
    /// Start of the epoch, RFC 3339, UTC.
    pub started_at: Foreign,
    /// How long the epoch lasted.
    pub duration_ns: u64,
    /// Time between ticks; where it was changed meanwhile, the longest.
    pub interval_ns: u64,
    /// How exact it is.
    pub mode: Mode,
    /// Why it is not exact, or how exact `exact` is on this kernel; `null` where there is nothing to say.
    #[serde(default)]
    pub mode_note: Option<Foreign>,
    /// What was hooked, and what could not be.
    pub hooks: Vec<HookInfo>,
    /// Everything that was not counted: the sum of `losses`, without `single_events`. Where it is not 0, the capture is incomplete.
    pub lost_events: u64,
    /// What was not counted.
    pub losses: LossInfo,
    /// What memtrace itself took; `null` where `--self-stats` was not given.
    #[serde(default)]
    pub self_stats: Option<SelfStats>,
    /// Child processes that the process forked. They are not followed. `null` where `fork` is not hooked.
    pub children: Option<Children>,
    /// Why it ended.
    pub end: End,
}

/// A hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookInfo {
    /// `rss`, `exit`, `exec`, `fork`, `faults_user`, `faults_kernel`, or a system call.
    pub name: Foreign,
    /// How it is attached; `null` where it is not: then its columns are `null` too.
    pub kind: Option<HookKind>,
    /// Why it is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Foreign>,
    /// Why it is not attached in a way that costs other processes less.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fallback: Option<Foreign>,
}

/// What was not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LossInfo {
    /// Ends of epochs that did not fit into the ring buffer.
    pub ring_buffer: u64,
    /// System calls, because more threads were inside calls than there is room for.
    pub calls: u64,
    /// Errnos of failed calls.
    pub errnos: u64,
    /// RSS events at which the kernel's counter could not be read.
    pub counter_reads: u64,
    /// Epochs that were merged into the one before.
    pub epochs: u64,
    /// Runs of memtrace's own programs that the kernel skipped (`recursion_misses`); `null` where it does not tell (before
    /// 5.12).
    pub skipped_runs: Option<u64>,
    /// Calls that are missing in the file of `--events`, because its ring buffer was full; `null` where it was not given. They are
    /// counted in the ledger, so no part of `lost_events`.
    #[serde(default)]
    pub single_events: Option<u64>,
}

impl LossInfo {
    /// The sum of what is known to be missing in the capture itself.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self {
            ring_buffer,
            calls,
            errnos,
            counter_reads,
            epochs,
            skipped_runs,
            single_events: _,
        } = self;
        let skipped = match skipped_runs {
            Some(runs) => *runs,
            None => 0,
        };
        // A file may hold any numbers.
        ring_buffer
            .saturating_add(*calls)
            .saturating_add(*errnos)
            .saturating_add(*counter_reads)
            .saturating_add(*epochs)
            .saturating_add(skipped)
    }
}

/// What memtrace itself took since it attached, over all epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SelfStats {
    /// Its programs in the kernel, by name.
    pub programs: Vec<ProgramStats>,
    /// CPU time of its process, in its own code; `null` where it could not be read.
    pub cpu_user_ns: Option<u64>,
    /// CPU time of its process, in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// RSS of its process.
    pub rss_bytes: Option<u64>,
    /// The highest RSS of its process.
    pub rss_peak_bytes: Option<u64>,
}

/// One program in the kernel, with all its attachments: whichever process made it run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProgramStats {
    /// Its name.
    pub name: Foreign,
    /// How often it ran; `null` where it could not be read.
    pub runs: Option<u64>,
    /// Time of all runs, with a part of the kernel's measuring.
    pub time_ns: Option<u64>,
    /// Time of a run; `null` where it did not run.
    pub ns_per_run: Option<u64>,
    /// Runs that the kernel skipped (`recursion_misses`); `null` where it does not tell (before 5.12).
    pub skipped_runs: Option<u64>,
}

/// Child processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Children {
    /// How many were forked during the capture; threads are not counted.
    pub forked: u64,
    /// The youngest one's process id; `null` where there is none.
    pub last_pid: Option<u32>,
}

/// A change by kind of page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bytes4 {
    /// Anonymous memory.
    pub anon_bytes: i64,
    /// File mappings.
    pub file_bytes: i64,
    /// Shared memory.
    pub shmem_bytes: i64,
    /// Swap entries: not part of RSS.
    pub swap_bytes: i64,
}

impl Bytes4 {
    /// The part that counts as resident.
    #[must_use]
    pub const fn rss_bytes(&self) -> i64 {
        self.anon_bytes
            .saturating_add(self.file_bytes)
            .saturating_add(self.shmem_bytes)
    }
}

/// The ledger of an epoch: `rss_start_bytes` + Σ `rss_delta_bytes` + `unexplained_bytes` = `rss_end_bytes`.
///
/// In the approximate mode there is no ledger: RSS is sampled, and what only a ledger knows is `null`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// RSS when the epoch began.
    pub rss_start_bytes: i64,
    /// Whether all counters stood still while the start was read. Where not, `rss_start_bytes` is some pages off, by which
    /// the first changes' causes make up for it: the sum stays exact. `null` in the approximate mode.
    pub rss_start_settled: Option<bool>,
    /// RSS when it ended: 0 after an exit or an exec.
    pub rss_end_bytes: i64,
    /// The highest RSS among the ticks. Between ticks it may have been higher.
    pub rss_highest_seen_bytes: i64,
    /// How far RSS figures may be off, since they are sampled; `null` in the exact mode.
    #[serde(default)]
    pub rss_sampling_bound_bytes: Option<u64>,
    /// RSS change that no cause explains. `null` where there was nothing to compare with.
    pub unexplained_bytes: Option<i64>,
    /// Pages that moved while the figures were compared: where it is 0, `unexplained_bytes` is exact.
    pub unexplained_bound_bytes: Option<u64>,
    /// What the ledger was compared with: `smaps_rollup`, `statm`, or `counters` (the kernel's own, at the end of the mm).
    pub compared_with: Option<Foreign>,
    /// By kind when the epoch began.
    pub start: Bytes4,
    /// By kind when it ended.
    pub end: Bytes4,
    /// `LazyFree` at the end; `null` where it was not read.
    pub lazyfree_bytes: Option<u64>,
    /// Why it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lazyfree_missing: Option<Foreign>,
    /// Bytes in anonymous huge pages at the end; `null` where `smaps_rollup` was not read.
    #[serde(default)]
    pub anon_huge_bytes: Option<u64>,
    /// The causes.
    pub causes: Vec<CauseRow>,
    /// Page faults.
    pub faults: Faults,
    /// What was given back, and what became of it; `null` in the approximate mode.
    #[serde(default)]
    pub returned: Option<Returned>,
    /// What RSS is made of at the end, by what the runtime says of itself. Adds up to `rss_end_bytes`. Empty where the process has ended.
    #[serde(default)]
    pub bridge: Vec<BridgePart>,
    /// The largest groups of mappings at the end, by resident bytes; `null` where they were not read.
    #[serde(default)]
    pub mappings: Option<Vec<MappingGroup>>,
    /// Why they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mappings_missing: Option<Foreign>,
    /// The memory cgroup; `null` where there is none.
    #[serde(default)]
    pub cgroup: Option<CgroupInfo>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_missing: Option<Foreign>,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CauseRow {
    /// The cause.
    pub cause: Cause,
    /// The advice by the kernel's name, or its number; only for `madvise` and `process_madvise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Foreign>,
    /// The other task that did it; only for `reclaim` and `other_process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Foreign>,
    /// Calls that began and ended during the epoch; `null` where the cause is no hooked system call.
    pub calls: Option<u64>,
    /// Failed ones among them.
    pub failed_calls: Option<u64>,
    /// Failed ones by errno.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errnos: Vec<ErrnoCount>,
    /// Bytes that successful calls asked to map, unmap, advise on or grow by, as passed, not rounded to pages.
    pub requested_bytes: Option<u64>,
    /// Bytes that failed calls asked for.
    pub failed_requested_bytes: Option<u64>,
    /// Bytes that successful `brk` and `mremap` calls asked to shrink by.
    pub shrunk_bytes: Option<u64>,
    /// Time between entry and exit, over all calls.
    pub time_ns: Option<u64>,
    /// RSS change: anonymous, file and shmem together. `null` in the approximate mode.
    pub rss_delta_bytes: Option<i64>,
    /// The change by kind. `null` in the approximate mode.
    pub by_kind: Option<Bytes4>,
}

/// Failed calls with one errno.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrnoCount {
    /// Its name, such as `ENOMEM`.
    pub errno: Foreign,
    /// Calls.
    pub calls: u64,
}

/// Page faults: counts, never bytes. `null` where they were not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Faults {
    /// From user code.
    pub user: Option<u64>,
    /// From kernel code, on the process's addresses.
    pub kernel: Option<u64>,
    /// From user code, reading.
    pub user_read: Option<u64>,
    /// From user code, writing.
    pub user_write: Option<u64>,
    /// From user code, fetching instructions.
    pub user_exec: Option<u64>,
    /// From kernel code, reading.
    pub kernel_read: Option<u64>,
    /// From kernel code, writing.
    pub kernel_write: Option<u64>,
}

/// The process at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tick {
    /// Since the start of the epoch. Ticks further apart than the interval are a gap: memtrace did not run.
    pub t_ns: u64,
    /// RSS, from the ledger; sampled in the approximate mode.
    pub rss_bytes: i64,
    /// Anonymous part.
    pub anon_bytes: i64,
    /// File part.
    pub file_bytes: i64,
    /// Shared memory part.
    pub shmem_bytes: i64,
    /// Swap entries.
    pub swap_bytes: i64,
    /// Size of the address space; `null` where it could not be read.
    pub vm_bytes: Option<u64>,
    /// Bytes given to `MADV_FREE` and neither reclaimed nor written since; `null` where this tick did not read it.
    pub lazyfree_bytes: Option<u64>,
    /// Bytes in anonymous huge pages; `null` likewise.
    pub anon_huge_bytes: Option<u64>,
    /// RSS in `statm` less the ledger's; `null` where it could not be read.
    pub unexplained_bytes: Option<i64>,
    /// Bytes that moved while the two were read: where it is 0, `unexplained_bytes` is exact.
    pub unexplained_bound_bytes: Option<u64>,
    /// Page faults since the last tick, user and kernel; `null` where they were not counted.
    pub faults: Option<u64>,
    /// What moved, or was called, since the last tick.
    pub causes: Vec<TickCause>,
    /// Go's own figures; `null` where it is no Go program, or they could not be read: `target.runtime.missing` says why.
    pub go: Option<GoFigures>,
    /// The memory cgroup's figures; `null` at ticks that do not read them, and where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupFigures>,
}

impl Tick {
    /// Takes back what it found unexplained: it was of the next program already.
    pub fn take_back(&mut self) {
        if self.unexplained_bytes.is_some_and(|bytes| bytes != 0) {
            self.vm_bytes = None;
            self.unexplained_bytes = None;
            self.unexplained_bound_bytes = None;
        }
    }
}

/// What one cause did since the last tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TickCause {
    /// The cause.
    pub cause: Cause,
    /// The advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Foreign>,
    /// The other task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Foreign>,
    /// Calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Bytes that they asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_bytes: Option<u64>,
    /// RSS change. `null` in the approximate mode.
    pub rss_delta_bytes: Option<i64>,
    /// Change of swap entries.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub swap_delta_bytes: i64,
}

const fn is_zero(value: &i64) -> bool {
    *value == 0
}
