//! Memory for maps, before 5.11: it counts against `RLIMIT_MEMLOCK`, whose default of 64 KiB is too little. Since 5.11 it
//! counts against the memory cgroup, and the limit does not matter.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this process may: above the hard limit takes `CAP_SYS_RESOURCE`. Where that is too little for an
/// old kernel, creating the maps says so.
pub(super) fn raise() {
    let both = |limit| Rlimit {
        current: limit,
        maximum: limit,
    };
    // None is no limit.
    if setrlimit(Resource::Memlock, both(None)).is_err() {
        let hard = getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(Resource::Memlock, both(hard));
    }
}
