//! Files. One format, one module.

mod error;
pub mod file;
mod folder;
pub mod html;
pub mod journal;
pub mod json;
