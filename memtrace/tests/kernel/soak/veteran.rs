//! The target that lives as long as the soak, under one session and one memtrace.

use std::fs;

use memtrace::model::End;
use memtrace_common::layout::{EPOCH_SLOTS, EpochEnd};

use super::{
    Outcome,
    stage::Stage,
    tool::{Ended, Tool},
};
use crate::{
    cases::Skip,
    harness::{SWAP, Traced, Workload, anon, wait_for},
    host::{self, Setting, Swap, alone, huge_pages},
    storm::Kind,
};

/// How long a storm lasts, in ms.
const STORM: std::ops::RangeInclusive<u64> = 300..=1500;
const DONTNEED: i32 = 4;
const PAGEOUT: i32 = 21;

pub struct Veteran {
    pub traced: Traced,
    pub tool: Tool,
    execs: u64,
}

impl Veteran {
    pub fn enter(stage: &mut Stage) -> Self {
        let workload = Workload::start();
        let pid = workload.pid();
        let tracer = stage.attach(pid);
        let mut tool = Tool::start(pid, &["--interval", "10ms"], None);
        tool.attached();
        stage.count(|figures| figures.memtraces += 1);
        Self {
            traced: Traced { workload, tracer },
            tool,
            execs: 0,
        }
    }

    /// One thing after another, each with its pages known beforehand: causes are to the page still.
    pub fn canary(&mut self, stage: &mut Stage) {
        self.tool.must_be_well();
        let traced = &mut self.traced;
        traced.workload.warm_up();
        stage.settle(traced);
        traced.ok("map c 300");
        let moved = traced.measure("write c 0 300");
        moved.only(&[("fault", anon(300))]);
        assert_eq!(moved.faults, 300);
        traced
            .measure(&format!("madvise c 0 200 {DONTNEED}"))
            .only(&[("madvise MADV_DONTNEED", anon(-200))]);
        traced
            .measure("unmap c 0 300")
            .only(&[("munmap", anon(-100))]);
        stage.count(|figures| figures.stand_stills += 3);
    }

    /// Replaces the program, at rest or in a storm.
    fn exec(&mut self, stage: &mut Stage, in_storm: bool) {
        let traced = &mut self.traced;
        let before = traced.read();
        if in_storm {
            stage.begin_storm(&mut traced.workload, Kind::Small);
            stage.random.pause(20..=300);
        }
        traced.workload.tell("exec");
        traced.ok("nothing");
        let ended = traced.tracer.next_end();
        assert_eq!((ended.epoch, ended.end), (before.epoch, EpochEnd::Exec));
        let reading = traced.tracer.session.read(ended.epoch).unwrap();
        stage.ended(&reading);
        traced.tracer.session.drained(ended.epoch).unwrap();
        stage.rest(traced);
        self.execs += 1;
        stage.count(|figures| figures.execs += 1);
    }

    /// The end of the soak.
    pub fn leave(mut self, stage: &mut Stage) {
        stage.rest(&mut self.traced);
        let held = self.tool.holds();
        self.tool.signal(libc::SIGINT);
        let ended = self.tool.end();
        assert_eq!(ended.status.code(), Some(0), "{ended}");
        assert!(ended.bad.is_empty(), "{:?}; {ended}", ended.bad);
        assert_eq!(ended.errors, "", "{ended}");
        // One for each program, and all of them were seen.
        assert_eq!(ended.reports, self.execs + 1, "reports; {ended}");
        stage.gone(held);
        let Traced {
            mut workload,
            mut tracer,
        } = self.traced;
        let epoch = tracer.session.epoch().unwrap();
        workload.kill();
        let last = tracer.next_end();
        assert_eq!((last.epoch, last.end), (epoch, EpochEnd::Exit));
        stage.ended(&tracer.session.read(epoch).unwrap());
        stage.count(|figures| figures.deaths += 1);
        stage.detach(tracer);
    }
}

pub fn small(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    storm(stage, veteran, Kind::Small);
    Ok(())
}

pub fn huge(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let _alone = alone();
    let _settings = huge_pages()?;
    storm(stage, veteran, Kind::Huge);
    Ok(())
}

pub fn mixed(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let _alone = alone();
    let _settings = huge_pages()?;
    storm(stage, veteran, Kind::Mixed);
    Ok(())
}

fn storm(stage: &mut Stage, veteran: &mut Veteran, kind: Kind) {
    stage.storm(&mut veteran.traced, kind, |stage| {
        stage.random.pause(STORM);
    });
}

/// What the threads of the storm map does not take huge pages; their stacks, and everything else, do.
pub fn thp_switched(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let _alone = alone();
    let path = format!("{}/enabled", host::THP);
    let _setting = Setting::set(path.as_str(), "always")
        .ok_or(Skip::Absent("transparent huge pages".into()))?;
    stage.storm(&mut veteran.traced, Kind::Small, |stage| {
        for _ in 0..10 {
            stage.random.pause(20..=120);
            let value = stage.random.pick(&["always", "madvise", "never"]);
            fs::write(&path, value).unwrap();
        }
    });
    Ok(())
}

pub fn execs(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    for _ in 0..stage.random.within(1..=12) {
        veteran.exec(stage, false);
        veteran.tool.has_read(veteran.execs - 1);
    }
    Ok(())
}

/// An exec kills all threads but one, whatever they are in.
pub fn execs_in_a_storm(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    for _ in 0..stage.random.within(1..=6) {
        veteran.exec(stage, true);
        veteran.tool.has_read(veteran.execs - 1);
    }
    Ok(())
}

