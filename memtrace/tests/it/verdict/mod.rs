//! The answers: captures built in code, judged, and held to what they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod growth;
mod holding;
mod looks;
mod moving;
mod pages;
mod properties;
mod scene;
mod surroundings;
