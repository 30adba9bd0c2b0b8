//! The process's memory cgroup, in the capture file.

use serde::{Deserialize, Serialize};

use super::Missing;
use crate::text::Foreign;

/// The memory cgroup that the process is in: what a container's limit, an OOM kill and an autoscaler look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CgroupInfo {
    /// 1 or 2.
    pub version: u32,
    /// Its path below the root of its hierarchy, as memtrace sees it.
    pub path: Foreign,
    /// The lowest limit among it and what is above it (`memory.max`, `memory.limit_in_bytes`); `null` where there is none.
    pub limit_bytes: Option<u64>,
    /// Whose limit that is.
    pub limit_path: Option<Foreign>,
    /// The lowest `memory.high` likewise: above it the kernel throttles and reclaims. cgroup v2 only.
    pub high_bytes: Option<u64>,
    /// Processes in it, with those of cgroups below.
    pub processes: Option<u64>,
    /// When the epoch began.
    pub start: Option<CgroupFigures>,
    /// When it ended.
    pub end: Option<CgroupFigures>,
    /// What could not be had, with the reason.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// The cgroup's figures at one moment, in bytes unless said otherwise. With all of its processes, their page cache, and cgroups
/// below. `null` where the kernel does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CgroupFigures {
    /// `memory.current`, `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// Usage less inactive file pages: what Kubernetes calls the working set, and scales and evicts by. Pages freed with `MADV_FREE`
    /// are among the inactive file pages, so it does not count them.
    pub working_set_bytes: Option<u64>,
    /// Anonymous memory, with tmpfs left out.
    pub anon_bytes: Option<u64>,
    /// Page cache, with tmpfs.
    pub file_bytes: Option<u64>,
    /// tmpfs and shared memory.
    pub shmem_bytes: Option<u64>,
    /// Inactive file pages (`total_inactive_file` in v1).
    pub inactive_file_bytes: Option<u64>,
    /// Kernel memory charged to it.
    pub kernel_bytes: Option<u64>,
    /// Swap in use.
    pub swap_bytes: Option<u64>,
    /// Pages given to `MADV_FREE` since the cgroup was made: a count. cgroup v2 only.
    pub pglazyfree: Option<u64>,
    /// Those of them that the kernel took back: a count. cgroup v2 only.
    pub pglazyfreed: Option<u64>,
    /// Processes that were OOM-killed in it: a count.
    pub oom_kills: Option<u64>,
    /// How often usage met the limit: a count.
    pub limit_hits: Option<u64>,
}
