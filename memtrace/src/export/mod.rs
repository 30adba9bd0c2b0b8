//! Files. One format, one module.

pub mod file;
pub mod json;
