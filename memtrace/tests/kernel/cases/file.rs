//! File mappings.

use super::{Case, DONTNEED, Outcome};
use crate::{
    harness::{FILE, Traced, anon, one},
    host::{Scratch, resident_at},
};

pub const CASES: &[Case] = &[
    ("a_file_read_is_mapped_by_more_than_the_page", fault_around),
    (
        "a_private_file_page_written_becomes_anonymous",
        private_written,
    ),
    (
        "a_private_file_page_written_at_once_is_anonymous",
        private_fresh,
    ),
    (
        "a_shared_file_page_written_stays_a_file_page",
        shared_written,
    ),
];

/// Pages of the file.
const PAGES: u64 = 256;

fn fault_around() -> Outcome {
    let scratch = Scratch::new(PAGES)?;
    let mut traced = Traced::start();
    traced.ok(&format!("file f {PAGES} private {}", scratch.path()));
    let base = traced.ok("where f") as u64;
    let moved = traced.measure("read f 0 1");
    // How much one fault maps is the kernel's to choose (fault_around_bytes, the page cache's folios); the mapping was empty
    // before, so what it holds now is what the fault brought.
    let around = resident_at(traced.workload.pid(), base) / traced.bytes(1);
    assert!(around > 1, "one page alone: fault-around is off");
    moved.only(&[("fault", one(FILE, around as i64))]);
    assert_eq!(moved.faults, 1);
    // All of it, which no choice of the kernel's can change.
    let moved = traced.measure(&format!("read f 0 {PAGES}"));
    moved.only(&[("fault", one(FILE, (PAGES - around) as i64))]);
    assert!(moved.faults <= PAGES / 4, "{} faults", moved.faults);
    traced
        .measure(&format!("unmap f 0 {PAGES}"))
        .only(&[("munmap", one(FILE, -(PAGES as i64)))]);
    Ok(())
}

fn private_written() -> Outcome {
    let scratch = Scratch::new(PAGES)?;
    let mut traced = Traced::start();
    traced.ok(&format!("file f {PAGES} private {}", scratch.path()));
    traced
        .measure(&format!("read f 0 {PAGES}"))
        .only(&[("fault", one(FILE, PAGES as i64))]);
    let moved = traced.measure("write f 0 100");
    moved.only(&[("fault", [-100, 100, 0, 0])]);
    assert_eq!(moved.faults, 100);
    assert_eq!(moved.sum(), [-100, 100, 0, 0]);
    traced
        .measure(&format!("madvise f 50 100 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", [-50, -50, 0, 0])]);
    Ok(())
}

fn private_fresh() -> Outcome {
    let scratch = Scratch::new(PAGES)?;
    let mut traced = Traced::start();
    traced.ok(&format!("file f {PAGES} private {}", scratch.path()));
    let moved = traced.measure("write f 0 100");
    moved.only(&[("fault", anon(100))]);
    assert_eq!(moved.faults, 100);
    Ok(())
}

fn shared_written() -> Outcome {
    let scratch = Scratch::new(PAGES)?;
    let mut traced = Traced::start();
    traced.ok(&format!("file f {PAGES} shared {}", scratch.path()));
    traced
        .measure(&format!("write f 0 {PAGES}"))
        .only(&[("fault", one(FILE, PAGES as i64))]);
    traced
        .measure(&format!("madvise f 0 {PAGES} {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", one(FILE, -(PAGES as i64)))]);
    Ok(())
}