/// Children that write what they share with their parent, that borrow its memory, that execute, that share it for a while.
pub fn forks(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let traced = &mut veteran.traced;
    traced.ok("map f 300");
    traced.ok("write f 0 200");
    stage.settle(traced);
    let before = traced.tracer.snapshot();
    traced.workload.tell("fork_loop f 0 30");
    stage.random.pause(200..=800);
    let mut forks = traced.workload.run("stop");
    for _ in 0..stage.random.within(1..=20) {
        traced.ok("vfork_write f 0 250");
        traced.ok("spawn");
        traced.ok("share");
        traced.ok("write f 100 100");
        traced.ok("reap");
        forks += 3;
    }
    stage.rest(traced);
    let moved = traced.tracer.moved_since(before);
    assert_eq!(moved.forks as i64, forks, "forks");
    traced.ok("unmap f 0 300");
    stage.count(|figures| figures.forks += moved.forks);
    Ok(())
}

/// Out and back, dropped while out, copied while out, and back by `swapoff`.
pub fn swap(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let _alone = alone();
    let mut swap = Swap::on()?;
    let traced = &mut veteran.traced;
    traced.ok("map s 4000");
    traced.ok("write s 0 4000");
    for _ in 0..stage.random.within(1..=4) {
        traced.ok(&format!("madvise s 0 4000 {PAGEOUT}"));
        stage.rest(traced);
        let out = traced.read().now()[SWAP];
        assert!(out > 0, "nothing is paged out");
        traced.ok("read s 0 1000");
        traced.ok(&format!("madvise s 1000 500 {DONTNEED}"));
        traced.ok("fork s 500 1500");
        stage.count(|figures| figures.forks += 1);
        stage.rest(traced);
        traced.ok("write s 1500 2000");
        traced.ok("reap");
        stage.rest(traced);
    }
    swap.off();
    stage.rest(traced);
    assert_eq!(traced.read().now()[SWAP], 0, "swap entries without swap");
    traced.ok("unmap s 0 4000");
    stage.rest(traced);
    Ok(())
}

/// memtraces that are attached in the middle of a storm, and go again: when their time is over, told to, killed; and sessions.
pub fn visitors(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let pid = veteran.traced.workload.pid();
    let mut guest = stage.storm(&mut veteran.traced, Kind::Small, |stage| {
        for _ in 0..stage.random.within(2..=4) {
            match stage.random.within(0..=4) {
                0 => timed_visitor(stage, pid),
                1 => told_visitor(stage, pid),
                2 | 3 => killed_visitor(stage, pid),
                _ => {
                    let tracer = stage.attach(pid);
                    stage.random.pause(20..=200);
                    wait_for("events of a storm", || {
                        (tracer.read().events > 0).then_some(())
                    });
                    stage.detach(tracer);
                }
            }
        }
        // This one stays until the storm is over.
        stage.attach(pid)
    });
    guest.verify();
    stage.detach(guest);
    Ok(())
}

fn timed_visitor(stage: &mut Stage, pid: u32) {
    let milliseconds = format!("{}ms", stage.random.within(50..=700));
    let arguments = ["--quiet", "--duration", milliseconds.as_str()];
    let mut tool = Tool::start(pid, &arguments, Some(stage.file()));
    let ended = tool.end();
    capture_of(stage, &ended, End::Duration);
}

fn told_visitor(stage: &mut Stage, pid: u32) {
    let mut tool = Tool::start(pid, &["--interval", "20ms"], Some(stage.file()));
    let held = tool.attached().holds();
    stage.random.pause(0..=500);
    let signal = stage.random.pick(&[libc::SIGINT, libc::SIGTERM]);
    tool.signal(signal);
    let ended = tool.end();
    stage.gone(held);
    capture_of(stage, &ended, End::Signal);
}

fn capture_of(stage: &Stage, ended: &Ended, end: End) {
    let capture = ended.sound_capture(end);
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    stage.count(|figures| {
        figures.memtraces += 1;
        figures.capture(&capture);
    });
}

/// At any moment, such as while it attaches.
fn killed_visitor(stage: &mut Stage, pid: u32) {
    let mut tool = Tool::start(pid, &["--quiet"], None);
    stage.random.pause(0..=1200);
    // Stopped first, so that what it holds is what it held.
    tool.stop();
    let held = tool.holds();
    tool.signal(libc::SIGKILL);
    let ended = tool.end();
    assert_eq!(ended.killed_by(), Some(libc::SIGKILL), "{ended}");
    stage.gone(held);
    stage.count(|figures| {
        figures.memtraces += 1;
        figures.memtraces_killed += 1;
    });
}

/// A memtrace that does not run for a while has nothing wrong afterwards, and has missed no exec.
pub fn stopped(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    let Veteran {
        traced,
        tool,
        execs,
    } = veteran;
    stage.storm(traced, Kind::Small, |stage| {
        stage.random.pause(50..=300);
        tool.stop();
        stage.random.pause(500..=3000);
        tool.signal(libc::SIGCONT);
        stage.random.pause(50..=300);
        tool.has_read(*execs);
        tool.stop();
    });
    // As many as can wait to be read.
    for at in 1..=stage.random.within(1..=u64::from(EPOCH_SLOTS) - 1) {
        veteran.exec(stage, at == 2);
    }
    veteran.tool.signal(libc::SIGCONT);
    veteran.tool.has_read(veteran.execs);
    stage.count(|figures| figures.memtraces_stopped += 2);
    Ok(())
}
