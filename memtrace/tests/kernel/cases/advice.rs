//! `madvise`, `process_madvise`, and `madvise` through io_uring.

use super::{
    COLD, Case, DONTNEED, DONTNEED_LOCKED, FREE, GUARD_INSTALL, Outcome, POPULATE_READ,
    POPULATE_WRITE, REMOVE, Skip, WILLNEED, needs_advice,
};
use crate::{
    harness::{CallsMoved, SHMEM, Traced, anon, kernel_release, one},
    host::{Cgroup, Setting, knows_process_advice},
};

pub const CASES: &[Case] = &[
    ("dontneed_drops_what_is_there_and_nothing_twice", dontneed),
    ("dontneed_locked_drops_locked_pages", dontneed_locked),
    ("free_moves_nothing_at_the_call", free),
    ("free_then_rewritten_shows_no_event", free_rewritten),
    ("free_then_reclaimed_drops_under_reclaim", free_reclaimed),
    ("free_then_unmapped_drops_under_munmap", free_unmapped),
    ("remove_drops_shared_memory", remove),
    ("populate_read_maps_the_zero_page", populate_read),
    ("populate_write_belongs_to_madvise", populate_write),
    ("guard_install_drops_what_was_touched", guard_install),
    ("advice_that_moves_nothing_is_counted", quiet_advice),
    ("process_madvise_on_oneself", process_madvise),
    ("madvise_through_io_uring", uring),
];

fn dontneed() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 200");
    let call = CallsMoved::done(1, traced.bytes(200));
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

fn dontneed_locked() -> Outcome {
    // Since 5.18.
    needs_advice(DONTNEED_LOCKED, "MADV_DONTNEED_LOCKED")?;
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("mlock a 0 100");
    let moved = traced.measure_failing(&format!("madvise a 0 60 {DONTNEED}"), libc::EINVAL);
    moved.only(&[]);
    assert_eq!(
        moved.calls("madvise MADV_DONTNEED"),
        CallsMoved::failed(1, traced.bytes(60))
    );
    traced
        .measure(&format!("madvise a 0 60 {DONTNEED_LOCKED}"))
        .only(&[("madvise MADV_DONTNEED_LOCKED", anon(-60))]);
    Ok(())
}

fn free() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("drain");
    let lazy_before = traced.verify().lazy_free;
    let moved = traced.measure_with(|traced| {
        traced.ok(&format!("madvise a 0 256 {FREE}"));
        traced.ok("drain");
    });
    moved.only(&[]);
    assert_eq!(
        moved.calls("madvise MADV_FREE"),
        CallsMoved::done(1, traced.bytes(256))
    );
    assert_eq!(moved.smaps().lazy_free - lazy_before, traced.bytes(256));
    Ok(())
}

fn free_rewritten() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 256");
    traced.ok("write a 0 256");
    traced.ok("drain");
    let lazy_before = traced.verify().lazy_free;
    traced.ok(&format!("madvise a 0 256 {FREE}"));
    traced.ok("drain");
    let lazy = traced.verify().lazy_free - lazy_before;
    assert_eq!(lazy, traced.bytes(256));
    let moved = traced.measure("write a 0 100");
    moved.only(&[]);
    assert_eq!((moved.faults, moved.events), (0, 0));
    assert_eq!(moved.smaps().lazy_free - lazy_before, traced.bytes(156));
    Ok(())
}

fn free_reclaimed() -> Outcome {
    let cgroup = Cgroup::new()?;
    let mut traced = Traced::start();
    cgroup.enter(traced.workload.pid());
    traced.ok("map a 700");
    traced.ok("write a 0 700");
    // What was not given away must stay, so it must not be reclaimable: there may be swap.
    traced.ok("mlock a 600 100");
    traced.ok("drain");
    traced.ok(&format!("madvise a 0 600 {FREE}"));
    // These are in use again.
    traced.ok("write a 0 88");
    traced.ok("mlock a 0 88");
    traced.ok("drain");
    let lazy = traced.verify().lazy_free;
    assert_eq!(lazy, traced.bytes(512));
    let moved = traced.measure_with(|_| cgroup.reclaim());
    moved.only(&[("reclaim *", anon(-512))]);
    assert_eq!(moved.smaps().lazy_free, 0);
    // Back as fresh pages.
    traced
        .measure("write a 88 512")
        .only(&[("fault", anon(512))]);
    Ok(())
}

fn free_unmapped() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("write a 0 200");
    traced.ok(&format!("madvise a 0 200 {FREE}"));
    traced
        .measure("unmap a 0 200")
        .only(&[("munmap", anon(-200))]);
    Ok(())
}

