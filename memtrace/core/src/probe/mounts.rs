//! Filesystems of the kernel's that nobody has mounted: mounted for one thread alone, in a mount namespace that ends with
//! that thread. The host sees nothing of it.

use std::{fs, io, path::Path, thread};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::model::errno_text;

/// Why a filesystem cannot be mounted for one thread, or a file of it not be read.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// This user may not.
    #[error("that needs CAP_SYS_ADMIN")]
    Denied,
    /// The kernel refuses it.
    #[error("{}", errno_text(*.0))]
    Refused(Errno),
    /// There is no thread to mount it for.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The thread has panicked.
    #[error("the thread that mounts it ended early")]
    Ended,
    /// It is mounted, and the file cannot be read.
    #[error("{0}")]
    Read(#[source] io::Error),
}

/// Runs `work` where a filesystem of the type `kind` is mounted at the existing folder `at`.
///
/// # Errors
///
/// Any [`MountError`] but [`MountError::Read`].
pub fn privately<T: Send>(
    kind: &str,
    at: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, MountError> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name(kind.to_owned())
            .spawn_scoped(scope, || {
                mount_here(kind, at).map_err(|error| match error {
                    Errno::PERM => MountError::Denied,
                    other => MountError::Refused(other),
                })?;
                Ok(work())
            })
            .map_err(MountError::Thread)?;
        worker.join().unwrap_or(Err(MountError::Ended))
    })
}

/// Reads a file of a filesystem that is not mounted.
///
/// # Errors
///
/// Any [`MountError`].
pub fn read_privately(kind: &str, at: &str, file: &str) -> Result<String, MountError> {
    let path = Path::new(at).join(file);
    privately(kind, at, || {
        fs::read_to_string(&path).map_err(MountError::Read)
    })?
}

fn mount_here(kind: &str, at: &str) -> rustix::io::Result<()> {
    // SAFETY: with a mount namespace of its own, a thread loses no descriptor.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    // Nothing of what follows may reach the host's own mounts.
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(kind, at, kind, flags, None)
}
