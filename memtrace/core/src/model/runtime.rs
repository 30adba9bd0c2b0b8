//! What runs in the process, in the capture file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::Foreign;

/// What runs in the process, and what it is expected to do with memory that it does not need. Decided from the executable, the
/// mapped files and the environment, never from the process's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuntimeInfo {
    /// `go`, `jvm`, `dotnet`, `node`, `python`, `ruby`; `null` where none of them was found: a native program, as far as
    /// memtrace can see.
    pub name: Option<Foreign>,
    /// Its version as it calls itself, such as `go1.15.15` or `17.0.15`; `null` where it could not be had.
    pub version: Option<Foreign>,
    /// `glibc`, `musl`, `jemalloc`, `tcmalloc`, `gperftools`, `mimalloc`: the allocator behind `malloc`; `go` for a Go program
    /// without C code; `null` where it could not be had.
    pub allocator: Option<Foreign>,
    /// The allocator's version; `null` where it could not be had.
    #[serde(default)]
    pub allocator_version: Option<Foreign>,
    /// Settings that bear on memory, from the environment and the command line, by name, as the process was started with them:
    /// `GODEBUG`, `MALLOC_ARENA_MAX`, `-Xmx`. Others are not read.
    pub settings: BTreeMap<Foreign, Foreign>,
    /// What says so, such as `libjemalloc.so.2 is mapped`.
    #[serde(default)]
    pub evidence: Vec<Foreign>,
    /// How it is expected to give memory back to the kernel.
    #[serde(default)]
    pub expected: Vec<ExpectedRelease>,
    /// What could not be had, with the reason.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// A way to give memory back that this runtime or allocator, in this version, with these settings, uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExpectedRelease {
    /// Who does it: `go`, `jemalloc`, …
    pub by: Foreign,
    /// The call: `madvise`, `process_madvise`, `munmap`, `brk`, `mmap`.
    pub call: Foreign,
    /// The advice by the kernel's name, for `madvise` and `process_madvise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Foreign>,
    /// Why it is expected, such as `Go 1.12 to 1.15 use MADV_FREE`.
    pub why: Foreign,
}

/// Something that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Missing {
    /// What: the name of a field, such as `go` or `runtime.version`, or of what would be needed.
    pub what: Foreign,
    /// Why, for people.
    pub why: Foreign,
}

impl Missing {
    /// Something that could not be had, with its reason.
    pub fn new(what: impl Into<Foreign>, why: impl Into<Foreign>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// Go's own figures at one moment, in bytes, as `runtime.ReadMemStats` would give them. Read from outside, while the program
/// runs; each is `null` where it could not be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GoFigures {
    /// `Sys`: address space obtained from the kernel.
    pub sys_bytes: Option<u64>,
    /// `HeapSys`: of it for the heap, used or not.
    pub heap_sys_bytes: Option<u64>,
    /// `HeapAlloc`: allocated objects, reachable or not yet swept. What the caches of the processors (`GOMAXPROCS`) hold is
    /// counted when they are refilled.
    pub heap_alloc_bytes: Option<u64>,
    /// `HeapInuse`: spans that hold at least one object.
    pub heap_inuse_bytes: Option<u64>,
    /// `HeapReleased`: given back to the kernel, or never touched.
    pub heap_released_bytes: Option<u64>,
    /// `HeapIdle`: spans without objects, released or not.
    pub heap_idle_bytes: Option<u64>,
    /// `StackInuse`: stacks of goroutines.
    #[serde(default)]
    pub stack_inuse_bytes: Option<u64>,
    /// `NumGC`: finished cycles of the collector.
    pub num_gc: Option<u64>,
}
