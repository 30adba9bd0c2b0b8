//! What only time shows: churn, a beginning, and too short a look.

use memtrace::model::Cause;

use super::{Case, Outcome};
use crate::{
    program::{Program, native},
    stage::{MIB, Stage},
};

pub const CASES: &[Case] = &[("churn", churn), ("startup", startup), ("short", short)];

fn churn(stage: &Stage) -> Outcome {
    const TICKS: i64 = 14;
    const PER_TICK: i64 = 4;
    let mut program = Program::start(native());
    let traced = stage.trace(&program);
    traced.ticks(2);
    for _ in 0..TICKS {
        for _ in 0..PER_TICK {
            program.tell("churn 40");
        }
        traced.ticks(1);
    }
    let shown = traced.stop();
    let moved = TICKS * PER_TICK * 40 * MIB;
    assert!(shown.moved(Cause::Fault).anon >= moved);
    assert!(shown.moved(Cause::Munmap).anon <= -moved);
    assert!((shown.rss_end() - shown.rss_start()).abs() < 8 * MIB);
    Ok(shown)
}

fn startup(stage: &Stage) -> Outcome {
    let traced = stage.trace_own("__start");
    traced.ticks(12);
    let shown = traced.stop();
    let mapped = shown.moved(Cause::Mmap);
    assert_eq!(mapped.anon, 128 * MIB, "{mapped:?}");
    assert!(shown.moved(Cause::Fault).anon > 32 * MIB);
    Ok(shown)
}

fn short(stage: &Stage) -> Outcome {
    let mut program = Program::start(native());
    let traced = stage.trace_pid(program.pid(), &["--duration", "1s"]);
    for _ in 0..3 {
        program.tell("take 4");
        traced.ticks(1);
    }
    let shown = traced.end();
    assert!(shown.moved(Cause::Fault).anon > 8 * MIB);
    Ok(shown)
}
