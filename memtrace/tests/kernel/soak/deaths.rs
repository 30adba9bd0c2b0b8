//! Targets that die, each under a session and a memtrace of its own.

use std::{fs, path::PathBuf, process::Command};

use memtrace::{ledger::check, model::End};
use memtrace_common::layout::{EPOCH_SLOTS, EpochEnd};

use super::{Outcome, ids::Ids, stage::Stage, tool::Tool, veteran::Veteran};
use crate::{
    harness::{Traced, Workload},
    host::{Cgroup, alone},
    storm::Kind,
};

const FREE: i32 = 8;

struct Mortal {
    traced: Traced,
    tool: Tool,
    held: Ids,
    file: PathBuf,
}

impl Mortal {
    fn born(stage: &mut Stage) -> Self {
        let workload = Workload::start();
        let pid = workload.pid();
        let tracer = stage.attach(pid);
        let file = stage.file();
        let mut tool = Tool::start(pid, &["--interval", "20ms"], Some(file.clone()));
        let held = tool.attached().holds();
        stage.count(|figures| figures.memtraces += 1);
        Self {
            traced: Traced { workload, tracer },
            tool,
            held,
            file,
        }
    }

    /// What both observers must say of a target that is dead, or dies now, after so many execs. Of these, `merged` found no place for
    /// an epoch, since this process has read none meanwhile; and `tool_merged` in memtrace, where that is known.
    fn buried(self, stage: &mut Stage, execs: u64, merged: u64, tool_merged: Option<u64>) {
        let Self {
            traced: Traced {
                workload,
                mut tracer,
            },
            mut tool,
            held,
            file,
        } = self;
        let mut seen = 0;
        loop {
            let event = tracer.next_end();
            let reading = tracer.session.read(event.epoch).unwrap();
            stage.ended(&reading);
            if event.end == EpochEnd::Exit {
                assert_eq!(reading.losses.epochs, merged, "{:?}", reading.losses);
                assert_eq!(reading.losses.total(), merged, "{:?}", reading.losses);
                break;
            }
            seen += 1;
            tracer.session.drained(event.epoch).unwrap();
        }
        assert_eq!(tracer.session.next_event(), None);
        assert_eq!(tracer.session.skipped_runs().unwrap_or(0), 0);
        assert_eq!(seen + merged, execs, "execs");
        stage.detach(tracer);
        drop(workload);

        let ended = tool.end();
        stage.gone(held);
        let capture = ended.sound_capture(End::TargetExited);
        let losses = capture.epoch.capture.losses;
        assert_eq!(
            capture.earlier_epochs.len() as u64 + losses.epochs,
            execs,
            "execs, by epochs and merged ones; {ended}"
        );
        assert_eq!(losses.total(), losses.epochs, "{losses:?}; {ended}");
        if let Some(merged) = tool_merged {
            assert_eq!(losses.epochs, merged, "{ended}");
        }
        fs::remove_file(file).unwrap();
        stage.count(|figures| {
            figures.deaths += 1;
            figures.execs += execs;
            figures.merged += merged + losses.epochs;
            figures.capture(&capture);
        });
    }
}

/// Kills in the midst of it, while the veteran storms too.
fn in_the_veterans_storm(stage: &mut Stage, veteran: &mut Veteran, work: impl FnOnce(&mut Stage)) {
    stage.storm(&mut veteran.traced, Kind::Small, |stage| work(stage));
}

pub fn killed(stage: &mut Stage, veteran: &mut Veteran) -> Outcome {
    in_the_veterans_storm(stage, veteran, |stage| {
        let mut mortal = Mortal::born(stage);
        stage.begin_storm(&mut mortal.traced.workload, Kind::Small);
        stage.random.pause(20..=800);
        mortal.traced.workload.kill();
        mortal.buried(stage, 0, 0, Some(0));
    });
    Ok(())
}

pub fn exits(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    let mut mortal = Mortal::born(stage);
    stage.storm(&mut mortal.traced, Kind::Small, |stage| {
        stage.random.pause(20..=500);
    });
    stage.begin_storm(&mut mortal.traced.workload, Kind::Small);
    stage.random.pause(20..=300);
    mortal.traced.workload.tell("exit");
    mortal.buried(stage, 0, 0, Some(0));
    Ok(())
}

pub fn without_leader(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    let mut mortal = Mortal::born(stage);
    mortal.traced.ok("leave_leader");
    stage.storm(&mut mortal.traced, Kind::Small, |stage| {
        stage.random.pause(20..=500);
    });
    stage.begin_storm(&mut mortal.traced.workload, Kind::Small);
    stage.random.pause(20..=300);
    mortal.traced.workload.kill();
    mortal.buried(stage, 0, 0, Some(0));
    Ok(())
}

