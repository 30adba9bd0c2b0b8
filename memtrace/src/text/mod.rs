//! Text for people: numbers with units, sanitized foreign text, wrapping, escaping.
//!
//! Rests on no other module.

pub mod format;
pub mod markup;
mod wrap;

pub use wrap::wrapped;
