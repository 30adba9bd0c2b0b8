//! Huge pages: 512 pages at once, where a page table has 512 entries.

use super::{COLLAPSE, Case, DONTNEED, FREE, HUGEPAGE, Outcome, needs_advice};
use crate::{
    harness::{CallsMoved, Traced, anon},
    host::{Setting, advise, huge_pages, huge_pages_always, khugepaged},
};

pub const CASES: &[Case] = &[
    ("a_huge_page_touched_once_is_all_there", touched),
    ("a_huge_page_that_nobody_asked_for", unasked),
    ("one_page_given_back_out_of_a_huge_page", given_back),
    ("a_huge_page_lazily_freed", freed),
    ("a_huge_page_unmapped_in_parts", unmapped),
    ("the_huge_zero_page_adds_nothing", zero),
    ("collapse_adds_what_was_not_touched", collapse),
    (
        "collapse_asked_for_by_another_process",
        collapse_from_outside,
    ),
    ("khugepaged_adds_what_was_not_touched", by_khugepaged),
];

/// Pages of a huge page.
const HUGE: i64 = 512;

fn touched() -> Outcome {
    let _settings = huge_pages()?;
    let mut traced = Traced::start();
    traced.ok("map h 1024 huge");
    let before = traced.verify().anon_huge;
    let moved = traced.measure("write h 0 1");
    moved.only(&[("fault", anon(HUGE))]);
    assert_eq!(moved.faults, 1);
    assert_eq!(moved.smaps().anon_huge - before, traced.bytes(HUGE as u64));
    // The rest of it is there.
    let moved = traced.measure(&format!("write h 0 {HUGE}"));
    moved.only(&[]);
    assert_eq!(moved.faults, 0);
    Ok(())
}

/// Where THP is set to `always`.
fn unasked() -> Outcome {
    let _settings = huge_pages_always()?;
    let mut traced = Traced::start();
    traced.ok("map h 1024 aligned default");
    for unit in [0, HUGE] {
        let moved = traced.measure(&format!("write h {unit} 1"));
        moved.only(&[("fault", anon(HUGE))]);
        assert_eq!(moved.faults, 1);
    }
    let moved = traced.measure(&format!("madvise h 100 200 {DONTNEED}"));
    moved.only(&[("madvise MADV_DONTNEED", anon(-200))]);
    traced
        .measure("unmap h 0 1024")
        .only(&[("munmap", anon(200 - 2 * HUGE))]);
    Ok(())
}

/// RSS falls by what was asked for. The memory itself stays until the kernel splits the page: that is not RSS's to show.
fn given_back() -> Outcome {
    let _settings = huge_pages()?;
    let mut traced = Traced::start();
    traced.ok("map h 512 huge");
    traced.ok("write h 0 1");
    let moved = traced.measure(&format!("madvise h 100 1 {DONTNEED}"));
    moved.only(&[("madvise MADV_DONTNEED", anon(-1))]);
    assert_eq!(moved.smaps().anon_huge, 0);
    traced
        .measure(&format!("madvise h 0 512 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", anon(1 - HUGE))]);
    // All of it at once; of another one, since not before 6.14 does a page table that has become empty make room for a huge
    // page.
    traced.ok("map g 512 huge");
    traced.measure("write g 0 1").only(&[("fault", anon(HUGE))]);
    traced
        .measure(&format!("madvise g 0 512 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", anon(-HUGE))]);
    Ok(())
}

fn freed() -> Outcome {
    let _settings = huge_pages()?;
    let mut traced = Traced::start();
    traced.ok("map h 512 huge");
    traced.ok("write h 0 1");
    traced.ok("drain");
    let before = traced.verify().lazy_free;
    let moved = traced.measure_with(|traced| {
        traced.ok(&format!("madvise h 0 512 {FREE}"));
        traced.ok("drain");
    });
    moved.only(&[]);
    assert_eq!(moved.smaps().lazy_free - before, traced.bytes(HUGE as u64));
    // One write takes back all of it.
    let moved = traced.measure("write h 7 1");
    moved.only(&[]);
    assert_eq!((moved.faults, moved.events), (0, 0));
    assert_eq!(moved.smaps().lazy_free - before, 0);
    Ok(())
}

fn unmapped() -> Outcome {
    let _settings = huge_pages()?;
    let mut traced = Traced::start();
    traced.ok("map h 1024 huge");
    traced.ok("write h 0 1");
    traced.ok("write h 512 1");
    traced
        .measure("unmap h 500 30")
        .only(&[("munmap", anon(-30))]);
    traced
        .measure("unmap h 0 1024")
        .only(&[("munmap", anon(30 - 2 * HUGE))]);
    Ok(())
}

fn zero() -> Outcome {
    let _settings = huge_pages()?;
    let _zero = Setting::set("/sys/kernel/mm/transparent_hugepage/use_zero_page", "1");
    let mut traced = Traced::start();
    traced.ok("map h 512 huge");
    let moved = traced.measure("read h 0 512");
    moved.only(&[]);
    assert_eq!(moved.faults, 1);
    Ok(())
}

fn collapse() -> Outcome {
    let _settings = huge_pages()?;
    // Since 6.1.
    needs_advice(COLLAPSE, "MADV_COLLAPSE")?;
    let mut traced = Traced::start();
    traced.ok("map h 512 aligned default");
    let moved = traced.measure("write h 0 5");
    moved.only(&[("fault", anon(5))]);
    let moved = traced.measure(&format!("madvise h 0 512 {COLLAPSE}"));
    moved.only(&[("madvise MADV_COLLAPSE", anon(HUGE - 5))]);
    assert_eq!(
        moved.calls("madvise MADV_COLLAPSE"),
        CallsMoved::done(1, traced.bytes(HUGE as u64))
    );
    assert_eq!(moved.smaps().anon_huge, traced.bytes(HUGE as u64));
    // It is one already.
    traced
        .measure(&format!("madvise h 0 512 {COLLAPSE}"))
        .only(&[]);
    Ok(())
}

fn collapse_from_outside() -> Outcome {
    let _settings = huge_pages()?;
    needs_advice(COLLAPSE, "MADV_COLLAPSE")?;
    let mut traced = Traced::start();
    traced.ok("map h 512 aligned default");
    traced.ok("write h 0 5");
    traced.ok("drain");
    let base = traced.ok("where h") as u64;
    let bytes = traced.bytes(HUGE as u64) as usize;
    let moved = traced.measure_with(|traced| advise(traced.workload.pid(), base, bytes, COLLAPSE));
    moved.only(&[("process_madvise MADV_COLLAPSE", anon(HUGE - 5))]);
    // The call was another process's.
    assert_eq!(
        moved.calls("process_madvise MADV_COLLAPSE"),
        CallsMoved::default()
    );
    Ok(())
}

fn by_khugepaged() -> Outcome {
    let _settings = khugepaged()?;
    let mut traced = Traced::start();
    traced.ok("map h 512 aligned default");
    let moved = traced.measure_with(|traced| {
        traced.ok("write h 0 100");
        traced.ok("drain");
        traced.ok(&format!("madvise h 0 512 {HUGEPAGE}"));
        traced.wait_until("khugepaged", |rows| {
            // One event per page.
            rows.get("khugepaged")
                .is_some_and(|row| row.pages == anon(HUGE - 100))
        });
    });
    moved.only(&[("fault", anon(100)), ("khugepaged", anon(HUGE - 100))]);
    Ok(())
}
