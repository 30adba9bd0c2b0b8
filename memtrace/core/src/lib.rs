//! memtrace's foundation: what counts, and what it counts with.
//!
//! [`probe`] loads and reads the kernel side, [`ledger`] adds up what it counted, [`model`] has the capture file's types. [`proc`]
//! parses the kernel's files, [`process`] finds and starts processes, [`privilege`] gives capabilities back, [`text`] formats for
//! people. The crate `memtrace` exports all of these again; only what is built of these modules alone needs this crate.

pub mod ledger;
pub mod model;
pub mod privilege;
pub mod probe;
pub mod proc;
pub mod process;
pub mod text;
