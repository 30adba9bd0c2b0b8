//! What memtrace itself takes.

use std::mem::MaybeUninit;

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
    let usage = usage();
    let ns = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec)
            .ok()?
            .checked_mul(1_000_000_000)?;
        seconds.checked_add(u64::try_from(time.tv_usec).ok()?.checked_mul(1000)?)
    };
    // The peak of `getrusage` is older than this program's exec.
    let status = ProcDir::own().and_then(|own| {
        proc::read(&own, "status", |bytes| {
            Some((proc::resident(bytes)?.rss(), proc::peak(bytes)?))
        })
    });
    let (rss, rss_peak) = status.ok().unzip();
    Own {
        user_ns: usage.and_then(|usage| ns(usage.ru_utime)),
        system_ns: usage.and_then(|usage| ns(usage.ru_stime)),
        rss,
        rss_peak,
    }
}

fn usage() -> Option<libc::rusage> {
    let mut usage = MaybeUninit::uninit();
    // SAFETY: `usage` has room for the structure.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: 0 says that the structure has been written.
    (result == 0).then(|| unsafe { usage.assume_init() })
}
