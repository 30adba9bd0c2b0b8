//! What is made by a command and kept in the repository is what the command would make now. `cargo xtask man`, `completions` and
//! `pictures` run these tests with `MEMTRACE_WRITE` set: then they write it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cells;
mod completions;
mod man;
mod pictures;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Holds these files, by name, against those in a folder of `docs/`, of which those with another ending are nobody's business
/// here. `chore` makes them.
#[track_caller]
fn current(folder: &str, ending: &str, chore: &str, files: &BTreeMap<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(folder);
    let found: BTreeSet<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending))
        .collect();
    if std::env::var_os("MEMTRACE_WRITE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for name in found.iter().filter(|name| !files.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        return;
    }
    let made: BTreeSet<String> = files.keys().cloned().collect();
    assert_eq!(found, made, "type: cargo xtask {chore}");
    for (name, text) in files {
        let kept = fs::read_to_string(folder.join(name)).unwrap();
        // Not by assert_eq!, which would print both.
        let differ = kept
            .lines()
            .zip(text.lines())
            .find(|(kept, made)| kept != made);
        assert!(
            kept == *text,
            "{} is not current: type: cargo xtask {chore}; the first line that differs: {differ:?}",
            folder.join(name).display()
        );
    }
}
