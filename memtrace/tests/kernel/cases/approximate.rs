//! The approximate mode: what it counts is exact, and what it cannot know is absent. It runs on every kernel.

use memtrace::{
    ledger::{Names, rows},
    model::Mode,
    observe::Sampler,
    probe::{Options, Session, Wanted},
};
use memtrace_common::{
    cell::CELLS,
    layout::{EPOCH_SLOTS, EpochEnd},
};

use super::{Case, DONTNEED, FREE, Outcome};
use crate::harness::{ANON, CallsMoved, FILE, SHMEM, SWAP, Traced, Workload, wait_for};

pub const CASES: &[Case] = &[
    ("approximate_calls_and_what_they_ask_for", calls),
    (
        "approximate_brk_and_mremap_grow_and_shrink",
        grow_and_shrink,
    ),
    ("approximate_failed_calls_by_errno", failed),
    ("approximate_faults_are_counted", faults),
    (
        "approximate_children_are_counted_and_not_followed",
        children,
    ),
    ("approximate_exec_begins_an_epoch", exec),
    (
        "approximate_execs_that_nobody_reads_are_merged",
        execs_unread,
    ),
    ("approximate_rss_is_sampled_within_its_bound", sampled),
    ("approximate_moves_no_page_of_any_cause", no_pages),
];

fn start() -> Traced {
    attach(Workload::start())
}

fn attach(workload: Workload) -> Traced {
    let traced = Traced::attach_with(
        workload,
        Options {
            mode: Wanted::Approximate,
            ..Options::new(0)
        },
    );
    assert_eq!(traced.tracer.session.mode(), Mode::Approximate);
    assert!(traced.tracer.session.no_ledger().is_some());
    for hook in traced.tracer.session.hooks() {
        assert_eq!(hook.kind.is_none(), hook.name == "rss", "{hook:?}");
    }
    traced
}

fn calls() -> Outcome {
    let mut traced = start();
    let moved = traced.count("map a 300");
    assert_eq!(moved.calls("mmap"), CallsMoved::done(1, traced.bytes(300)));
    let moved = traced.count(&format!("madvise a 0 200 {DONTNEED}"));
    let call = CallsMoved::done(1, traced.bytes(200));
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), call);
    let moved = traced.count(&format!("madvise a 0 200 {FREE}"));
    assert_eq!(moved.calls("madvise MADV_FREE"), call);
    assert_eq!(moved.calls("madvise MADV_DONTNEED"), CallsMoved::default());
    let moved = traced.count("unmap a 0 300");
    assert_eq!(
        moved.calls("munmap"),
        CallsMoved::done(1, traced.bytes(300))
    );
    Ok(())
}

fn grow_and_shrink() -> Outcome {
    let mut traced = start();
    let moved = traced.count("brk up 40");
    assert_eq!(moved.calls("brk"), CallsMoved::done(2, traced.bytes(40)));
    let moved = traced.count("brk down 40");
    let shrunk = |traced: &Traced, calls, pages| CallsMoved {
        shrunk: traced.bytes(pages),
        ..CallsMoved::done(calls, 0)
    };
    assert_eq!(moved.calls("brk"), shrunk(&traced, 2, 40));
    traced.ok("map a 100");
    let moved = traced.count("remap a 150");
    assert_eq!(moved.calls("mremap"), CallsMoved::done(1, traced.bytes(50)));
    let moved = traced.count("remap a 60");
    assert_eq!(moved.calls("mremap"), shrunk(&traced, 1, 90));
    Ok(())
}

fn failed() -> Outcome {
    let mut traced = start();
    traced.ok("map a 100");
    let moved = traced.count_with(|traced| {
        assert_eq!(
            traced.workload.run("madvise a 0 40 57"),
            -i64::from(libc::EINVAL)
        );
        assert_eq!(traced.workload.run("map_nothing"), -i64::from(libc::EINVAL));
    });
    let einval = libc::EINVAL as u32;
    // Advice without a name is not told apart here.
    assert_eq!(
        moved.calls("madvise other"),
        CallsMoved::failed(1, traced.bytes(40))
    );
    assert_eq!(moved.errnos("madvise other"), [(einval, 1)]);
    assert_eq!(moved.calls("mmap"), CallsMoved::failed(1, 0));
    assert_eq!(moved.errnos("mmap"), [(einval, 1)]);
    Ok(())
}

