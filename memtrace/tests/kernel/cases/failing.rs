//! Calls that fail, wholly or in part.

use super::{COLLAPSE, Case, DONTNEED, Outcome, needs_advice};
use crate::{
    harness::{CallsMoved, Traced, anon},
    host::huge_pages,
};

pub const CASES: &[Case] = &[
    ("advice_that_the_kernel_does_not_know", unknown_advice),
    ("advice_across_a_hole", across_a_hole),
    ("advice_that_is_put_off_half_way", put_off),
    ("munmap_of_an_unaligned_address", unaligned),
    ("mremap_of_an_unaligned_address", remap_unaligned),
    ("mmap_of_nothing", nothing),
];

const EINVAL: u32 = libc::EINVAL as u32;
const ENOMEM: u32 = libc::ENOMEM as u32;

fn unknown_advice() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let moved = traced.measure_failing("madvise a 0 40 57", libc::EINVAL);
    moved.only(&[]);
    assert_eq!(
        moved.calls("madvise 57"),
        CallsMoved::failed(1, traced.bytes(40))
    );
    assert_eq!(moved.errnos("madvise 57"), [(EINVAL, 1)]);
    // A second one gets a row of its own, and the first one keeps its own.
    let moved = traced.measure_with(|traced| {
        traced.workload.run("madvise a 0 40 58");
        traced.workload.run("madvise a 0 30 57");
    });
    moved.only(&[]);
    assert_eq!(moved.errnos("madvise 57"), [(EINVAL, 2)]);
    assert_eq!(
        moved.calls("madvise 58"),
        CallsMoved::failed(1, traced.bytes(40))
    );
    Ok(())
}

/// The kernel goes on behind the hole, and says ENOMEM at the end: the pages have moved all the same.
fn across_a_hole() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    traced.ok("unmap a 40 20");
    let moved = traced.measure_failing(&format!("madvise a 0 100 {DONTNEED}"), libc::ENOMEM);
    moved.only(&[("madvise MADV_DONTNEED", anon(-80))]);
    assert_eq!(
        moved.calls("madvise MADV_DONTNEED"),
        CallsMoved::failed(1, traced.bytes(100))
    );
    assert!(moved.errnos("madvise MADV_DONTNEED").contains(&(ENOMEM, 1)));
    Ok(())
}

/// The kernel collapses the first half, finds that somebody else holds a page of the second, and says EAGAIN.
fn put_off() -> Outcome {
    const EAGAIN: u32 = libc::EAGAIN as u32;
    // Since 6.1.
    needs_advice(COLLAPSE, "MADV_COLLAPSE")?;
    let _settings = huge_pages()?;
    let mut traced = Traced::start();
    traced.ok("map h 1024 aligned default");
    traced.ok("write h 0 5");
    traced.ok("write h 512 5");
    traced.ok("hold h 512 1");
    let moved = traced.measure_failing(&format!("madvise h 0 1024 {COLLAPSE}"), libc::EAGAIN);
    moved.only(&[("madvise MADV_COLLAPSE", anon(512 - 5))]);
    assert_eq!(
        moved.calls("madvise MADV_COLLAPSE"),
        CallsMoved::failed(1, traced.bytes(1024))
    );
    assert_eq!(moved.errnos("madvise MADV_COLLAPSE"), [(EAGAIN, 1)]);
    Ok(())
}

fn unaligned() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let moved = traced.measure_failing("unmap_unaligned a 0 10", libc::EINVAL);
    moved.only(&[]);
    assert_eq!(
        moved.calls("munmap"),
        CallsMoved::failed(1, traced.bytes(10))
    );
    assert_eq!(moved.errnos("munmap"), [(EINVAL, 1)]);
    Ok(())
}

fn remap_unaligned() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    let moved = traced.measure_failing("remap_unaligned a", libc::EINVAL);
    moved.only(&[]);
    // From one page to two.
    assert_eq!(
        moved.calls("mremap"),
        CallsMoved::failed(1, traced.bytes(1))
    );
    assert_eq!(moved.errnos("mremap"), [(EINVAL, 1)]);
    Ok(())
}

fn nothing() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure_failing("map_nothing", libc::EINVAL);
    moved.only(&[]);
    assert_eq!(moved.calls("mmap"), CallsMoved::failed(1, 0));
    assert_eq!(moved.errnos("mmap"), [(EINVAL, 1)]);
    Ok(())
}