fn remove() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map s 300 shared");
    traced.ok("write s 0 300");
    let moved = traced.measure(&format!("madvise s 50 200 {REMOVE}"));
    moved.only(&[("madvise MADV_REMOVE", one(SHMEM, -200))]);
    assert_eq!(
        moved.calls("madvise MADV_REMOVE"),
        CallsMoved::done(1, traced.bytes(200))
    );
    traced
        .measure(&format!("madvise s 50 200 {REMOVE}"))
        .only(&[]);
    Ok(())
}

fn populate_read() -> Outcome {
    // Since 5.14.
    needs_advice(POPULATE_READ, "MADV_POPULATE_READ")?;
    let mut traced = Traced::start();
    traced.ok("map a 100");
    let moved = traced.measure(&format!("madvise a 0 80 {POPULATE_READ}"));
    moved.only(&[]);
    assert_eq!(
        moved.calls("madvise MADV_POPULATE_READ"),
        CallsMoved::done(1, traced.bytes(80))
    );
    Ok(())
}

fn populate_write() -> Outcome {
    // Since 5.14.
    needs_advice(POPULATE_WRITE, "MADV_POPULATE_WRITE")?;
    let mut traced = Traced::start();
    traced.ok("map a 100");
    let moved = traced.measure(&format!("madvise a 0 80 {POPULATE_WRITE}"));
    moved.only_brought("madvise MADV_POPULATE_WRITE", anon(80));
    assert_eq!((moved.faults, moved.kernel_faults), (0, 0));
    Ok(())
}

fn guard_install() -> Outcome {
    // Since 6.13.
    needs_advice(GUARD_INSTALL, "MADV_GUARD_INSTALL")?;
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("write a 0 150");
    let moved = traced.measure(&format!("madvise a 100 100 {GUARD_INSTALL}"));
    moved.only(&[("madvise MADV_GUARD_INSTALL", anon(-50))]);
    assert_eq!(
        moved.calls("madvise MADV_GUARD_INSTALL"),
        CallsMoved::done(1, traced.bytes(100))
    );
    // Guard markers are no swap entries, and cost no pages when they go.
    traced
        .measure("unmap a 0 200")
        .only(&[("munmap", anon(-100))]);
    Ok(())
}

fn quiet_advice() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    for (advice, row) in [
        (COLD, "madvise MADV_COLD"),
        (WILLNEED, "madvise MADV_WILLNEED"),
    ] {
        let moved = traced.measure_with(|traced| {
            for first in [0, 10, 20] {
                // WILLNEED without swap refuses anonymous memory: that counts too, as a failure.
                traced
                    .workload
                    .run(&format!("madvise a {first} 10 {advice}"));
            }
        });
        moved.only(&[]);
        let calls = moved.calls(row);
        assert_eq!(calls.calls, 3, "{row}");
        assert_eq!(
            calls.requested + calls.failed_requested,
            traced.bytes(30),
            "{row}"
        );
    }
    Ok(())
}

fn process_madvise() -> Outcome {
    if !knows_process_advice(DONTNEED) {
        // Since 6.13.
        return Err(Skip::Absent(
            "process_madvise of MADV_DONTNEED on oneself".into(),
        ));
    }
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("write a 0 200");
    let moved = traced.measure(&format!("process_madvise a 20 150 {DONTNEED}"));
    moved.only(&[("process_madvise MADV_DONTNEED", anon(-150))]);
    assert_eq!(
        moved.calls("process_madvise MADV_DONTNEED"),
        CallsMoved::done(1, traced.bytes(150))
    );
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), CallsMoved::default());
    Ok(())
}

fn uring() -> Outcome {
    let _allowed = Setting::set("/proc/sys/kernel/io_uring_disabled", "0");
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("write a 0 200");
    let mut result = 0;
    let moved = traced.measure_with(|traced| {
        result = traced
            .workload
            .run(&format!("uring_madvise a 20 150 {DONTNEED}"));
    });
    if result == -i64::from(libc::ENOSYS) {
        return Err(Skip::Absent("io_uring".into()));
    }
    assert_eq!(result, 0, "the ring's answer");
    assert_eq!(moved.pages("io_uring"), anon(-150), "{}", moved.list());
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), CallsMoved::default());
    // Setting the ring up maps its pages, and takes them away again; for the row see `only_brought`.
    let brought = if kernel_release() >= (6, 2) {
        "mmap"
    } else {
        "fault"
    };
    let rings = moved.pages(brought);
    moved.only(&[
        ("io_uring", anon(-150)),
        (brought, rings),
        ("munmap", rings.map(|pages| -pages)),
    ]);
    Ok(())
}
