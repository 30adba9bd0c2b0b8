//! `memtrace doctor`: on hosts that are written down, and on this one. What attaches needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod command;
mod hosts;
mod self_stats;
