//! Everything that is tested through memtrace as it is called, and attaches: most of it needs root. What provokes failures is in
//! `tests/survival`, what counts pages in `tests/kernel`.

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
