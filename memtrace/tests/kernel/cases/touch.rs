//! Pages that come by being touched.

use super::{Case, DONTNEED, Outcome};
use crate::harness::{SHMEM, Traced, anon, one};

pub const CASES: &[Case] = &[
    ("first_touch_adds_one_anonymous_page_per_page", first_touch),
    ("zero_page_reads_add_nothing", zero_page_reads),
    (
        "a_zero_page_written_is_an_anonymous_page",
        zero_page_written,
    ),
    ("shared_memory_touched_is_shmem", shmem),
    ("shared_memory_mapped_twice_counts_twice", shmem_populated),
    ("the_kernel_writing_into_fresh_memory", kernel_writes),
    ("mlock_faults_pages_in", mlock),
    ("one_cpu_after_another", cpus),
];

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

fn zero_page_written() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("read a 0 300");
    let moved = traced.measure("write a 0 200");
    moved.only(&[("fault", anon(200))]);
    assert_eq!(moved.faults, 200);
    Ok(())
}

fn shmem() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map s 300 shared");
    let moved = traced.measure("write s 0 200");
    moved.only(&[("fault", one(SHMEM, 200))]);
    assert_eq!(moved.faults, 200);
    traced
        .measure("unmap s 0 300")
        .only(&[("munmap", one(SHMEM, -200))]);
    Ok(())
}

fn shmem_populated() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure("map s 200 shared populate");
    moved.only_brought("mmap", one(SHMEM, 200));
    assert_eq!(moved.faults, 0);
    // The pages stay in the page cache: what comes back is the same pages.
    traced
        .measure(&format!("madvise s 0 200 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", one(SHMEM, -200))]);
    traced
        .measure("write s 0 200")
        .only(&[("fault", one(SHMEM, 200))]);
    Ok(())
}

fn kernel_writes() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    let moved = traced.measure("zero_into a 0 200");
    moved.only_brought("other_syscall", anon(200));
    assert_eq!((moved.faults, moved.kernel_faults), (0, 200));
    // Once they are there, a second `read` moves nothing.
    let moved = traced.measure("zero_into a 0 200");
    moved.only(&[]);
    assert_eq!((moved.faults, moved.kernel_faults), (0, 0));
    Ok(())
}

fn mlock() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 200");
    traced.ok("write a 0 50");
    let moved = traced.measure("mlock a 0 200");
    moved.only_brought("other_syscall", anon(150));
    assert_eq!((moved.faults, moved.kernel_faults), (0, 0));
    Ok(())
}

/// Each CPU has its own part of each counter: pages that come on one CPU and go on another leave both parts far from 0.
fn cpus() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 1400");
    let moved = traced.measure_with(|traced| {
        for turn in 0..20 {
            traced.ok(&format!("pin {turn}"));
            traced.ok(&format!("write a {} 70", turn * 70));
        }
    });
    moved.only(&[("fault", anon(1400))]);
    let moved = traced.measure_with(|traced| {
        for turn in 0..20 {
            traced.ok(&format!("pin {}", turn + 1));
            traced.ok(&format!("madvise a {} 37 {DONTNEED}", turn * 70));
            traced.ok(&format!("write a {} 11", turn * 70));
            traced.ok(&format!("pin {turn}"));
            traced.ok(&format!("unmap a {} 50", turn * 70 + 20));
        }
    });
    moved.only(&[
        ("madvise MADV_DONTNEED", anon(-20 * 37)),
        ("fault", anon(20 * 11)),
        ("munmap", anon(-20 * 33)),
    ]);
    Ok(())
}
