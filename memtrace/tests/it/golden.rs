//! Capture files and journals that a released memtrace wrote are read, assembled and exported to the very bytes that it made of them.
//!
//! Everything in `golden/` is the work of memtrace 0.1.0 from before the readers were rewritten, run as root on Linux 6.18. Each journal
//! is `NAME.json.partial`, kept by a hard link while the capture went on; `NAME.jsonl` and `NAME.csv` are what `memtrace export` of that binary printed.
//! The kernel's local version and the path of the cgroup were then replaced in the sources, before the exports. With
//! `WORK='sub nap { select(undef,undef,undef,$_[0]) } my $x = "x" x 8000000; nap(0.5); undef $x; nap(0.4);'`:
//!
//! - `events`: `memtrace -q -i 200ms -o events.json --events FILE --events-min-bytes 1M -- perl -e "use strict; $WORK"`, a short program.
//! - `approximate`: the same with `--mode approximate`, without `--events`.
//! - `execs`: `memtrace -q -i 150ms -o execs.json -- sh -c 'sleep 0.4; exec sh -c "sleep 0.4; exec sleep 0.4"'`, a chain of execs.
//! - `failed`: `memtrace -q -i 200ms -o failed.json -- perl -e …`, which calls `munmap(1, 4096)` and `madvise(4096, 4096, 4)` three times each.
//! - `killed`: `memtrace -q -i 200ms -o killed.json -p PID` of a perl that takes 3 MB and frees them in a loop, ended by SIGKILL after 2.3 s. Its
//!   exported verdict is left out: it depends on the rules of the memtrace that exports.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which may panic as tests do"
)]

use std::{fs, io::Cursor, path::Path};

use memtrace::{
    export::{Causes, csv, json, jsonl},
    timeline::{Loaded, Replay, Unassembled, assemble, load, read},
};

const FINISHED: [&str; 4] = ["approximate", "events", "execs", "failed"];

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    fs::read(folder.join(name)).unwrap()
}

/// Compares as text, so that a difference can be read.
#[track_caller]
fn is_same(name: &str, made: &[u8]) {
    let made = String::from_utf8_lossy(made);
    let expected = golden(name);
    let expected = String::from_utf8_lossy(&expected);
    for (number, (made, expected)) in made.lines().zip(expected.lines()).enumerate() {
        assert_eq!(made, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(made, expected, "{name}");
}

/// Exports `source` as JSON Lines and as CSV, and returns both with what the journal says of itself.
fn exported(source: &[u8]) -> (Vec<u8>, Vec<u8>, Option<Unassembled>) {
    let loaded: Loaded<Causes> = load(source).unwrap();
    let mut ticks = Replay::new(Cursor::new(source), 0, &loaded);
    let (mut lines, mut table) = (Vec::new(), Vec::new());
    jsonl::write(&loaded.capture, &mut ticks, &mut lines).unwrap();
    let causes = Causes::union(loaded.digests);
    csv::write(&loaded.capture, &causes, &mut ticks, &mut table).unwrap();
    (lines, table, loaded.journal)
}

#[test]
fn a_capture_file_is_assembled_from_its_journal() {
    for name in FINISHED {
        let journal = golden(&format!("{name}.journal"));
        let last = read(&journal[..]).unwrap().epoch.into_account();
        let mut file = Vec::new();
        let mut journal = Cursor::new(&journal);
        // Wherever it has been read to.
        journal.set_position(journal.get_ref().len() as u64);
        assemble(journal, &last, &mut file).unwrap();
        is_same(&format!("{name}.json"), &file);
    }
}

#[test]
fn a_capture_file_is_written_as_it_was_read() {
    for name in FINISHED {
        let name = format!("{name}.json");
        let mut written = Vec::new();
        json::write(&read(&golden(&name)[..]).unwrap(), &mut written).unwrap();
        is_same(&name, &written);
    }
}

#[test]
fn a_capture_file_and_its_journal_have_the_same_exports() {
    for name in FINISHED {
        for kind in ["json", "journal"] {
            let (lines, table, journal) = exported(&golden(&format!("{name}.{kind}")));
            is_same(&format!("{name}.jsonl"), &lines);
            is_same(&format!("{name}.csv"), &table);
            let ended = Unassembled {
                ended: true,
                cut_bytes: 0,
            };
            assert_eq!(journal, (kind == "journal").then_some(ended), "{name}");
        }
    }
}

#[test]
fn what_a_killed_memtrace_left_is_read_to_its_last_whole_line() {
    let whole = golden("killed.journal");
    let mut cut = whole.clone();
    cut.extend_from_slice(br#"{"tick":{"t_ns":18556"#);
    for (journal, cut_bytes) in [(&whole, 0), (&cut, 21)] {
        let (lines, table, unassembled) = exported(journal);
        let is_verdict = |line: &&[u8]| line.starts_with(br#"{"record":"verdict""#);
        let lines: Vec<_> = lines
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| !is_verdict(line))
            .collect();
        is_same("killed.jsonl", &lines.concat());
        is_same("killed.csv", &table);
        let ended = false;
        assert_eq!(unassembled, Some(Unassembled { ended, cut_bytes }));
    }
}