/// The memory goes when the last one that holds it does.
pub fn shared(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    let mut mortal = Mortal::born(stage);
    mortal.traced.ok("map a 300");
    mortal.traced.ok("write a 0 300");
    mortal.traced.ok("share");
    stage.rest(&mut mortal.traced);
    stage.begin_storm(&mut mortal.traced.workload, Kind::Small);
    stage.random.pause(20..=300);
    mortal.traced.workload.tell("exit");
    mortal.buried(stage, 0, 0, Some(0));
    stage.count(|figures| figures.forks += 1);
    Ok(())
}

pub fn chain(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    chain_of_execs(stage, false);
    Ok(())
}

pub fn chain_unread(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    chain_of_execs(stage, true);
    Ok(())
}

/// Faster than anybody can read: what does not fit is merged, counted, and explained all the same.
fn chain_of_execs(stage: &mut Stage, stopped: bool) {
    let mut mortal = Mortal::born(stage);
    let execs = stage.random.within(1..=30);
    let merged = execs.saturating_sub(u64::from(EPOCH_SLOTS) - 1);
    if stopped {
        mortal.tool.stop();
    }
    for _ in 0..execs {
        mortal.traced.workload.tell("exec");
    }
    mortal.traced.ok("nothing");
    stage.settle(&mortal.traced);
    let before = mortal.traced.read();
    let smaps = mortal.traced.tracer.sampler.smaps().unwrap();
    let after = mortal.traced.read();
    assert_eq!(before.losses.epochs, merged, "{:?}", before.losses);
    let checked = check(&before, smaps.rss as i64 / mortal.traced.page(), &after);
    assert_eq!((checked.unexplained, checked.bound), (0, 0), "{before:?}");
    mortal.traced.workload.kill();
    if stopped {
        mortal.tool.signal(libc::SIGCONT);
        stage.count(|figures| figures.memtraces_stopped += 1);
    }
    mortal.buried(stage, execs, merged, stopped.then_some(merged));
}

/// The kernel takes pages back while threads take and free them.
pub fn reclaimed(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    let _alone = alone();
    let cgroup = Cgroup::new()?;
    let mut mortal = Mortal::born(stage);
    let traced = &mut mortal.traced;
    cgroup.enter(traced.workload.pid());
    traced.ok("map a 5000");
    traced.ok("write a 0 5000");
    traced.ok("drain");
    traced.ok(&format!("madvise a 0 4000 {FREE}"));
    traced.ok("drain");
    assert!(traced.verify().lazy_free > 0);
    stage.begin_storm(&mut traced.workload, Kind::Small);
    for _ in 0..stage.random.within(2..=8) {
        stage.random.pause(10..=100);
        cgroup.reclaim();
    }
    assert_eq!(traced.workload.run("stop"), 0);
    let _ = traced.workload.known();
    stage.rest(traced);
    traced.ok("write a 0 5000");
    traced.ok(&format!("madvise a 0 4000 {FREE}"));
    traced.ok("drain");
    let before = traced.tracer.snapshot();
    cgroup.reclaim();
    stage.rest(traced);
    let moved = traced.tracer.moved_since(before);
    let taken = moved.pages("reclaim *");
    assert!(taken[1] < 0, "nothing was reclaimed; {}", moved.list());
    moved.only(&[("reclaim *", taken)]);
    stage.begin_storm(&mut traced.workload, Kind::Small);
    stage.random.pause(20..=200);
    traced.workload.kill();
    mortal.buried(stage, 0, 0, Some(0));
    Ok(())
}

/// memtrace comes too late, or just in time: it has a capture, or says in one line that the process has ended.
pub fn at_the_attach(stage: &mut Stage, _: &mut Veteran) -> Outcome {
    for _ in 0..stage.random.within(1..=6) {
        let mut target = Command::new("sleep").arg("1000").spawn().unwrap();
        let file = stage.file();
        let mut tool = Tool::start(target.id(), &["--quiet"], Some(file.clone()));
        stage.random.pause(0..=250);
        target.kill().unwrap();
        target.wait().unwrap();
        let ended = tool.end();
        stage.count(|figures| {
            figures.memtraces += 1;
            figures.deaths += 1;
        });
        if ended.status.code() == Some(1) {
            assert!(ended.errors.starts_with("memtrace: "), "{ended}");
            assert_eq!(ended.errors.trim_end().lines().count(), 1, "{ended}");
            assert!(!file.exists(), "half a capture; {ended}");
        } else {
            let capture = ended.sound_capture(End::TargetExited);
            assert_eq!(ended.status.code(), Some(0), "{ended}");
            stage.count(|figures| figures.capture(&capture));
            fs::remove_file(file).unwrap();
        }
    }
    Ok(())
}
