//! Where the figures are in programs without DWARF, by Go's minor version.

use super::layout::{Controller, Layout, Shards};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The Y of 1.Y.
    pub minor: u32,
    pub layout: Layout,
}

pub const ROWS: [Row; 1] = [Row {
    minor: 19,
    layout: controller(304, 1176, true),
}];

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
pub fn row(version: &str) -> Result<&'static Row, String> {
    let minor = minor(version).ok_or_else(|| {
        format!("its version, {version:?}, is none that was released, so where the figures are can come from DWARF alone, and it has none")
    })?;
    ROWS.iter()
        .find(|row| row.minor == minor)
        .ok_or_else(|| format!("Go 1.{minor} without DWARF is not known"))
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
