//! The capture file's JSON Schema in the repository is the one that the code stands for.

#[test]
fn the_schema_file_is_current() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/memtrace-1.schema.json"
    );
    let mut current = serde_json::to_string_pretty(&memtrace::export::json::schema()).unwrap();
    current.push('\n');
    if std::env::var_os("MEMTRACE_BLESS").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == current,
        "docs/memtrace-1.schema.json is not current; type: MEMTRACE_BLESS=1 cargo test --test schema"
    );
}
