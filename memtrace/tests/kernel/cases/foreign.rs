//! What others do to the process's memory.

use super::{Case, MERGEABLE, Outcome};
use crate::{
    harness::{Traced, anon},
    host::{ksm, write_into},
};

pub const CASES: &[Case] = &[
    (
        "another_process_writes_into_fresh_memory",
        written_by_another,
    ),
    ("ksm_merges_pages_with_the_zero_page", merged),
];

fn written_by_another() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 200");
    let base = traced.ok("where a") as u64;
    let bytes = traced.bytes(150) as usize;
    let moved = traced.measure_with(|traced| write_into(traced.workload.pid(), base, bytes));
    moved.only(&[("other_process *", anon(150))]);
    assert_eq!((moved.faults, moved.kernel_faults), (0, 0));
    // It goes by the name of whoever did it: this program's.
    let own = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    assert_eq!(
        moved.pages(&format!("other_process {}", own.trim())),
        anon(150)
    );
    Ok(())
}

fn merged() -> Outcome {
    let _settings = ksm()?;
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("zero_into a 0 150");
    traced.ok("drain");
    let moved = traced.measure_with(|traced| {
        traced.ok(&format!("madvise a 0 200 {MERGEABLE}"));
        traced.wait_until("ksmd", |rows| {
            rows.get("ksm").is_some_and(|row| row.pages == anon(-150))
        });
    });
    moved.only(&[("ksm", anon(-150))]);
    // The zero page, written to, is a fresh page.
    traced.measure("write a 0 1").only(&[("fault", anon(1))]);
    Ok(())
}
