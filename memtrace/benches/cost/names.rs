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
/// What hooking all system calls at once would cost.
pub const RAW: &str = "bpftrace, raw tracepoints";
/// The tool that people know best.
pub const STRACE: &str = "strace -c";
