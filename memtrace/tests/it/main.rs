//! The tests that need no privileges, in one program, so that the library is linked once.
//!
//! A test that must be alone in its process calls [`alone::alone`].

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod alone;
#[path = "../common/bomb.rs"]
mod bomb;
#[path = "../common/chromium.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod chromium;
#[path = "../common/mod.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking; shared with tests/root"
)]
mod common;
#[path = "../../../fuzz/src/lib.rs"]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the fuzz targets' questions, which are answered by panicking"
)]
mod fuzz;

mod bench_figures;
mod bridge;
mod btf;
mod diff;
mod documents;
mod dump;
mod explain;
mod export;
mod foreign;
mod generated;
mod golden;
mod history;
mod journal;
mod ledger_properties;
mod mappings;
mod page;
mod parsers;
mod report;
mod runtime;
mod schema;
mod screen;
mod structure;
mod svg;
mod table;
mod verdict;
