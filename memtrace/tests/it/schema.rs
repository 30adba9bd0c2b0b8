//! The JSON Schemas in the repository are those that the code stands for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use memtrace::export::{events, json};

#[test]
fn the_schema_file_is_current() {
    is_current("memtrace-1", &json::schema());
}

#[test]
fn the_doctors_schema_file_is_current() {
    is_current("memtrace-doctor-1", &json::doctor_schema());
}

#[test]
fn the_schema_file_of_events_is_current() {
    is_current("memtrace-events-1", &events::schema());
}

#[test]
fn the_diffs_schema_file_is_current() {
    is_current("memtrace-diff-1", &json::diff_schema());
}

#[track_caller]
fn is_current(name: &str, schema: &serde_json::Value) {
    let path = format!("{}/../docs/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let mut current = serde_json::to_string_pretty(schema).unwrap();
    current.push('\n');
    if std::env::var_os("MEMTRACE_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == current,
        "docs/{name}.schema.json is not current; type: MEMTRACE_BLESS=1 cargo test --test it schema::"
    );
}
