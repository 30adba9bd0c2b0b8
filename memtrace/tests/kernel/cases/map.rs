//! Mappings that come, go and change.

use super::{Case, Outcome};
use crate::harness::{CallsMoved, Traced, anon};

pub const CASES: &[Case] = &[
    ("munmap_drops_what_was_touched", munmap),
    ("partial_munmap_drops_its_part", partial_munmap),
    ("mremap_grows_shrinks_and_moves", mremap),
    ("brk_goes_up_and_down", brk),
    ("populate_belongs_to_mmap", populate),
    ("a_fixed_mapping_drops_what_it_covers", fixed),
];

fn munmap() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 1500");
    traced.ok("write a 0 1300");
    let moved = traced.measure("unmap a 0 1500");
    moved.only(&[("munmap", anon(-1300))]);
    assert_eq!(
        moved.calls("munmap"),
        CallsMoved::done(1, traced.bytes(1500))
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
    // A hole that has nothing in it.
    traced.measure("unmap a 10 30").only(&[]);
    Ok(())
}

fn mremap() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let moved = traced.measure("remap a 150");
    moved.only(&[]);
    assert_eq!(moved.calls("mremap"), CallsMoved::done(1, traced.bytes(50)));
    traced
        .measure("write a 100 50")
        .only(&[("fault", anon(50))]);
    let moved = traced.measure("remap a 60");
    moved.only(&[("mremap", anon(-90))]);
    let calls = CallsMoved {
        shrunk: traced.bytes(90),
        ..CallsMoved::done(1, 0)
    };
    assert_eq!(moved.calls("mremap"), calls);
    // A move moves page tables, not pages.
    traced.measure("remap a 60 move").only(&[]);
    let moved = traced.measure("write a 0 60");
    moved.only(&[]);
    assert_eq!(moved.faults, 0);
    Ok(())
}

fn brk() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure("brk up 40");
    moved.only(&[("fault", anon(40))]);
    // One call asks where the break is, one moves it.
    assert_eq!(moved.calls("brk"), CallsMoved::done(2, traced.bytes(40)));
    let moved = traced.measure("brk down 40");
    moved.only(&[("brk", anon(-40))]);
    let calls = CallsMoved {
        shrunk: traced.bytes(40),
        ..CallsMoved::done(2, 0)
    };
    assert_eq!(moved.calls("brk"), calls);
    Ok(())
}

fn populate() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure("map a 200 populate");
    moved.only_brought("mmap", anon(200));
    assert_eq!((moved.faults, moved.kernel_faults), (0, 0));
    assert_eq!(moved.calls("mmap"), CallsMoved::done(1, traced.bytes(200)));
    Ok(())
}

fn fixed() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let moved = traced.measure("fixed a 20 50");
    moved.only(&[("mmap", anon(-50))]);
    assert_eq!(moved.calls("mmap"), CallsMoved::done(1, traced.bytes(50)));
    assert_eq!(moved.calls("munmap"), CallsMoved::default());
    Ok(())
}
