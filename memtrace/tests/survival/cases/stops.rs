//! memtrace stopped, slow, killed, not alone; a CPU that goes.

use std::{fs, path::PathBuf, thread, time::Duration};

use serde_json::Value;

use super::{Case, Outcome, Skip};
use crate::{
    common::{nothing_left, programs_of},
    harness::Workload,
    host::{Scratch, alone},
    tracing::{Ended, Tracing, names_in, report_of, state_of, wait_for},
};

pub const CASES: &[Case] = &[
    ("stopped_for_ten_seconds_under_load", stopped),
    ("killed_under_load", killed),
    ("two_at_once_and_a_third_one_killed", two),
];

/// These change what all other cases stand on.
pub const ALONE: &[Case] = &[
    ("a_cpu_goes_and_comes_back", hotplug),
    ("a_cpu_goes_and_stays_away", gone),
];

/// `MADV_FREE` asks for what the storm knows that it gave: counts of calls are exact in any storm.
#[track_caller]
fn freed_as_known(ended: &Ended, workload: &mut Workload) {
    let known = workload.known();
    assert!(known.freed > 0);
    let rows = ended.capture["summary"]["causes"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["advice"] == "MADV_FREE")
        .unwrap();
    let page = ended.capture["host"]["page_size"].as_u64().unwrap();
    assert_eq!(row["requested_bytes"], known.freed * page);
    assert_eq!(row["failed_calls"], 0);
}

fn stopped() -> Outcome {
    const STOP: Duration = Duration::from_secs(10);
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "100ms"]);
    workload.tell("storm 4 told small 31");
    tracing.wait_for_lines(5);
    tracing.signal(libc::SIGSTOP);
    wait_for("the stop", || {
        (state_of(tracing.pid()) == 'T').then_some(())
    });
    thread::sleep(STOP);
    tracing.signal(libc::SIGCONT);
    tracing.wait_for_lines(5);
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    let ended = tracing.stop().whole();
    freed_as_known(&ended, &mut workload);
    // The gap is there as one: two ticks that are as far apart as memtrace stood still, none in between, none made up for it.
    let ticks = ended.capture["timeline"].as_array().unwrap();
    let times: Vec<u64> = ticks
        .iter()
        .map(|tick| tick["t_ns"].as_u64().unwrap())
        .collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest >= Some(STOP.as_nanos() as u64), "{times:?}");
    let lasted = ended.capture["capture"]["duration_ns"].as_u64().unwrap();
    let ran = lasted - longest.unwrap();
    assert!(times.len() as u64 <= ran / 100_000_000 + 3, "{times:?}");
    // What happened meanwhile is in the tick behind it.
    let behind = times
        .windows(2)
        .position(|pair| Some(pair[1] - pair[0]) == longest)
        .unwrap()
        + 1;
    assert!(ticks[behind]["faults"].as_u64() > Some(0));
    Ok(())
}

fn killed() -> Outcome {
    let mut workload = Workload::start();
    workload.tell("storm 4 told small 32");
    let tracing = Tracing::attach(workload.pid(), &["-i", "20ms"]);
    tracing.wait_for_lines(5);
    let ids = programs_of(tracing.pid());
    assert!(ids.len() >= 6, "{ids:?}");
    let dir = tracing.dir();
    tracing.signal(libc::SIGKILL);
    wait_for("the end", || (state_of(tracing.pid()) == 'Z').then_some(()));
    // No half of a capture file: its journal, up to the last tick.
    assert_eq!(names_in(dir.clone()), ["capture.json.partial"]);
    let seen = report_of(&dir.join("capture.json.partial"));
    assert_eq!(seen.code, Some(3), "{}", seen.error);
    assert!(seen.capture.epoch.timeline.len() >= 5);
    assert!(
        seen.text.contains("did not bring this capture to its end"),
        "{}",
        seen.text
    );
    assert!(seen.text.contains("\nfault "), "{}", seen.text);
    drop(tracing);
    nothing_left(&ids);
    // The target has not noticed, and the next one finds nothing in its way.
    let next = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    next.wait_for_lines(3);
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    next.stop().whole();
    Ok(())
}

