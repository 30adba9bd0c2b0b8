//! memtrace: where did the memory go?
//!
//! Accounts for every byte of a running process's RSS change, by cause, from outside. Data flows one way: [`probe`] (the
//! kernel side's counters) → [`ledger`] (what moved, adding up) → [`timeline`] (over time) → [`verdict`] (what it means, of a
//! capture alone; [`diff`]: of two) → [`view`] and [`export`]. [`process`] and [`observe`] are the process and what `/proc` says of it, in the files
//! that [`proc`] reads; [`inspect`] is what runs in it, and Go's own figures; [`doctor`] is what this host allows; [`dump`] reads what
//! another tool wrote. [`capture`] runs all that for one process and tells an observer, as `examples/embed.rs` does; [`cli`] puts
//! everything together.

pub use memtrace_core::{ledger, model, privilege, probe, proc, process, text};

pub mod capture;
pub mod cli;
pub mod diff;
pub mod doctor;
pub mod dump;
pub mod export;
pub mod inspect;
pub mod observe;
pub mod timeline;
pub mod verdict;
pub mod view;
