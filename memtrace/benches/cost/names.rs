//! The conditions that figures refer to.

/// What everything is compared with.
pub const NOTHING: &str = "nothing";
/// The same once more: what differs between the two is noise.
pub const CONTROL: &str = "nothing, again";
/// Empty programs on the same hooks.
pub const FLOOR: &str = "empty programs";
/// memtrace as it comes.
pub const MEMTRACE: &str = "memtrace";
/// The script that sees the same as memtrace, but for the ledger.
pub const EQUIVALENT: &str = "bpftrace, same columns";
/// Looks at entries alone.
pub const SUMS: &str = "bpftrace, sums";
pub const PERF_STAT: &str = "perf stat";
pub const PERF_RECORD: &str = "perf record";
pub const PERF_TRACE: &str = "perf trace";
/// The tool that people know best.
pub const STRACE: &str = "strace -c";

/// Those from which one learns the bytes of each call, its advice, and whether it failed.
pub const PEERS: [&str; 4] = [MEMTRACE, EQUIVALENT, PERF_RECORD, PERF_TRACE];
/// Those from which one learns less.
pub const LESSER: [&str; 3] = [SUMS, PERF_STAT, STRACE];
