//! What memtrace itself takes.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::proc::{self, ProcDir};

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
    let status = ProcDir::own().and_then(|own| {
        proc::read(&own, "status", |bytes| {
            Some((proc::resident(bytes)?.rss(), proc::peak(bytes)?))
        })
    });
    let (rss, rss_peak) = status.ok().unzip();
    Own {
        user_ns: usage.and_then(|usage| ns(usage.user_time().num_microseconds())),
        system_ns: usage.and_then(|usage| ns(usage.system_time().num_microseconds())),
        rss,
        rss_peak,
    }
}
