//! Fork, exec, exit, threads; and more than one session.

use memtrace::{
    ledger::{add_pages, check, check_ended, rss_of},
    model::HookKind,
    probe::Options,
};
use memtrace_common::layout::{EPOCH_SLOTS, EpochEnd, MAX_ERRNOS};

use super::{Case, DONTNEED, Outcome, REMOVE, Skip};
use crate::{
    harness::{ANON, CallsMoved, Traced, Tracer, Workload, anon, kernel_release, wait_for},
    host::Cgroup,
};

pub const CASES: &[Case] = &[
    ("a_child_writes_its_own_copy", fork_child_writes),
    ("a_parent_writes_while_its_child_lives", fork_parent_writes),
    ("a_vfork_child_writes_into_the_parent", vfork),
    ("a_child_that_executes_is_not_followed", spawn),
    ("exec_ends_an_epoch_and_begins_one", exec),
    ("exec_while_another_process_shares_the_memory", exec_shared),
    ("execs_one_after_another", execs),
    ("more_execs_than_epochs_can_wait", execs_unread),
    ("merged_epochs_end_when_the_last_one_does", merged_end),
    (
        "errnos_of_more_programs_than_there_is_room_for",
        errnos_of_many,
    ),
    ("exit_takes_everything_down", exit),
    ("a_kill_takes_everything_down", kill),
    ("an_oom_kill_takes_everything_down", oom_kill),
    ("the_leader_leaves_while_traced", leader_leaves),
    ("the_leader_had_left_before", leader_had_left),
    ("the_last_thread_ends_after_its_leader", last_thread_ends),
    ("attached_to_while_it_forks", attach_while_forking),
    ("a_child_lives_at_the_attach", attach_with_child),
    ("two_sessions_are_independent", two_sessions),
    (
        "exit_and_exec_seen_by_the_kernels_function",
        ends_by_function,
    ),
    ("the_running_task_is_found_by_helpers_alone", by_helpers),
    ("the_running_task_is_found_without_helpers", without_helpers),
];

fn fork_child_writes() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    let mut child = 0;
    let moved = traced.measure_with(|traced| child = traced.ok("fork a 0 200"));
    moved.only(&[]);
    assert_eq!(moved.forks, 1);
    assert_eq!(i64::from(traced.read().last_child), child);
    let moved = traced.measure("reap");
    moved.only(&[]);
    assert_eq!(moved.forks, 0);
    Ok(())
}

fn fork_parent_writes() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("fork a 0 1");
    // Each is a copy: one anonymous page goes, another one comes.
    let moved = traced.measure("write a 100 200");
    moved.only(&[]);
    assert_eq!(moved.faults, 200);
    traced
        .measure(&format!("madvise a 0 300 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", anon(-300))]);
    traced.measure("reap").only(&[]);
    Ok(())
}

fn vfork() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    let moved = traced.measure("vfork_write a 0 200");
    moved.only(&[("fault", anon(200))]);
    assert_eq!(moved.faults, 200);
    assert_eq!(moved.forks, 1);
    let moved = traced.measure("write a 0 300");
    moved.only(&[("fault", anon(100))]);
    Ok(())
}

fn spawn() -> Outcome {
    let mut traced = Traced::start();
    let moved = traced.measure("spawn");
    moved.only(&[]);
    assert_eq!(moved.forks, 1);
    assert_eq!(traced.session_epoch(), 0);
    Ok(())
}

fn exec() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    let before = traced.tracer.snapshot();
    let held = before.reading.explained();
    traced.workload.tell("exec");
    traced.ok("nothing");
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exec));
    let (moved, old) = traced.tracer.moved_until_end(before);
    assert_eq!(old.end, Some([0; 4]));
    moved.only(&[("exec", held.map(|pages| -pages))]);
    // The new program, against the kernel's figures, and exact from its first page on.
    assert_eq!(traced.session_epoch(), 1);
    let new = traced.read();
    // Its arguments are in it before it begins.
    assert!(new.start[ANON] > 0, "{:?}", new.start);
    traced.verify();
    traced.workload.warm_up();
    traced.ok("map a 300");
    traced
        .measure("write a 0 200")
        .only(&[("fault", anon(200))]);
    Ok(())
}

