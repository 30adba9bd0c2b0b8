//! What memtrace itself takes.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use procfs::process::Process;

/// memtrace's own process, with all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// CPU time in its own code, ns.
    pub user_ns: Option<u64>,
    /// CPU time in the kernel on its behalf, ns.
    pub system_ns: Option<u64>,
    /// RSS, bytes.
    pub rss: Option<u64>,
    /// Its highest so far.
    pub rss_peak: Option<u64>,
}

/// Reads it.
#[must_use]
pub fn own() -> Own {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let ns = |micros: i64| u64::try_from(micros).ok()?.checked_mul(1000);
    // The peak of `getrusage` is older than this program's exec.
    let status = Process::myself().and_then(|process| process.status()).ok();
    let bytes = |kib: Option<u64>| kib?.checked_mul(1024);
    Own {
        user_ns: usage.and_then(|usage| ns(usage.user_time().num_microseconds())),
        system_ns: usage.and_then(|usage| ns(usage.system_time().num_microseconds())),
        rss: bytes(status.as_ref().and_then(|status| status.vmrss)),
        rss_peak: bytes(status.as_ref().and_then(|status| status.vmhwm)),
    }
}
