//! What memtrace's kernel side and user side agree on.
//!
//! Everything here is `no_std`, has a fixed layout (`repr(C)`, explicit padding, asserted sizes), and knows nothing of
//! aya. The one piece of logic that lives here, [`fold`], is shared on purpose: the kernel side runs it, and the property
//! tests of this crate run the very same code against a naive model.

#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod advice;
pub mod cell;
pub mod config;
pub mod fold;
pub mod layout;