/// The old memory lives on, in somebody who is not the target.
fn exec_shared() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    traced.ok("share");
    traced.measure("write a 0 300").only(&[]);
    let before = traced.tracer.snapshot();
    let held = before.reading.explained();
    traced.workload.tell("exec");
    traced.ok("nothing");
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exec));
    let (moved, old) = traced.tracer.moved_until_end(before);
    // It was not torn down: it is what it was.
    assert_eq!(old.end, Some(held));
    moved.only(&[]);
    traced.verify();
    Ok(())
}

fn execs() -> Outcome {
    let mut traced = Traced::start();
    for number in 0..2 * EPOCH_SLOTS {
        let before = traced.tracer.snapshot();
        assert_eq!(before.reading.epoch, number);
        traced.workload.tell("exec");
        traced.ok("nothing");
        let ended = traced.tracer.next_end();
        assert_eq!((ended.epoch, ended.end), (number, EpochEnd::Exec));
        let (_, old) = traced.tracer.moved_until_end(before);
        assert_eq!(old.end, Some([0; 4]));
        traced.tracer.session.drained(number).unwrap();
        traced.verify();
    }
    Ok(())
}

/// Nobody reads: epochs are merged, which is said, and the sums still hold.
fn execs_unread() -> Outcome {
    const MERGED: u64 = 3;
    let mut traced = Traced::start();
    for _ in 0..u64::from(EPOCH_SLOTS) - 1 + MERGED {
        traced.workload.tell("exec");
        traced.ok("nothing");
    }
    traced.tracer.sampler.renew();
    let before = traced.read();
    let smaps = traced.tracer.sampler.smaps().unwrap();
    let after = traced.read();
    assert_eq!(before.epoch, EPOCH_SLOTS - 1);
    assert_eq!(before.losses.epochs, MERGED);
    assert_eq!(before.losses.total(), MERGED);
    let checked = check(&before, smaps.rss as i64 / traced.page(), &after);
    assert_eq!((checked.unexplained, checked.bound), (0, 0), "{before:?}");
    Ok(())
}

/// An exec that found no place is no end; what is told of is the end of all that were merged.
fn merged_end() -> Outcome {
    let mut traced = Traced::start();
    for _ in 0..EPOCH_SLOTS + 2 {
        traced.workload.tell("exec");
        traced.ok("nothing");
    }
    for epoch in 0..EPOCH_SLOTS - 1 {
        let ended = traced.tracer.next_end();
        assert_eq!((ended.epoch, ended.end), (epoch, EpochEnd::Exec));
        traced.tracer.session.drained(epoch).unwrap();
    }
    assert_eq!(traced.tracer.session.next_event(), None);
    // There is room again.
    traced.workload.tell("exec");
    traced.ok("nothing");
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (EPOCH_SLOTS - 1, EpochEnd::Exec));
    let reading = traced.tracer.session.read(ended.epoch).unwrap();
    assert_eq!(check_ended(&reading).unwrap().unexplained, 0, "{reading:?}");
    assert_eq!(reading.losses.epochs, 3);
    assert_eq!(traced.session_epoch(), EPOCH_SLOTS);
    Ok(())
}

/// What was read makes room.
fn errnos_of_many() -> Outcome {
    const FAILING: u32 = 9;
    let mut traced = Traced::start();
    let mut pairs = 0;
    let mut epoch = 0;
    while pairs <= MAX_ERRNOS {
        traced.workload.tell("exec");
        traced.ok("map a 4");
        let ended = traced.tracer.next_end();
        assert_eq!((ended.epoch, ended.end), (epoch, EpochEnd::Exec));
        traced.tracer.session.drained(epoch).unwrap();
        assert!(traced.tracer.session.errnos(epoch).unwrap().is_empty());
        epoch += 1;
        for command in ["map_nothing", "unmap_unaligned a 0 1", "remap_unaligned a"] {
            let result = traced.workload.run(command);
            assert_eq!(result, -i64::from(libc::EINVAL), "{command}");
        }
        for advice in [REMOVE, 90, 91, 92, 93] {
            let result = traced.workload.run(&format!("madvise a 0 1 {advice}"));
            assert_eq!(result, -i64::from(libc::EINVAL), "advice {advice}");
        }
        let result = traced
            .workload
            .run(&format!("process_madvise a 0 1 {REMOVE}"));
        assert!(result < 0);
        traced.workload.settle();
        let errnos = traced.tracer.session.errnos(epoch).unwrap();
        assert_eq!(errnos.len(), FAILING as usize, "{errnos:?}");
        pairs += FAILING;
    }
    assert_eq!(traced.read().losses.total(), 0);
    traced.verify();
    Ok(())
}

