//! `memtrace export`: each format, read by a reader of its own, against the capture. Needs neither root nor a kernel.
//!
//! Readers that are not installed are said to be left out, and fail the test where `MEMTRACE_REQUIRE_RUNTIMES` is set.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod captures;
mod command;
mod csv;
mod jsonl;
mod memory;
mod openmetrics;
mod perfetto;
