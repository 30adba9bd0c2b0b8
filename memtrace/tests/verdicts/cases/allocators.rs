//! `malloc` by different hands: what was freed is one thing, what was given back another.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
};

use memtrace::model::Cause;

use super::{Case, Outcome, Skip};
use crate::{
    common::Guard,
    program::{Program, native},
    stage::{MIB, Shown, Stage, rollup},
    tools::{library, program},
    tracing::wait_for,
};

pub const CASES: &[Case] = &[
    ("glibc-arenas", arenas),
    ("glibc-trim", trim),
    ("jemalloc-dirty", dirty),
    ("jemalloc-muzzy", muzzy),
    ("redis-purge", purge),
    ("tcmalloc", |stage| held(stage, tcmalloc()?)),
    ("tcmalloc-aggressive", tcmalloc_told),
    ("mimalloc", |stage| held(stage, mimalloc()?)),
    ("mimalloc-decommit", mimalloc_told),
];

/// What the threads take together, and what one thread does.
const TAKEN: i64 = 192 * MIB;
/// What an allocator may do otherwise with a part of it.
const SLACK: i64 = 16 * MIB;

fn arenas(stage: &Stage) -> Outcome {
    hold_arenas(stage, native())
}

/// glibc gives back what lies above the last block in use, and here one lies at the end of each arena.
pub fn hold_arenas(stage: &Stage, command: Command) -> Outcome {
    let mut program = Program::start(command);
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell("burst 8 24");
    traced.ticks(3);
    program.tell("calm");
    traced.ticks(8);
    let shown = traced.stop();
    let faults = shown.moved(Cause::Fault);
    assert!(faults.anon > TAKEN, "{faults:?}");
    assert!(shown.rss_end() > TAKEN, "{}", shown.rss_end());
    // What was not in an arena went back at once.
    let unmapped = shown.moved(Cause::Munmap);
    assert!(unmapped.anon <= -8 * 4 * MIB, "{unmapped:?}");
    assert!(shown.advised("MADV_DONTNEED").rss > -SLACK);
    assert!(shown.lazyfree() < MIB);
    Ok(shown)
}

fn trim(stage: &Stage) -> Outcome {
    let mut program = Program::start(native());
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell("burst 8 24");
    traced.ticks(3);
    program.tell("calm");
    traced.ticks(2);
    program.tell("trim");
    traced.ticks(6);
    let shown = traced.stop();
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.rss < SLACK - TAKEN, "{given:?}");
    assert!(shown.rss_end() < shown.rss_start() + SLACK);
    Ok(shown)
}

fn preloaded(name: &str, package: &str) -> Result<Command, Skip> {
    let mut command = native();
    command.env("LD_PRELOAD", library(name, package)?);
    Ok(command)
}

/// This test binary with jemalloc, and jemalloc's settings.
pub fn jemalloc(settings: &str) -> Result<Command, Skip> {
    let mut command = preloaded("libjemalloc.so.2", "libjemalloc2")?;
    command.env("MALLOC_CONF", settings);
    Ok(command)
}

/// Takes, waits a little, frees all of it, and works on a little until `done`, and for some ticks more.
fn take_and_free(stage: &Stage, command: Command, done: impl Fn(u32) -> bool) -> Shown {
    let mut program = Program::start(command);
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell("take 192");
    traced.ticks(4);
    program.tell("free");
    wait_for("what follows the freeing", || {
        program.tell("serve");
        done(program.pid()).then_some(())
    });
    for _ in 0..6 {
        program.tell("serve");
        traced.ticks(1);
    }
    traced.stop()
}

fn dirty(stage: &Stage) -> Outcome {
    let command = jemalloc("background_thread:true,dirty_decay_ms:1000")?;
    let shown = take_and_free(stage, command, |pid| rollup(pid, "Anonymous") < SLACK);
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.rss < SLACK - TAKEN, "{given:?}");
    assert_eq!(shown.advised("MADV_FREE").calls, 0);
    assert!(shown.rss_end() < shown.rss_start() + SLACK);
    Ok(shown)
}

