//! Text for people: numbers with units, sanitized foreign text, wrapping, escaping, times of day.
//!
//! Rests on no other module.

pub mod format;
pub mod markup;
pub mod time;
mod wrap;

pub use wrap::wrapped;
