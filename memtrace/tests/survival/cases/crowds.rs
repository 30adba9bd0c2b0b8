//! Forks, threads and faults by the thousand, while memtrace attaches and while it traces.

use super::{Case, Outcome};
use crate::{
    common::check_capture,
    harness::Workload,
    programs::Program,
    tracing::{Tracing, wait_for},
};

pub const CASES: &[Case] = &[
    ("attached_to_in_a_storm_of_forks", attached_while_forking),
    ("thousands_of_forks_and_threads", forks_and_threads),
    ("attached_to_three_times_in_a_storm", attached_in_a_storm),
];

fn forked(capture: &serde_json::Value) -> i64 {
    capture["capture"]["children"]["forked"].as_i64().unwrap()
}

fn attached_while_forking() -> Outcome {
    let mut program = Program::own(&["__breed"]);
    program.tell("until");
    wait_for("a child", || {
        crate::programs::within::first_child(program.pid())
    });
    let tracing = Tracing::attach(program.pid(), &["-i", "50ms"]);
    tracing.wait_for_lines(10);
    let all: i64 = program.ask("enough").parse().unwrap();
    let ended = tracing.stop().whole();
    let seen = forked(&ended.capture);
    assert!(seen > 0 && seen < all, "{seen} of {all} forks");
    Ok(())
}

fn forks_and_threads() -> Outcome {
    const FORKS: i64 = 3000;
    let mut program = Program::own(&["__breed"]);
    program.ask("10 10");
    let tracing = Tracing::attach(program.pid(), &["-i", "50ms"]);
    program.ask(&format!("{FORKS} 3000"));
    let ended = tracing.stop().whole();
    // Threads are none, and nothing that a child did is here.
    assert_eq!(forked(&ended.capture), FORKS);
    assert!(ended.capture["capture"]["children"]["last_pid"].as_u64() > Some(0));
    assert_eq!(ended.capture["earlier_epochs"].as_array().unwrap().len(), 0);
    let said = format!("children forked, and not followed: {FORKS};");
    assert!(ended.report.contains(&said), "{}", ended.report);
    Ok(())
}

fn attached_in_a_storm() -> Outcome {
    let mut workload = Workload::start();
    workload.tell("storm 6 told small 99");
    let tracings: Vec<Tracing> = (0..3)
        .map(|_| Tracing::attach(workload.pid(), &["-i", "50ms"]))
        .collect();
    for tracing in &tracings {
        tracing.wait_for_lines(5);
    }
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    let mut ends = Vec::new();
    for tracing in tracings {
        let ended = tracing.stop().whole();
        check_capture(&ended.capture);
        assert!(ended.anon("fault", None) > 0);
        ends.push(ended.capture["summary"]["end"].clone());
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    Ok(())
}
