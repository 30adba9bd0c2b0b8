//! The screen, drawn into memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod keys;
mod pictures;
pub mod shown;
