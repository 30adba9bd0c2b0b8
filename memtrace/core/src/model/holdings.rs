//! What the process holds, and what it gave back, in the capture file.

use serde::{Deserialize, Serialize};

use crate::text::Foreign;

/// What the process gave back during the epoch, and what became of it. `null` where it could not be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Returned {
    /// RSS that fell at the process's own calls: `munmap`, `madvise`, `brk` and the like. From the ledger.
    pub released_bytes: Option<i64>,
    /// What successful `MADV_FREE` calls were about; the same bytes may have been freed more than once.
    pub lazily_freed_bytes: Option<u64>,
    /// Anonymous pages that the kernel took back without swapping them out: those given to `MADV_FREE`. From the ledger.
    pub discarded_bytes: Option<i64>,
    /// RSS that rose while it was below its highest so far: memory that had been given back, or taken, and was needed again. From
    /// the ledger, by ticks: what fell and rose again between two ticks counts where different causes did it.
    pub reacquired_bytes: Option<i64>,
}

/// A part of RSS. All of them add up to `rss_end_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BridgePart {
    /// `go_heap_in_use`, `go_heap_idle`, `go_stacks`, `go_other`, `lazy_free`, `anon`, `other_anon`, `file`, `shmem`, `rest`.
    pub part: Foreign,
    /// Bytes; `rest` may be negative: parts of what a runtime counts need not be resident.
    pub bytes: i64,
    /// Where the figure comes from.
    pub source: Foreign,
}

/// Mappings of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MappingGroup {
    /// `heap` (that of `brk`), `stack`, `anon`, `file`, `shmem`, `special`.
    pub kind: MappingKind,
    /// The file's path, or the name that the process gave to anonymous memory; empty where it has none. Chosen by the process.
    pub name: Foreign,
    /// How many mappings.
    pub mappings: u64,
    /// Their size.
    pub size_bytes: u64,
    /// Of it resident.
    pub rss_bytes: u64,
    /// Of that anonymous: written copies of a file's pages are.
    pub anon_bytes: u64,
    /// Given to `MADV_FREE`, and still here.
    pub lazyfree_bytes: u64,
    /// In huge pages.
    pub anon_huge_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
}

/// What a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MappingKind {
    /// The heap that `brk` moves.
    Heap,
    /// The main thread's stack.
    Stack,
    /// Anonymous memory.
    Anon,
    /// A file.
    File,
    /// Shared memory: `MAP_SHARED | MAP_ANONYMOUS`, System V, memfd, tmpfs.
    Shmem,
    /// `[vdso]` and the like.
    Special,
}