fn muzzy(stage: &Stage) -> Outcome {
    lazily(stage, jemalloc(MUZZY)?)
}

pub const MUZZY: &str = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:-1";

pub fn lazily(stage: &Stage, command: Command) -> Outcome {
    let shown = take_and_free(stage, command, |pid| {
        rollup(pid, "LazyFree") > TAKEN - SLACK
    });
    let freed = shown.advised("MADV_FREE");
    assert!(freed.requested > TAKEN - SLACK, "{freed:?}");
    assert_eq!(freed.rss, 0);
    assert!(shown.lazyfree() > TAKEN - SLACK);
    assert!(shown.rss_end() > TAKEN);
    Ok(shown)
}

/// What the two that follow do with what was freed depends on how much more is freed later, and they are told to do otherwise by a
/// variable.
fn held(stage: &Stage, command: Command) -> Outcome {
    let shown = take_and_free(stage, command, |_| true);
    assert!(shown.rss_end() > TAKEN, "{}", shown.rss_end());
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.rss > -SLACK, "{given:?}");
    assert_eq!(shown.advised("MADV_FREE").calls, 0);
    Ok(shown)
}

fn given_back(stage: &Stage, command: Command) -> Outcome {
    let shown = take_and_free(stage, command, |_| true);
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.rss < SLACK - TAKEN, "{given:?}");
    assert!(shown.rss_highest() > TAKEN);
    assert!(shown.rss_end() < shown.rss_start() + 2 * SLACK);
    Ok(shown)
}

fn tcmalloc() -> Result<Command, Skip> {
    preloaded("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4")
}

fn tcmalloc_told(stage: &Stage) -> Outcome {
    let mut command = tcmalloc()?;
    command.env("TCMALLOC_AGGRESSIVE_DECOMMIT", "1");
    given_back(stage, command)
}

fn mimalloc() -> Result<Command, Skip> {
    preloaded("libmimalloc.so.2", "libmimalloc2.0")
}

fn mimalloc_told(stage: &Stage) -> Outcome {
    let mut command = mimalloc()?;
    // As it was called before 2.1, and since then.
    for name in ["MIMALLOC_DECOMMIT_DELAY", "MIMALLOC_PURGE_DELAY"] {
        command.env(name, "0");
    }
    given_back(stage, command)
}

/// A redis-server of our own.
struct Redis {
    server: Guard,
    socket: UnixStream,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Result<Self, Skip> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redis.sock");
        let server = Command::new(program("redis-server", "redis-server")?)
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&path)
            .arg("--dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Guard)
            .unwrap();
        let socket = wait_for("redis's socket", || UnixStream::connect(&path).ok());
        Ok(Self {
            server,
            socket,
            _dir: dir,
        })
    }

    /// Sends commands, all at once, and reads their answers.
    fn send(&mut self, commands: &[String]) {
        let mut text = commands.join("\r\n");
        text.push_str("\r\n");
        let mut socket = self.socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || socket.write_all(text.as_bytes()).unwrap());
        let mut answers = BufReader::new(&self.socket);
        for command in commands {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            assert_eq!(line, "+OK\r\n", "{}", &command[..command.len().min(30)]);
        }
        writer.join().unwrap();
    }
}

fn purge(stage: &Stage) -> Outcome {
    const VALUES: i64 = 200_000;
    let mut redis = Redis::start()?;
    let traced = stage.trace_pid(redis.server.0.id(), &[]);
    traced.ticks(2);
    let value = "v".repeat(1000);
    let fill: Vec<String> = (0..VALUES)
        .map(|key| format!("SET key:{key} {value}"))
        .collect();
    redis.send(&fill);
    traced.ticks(4);
    redis.send(&["FLUSHALL".to_owned()]);
    traced.ticks(2);
    redis.send(&["MEMORY PURGE".to_owned()]);
    traced.ticks(6);
    let shown = traced.stop();
    assert!(shown.moved(Cause::Fault).anon > VALUES * 1000);
    let given = shown.advised("MADV_DONTNEED");
    assert!(given.rss < -VALUES * 900, "{given:?}");
    assert_eq!(shown.lazyfree(), 0);
    Ok(shown)
}
