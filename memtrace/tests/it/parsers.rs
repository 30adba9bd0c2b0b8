//! Every parser of outside bytes: the fuzz targets' own questions, asked of random bytes and of mutated seeds. This needs no
//! fuzzer; `cargo xtask fuzz` goes on from here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf};

use memtrace::{
    probe::{btf::Btf, offsets},
    proc::{self, cgroup::Version},
    timeline::read,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::fuzz;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");

/// A fuzz target, and how often it is asked here.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    cases: u32,
}

const TARGETS: [Target; 19] = [
    target("auxv", fuzz::auxv, 2000),
    target("btf", fuzz::btf, 2000),
    // A capture is some KiB of JSON, and its table is printed in two widths.
    target("capture", fuzz::capture, 500),
    target("cgroup", fuzz::cgroup, 2000),
    target("cmdline", fuzz::cmdline, 2000),
    target("dump", fuzz::dump, 1000),
    // Eight files are looked at, twice.
    target("elf", fuzz::elf, 500),
    target("environ", fuzz::environ, 2000),
    // The seeds are of some 40 KB.
    target("golang", fuzz::golang, 500),
    target("maps", fuzz::maps, 2000),
    target("memory_stat", fuzz::memory_stat, 2000),
    target("mountinfo", fuzz::mountinfo, 2000),
    target("smaps", fuzz::smaps, 1000),
    target("smaps_rollup", fuzz::smaps_rollup, 2000),
    target("stat", fuzz::stat, 2000),
    target("statm", fuzz::statm, 2000),
    target("status", fuzz::status, 2000),
    target("verdict", fuzz::verdict, 500),
    target("work", fuzz::work, 300),
];

const fn target(name: &'static str, run: fn(&[u8]), cases: u32) -> Target {
    Target { name, run, cases }
}

/// The files in a folder of `fuzz/`, by name; none where there is no such folder.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(ROOT).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = files(&format!("seeds/{target}"));
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

/// One change to some bytes, as a fuzzer makes them.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len() + 1;
        match self {
            Self::Replace(at, byte) => {
                if let Some(old) = bytes.get_mut(at.index(length)) {
                    *old = *byte;
                }
            }
            Self::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length - 1));
            }
            Self::Repeat(at, count) => {
                let at = at.index(length);
                let part = bytes[at..(at + count).min(length - 1)].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    // What means something to one of the parsers.
    let telling = prop::sample::select(&b"0123456789-+.eE()[]{}:,\" \n\t\0\\\xff\x80"[..]);
    let byte = prop_oneof![telling, any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (any::<Index>(), vec(byte, 1..24)).prop_map(|(at, new)| Change::Insert(at, new)),
        2 => (any::<Index>(), 1..200usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<Index>(), 1..200usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

fn check(target: &Target, input: impl Strategy<Value = Vec<u8>>) {
    let config = ProptestConfig {
        cases: target.cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&input, |bytes| {
        (target.run)(&bytes);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{}: {error}", target.name);
    }
}

#[test]
fn random_bytes_keep_every_promise() {
    for target in &TARGETS {
        check(target, vec(any::<u8>(), 0..300));
    }
}

#[test]
fn mutated_seeds_keep_every_promise() {
    for target in &TARGETS {
        let seeds: Vec<_> = seeds(target.name).into_iter().map(|seed| seed.1).collect();
        let input = (prop::sample::select(seeds), vec(change(), 1..6));
        let mutated = input.prop_map(|(mut bytes, changes)| {
            for change in changes {
                change.apply(&mut bytes);
            }
            bytes
        });
        check(target, mutated);
    }
}

#[test]
fn seeds_and_what_was_found_before_keep_every_promise() {
    for target in &TARGETS {
        let found = files(&format!("found/{}", target.name));
        for (name, bytes) in seeds(target.name).into_iter().chain(found) {
            eprintln!("{name}");
            (target.run)(&bytes);
        }
    }
}

/// Else the mutations would begin with what is refused at once.
#[test]
fn seeds_are_what_the_parsers_know() {
    for (name, bytes) in seeds("capture").into_iter().chain(seeds("verdict")) {
        assert!(read(&bytes[..]).is_ok(), "{name}");
    }
    for (name, bytes) in seeds("stat") {
        assert!(proc::stat(&bytes).is_some(), "{name}");
    }
    for (name, bytes) in seeds("auxv") {
        assert!(proc::class(&bytes, 4096).is_some(), "{name}");
    }
    for (name, bytes) in seeds("golang") {
        assert!(fuzz::is_golang(&bytes), "{name}");
    }
    for (name, bytes) in seeds("statm") {
        assert!(proc::statm(&bytes).is_some(), "{name}");
    }
    for (name, bytes) in seeds("status") {
        assert!(proc::status(&bytes).is_some(), "{name}");
    }
    for (name, bytes) in seeds("smaps_rollup") {
        assert!(proc::smaps_rollup(&bytes).is_some(), "{name}");
    }
    for (name, bytes) in seeds("dump") {
        assert!(memtrace::dump::read(&*bytes).is_ok(), "{name}");
    }
    for (name, bytes) in seeds("elf") {
        assert!(fuzz::program(&bytes).allocator.is_some(), "{name}");
    }
    for (name, bytes) in seeds("maps") {
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            assert!(proc::mapping(line.as_bytes()).is_some(), "{name}: {line}");
        }
    }
    for (name, bytes) in seeds("smaps") {
        let mut groups = proc::Groups::new(true, Default::default());
        for line in bytes
            .strip_suffix(b"\n")
            .unwrap()
            .split(|&byte| byte == b'\n')
        {
            assert!(groups.line(line).is_some(), "{name}");
        }
        assert!(
            groups.finish().is_some_and(|found| found.mappings > 1),
            "{name}"
        );
    }
    for (name, bytes) in seeds("cgroup") {
        let found = proc::cgroup::membership(&bytes);
        assert!(found.unified.is_some(), "{name}");
    }
    for (name, bytes) in seeds("mountinfo") {
        for line in bytes
            .strip_suffix(b"\n")
            .unwrap()
            .split(|&byte| byte == b'\n')
        {
            assert!(proc::cgroup::mount(line).is_some(), "{name}");
        }
    }
    for (name, bytes) in seeds("memory_stat") {
        let known =
            [Version::V1, Version::V2].map(|version| proc::cgroup::memory_stat(version, &bytes));
        assert!(
            known.iter().any(|figures| figures.anon_bytes.is_some()),
            "{name}"
        );
    }
    for (name, bytes) in seeds("cmdline") {
        assert!(!proc::cmdline(&bytes).is_empty(), "{name}");
    }
    let host = offsets::Host {
        tgid: 1,
        pid_namespace: None,
        wait_for_exec: false,
        possible_cpus: 2,
        online_cpus: 2,
        anon_orders: 1,
    };
    for (name, bytes) in seeds("btf") {
        let btf = Btf::parse(bytes).unwrap();
        // The kernels that they are from are of x86-64.
        let found = offsets::config(&btf, host);
        assert!(
            found.is_ok() || !cfg!(target_arch = "x86_64"),
            "{name}: {found:?}"
        );
    }
}

/// A fuzz target that is not asked here would be asked nowhere where there is no fuzzer.
#[test]
fn every_fuzz_target_is_asked_here() {
    let mut names: Vec<String> = fs::read_dir(PathBuf::from(ROOT).join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|target| target.name.to_owned()));
}
