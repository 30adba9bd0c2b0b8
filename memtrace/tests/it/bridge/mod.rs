//! The bridge of real Go programs, by what they say of themselves. Where there is no Go, that is said aloud.

#![expect(
    clippy::unwrap_used,
    reason = "what is not as expected is a test that fails"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use memtrace::{
    model::{BridgePart, Bytes4, GoFigures},
    observe::{Sampler, mappings},
    proc::{self, GO_ARENA, ProcDir},
    timeline::bridge,
};
use tempfile::TempDir;

const MIB: i64 = 1 << 20;

/// All Go toolchains that are where distributions put them, or first in the path.
fn toolchains() -> Vec<PathBuf> {
    let found = std::env::var_os("MEMTRACE_GO").map(|list| std::env::split_paths(&list).collect());
    let mut found: Vec<PathBuf> = found.unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    found.extend(installed.filter_map(|entry| {
        let go = entry.path().join("bin/go");
        let is_go = entry.file_name().to_string_lossy().starts_with("go-");
        (is_go && go.is_file()).then_some(go)
    }));
    if found.is_empty() && Command::new("go").arg("version").output().is_ok() {
        found.push("go".into());
    }
    if found.is_empty() {
        eprintln!("NOT TESTED: there is no Go; type: apt-get install golang-go");
    }
    found
}

struct Program(TempDir);

impl Program {
    fn build(go: &Path) -> Self {
        let dir = TempDir::new().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bridge/program.go");
        let output = Command::new(go)
            .args(["build", "-o"])
            .arg(dir.path().join("program"))
            .arg(source)
            .env("GOFLAGS", "")
            .env("GO111MODULE", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOCACHE", dir.path().join("cache"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self(dir)
    }

    /// Runs it up to where it stands still.
    fn start(&self, state: &str, godebug: &str) -> (Running, GoFigures) {
        let mut child = Command::new(self.0.path().join("program"))
            .arg(state)
            .env("GODEBUG", godebug)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let figures: Vec<u64> = line
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        let go = GoFigures {
            sys_bytes: Some(figures[0]),
            heap_sys_bytes: Some(figures[1]),
            heap_inuse_bytes: Some(figures[2]),
            heap_idle_bytes: Some(figures[3]),
            heap_released_bytes: Some(figures[4]),
            stack_inuse_bytes: Some(figures[5]),
            ..GoFigures::default()
        };
        // The kernel's counts settle once it sleeps.
        thread::sleep(Duration::from_millis(100));
        (Running(child), go)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bridge with what can be read of the process now, and its RSS.
fn bridge_of(running: &Running, go: &GoFigures) -> (Vec<BridgePart>, i64) {
    let pid = running.0.id();
    let process = ProcDir::open(pid).unwrap();
    let resident = proc::read(&process, "status", proc::resident).unwrap();
    let rss = Bytes4 {
        anon_bytes: resident.anon.cast_signed(),
        file_bytes: resident.file.cast_signed(),
        shmem_bytes: resident.shmem.cast_signed(),
        swap_bytes: 0,
    };
    let lazy = Sampler::open(pid).unwrap().smaps().unwrap().lazy_free;
    let groups = mappings(&process, true).unwrap().groups;
    let parts = bridge(rss, rss.rss_bytes(), Some(lazy), Some(go), Some(&groups));
    let sum: i64 = parts.iter().map(|part| part.bytes).sum();
    assert_eq!(sum, rss.rss_bytes());
    let mut shown = format!("RSS {:.1} MiB =", rss.rss_bytes() as f64 / MIB as f64);
    for part in &parts {
        shown += &format!(" {} {:.1}", part.part, part.bytes as f64 / MIB as f64);
    }
    let arena = groups.iter().find(|group| group.name == GO_ARENA);
    eprintln!(
        "{shown}; arena {:?}",
        arena.map(|group| group.rss_bytes as f64 / MIB as f64)
    );
    (parts, rss.rss_bytes())
}

fn part(parts: &[BridgePart], name: &str) -> i64 {
    parts
        .iter()
        .find(|part| part.part == name)
        .map_or(0, |part| part.bytes)
}

#[test]
fn the_rest_of_real_programs_is_what_was_never_touched() {
    for go in toolchains() {
        // Its whole standard library is built for it, so once.
        let program = Program::build(&go);
        small(&program, &go);
        negative(&program);
    }
}

fn small(program: &Program, go: &Path) {
    for state in ["full", "half", "freed", "small"] {
        for godebug in ["madvdontneed=1", "madvdontneed=0"] {
            let (running, figures) = program.start(state, godebug);
            eprint!("{} {state} {godebug}: ", go.display());
            let (parts, rss) = bridge_of(&running, &figures);
            assert!(part(&parts, "other_anon") > 0, "{parts:#?}");
            let rest = part(&parts, "rest");
            // What Go gives back in the background after it has printed its figures.
            let bound = (rss / 10).max(3 * MIB);
            assert!(rest.abs() <= bound, "{state} {godebug}: {rest}, {parts:#?}");
        }
    }
}

fn negative(program: &Program) {
    let (running, figures) = program.start("untouched", "");
    let (parts, _) = bridge_of(&running, &figures);
    let rest = part(&parts, "rest");
    assert!((-310 * MIB..-290 * MIB).contains(&rest), "{parts:#?}");
    assert!(parts.last().unwrap().source.raw().contains("never touched"));
    // A stack that has grown is twice as large as what was needed of it, and more.
    let (running, figures) = program.start("stacks", "");
    let (parts, _) = bridge_of(&running, &figures);
    let (rest, stacks) = (part(&parts, "rest"), part(&parts, "go_stacks"));
    assert!(stacks > 30 * MIB, "{parts:#?}");
    assert!((-stacks..3 * MIB).contains(&rest), "{parts:#?}");
}
