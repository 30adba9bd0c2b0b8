//! Attaching needs the ids of tracepoints, which tracefs tells. Where it is not mounted (containers, small VMs), it is
//! mounted for memtrace alone.

use std::{fs, io::ErrorKind};

use super::mounts::{MountError, privately};

/// Where tracefs is mounted by convention, if it is.
pub const TRACEFS: &str = "/sys/kernel/tracing";
const MOUNTS: [&str; 2] = [TRACEFS, "/sys/kernel/debug/tracing"];

/// Why tracefs cannot be read, and what that needs.
#[derive(Debug, thiserror::Error)]
pub enum TracefsError {
    /// It is there for others.
    #[error(
        "only root may read the ids of tracepoints in {0}; memtrace needs CAP_DAC_READ_SEARCH for it, or root"
    )]
    Denied(&'static str),
    /// It is mounted nowhere, and cannot be.
    #[error(
        "tracefs is not mounted, and cannot be mounted for memtrace alone: {0}; type: sudo mount -t tracefs tracefs {TRACEFS}"
    )]
    NotMounted(#[from] MountError),
}

/// Runs `work` where tracefs can be read.
///
/// # Errors
///
/// [`TracefsError::Denied`] if this user may not read it, [`TracefsError::NotMounted`] if it cannot be mounted either.
pub fn with<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, TracefsError> {
    match find() {
        Found::Readable => return Ok(work()),
        Found::Denied(path) => return Err(TracefsError::Denied(path)),
        Found::Nothing => {}
    }
    privately("tracefs", TRACEFS, || match find() {
        Found::Readable => Ok(work()),
        _ => Err(TracefsError::Denied(TRACEFS)),
    })?
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
