//! Python, Node and Java: growing, and standing still.

use std::process::Command;

use memtrace::model::Cause;

use super::{Case, Outcome};
use crate::{
    program::{Program, java_service, node_service, python_service},
    stage::{MIB, Stage},
};

pub const CASES: &[Case] = &[
    ("python-growing", |stage| grow(stage, python_service()?)),
    ("python-idle", |stage| idle(stage, python_service()?)),
    ("node-growing", |stage| grow(stage, node_service()?)),
    ("node-idle", |stage| idle(stage, node_service()?)),
    ("java-growing", |stage| grow(stage, java_service()?)),
    ("java-idle", |stage| idle(stage, java_service()?)),
];

/// Keeps more, and more.
pub fn grow(stage: &Stage, command: Command) -> Outcome {
    const STEPS: i64 = 20;
    let mut program = Program::start(command);
    let traced = stage.trace(&program);
    traced.ticks(2);
    for _ in 0..STEPS {
        program.tell("remember 6");
        traced.ticks(1);
    }
    let shown = traced.stop();
    // How much of it each language needs for 6 MiB of its objects is its own affair.
    let kept = STEPS * 5 * MIB;
    let faults = shown.moved(Cause::Fault);
    assert!(faults.anon > kept, "{faults:?}");
    assert!(shown.rss_end() - shown.rss_start() > kept, "{faults:?}");
    Ok(shown)
}

/// Answers, and keeps nothing.
fn idle(stage: &Stage, command: Command) -> Outcome {
    let mut program = Program::start(command);
    // What a runtime does only once, when it is first spoken to.
    for _ in 0..200 {
        program.tell("nothing");
    }
    let traced = stage.trace(&program);
    for _ in 0..12 {
        program.tell("nothing");
        traced.ticks(1);
    }
    let shown = traced.stop();
    assert!((shown.rss_end() - shown.rss_start()).abs() < 4 * MIB);
    Ok(shown)
}
