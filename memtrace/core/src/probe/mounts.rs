//! Filesystems of the kernel's that nobody has mounted: mounted for one thread alone, in a mount namespace that ends with
//! that thread. The host sees nothing of it.

use std::{fs, path::Path, thread};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::model::errno_text;

/// Runs `work` where a filesystem of the type `kind` is mounted at the existing folder `at`.
///
/// # Errors
///
/// Why it cannot be mounted.
pub fn privately<T: Send>(
    kind: &str,
    at: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name(kind.to_owned())
            .spawn_scoped(scope, || {
                mount_here(kind, at).map_err(|error| match error {
                    Errno::PERM => "that needs CAP_SYS_ADMIN".to_owned(),
                    other => errno_text(other),
                })?;
                Ok(work())
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        worker
            .join()
            .unwrap_or_else(|_| Err("the thread that mounts it ended early".into()))
    })
}

/// Reads a file of a filesystem that is not mounted.
///
/// # Errors
///
/// Why it cannot be mounted, or read.
pub fn read_privately(kind: &str, at: &str, file: &str) -> Result<String, String> {
    let path = Path::new(at).join(file);
    privately(kind, at, || {
        fs::read_to_string(&path).map_err(|error| error.to_string())
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
