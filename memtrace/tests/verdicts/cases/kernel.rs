//! What the kernel does with a program's pages: files, shared memory, swap, reclaim.

use std::os::fd::AsRawFd;

use memtrace::model::Cause;

use super::{Case, Outcome};
use crate::{
    host::{Cgroup, Scratch, Swap},
    program::{Program, native},
    stage::{MIB, Stage},
};

pub const CASES: &[Case] = &[("file-mapped", file), ("shmem", shmem)];
/// These have a swap device, or a memory cgroup, of which there is one at a time.
pub const ALONE: &[Case] = &[("swapped", swapped), ("reclaimed", reclaimed)];

fn pages(mib: i64) -> u64 {
    (mib * MIB).unsigned_abs() / memtrace::proc::page_size()
}

fn file(stage: &Stage) -> Outcome {
    const FILE: i64 = 256;
    let scratch = Scratch::new(pages(FILE))?;
    let mut program = Program::start(native());
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell(&format!("file {}", scratch.path()));
    traced.ticks(8);
    let shown = traced.stop();
    let faults = shown.moved(Cause::Fault);
    assert!(faults.file >= FILE * MIB, "{faults:?}");
    assert!(faults.anon < 8 * MIB, "{faults:?}");
    assert!(shown.capture.epoch.summary.end.file_bytes >= FILE * MIB);
    Ok(shown)
}

fn shmem(stage: &Stage) -> Outcome {
    const SHARED: i64 = 192;
    let mut program = Program::start(native());
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell(&format!("shared {SHARED}"));
    traced.ticks(8);
    let shown = traced.stop();
    let faults = shown.moved(Cause::Fault);
    assert_eq!(faults.shmem, SHARED * MIB, "{faults:?}");
    assert!(faults.anon < 8 * MIB, "{faults:?}");
    Ok(shown)
}

fn swapped(stage: &Stage) -> Outcome {
    const TAKEN: i64 = 200;
    const LIMIT: i64 = 64;
    let _swap = Swap::on()?;
    let cgroup = Cgroup::new()?;
    let mut program = Program::start(native());
    cgroup.enter(program.pid());
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell(&format!("take {TAKEN}"));
    traced.ticks(3);
    cgroup.limit_memory((LIMIT * MIB).unsigned_abs());
    traced.ticks(6);
    let shown = traced.stop();
    let end = shown.capture.epoch.summary.end;
    assert!(end.swap_bytes > (TAKEN - LIMIT - 8) * MIB, "{end:?}");
    let out = shown.moved(Cause::Reclaim);
    assert!(out.swap > (TAKEN - LIMIT - 8) * MIB, "{out:?}");
    assert_eq!(out.anon, -out.swap, "{out:?}");
    Ok(shown)
}

/// Has the page cache forget a file, so that who reads it next is charged for it.
fn forget(path: &str) {
    let file = std::fs::File::open(path).unwrap();
    // SAFETY: a descriptor that is open.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

fn reclaimed(stage: &Stage) -> Outcome {
    const LIMIT: i64 = 160;
    const FREED: i64 = 100;
    const FILE: i64 = 48;
    let cgroup = Cgroup::new()?;
    let scratch = Scratch::new(pages(FILE))?;
    forget(scratch.path());
    let mut program = Program::start(native());
    cgroup.enter(program.pid());
    cgroup.limit((LIMIT * MIB).unsigned_abs());
    let traced = stage.trace(&program);
    traced.ticks(2);
    program.tell(&format!("lazy {FREED}"));
    program.tell(&format!("file {}", scratch.path()));
    traced.ticks(3);
    // Beyond the limit: the kernel takes back what nobody needs.
    program.tell("take 120");
    traced.ticks(6);
    let shown = traced.stop();
    let freed = shown.advised("MADV_FREE");
    assert_eq!(freed.requested, FREED * MIB, "{freed:?}");
    let back = shown.moved(Cause::Reclaim);
    // 100 MiB and 120 MiB do not fit, with or without the file.
    assert!(
        back.anon + back.file < -(FREED + 120 - LIMIT) * MIB,
        "{back:?}"
    );
    assert!(back.anon < 0, "{back:?}");
    assert_eq!(back.swap, 0);
    Ok(shown)
}
