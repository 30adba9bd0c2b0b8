//! What cannot be counted is counted as lost, is shown, and makes memtrace end with exit code 3; the sums hold even so.

use memtrace_common::layout::{BEGUN_SLOTS, MAX_BEGUN};

use super::{Case, Outcome, Skip};
use crate::{
    common::{check_sums, epochs, row},
    harness::Workload,
    programs::Program,
    tracing::{Ended, Tracing},
};

pub const CASES: &[Case] = &[
    ("more_threads_in_calls_than_there_is_room_for", lost_calls),
    ("more_execs_than_a_stopped_memtrace_can_follow", lost_epochs),
    ("an_end_among_events_that_did_not_fit", lost_end),
];

/// Incomplete, and said in all places.
#[track_caller]
fn incomplete(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(3), "{}", ended.error);
    check_sums(&ended.capture);
    assert!(ended.report.contains("incomplete: "), "{}", ended.report);
    assert!(ended.capture["capture"]["lost_events"].as_u64() > Some(0));
}

fn lost(ended: &Ended, kind: &str) -> u64 {
    ended.capture["capture"]["losses"][kind].as_u64().unwrap()
}

fn lost_calls() -> Outcome {
    // Threads of one process have numbers next to each other: most have a slot.
    const ROOM: u64 = MAX_BEGUN as u64 + BEGUN_SLOTS as u64;
    const CROWD: u64 = ROOM + 60;
    if !crate::host::knows_advice(23) {
        return Err(Skip::Absent("MADV_POPULATE_WRITE".into()));
    }
    let mut program = Program::own(&["__crowd"]);
    let tracing = Tracing::attach(program.pid(), &[]);
    match program.ask(&CROWD.to_string()).as_str() {
        "inside" => {}
        other => return Err(Skip::Absent(format!("userfaultfd: {other}"))),
    }
    assert_eq!(program.ask("go on"), "0");
    let ended = tracing.stop();
    incomplete(&ended);
    let lost = lost(&ended, "calls");
    assert_eq!(ended.capture["capture"]["lost_events"], lost);
    // Each of the crowd's calls is either counted or lost, as are calls of its threads' starts and ends meanwhile.
    let row = row(&ended.capture, "madvise", Some("MADV_POPULATE_WRITE"));
    let counted = row["calls"].as_u64().unwrap();
    assert!(counted > ROOM / 2 && counted < CROWD, "{counted}");
    assert!(lost >= CROWD - counted, "{lost} lost, {counted} counted");
    // The pages of all of them are in the ledger.
    let pages = ended.anon("madvise", Some("MADV_POPULATE_WRITE"));
    assert_eq!(pages, CROWD as i64);
    Ok(())
}

/// Programs that one process runs one after another while memtrace stands still.
fn execs_while_stopped(workload: &mut Workload, tracing: &Tracing, execs: u32) {
    tracing.signal(libc::SIGSTOP);
    for _ in 0..execs {
        workload.tell("exec");
        workload.ok("nothing");
    }
}

fn lost_epochs() -> Outcome {
    const EXECS: u32 = 12;
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    tracing.wait_for_lines(2);
    execs_while_stopped(&mut workload, &tracing, EXECS);
    tracing.signal(libc::SIGCONT);
    tracing.wait_for("faster than memtrace can follow");
    workload.ok("map a 300");
    workload.ok("write a 0 300");
    tracing.wait_for_lines(2);
    // With room again, the next program has an epoch of its own.
    workload.tell("exec");
    workload.ok("nothing");
    workload.ok("map a 300");
    workload.ok("write a 0 200");
    let ended = tracing.stop();
    incomplete(&ended);
    let epochs = epochs(&ended.capture);
    let merged = lost(&ended, "epochs");
    assert!(merged > 0);
    // Each program has an epoch, or is one of those that were merged.
    assert_eq!(epochs.len() as u64 + merged, u64::from(EXECS) + 2);
    for earlier in &epochs[1..] {
        assert_eq!(earlier["capture"]["end"], "exec");
        assert_eq!(earlier["summary"]["rss_end_bytes"], 0);
    }
    assert!(ended.anon("fault", None) >= 200);
    Ok(())
}

fn lost_end() -> Outcome {
    let mut workload = Workload::start();
    let tracing = Tracing::attach(workload.pid(), &["-i", "50ms"]);
    tracing.wait_for_lines(2);
    // The ring buffer has 4096 bytes, and an event takes 16.
    execs_while_stopped(&mut workload, &tracing, 300);
    workload.kill();
    tracing.signal(libc::SIGCONT);
    let ended = tracing.end();
    incomplete(&ended);
    assert!(lost(&ended, "ring_buffer") > 0);
    assert!(lost(&ended, "epochs") > 0);
    // The end is known without its event.
    assert_eq!(ended.capture["capture"]["end"], "target_exited");
    assert_eq!(ended.capture["summary"]["rss_end_bytes"], 0);
    Ok(())
}
