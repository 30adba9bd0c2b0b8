//! Storms: many threads at once, on all CPUs. The sum is exact even so; causes are off by little.

use super::{Case, Outcome};
use crate::{
    harness::{Traced, Workload, anon, wait_for},
    host::huge_pages,
    storm::{self, Kind, share},
};

pub const CASES: &[Case] = &[
    ("storm_of_small_pages", small),
    ("storm_of_huge_pages", huge),
    ("storm_of_small_and_huge_pages", mixed),
    ("attached_to_in_the_middle_of_a_storm", attach),
];

/// Set to make storms long.
const LONG: &str = "MEMTRACE_LONG_STORM";
/// The number of a storm's threads.
const THREADS: &str = "MEMTRACE_STORM_THREADS";

fn storm(kind: Kind) {
    let threads = std::env::var(THREADS).map_or(6, |threads| threads.parse().unwrap());
    let seconds = if std::env::var_os(LONG).is_some() {
        30
    } else {
        4
    };
    let mut traced = Traced::start();
    let moved = traced.measure_with(|traced| {
        traced.ok(&format!("storm {threads} {seconds} {} 12345", kind.name()));
    });
    let known = traced.workload.known();
    let reading = traced.read();
    let total = known.total();
    let allowed = (total as f64 * share()) as u64;
    let skipped = traced.tracer.session.skipped_runs().unwrap_or(0);
    let mut report = format!(
        "{total} pages; {known:?}; suspense {:?}; skipped runs {skipped};",
        reading.suspense
    );
    let mut worst = 0;
    for (row, expected) in known.rows() {
        let found = moved.pages(row)[1];
        let off = found.abs_diff(expected);
        worst = worst.max(off);
        report += &format!(
            " {row} {found} (off by {off}, {:.4} %);",
            off as f64 * 100.0 / total as f64
        );
    }
    eprintln!(
        "storm of {} pages, {threads} threads: {report}",
        kind.name()
    );
    // Counts of calls come from the calls themselves, and nobody else in the storm frees lazily: exact. Where the kernel skipped
    // a run, since a thread was preempted in that very program, its call may be missing, and the capture says so.
    let freed = moved.calls("madvise MADV_FREE");
    let asked = traced.bytes(known.freed);
    let missing = asked.checked_sub(freed.requested);
    assert!(
        missing.is_some_and(|missing| missing <= skipped * storm::MOST_BYTES),
        "{freed:?}, {asked} bytes were asked for; {report}"
    );
    assert_eq!(freed.failed, 0, "{freed:?}");
    assert!(worst <= allowed, "more than {allowed} pages off: {report}");
    assert_eq!(reading.suspense, [0; 4], "{report}");
}

fn small() -> Outcome {
    storm(Kind::Small);
    Ok(())
}

fn huge() -> Outcome {
    let _settings = huge_pages()?;
    storm(Kind::Huge);
    Ok(())
}

fn mixed() -> Outcome {
    let _settings = huge_pages()?;
    storm(Kind::Mixed);
    Ok(())
}

/// What the counters held when memtrace looked is known only together with what moved meanwhile; at rest both are exact.
fn attach() -> Outcome {
    const FAULTS: u64 = 100_000;
    let mut workload = Workload::start();
    workload.tell("storm 4 told small 777");
    wait_for("the storm", || (workload.threads() > 4).then_some(()));
    let mut traced = Traced::attach(workload);
    wait_for("faults", || {
        (traced.read().faults.user_write > FAULTS).then_some(())
    });
    assert_eq!(traced.workload.run("stop"), 0);
    traced.workload.settle();
    traced.verify();
    let reading = traced.read();
    assert_eq!(reading.suspense, [0; 4]);
    traced.ok("map a 300");
    traced
        .measure("write a 0 300")
        .only(&[("fault", anon(300))]);
    Ok(())
}
