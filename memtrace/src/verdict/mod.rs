//! The answer: what it is, whether it is a leak, and what to do about it.
//!
//! Pure: a capture in, an answer out. Each rule is a small function in a file of its own, with a page in `docs/explain/`.
