//! Memory for maps, before 5.11: it counts against `RLIMIT_MEMLOCK`, whose default of 64 KiB is too little. Since 5.11 it
//! counts against the memory cgroup, and the limit does not matter.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may: above the hard limit takes `CAP_SYS_RESOURCE`. Where that is too little for an
/// old kernel, creating the maps says so.
pub(super) fn raise() {
    let memlock = Resource::RLIMIT_MEMLOCK;
    if setrlimit(memlock, RLIM_INFINITY, RLIM_INFINITY).is_err()
        && let Ok((_, hard)) = getrlimit(memlock)
    {
        let _ = setrlimit(memlock, hard, hard);
    }
}
