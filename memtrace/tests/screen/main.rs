//! The screen, drawn into memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod hostile;
mod keys;
mod pictures;
mod shown;
