//! Attaching needs the ids of tracepoints, which tracefs tells. Where it is not mounted (containers, small VMs), it is
//! mounted for memtrace alone.

use std::{fs, io::ErrorKind};

use super::mounts::privately;

/// Where it is mounted, where it is.
pub const TRACEFS: &str = "/sys/kernel/tracing";
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
    let mounted = privately("tracefs", TRACEFS, || match find() {
        Found::Readable => Ok(work()),
        _ => Err(denied(TRACEFS)),
    });
    mounted.unwrap_or_else(|error| {
        Err(format!(
            "tracefs is not mounted, and cannot be mounted for memtrace alone: {error}; type: sudo mount -t tracefs tracefs {TRACEFS}"
        ))
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
