//! Attaching needs the ids of tracepoints, which tracefs tells. Where it is not mounted (containers, small VMs), it is
//! mounted for one thread alone, in a mount namespace that ends with that thread: the host sees nothing of it.

use std::{path::Path, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const TRACEFS: &str = "/sys/kernel/tracing";
const EVENTS: [&str; 2] = [
    "/sys/kernel/tracing/events",
    "/sys/kernel/debug/tracing/events",
];

/// Runs `work` where tracefs can be read.
///
/// # Errors
///
/// What to type, where tracefs is neither mounted nor can be.
pub fn with<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    if EVENTS.iter().any(|path| Path::new(path).exists()) {
        return Ok(work());
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("tracefs".into())
            .spawn_scoped(scope, || mount_privately().map(|()| work()))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        worker
            .join()
            .unwrap_or_else(|_| Err("the thread that attaches tracepoints ended early".into()))
    })
}

fn mount_privately() -> Result<(), String> {
    let advise = |error: nix::Error| {
        format!(
            "tracefs is not mounted, and cannot be mounted for memtrace alone ({error}); type: mount -t tracefs tracefs {TRACEFS}"
        )
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(advise)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(advise)?;
    mount(
        Some("tracefs"),
        TRACEFS,
        Some("tracefs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
    .map_err(advise)
}
