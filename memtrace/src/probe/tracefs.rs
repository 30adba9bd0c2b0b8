//! Attaching needs the ids of tracepoints, which tracefs tells. Where it is not mounted (containers, small VMs), it is
//! mounted for one thread alone, in a mount namespace that ends with that thread: the host sees nothing of it.

use std::{fs, io::ErrorKind, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const TRACEFS: &str = "/sys/kernel/tracing";
const MOUNTS: [&str; 2] = [TRACEFS, "/sys/kernel/debug/tracing"];

/// Runs `work` where tracefs can be read.
///
/// # Errors
///
/// What to type, where tracefs is neither mounted nor can be.
pub fn with<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    match find() {
        Found::Readable => return Ok(work()),
        Found::Denied(path) => return Err(denied(path)),
        Found::Nothing => {}
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("tracefs".into())
            .spawn_scoped(scope, || {
                mount_privately()?;
                match find() {
                    Found::Readable => Ok(work()),
                    _ => Err(denied(TRACEFS)),
                }
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        worker
            .join()
            .unwrap_or_else(|_| Err("the thread that attaches tracepoints ended early".into()))
    })
}

enum Found {
    Readable,
    /// It is there, or may be, for others.
    Denied(&'static str),
    Nothing,
}

fn find() -> Found {
    let mut found = Found::Nothing;
    for path in MOUNTS {
        match fs::read_dir(path) {
            // Empty: the mount point alone.
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Found::Readable;
                }
            }
            // debugfs itself may be closed too, and then tells nothing.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && path == TRACEFS => {
                found = Found::Denied(path);
            }
            Err(_) => {}
        }
    }
    found
}

fn denied(path: &str) -> String {
    format!(
        "only root may read the ids of tracepoints in {path}; memtrace needs CAP_DAC_READ_SEARCH for it, or root"
    )
}

fn mount_privately() -> Result<(), String> {
    let advise = |error: nix::Error| {
        let needs = match error {
            nix::Error::EPERM => "that needs CAP_SYS_ADMIN".to_owned(),
            other => other.to_string(),
        };
        format!(
            "tracefs is not mounted, and cannot be mounted for memtrace alone: {needs}; type: sudo mount -t tracefs tracefs {TRACEFS}"
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