fn faults() -> Outcome {
    let mut traced = start();
    traced.ok("map a 300");
    let moved = traced.count("write a 0 200");
    assert_eq!(moved.faults, 200);
    let moved = traced.count("write a 0 200");
    assert_eq!(moved.faults, 0);
    // The kernel's own writing, in `read` from /dev/zero.
    let moved = traced.count("zero_into a 200 50");
    assert_eq!((moved.faults, moved.kernel_faults), (0, 50));
    Ok(())
}

fn children() -> Outcome {
    let mut traced = start();
    traced.ok("map a 100");
    traced.ok("write a 0 100");
    let mut child = 0;
    let moved = traced.count_with(|traced| child = traced.ok("fork a 0 100"));
    assert_eq!(moved.forks, 1);
    assert_eq!(i64::from(traced.read().last_child), child);
    // The child wrote 100 pages of its own; the parent's faults are its own.
    assert!(moved.faults < 100, "{}", moved.faults);
    let moved = traced.count("reap");
    assert_eq!(moved.forks, 0);
    Ok(())
}

fn exec() -> Outcome {
    let mut traced = start();
    traced.ok("map a 300");
    traced.workload.tell("exec");
    traced.ok("nothing");
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exec));
    let old = traced.tracer.session.read(0).unwrap();
    assert!(old.end_ns >= old.begin_ns, "{old:?}");
    assert_eq!(traced.session_epoch(), 1);
    assert_eq!(traced.read().begin_ns, old.end_ns);
    traced.workload.warm_up();
    let moved = traced.count("map a 300");
    assert_eq!(moved.calls("mmap"), CallsMoved::done(1, traced.bytes(300)));
    Ok(())
}

fn execs_unread() -> Outcome {
    let mut traced = start();
    for _ in 0..EPOCH_SLOTS + 1 {
        traced.workload.tell("exec");
        traced.ok("nothing");
    }
    let reading = traced.read();
    let last = EPOCH_SLOTS - 1;
    assert_eq!((reading.epoch, reading.losses.epochs), (last, 2));
    // Read, and said to be: then there is room again.
    traced.tracer.next_end();
    traced.tracer.session.drained(0).unwrap();
    traced.workload.tell("exec");
    traced.ok("nothing");
    let reading = traced.read();
    assert_eq!((reading.epoch, reading.losses.epochs), (last + 1, 2));
    Ok(())
}

fn sampled() -> Outcome {
    let mut traced = start();
    let sample = |traced: &mut Traced| {
        let resident = traced.tracer.sampler.resident().unwrap();
        let bound = traced.tracer.session.sampling_bound_pages(resident.threads);
        (resident, bound * traced.page() as u64)
    };
    let (before, bound) = sample(&mut traced);
    assert!(bound > 0);
    let pages = 20_000;
    traced.ok(&format!("map a {pages}"));
    traced.ok(&format!("write a 0 {pages}"));
    let (after, _) = sample(&mut traced);
    let smaps = traced.tracer.sampler.smaps().unwrap();
    assert!(
        after.rss().abs_diff(smaps.rss) <= bound,
        "{after:?} {smaps:?}"
    );
    let grown = after.anon.saturating_sub(before.anon);
    assert!(
        grown.abs_diff(traced.bytes(pages)) <= 2 * bound,
        "{before:?} {after:?}"
    );
    Ok(())
}

fn no_pages() -> Outcome {
    let mut traced = start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("unmap a 0 300");
    let reading = traced.read();
    assert_eq!(*reading.cells, [[0; 4]; CELLS]);
    assert_eq!([reading.start[FILE], reading.start[ANON]], [0, 0]);
    assert_eq!([reading.start[SWAP], reading.start[SHMEM]], [0, 0]);
    let rows = rows(&reading, &Names::default());
    assert!(rows.iter().all(|row| row.calls.is_none()));
    // Its end is told by its pidfd, not by the kernel side.
    traced.workload.kill();
    wait_for("the end", || {
        Sampler::open(traced.workload.pid()).is_err().then_some(())
    });
    assert_eq!(traced.read().end, None);
    Ok(())
}

/// Whether this kernel allows a ledger; why not, where it does not.
pub fn no_ledger() -> Option<String> {
    let workload = Workload::start();
    let options = Options {
        mode: Wanted::Exact,
        ..Options::new(workload.pid())
    };
    match Session::attach(&options) {
        Err(error) if error.is_for_want_of_a_ledger() => Some(error.to_string()),
        _ => None,
    }
}
