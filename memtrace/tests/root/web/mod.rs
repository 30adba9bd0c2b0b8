//! The live page's server, as a browser meets it, and as one that means no good does. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod browser;
mod client;
mod crowd;
mod events;
mod requests;
