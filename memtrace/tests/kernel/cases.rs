//! The cases, by what they move.

use libtest_mimic::{Completion, Failed, Trial};

use crate::harness::{CallsMoved, FILE, REQUIRE, SHMEM, SWAP, Traced, anon, one};

/// Why a case cannot run here.
struct Skip(String);

type Outcome = Result<(), Skip>;

const DONTNEED: i32 = 4;
const FREE: i32 = 8;
const REMOVE: i32 = 9;
const PAGEOUT: i32 = 21;
const POPULATE_WRITE: i32 = 23;
const COLLAPSE: i32 = 25;
const GUARD_INSTALL: i32 = 102;

/// Every case by its name.
const CASES: &[(&str, fn() -> Outcome)] = &[
    ("first_touch_adds_one_anonymous_page_per_page", first_touch),
    ("zero_page_reads_add_nothing", zero_page_reads),
    ("dontneed_drops_what_is_there_and_nothing_twice", dontneed),
    ("free_moves_nothing_at_the_call", free),
    ("free_then_rewritten_shows_no_event", free_rewritten),
    ("munmap_drops_what_was_touched", munmap),
    ("partial_munmap_drops_its_part", partial_munmap),
    ("mremap_grows_shrinks_and_moves", mremap),
    ("brk_goes_up_and_down", brk),
    ("populate_belongs_to_mmap", populate),
    ("a_fixed_mapping_drops_what_it_covers", fixed),
    ("populate_write_belongs_to_madvise", populate_write),
    ("storm_of_small_pages", storm_small),
    ("storm_of_huge_pages", storm_huge),
];

pub fn all() -> Vec<Trial> {
    CASES
        .iter()
        .map(|&(name, case)| {
            Trial::ignorable_test(name, move || {
                if let Some(reason) = cannot_run() {
                    return skip(reason);
                }
                match case() {
                    Ok(()) => Ok(Completion::Completed),
                    Err(Skip(reason)) => skip(reason),
                }
            })
        })
        .collect()
}

fn skip(reason: String) -> Result<Completion, Failed> {
    if std::env::var_os(REQUIRE).is_some() {
        return Err(format!("this must run here, and cannot: {reason}").into());
    }
    eprintln!("skipped: {reason}");
    Ok(Completion::ignored_with(reason))
}

fn cannot_run() -> Option<String> {
    (!nix::unistd::Uid::effective().is_root()).then(|| "needs root".to_owned())
}

fn first_touch() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    let moved = traced.measure("write a 0 300");
    moved.only(&[("fault", anon(300))]);
    assert_eq!(moved.faults, 300);
    Ok(())
}

fn zero_page_reads() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    let moved = traced.measure("read a 0 300");
    moved.only(&[]);
    assert_eq!(moved.faults, 300);
    Ok(())
}

fn dontneed() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 200");
    let call = CallsMoved {
        calls: 1,
        failed: 0,
        requested: 200 * traced.page() as u64,
        shrunk: 0,
    };
    let moved = traced.measure(&format!("madvise a 0 200 {DONTNEED}"));
    moved.only(&[("madvise MADV_DONTNEED", anon(-200))]);
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), call);
    // The same again: it succeeds, and there is nothing to release.
    let moved = traced.measure(&format!("madvise a 0 200 {DONTNEED}"));
    moved.only(&[]);
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), call);
    // Pages that were never touched.
    let moved = traced.measure(&format!("madvise a 200 100 {DONTNEED}"));
    moved.only(&[]);
    // And back.
    traced
        .measure("write a 0 200")
        .only(&[("fault", anon(200))]);
    Ok(())
}

fn free() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    let lazy_before = traced.verify().lazy_free;
    let moved = traced.measure(&format!("madvise a 0 256 {FREE}"));
    moved.only(&[]);
    let calls = moved.calls("madvise MADV_FREE");
    assert_eq!((calls.calls, calls.failed), (1, 0));
    assert_eq!(calls.requested, 256 * traced.page() as u64);
    assert_eq!(
        moved.smaps.lazy_free - lazy_before,
        256 * traced.page() as u64
    );
    Ok(())
}

