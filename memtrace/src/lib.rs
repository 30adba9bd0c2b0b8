//! memtrace: where did the memory go?
//!
//! Accounts for every byte of a running process's RSS change, by cause, from outside. Data flows one way:
//! [`probe`] (the kernel side's counters) → [`ledger`] (what moved, adding up) → timeline → view and export.

pub mod ledger;
pub mod probe;
pub mod sample;
pub mod target;
