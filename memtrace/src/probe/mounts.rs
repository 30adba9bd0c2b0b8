//! Filesystems of the kernel's that nobody has mounted: mounted for one thread alone, in a mount namespace that ends with
//! that thread. The host sees nothing of it.

use std::{fs, path::Path, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

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
                    nix::Error::EPERM => "that needs CAP_SYS_ADMIN".to_owned(),
                    other => other.to_string(),
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

fn mount_here(kind: &str, at: &str) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Nothing of what follows may reach the host's own mounts.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    mount(
        Some(kind),
        at,
        Some(kind),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
}