/// The end of the process, by `end`.
fn ends(mut traced: Traced, end: impl FnOnce(&mut Traced)) {
    traced.ok("map e 300");
    traced.ok("write e 0 300");
    let before = traced.tracer.snapshot();
    let held = before.reading.explained();
    assert!(rss_of(&held) > 300);
    end(&mut traced);
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exit));
    let (moved, last) = traced.tracer.moved_until_end(before);
    assert_eq!(last.end, Some([0; 4]));
    moved.only(&[("exit", held.map(|pages| -pages))]);
    assert_eq!(traced.tracer.session.next_event(), None);
}

fn exit() -> Outcome {
    ends(Traced::start(), |traced| traced.workload.tell("exit"));
    Ok(())
}

fn kill() -> Outcome {
    ends(Traced::start(), |traced| traced.workload.kill());
    Ok(())
}

fn oom_kill() -> Outcome {
    let cgroup = Cgroup::new()?;
    cgroup.limit(24 << 20);
    let mut traced = Traced::start();
    cgroup.enter(traced.workload.pid());
    traced.ok("map e 20000");
    let before = traced.tracer.snapshot();
    let held = before.reading.explained();
    traced.workload.tell("write e 0 20000");
    assert_eq!(traced.workload.answer(), None);
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exit));
    let (moved, last) = traced.tracer.moved_until_end(before);
    assert_eq!(last.end, Some([0; 4]));
    let came = moved.pages("fault");
    assert!(came[ANON] > 1000, "{}", moved.list());
    // The dying process and the reaper share the work as it comes.
    let gone = add_pages(&moved.pages("exit"), &moved.pages("oom_reaper"));
    assert_eq!(gone, add_pages(&held, &came).map(|pages| -pages));
    moved.only(&[
        ("fault", came),
        ("exit", moved.pages("exit")),
        ("oom_reaper", moved.pages("oom_reaper")),
    ]);
    Ok(())
}

fn leader_leaves() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("map a 300");
    traced.ok("write a 0 100");
    traced.ok("leave_leader");
    let moved = traced.measure("write a 0 300");
    moved.only(&[("fault", anon(200))]);
    assert_eq!(moved.faults, 200);
    traced
        .measure(&format!("madvise a 0 300 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", anon(-300))]);
    Ok(())
}

fn leader_had_left() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    workload.ok("leave_leader");
    let mut traced = Traced::attach(workload);
    traced.verify();
    let moved = traced.measure("write a 0 300");
    moved.only(&[("fault", anon(300))]);
    assert_eq!(moved.faults, 300);
    let moved = traced.measure(&format!("madvise a 0 300 {DONTNEED}"));
    moved.only(&[("madvise MADV_DONTNEED", anon(-300))]);
    assert_eq!(moved.calls("madvise MADV_DONTNEED").calls, 1);
    Ok(())
}

fn last_thread_ends() -> Outcome {
    let mut traced = Traced::start();
    traced.ok("leave_leader");
    ends(traced, |traced| traced.workload.kill());
    Ok(())
}

fn attach_while_forking() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    workload.ok("write a 0 300");
    workload.tell("fork_loop a 0 30");
    wait_for("a child", || workload.has_child().then_some(()));
    let mut traced = Traced::attach(workload);
    wait_for("forks", || (traced.read().forks > 0).then_some(()));
    let all = traced.workload.run("stop");
    traced.workload.settle();
    traced.verify();
    let seen = traced.read().forks as i64;
    assert!(seen > 0 && seen < all, "{seen} of {all} forks");
    traced
        .measure(&format!("madvise a 0 300 {DONTNEED}"))
        .only(&[("madvise MADV_DONTNEED", anon(-300))]);
    Ok(())
}

fn attach_with_child() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 300");
    workload.ok("write a 0 300");
    workload.ok("fork a 0 100");
    let mut traced = Traced::attach(workload);
    let moved = traced.measure("write a 0 300");
    moved.only(&[]);
    assert_eq!(moved.forks, 0);
    traced.measure("reap").only(&[]);
    traced
        .measure("unmap a 0 300")
        .only(&[("munmap", anon(-300))]);
    Ok(())
}

