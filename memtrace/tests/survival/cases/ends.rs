//! The target's end, in whatever way, and lives that are not what they seem.

use super::{Case, Outcome};
use crate::{
    harness::Workload,
    host::Cgroup,
    tracing::{Ended, Tracing, wait_for},
};

pub const CASES: &[Case] = &[
    ("the_target_ends_by_itself", exits),
    ("the_target_is_killed_in_a_storm", killed),
    ("the_target_is_killed_for_want_of_memory", oom_killed),
    ("the_leader_leaves_and_the_others_go_on", leader_leaves),
    ("the_leader_had_left_when_memtrace_came", leader_had_left),
];

#[track_caller]
fn ended_with_its_target(tracing: Tracing) -> Ended {
    let ended = tracing.end().whole();
    assert_eq!(ended.capture["capture"]["end"], "target_exited");
    let summary = &ended.capture["summary"];
    assert_eq!(summary["rss_end_bytes"], 0);
    assert_eq!(summary["compared_with"], "counters");
    assert!(ended.report.contains("the process ended"));
    ended
}

fn exits() -> Outcome {
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &[]);
    workload.ok("map a 500");
    workload.ok("write a 0 500");
    workload.tell("exit");
    let ended = ended_with_its_target(tracing);
    let start = &ended.capture["summary"]["start"]["anon_bytes"];
    let page = ended.capture["host"]["page_size"].as_i64().unwrap();
    let held = start.as_i64().unwrap() / page + ended.anon("fault", None);
    assert!(held >= 500);
    assert_eq!(ended.anon("exit", None), -held);
    Ok(())
}

fn killed() -> Outcome {
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "100ms"]);
    workload.tell("storm 4 told small 4711");
    tracing.wait_for_lines(5);
    workload.kill();
    let ended = ended_with_its_target(tracing);
    assert!(ended.anon("fault", None) > 0);
    Ok(())
}

fn oom_killed() -> Outcome {
    const LIMIT: u64 = 24 << 20;
    let cgroup = Cgroup::new()?;
    cgroup.limit(LIMIT);
    let mut workload = Workload::start();
    cgroup.enter(workload.pid());
    let tracing = Tracing::attach(workload.pid(), &[]);
    workload.ok("map a 20000");
    workload.tell("write a 0 20000");
    assert_eq!(workload.answer(), None);
    // Not reaped by its parent yet, and its memory is gone all the same.
    let ended = ended_with_its_target(tracing);
    workload.kill();
    let page = ended.capture["host"]["page_size"].as_i64().unwrap();
    let start = ended.capture["summary"]["start"]["anon_bytes"].as_i64();
    let came = ended.anon("fault", None);
    assert!(came * page > LIMIT as i64 / 2, "{came} pages");
    // Whoever took the memory down, it is what was there: the process itself, the reaper, or both.
    let gone = ended.anon("exit", None) + ended.anon("oom_reaper", None);
    assert_eq!(start.unwrap() / page + came, -gone);
    Ok(())
}

fn leader_leaves() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    let tracing = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    workload.ok("write a 0 100");
    workload.ok("leave_leader");
    tracing.wait_for_lines(3);
    workload.ok("write a 100 200");
    workload.ok("madvise a 0 120 4");
    tracing.wait_for_lines(3);
    let ended = tracing.stop().whole();
    assert_eq!(ended.anon("madvise", Some("MADV_DONTNEED")), -120);
    assert!(ended.anon("fault", None) >= 300);
    // The figures of `/proc` go on as well.
    let ticks = ended.capture["timeline"].as_array().unwrap();
    assert!(ticks.iter().all(|tick| tick["vm_bytes"].as_i64() > Some(0)));
    Ok(())
}

fn leader_had_left() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    workload.ok("leave_leader");
    wait_for("the leader's end", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", workload.pid())).unwrap();
        stat.contains(") Z ").then_some(())
    });
    let tracing = Tracing::attach(workload.pid(), &[]);
    workload.ok("write a 0 300");
    workload.ok("madvise a 0 120 4");
    let ended = tracing.stop().whole();
    assert_eq!(ended.anon("fault", None), 300);
    assert_eq!(ended.anon("madvise", Some("MADV_DONTNEED")), -120);
    let own = std::env::current_exe().unwrap();
    let target = &ended.capture["target"];
    assert_eq!(target["exe"].as_str(), own.to_str());
    assert_eq!(target["cmdline"][1], "__workload");
    Ok(())
}
