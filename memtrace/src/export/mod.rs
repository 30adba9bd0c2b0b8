//! Files. One format, one module.

pub mod file;
mod folder;
pub mod journal;
pub mod json;
