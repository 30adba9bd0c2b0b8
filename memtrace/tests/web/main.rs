//! The live page's server, as a browser meets it, and as one that means no good does. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "shared with tests/cli.rs")]
mod common;

mod browser;
#[path = "../common/chromium.rs"]
#[expect(dead_code, reason = "shared with tests/page.rs")]
mod chromium;
mod client;
mod crowd;
mod events;
mod requests;