fn two() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    let mut three: Vec<Tracing> = (0..3)
        .map(|_| Tracing::attach(workload.pid(), &["-i", "50ms"]))
        .collect();
    workload.ok("write a 0 300");
    workload.tell("storm 4 told small 33");
    three[2].wait_for_lines(5);
    let last = three.pop().unwrap();
    let ids = programs_of(last.pid());
    last.signal(libc::SIGKILL);
    drop(last);
    nothing_left(&ids);
    three[0].wait_for_lines(5);
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    workload.ok("madvise a 0 120 4");
    workload.ok("unmap a 0 300");
    let ends: Vec<Ended> = three
        .into_iter()
        .map(|tracing| tracing.stop().whole())
        .collect();
    let summary = |ended: &Ended, field: &str| ended.capture["summary"][field].clone();
    for field in ["end", "rss_end_bytes"] {
        assert_eq!(summary(&ends[0], field), summary(&ends[1], field));
    }
    // The counts of calls of the two are those of one and the same process.
    let calls = |ended: &Ended| -> Vec<Value> {
        let rows = ended.capture["summary"]["causes"].as_array().unwrap();
        rows.iter()
            .filter(|row| row["cause"] == "madvise" || row["cause"] == "munmap")
            .map(|row| Value::from(vec![row["calls"].clone(), row["requested_bytes"].clone()]))
            .collect()
    };
    assert_eq!(calls(&ends[0]), calls(&ends[1]));
    freed_as_known(&ends[0], &mut workload);
    Ok(())
}

/// A CPU out of use, and in use again at the end.
struct Offline(PathBuf);

impl Offline {
    fn new(switch: PathBuf) -> Result<Self, Skip> {
        fs::write(&switch, "0")
            .map_err(|error| Skip::Absent(format!("a CPU that can be taken out: {error}")))?;
        Ok(Self(switch))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.0, "1") {
            eprintln!("{} is not 1 again: {error}", self.0.display());
        }
    }
}

/// What takes the highest CPU out of use; the first one often cannot go.
fn switch() -> Result<PathBuf, Skip> {
    (1..64)
        .rev()
        .map(|cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online")))
        .find(|switch| fs::read_to_string(switch).is_ok_and(|online| online.trim() == "1"))
        .ok_or_else(|| Skip::Absent("a second CPU that can be taken out".into()))
}

/// Moves more than a batch of pages of each of the three counters on each CPU, so that each has an event there, and one that looks
/// at what the CPUs share.
fn move_on_all_cpus(workload: &mut Workload) -> Result<(), Skip> {
    let pages = 2 * u64::from(memtrace::probe::batch_pages(64));
    let scratch = Scratch::new(pages)?;
    for place in 0..thread::available_parallelism().map_or(1, usize::from) {
        workload.ok(&format!("pin {place}"));
        for (map, touch) in [
            (
                format!("file a {pages} private {}", scratch.path()),
                "read", // To write would make an anonymous copy of it.
            ),
            (format!("map a {pages} shared"), "write"),
            (format!("map a {pages}"), "write"),
        ] {
            workload.ok(&map);
            workload.ok(&format!("{touch} a 0 {pages}"));
            workload.ok(&format!("unmap a 0 {pages}"));
        }
    }
    Ok(())
}

/// The kernel moves what a CPU that goes has counted to the shared count, without an event. Until that CPU is back, and the counter
/// has moved a batch on it, the ledger may have these pages twice, or not: then they are unexplained, which is said.
fn gone() -> Outcome {
    let switch = switch()?;
    let _alone = alone();
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    workload.tell("storm 4 told small 35");
    tracing.wait_for_lines(3);
    let offline = Offline::new(switch)?;
    tracing.wait_for_lines(6);
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    let ended = tracing.stop();
    drop(offline);
    let summary = &ended.capture["summary"];
    assert_eq!(summary["unexplained_bound_bytes"], 0);
    let unexplained = summary["unexplained_bytes"].as_i64().unwrap();
    if unexplained == 0 {
        ended.whole();
        return Ok(());
    }
    let batch = i64::from(memtrace::probe::batch_pages(64));
    let page = ended.capture["host"]["page_size"].as_i64().unwrap();
    assert!(unexplained.abs() <= 3 * batch * page, "{unexplained}");
    assert_eq!(ended.status.code(), Some(3), "{}", ended.error);
    assert!(
        !ended.report.contains("unexplained                 0 B"),
        "{}",
        ended.report
    );
    Ok(())
}

fn hotplug() -> Outcome {
    let switch = switch()?;
    // Threads that keep to a CPU of their own lose it: the other tests' too.
    let _alone = alone();
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    workload.tell("storm 4 told small 34");
    tracing.wait_for_lines(3);
    for _ in 0..3 {
        let offline = Offline::new(switch.clone())?;
        tracing.wait_for_lines(6);
        drop(offline);
        tracing.wait_for_lines(6);
    }
    assert_eq!(workload.run("stop"), 0);
    workload.settle();
    // Not each counter need have moved on the CPU that is back.
    move_on_all_cpus(&mut workload)?;
    let ended = tracing.stop().whole();
    freed_as_known(&ended, &mut workload);
    Ok(())
}
