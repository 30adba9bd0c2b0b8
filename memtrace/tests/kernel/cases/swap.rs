//! Swap: shown beside RSS, and not part of it. Swap-in is exact whatever is read ahead: neighbours come into the swap cache,
//! which belongs to nobody's RSS until they are touched themselves.

use super::{Case, DONTNEED, FREE, Outcome, PAGEOUT};
use crate::{
    harness::{ANON, CallsMoved, SWAP, Traced, one},
    host::{Cgroup, Swap, advise},
};

pub const CASES: &[Case] = &[
    ("paged_out_and_back", pageout),
    ("swapped_pages_that_nobody_wants_back", dropped),
    ("paged_out_by_another_process", pageout_from_outside),
    ("reclaimed_to_swap", reclaimed),
    ("swapoff_brings_pages_back", swapoff),
];

/// So many pages from memory to swap; negative: back.
const fn out(pages: i64) -> [i64; 4] {
    let mut moved = [0; 4];
    moved[ANON] = -pages;
    moved[SWAP] = pages;
    moved
}

fn pageout() -> Outcome {
    let _swap = Swap::on()?;
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    let moved = traced.measure(&format!("madvise a 0 200 {PAGEOUT}"));
    moved.only(&[("madvise MADV_PAGEOUT", out(200))]);
    assert_eq!(
        moved.calls("madvise MADV_PAGEOUT"),
        CallsMoved::done(1, traced.bytes(200))
    );
    assert_eq!(moved.smaps().swap, traced.bytes(200));
    let moved = traced.measure("read a 0 120");
    moved.only(&[("fault", out(-120))]);
    assert_eq!(moved.smaps().swap, traced.bytes(80));
    traced.measure("write a 0 300").only(&[("fault", out(-80))]);
    Ok(())
}

fn dropped() -> Outcome {
    let _swap = Swap::on()?;
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced
        .measure(&format!("madvise a 0 300 {PAGEOUT}"))
        .only(&[("madvise MADV_PAGEOUT", out(300))]);
    traced
        .measure(&format!("madvise a 0 100 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", one(SWAP, -100))]);
    traced
        .measure(&format!("madvise a 100 100 {FREE}"))
        .only(&[("madvise MADV_FREE", one(SWAP, -100))]);
    traced
        .measure("unmap a 0 300")
        .only(&[("munmap", one(SWAP, -100))]);
    Ok(())
}

fn pageout_from_outside() -> Outcome {
    let _swap = Swap::on()?;
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("drain");
    let base = traced.ok("where a") as u64;
    let bytes = traced.bytes(200) as usize;
    let moved = traced.measure_with(|traced| advise(traced.workload.pid(), base, bytes, PAGEOUT));
    moved.only(&[("process_madvise MADV_PAGEOUT", out(200))]);
    assert_eq!(
        moved.calls("process_madvise MADV_PAGEOUT"),
        CallsMoved::default()
    );
    Ok(())
}

fn reclaimed() -> Outcome {
    let _swap = Swap::on()?;
    let cgroup = Cgroup::new()?;
    let mut traced = Traced::start();
    cgroup.enter(traced.workload.pid());
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("drain");
    let moved = traced.measure_with(|_| cgroup.reclaim());
    // How far reclaim goes is its own affair; that it went, and that both sides of it are there, is not.
    let pages = moved.pages("reclaim *")[SWAP];
    assert!(pages > 0, "nothing was reclaimed");
    moved.only(&[("reclaim *", out(pages))]);
    assert_eq!(moved.smaps().swap, traced.bytes(pages as u64));
    traced
        .measure("write a 0 300")
        .only(&[("fault", out(-pages))]);
    Ok(())
}

fn swapoff() -> Outcome {
    let mut swap = Swap::on()?;
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced
        .measure(&format!("madvise a 0 200 {PAGEOUT}"))
        .only(&[("madvise MADV_PAGEOUT", out(200))]);
    let moved = traced.measure_with(|_| swap.off());
    moved.only(&[("other_process *", out(-200))]);
    Ok(())
}