fn two_sessions() -> Outcome {
    let mut first = Traced::start();
    first.ok("map a 300");
    first.measure("write a 0 100").only(&[("fault", anon(100))]);
    let mut second = Tracer::attach(first.workload.pid());
    let before = second.snapshot();
    assert_eq!(before.reading.moved(), [0; 4]);
    let of_first = first.measure_with(|traced| {
        traced.ok("write a 100 150");
        traced.ok(&format!("madvise a 0 30 {DONTNEED}"));
    });
    let of_second = second.moved_since(before);
    for moved in [&of_first, &of_second] {
        moved.only(&[("fault", anon(150)), ("madvise MADV_DONTNEED", anon(-30))]);
        assert_eq!(moved.faults, 150);
        assert_eq!(moved.calls("madvise MADV_DONTNEED").calls, 1);
    }
    // The older one goes, the younger one stays.
    let Traced { workload, tracer } = first;
    drop(tracer);
    let mut traced = Traced {
        workload,
        tracer: second,
    };
    traced
        .measure("unmap a 0 300")
        .only(&[("munmap", anon(-220))]);
    Ok(())
}

/// What kernels get that lack the tracepoint `exit_mmap` (before 6.1).
fn ends_by_function() -> Outcome {
    let options = Options {
        exit_by_function: true,
        ..Options::new(0)
    };
    let mut traced = Traced::attach_with(Workload::start(), options);
    let hook = |traced: &Traced| {
        let hooks = traced.tracer.session.hooks();
        hooks
            .iter()
            .find(|hook| hook.name == "exit")
            .unwrap()
            .clone()
    };
    let exit = hook(&traced);
    let Some(kind) = exit.kind else {
        return Err(Skip::Absent(format!(
            "fexit: {}",
            exit.error.unwrap_or_default()
        )));
    };
    assert_eq!(kind, HookKind::Fentry);
    traced.ok("map a 300");
    traced.ok("write a 0 300");
    let before = traced.tracer.snapshot();
    let held = before.reading.explained();
    traced.workload.tell("exec");
    traced.ok("nothing");
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (0, EpochEnd::Exec));
    let (moved, old) = traced.tracer.moved_until_end(before);
    assert_eq!(old.end, Some([0; 4]));
    moved.only(&[("exec", held.map(|pages| -pages))]);
    traced.verify();
    let before = traced.tracer.snapshot();
    traced.workload.kill();
    let ended = traced.tracer.next_end();
    assert_eq!((ended.epoch, ended.end), (1, EpochEnd::Exit));
    let (_, last) = traced.tracer.moved_until_end(before);
    assert_eq!(last.end, Some([0; 4]));
    Ok(())
}

fn by_helpers() -> Outcome {
    let workload = Workload::start();
    let options = Options {
        by_helpers: true,
        ..Options::new(workload.pid())
    };
    let mut traced = Traced::attach_with(workload, options);
    assert!(traced.tracer.session.by_helpers());
    exact_in_all_calls(&mut traced);
    Ok(())
}

fn without_helpers() -> Outcome {
    if cfg!(not(target_arch = "x86_64")) || kernel_release() < (6, 2) {
        return Err(Skip::Absent("bpf_rdonly_cast".into()));
    }
    let mut traced = Traced::start();
    assert!(!traced.tracer.session.by_helpers());
    exact_in_all_calls(&mut traced);
    Ok(())
}

/// What each way of finding the running task, its registers and the counters is asked for.
fn exact_in_all_calls(traced: &mut Traced) {
    traced.ok("map a 3000");
    let moved = traced.measure("write a 0 3000");
    moved.only(&[("fault", anon(3000))]);
    assert_eq!(moved.faults, 3000);
    let moved = traced.measure(&format!("madvise a 0 1000 {DONTNEED}"));
    moved.only(&[("madvise MADV_DONTNEED", anon(-1000))]);
    assert_eq!(
        moved.calls("madvise MADV_DONTNEED"),
        CallsMoved::done(1, traced.bytes(1000))
    );
    traced.measure("fork a 1000 100").only(&[]);
    traced.measure("reap").only(&[]);
    traced
        .measure("unmap a 0 3000")
        .only(&[("munmap", anon(-2000))]);
    traced.verify();
}
