//! What a process is, of real programs that are started here: which runtime and which allocator, told by their bytes.
//!
//! Programs that are not installed are said to be left out, and fail the test where `MEMTRACE_REQUIRE_RUNTIMES` is set.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod hostile;
mod inside;
mod programs;
mod started;
mod work;
