//! Files. One format, one module.

mod error;
pub mod events;
pub mod file;
mod folder;
pub mod journal;
pub mod json;
