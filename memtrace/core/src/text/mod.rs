//! Text for people: numbers with units, sanitized foreign text, wrapping, escaping, times of day.
//!
//! Rests on no other module.

mod foreign;
pub mod format;
pub mod markup;
pub mod time;
mod wrap;

pub use foreign::{Foreign, joined};
pub use wrap::wrapped;
