//! Where the figures are in programs without DWARF, by Go's minor version.

use super::layout::{Central, Controller, Layout, Memstats, Shards};
use crate::inspect::InspectError;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The Y of 1.Y.
    pub minor: u32,
    pub layout: Layout,
}

/// Each row was tried on running programs for x86-64 built by the versions named; those of 1.16 to 1.18 and of 1.20 are stripped ones
/// of others, which were not asked what Go says itself: their figures add up as the runtime demands. The fields lie the same on
/// arm64, as DWARF of programs of 1.15, 1.19, 1.24 and 1.27 says. A patch that moved a field would not add up.
pub const ROWS: [Row; 13] = [
    // 1.15.15
    row_of(15, CENTRAL),
    // 1.16.2 and 1.16.3
    row_of(16, shards(4288, 6024, 1168, 48)),
    // 1.17.1, 1.17.5 and 1.17.8
    row_of(17, shards(4280, 5960, 1184, 56)),
    // 1.18 and 1.18.4
    row_of(18, shards(4280, 5960, 1176, 56)),
    // 1.19.8
    row_of(19, controller(304, 1176, true)),
    // 1.20.4 and 1.20.7
    row_of(20, controller(248, 1176, true)),
    // 1.21.13
    row_of(21, controller(272, 1176, true)),
    // 1.22.10
    row_of(22, controller(272, 1176, true)),
    // 1.23.5
    row_of(23, controller(272, 1176, true)),
    // 1.24.4
    row_of(24, controller(272, 1176, true)),
    // 1.25.5
    row_of(25, controller(272, 1168, false)),
    // 1.26.0
    row_of(26, controller(272, 1168, false)),
    // 1.27.0 and 1.27.4
    row_of(27, controller(272, 1168, false)),
];

const fn row_of(minor: u32, layout: Layout) -> Row {
    Row { minor, layout }
}

const CENTRAL: Layout = Layout::Central(Central {
    heap_sys: 56,
    heap_idle: 64,
    heap_in_use: 72,
    heap_released: 80,
    stacks_in_use: 96,
    other_sys: [104, 120, 136, 144, 152, 160],
    num_gc: 4288,
    pages_in_use: 65960,
    large_alloc: 66024,
    large_free: 66040,
    small_free: 66056,
    central: 66744,
    central_size: 256,
    allocated: 208,
    cache: 64,
    local_large_free: 1176,
    local_small_free: 1192,
});

/// Layouts of 1.16 to 1.18 differ in where the count of collections and the shards are, in the size of a shard, and in where the
/// objects are in it.
const fn shards(num_gc: u32, at: u32, size: u32, objects: u32) -> Layout {
    Layout::Shards(Memstats {
        heap_sys: 48,
        heap_in_use: 56,
        heap_released: 64,
        other_sys: [88, 104, 120, 128, 152, 160],
        num_gc,
        shards: Shards {
            at,
            size,
            committed: 0,
            released: 8,
            in_heap: 16,
            in_stacks: 24,
            in_work_bufs: 32,
            in_ptr_scalar_bits: Some(40),
        },
        // Each of the two is followed by how many, and 68 counts of small ones.
        large_alloc: objects,
        small_alloc: objects + 16,
        large_free: objects + 16 + 68 * 8,
        small_free: objects + 32 + 68 * 8,
    })
}

/// Layouts since 1.19 differ in where the six figures begin, and in the size of a shard.
const fn controller(six: u32, shard: u32, has_scalar_bits: bool) -> Layout {
    // Behind the shards: a counter of 4 bytes and a lock of 8.
    let sys = 3 * shard + 16;
    Layout::Controller(Controller {
        heap_in_use: six,
        heap_released: six + 8,
        heap_free: six + 16,
        total_alloc: six + 24,
        total_free: six + 32,
        mapped_ready: six + 40,
        other_sys: [sys, sys + 8, sys + 16, sys + 24, sys + 32, sys + 40],
        // Behind the time of the last collection, the sum of the pauses, and two rings of 256 each.
        num_gc: sys + 48 + 16 + 2 * 256 * 8,
        shards: Shards {
            at: 0,
            size: shard,
            committed: 0,
            released: 8,
            in_heap: 16,
            in_stacks: 24,
            in_work_bufs: 32,
            in_ptr_scalar_bits: if has_scalar_bits { Some(40) } else { None },
        },
    })
}

/// The row for a version, as `go1.19.8`, `go1.24.5 X:nocoverageredesign`, or `go1.23.4-vendor.2`.
pub fn row(version: &str) -> Result<&'static Row, InspectError> {
    let minor = minor(version).ok_or_else(|| {
        // It may be anything that fits into the file.
        let version: String = version.chars().take(80).collect();
        format!("its version, {version:?}, is none that was released, so only DWARF can say where the figures are")
    })?;
    ROWS.iter()
        .find(|row| row.minor == minor)
        .ok_or_else(|| format!("memtrace does not know where go1.{minor} keeps its figures").into())
}

/// The Y of `go1.Y…`, of a release.
pub fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    let (minor, rest) = rest.split_at_checked(end)?;
    // Betas and release candidates may differ from what was released.
    if !(rest.is_empty() || rest.starts_with(['.', ' ', '-', '+'])) {
        return None;
    }
    minor.parse().ok()
}