fn free_rewritten() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 256");
    traced.ok("write a 0 256");
    traced.ok(&format!("madvise a 0 256 {FREE}"));
    let events = traced.read().events;
    let moved = traced.measure("write a 0 100");
    moved.only(&[]);
    assert_eq!(moved.faults, 0);
    assert_eq!(traced.read().events, events);
    assert_eq!(moved.smaps.lazy_free, 156 * traced.page() as u64);
    Ok(())
}

fn munmap() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 1500");
    traced.ok("write a 0 1300");
    let moved = traced.measure("unmap a 0 1500");
    moved.only(&[("munmap", anon(-1300))]);
    assert_eq!(
        moved.calls("munmap").requested,
        1500 * traced.page() as u64
    );
    Ok(())
}

fn partial_munmap() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    traced
        .measure("unmap a 10 30")
        .only(&[("munmap", anon(-30))]);
    Ok(())
}

fn mremap() -> Outcome {
    let mut traced = Traced::start();
    let page = traced.page() as u64;
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let moved = traced.measure("remap a 150");
    moved.only(&[]);
    assert_eq!(moved.calls("mremap").requested, 50 * page);
    traced
        .measure("write a 100 50")
        .only(&[("fault", anon(50))]);
    let moved = traced.measure("remap a 60");
    moved.only(&[("mremap", anon(-90))]);
    let calls = moved.calls("mremap");
    assert_eq!((calls.requested, calls.shrunk), (0, 90 * page));
    // A move moves page tables, not pages.
    traced.measure("remap a 60 move").only(&[]);
    traced.measure("write a 0 60").only(&[]);
    Ok(())
}

fn brk() -> Outcome {
    let mut traced = Traced::start();
    let page = traced.page() as u64;
    let moved = traced.measure("brk up 40");
    moved.only(&[("fault", anon(40))]);
    assert_eq!(moved.calls("brk").requested, 40 * page);
    let moved = traced.measure("brk down 40");
    moved.only(&[("brk", anon(-40))]);
    assert_eq!(moved.calls("brk").shrunk, 40 * page);
    Ok(())
}

fn populate() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure("map a 200 populate");
    moved.only(&[("mmap", anon(200))]);
    assert_eq!(moved.faults, 0);
    assert_eq!(moved.calls("mmap").requested, 200 * traced.page() as u64);
    Ok(())
}

fn fixed() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    traced
        .measure("fixed a 20 50")
        .only(&[("mmap", anon(-50))]);
    Ok(())
}

fn populate_write() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    let moved = traced.measure(&format!("madvise a 0 80 {POPULATE_WRITE}"));
    moved.only(&[("madvise MADV_POPULATE_WRITE", anon(80))]);
    assert_eq!(moved.faults, 0);
    Ok(())
}

/// How far a cause may be off, per page that moved in all: docs/accuracy.md states it.
const STORM_SHARE: f64 = 0.001;

fn storm(huge: bool) -> Outcome {
    let threads = 6;
    let mut traced = Traced::start();
    let kind = if huge { "huge" } else { "small" };
    let seconds = if std::env::var_os("MEMTRACE_LONG_STORM").is_some() { 30 } else { 4 };
    let moved = traced.measure_with(|traced| {
        traced
            .workload
            .ok(&format!("storm {threads} {seconds} {kind} 12345"));
    });
    let known = traced.workload.known();
    let reading = traced.read();
    let total = known.faulted + known.dontneeded + known.unmapped;
    let allowed = (total as f64 * STORM_SHARE) as u64;
    let mut report = format!("{total} pages; {known:?}; suspense {:?};", reading.suspense);
    let mut worst = 0;
    for (row, expected) in [
        ("fault", known.faulted as i64),
        ("madvise MADV_DONTNEED", -(known.dontneeded as i64)),
        ("munmap", -(known.unmapped as i64)),
        ("madvise MADV_FREE", 0),
    ] {
        let found = moved.pages(row)[1];
        let off = found.abs_diff(expected);
        worst = worst.max(off);
        report += &format!(" {row} {found} (off by {off}, {:.4} %);", off as f64 * 100.0 / total as f64);
    }
    eprintln!("storm of {kind} pages: {report}");
    assert!(worst <= allowed, "more than {allowed} pages off: {report}");
    assert_eq!(reading.suspense, [0; 4], "{report}");
    Ok(())
}

fn storm_small() -> Outcome {
    storm(false)
}

fn storm_huge() -> Outcome {
    storm(true)
}
