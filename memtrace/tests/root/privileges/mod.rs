//! What memtrace may do, what it gives up, and what it says where it may not: as root, through sudo, as a user whose file has
//! capabilities. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod capabilities;
mod files;
mod who;
