//! Tests of the memtrace program that attach to processes. Most of them need root.

#[path = "../common/chromium.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking; shared with tests/it"
)]
mod chromium;
#[path = "../common/mod.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod common;

mod cgroup;
mod cli;
mod doctor;
mod events;
mod privileges;
mod terminal;
mod web;
