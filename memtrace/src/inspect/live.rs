//! What `/proc` shows of a process, for who wants to know what it is.
//!
//! Whoever runs the target chooses its files, its paths and what lies at them. So nothing is opened for reading before it is
//! known to be a regular file: opening a FIFO blocks, and opening a device may do something.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
};

use procfs::{ProcError, process::Process};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2},
    io::Errno,
};

use crate::{
    inspect::{Image, MappedFile, is_served},
    proc,
    process::living_thread,
};

/// Most bytes of arguments and environment. The kernel lets them be 6 MiB together, however large the stack may be.
const MOST_STRINGS: u64 = 8 << 20;
/// Most bytes of `maps`: 65,530 mappings, which is how many there may be by default, take 6 MB with short paths.
const MOST_MAPS: u64 = 64 << 20;

/// `f_type` of file systems whose files have another device for `stat` than in `maps`: overlayfs, btrfs (include/uapi/linux/magic.h).
const SEVERAL_DEVICES: [u64; 2] = [0x794c_7630, 0x9123_683e];

/// A process, looked at through its directory in `/proc`, which is held open: whatever is read is never another process's.
#[derive(Debug)]
pub struct LiveProcess {
    pid: u32,
    process: Process,
}

impl LiveProcess {
    /// Opens the process `pid`.
    ///
    /// # Errors
    ///
    /// Where there is none, or it may not be seen.
    pub fn open(pid: u32) -> Result<Self, String> {
        let number = i32::try_from(pid).map_err(|_| gone(pid))?;
        let process =
            Process::new(number).map_err(|error| explain(pid, "its directory in /proc", &error))?;
        Ok(Self { pid, process })
    }

    /// Whether a look at its files may take without end: [`is_served`]. So it may where that cannot be seen.
    #[must_use]
    pub fn is_served(&self) -> bool {
        let maps = self.content("maps", MOST_MAPS);
        let mounts = self.content("mountinfo", MOST_MAPS);
        match (maps, mounts) {
            (Ok(maps), Ok(mounts)) => is_served(&maps, &mounts),
            _ => true,
        }
    }

    /// Its memory, for reading. The kernel asks for privileges now, and not when it is read. It stays that of the program that runs
    /// now: after an exec nothing can be read through it.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses it.
    pub fn open_memory(&self) -> Result<File, String> {
        let path = self.path("mem");
        self.process
            .open_relative(&path)
            .map_err(|error| match error {
                ProcError::PermissionDenied(_) => self.memory_refused(),
                error => self.explain("its memory", &error),
            })
    }

    fn memory_refused(&self) -> String {
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        let pid = self.pid;
        match scope.as_deref().map(str::trim) {
            Ok("3") => format!(
                "the memory of process {pid} may not be read: kernel.yama.ptrace_scope is 3, which forbids it to everyone until the next boot"
            ),
            Ok(scope @ ("1" | "2")) => format!(
                "the memory of process {pid} may not be read: kernel.yama.ptrace_scope is {scope}, with which that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
            ),
            _ => format!(
                "the memory of process {pid} may not be read: of another user's process, or of one that protects itself, that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
            ),
        }
    }

    /// The path of one of its files in its directory. A leading thread that has exited shows nothing; the others go on.
    fn path(&self, name: &str) -> String {
        let state = proc::read(&self.process, "stat", proc::stat).map(|stat| stat.state);
        match state {
            Ok(b'Z' | b'X') => living_thread(&self.process),
            _ => None,
        }
        .map_or_else(|| name.to_owned(), |tid| format!("task/{tid}/{name}"))
    }

    fn content(&self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let explain = |error: &ProcError| self.explain(&format!("its file {name}"), error);
        let file = self
            .process
            .open_relative(self.path(name))
            .map_err(|error| explain(&error))?;
        let mut bytes = Vec::new();
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| explain(&error.into()))?;
        if bytes.len() as u64 == most {
            return Err(format!(
                "its file {name} is longer than {} MiB, of which nothing is believed",
                most >> 20
            ));
        }
        Ok(bytes)
    }

    /// One of its links to files, where it leads to a regular one.
    fn link(&self, name: &str) -> Result<File, ProcError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = self.process.open_relative_flags(self.path(name), flags)?;
        Ok(for_reading(&found)?)
    }

    /// What lies at a path for the process: links are followed as it would follow them, and lead nowhere outside of its root.
    fn in_its_root(&self, path: &[u8]) -> Result<File, ProcError> {
        let root = self
            .process
            .open_relative_flags(self.path("root"), OFlags::PATH | OFlags::CLOEXEC)?;
        let found = openat2(
            &root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(io::Error::from)?;
        Ok(for_reading(found)?)
    }

    fn explain(&self, what: &str, error: &ProcError) -> String {
        explain(self.pid, what, error)
    }
}

impl super::Process for LiveProcess {
    fn executable(&self) -> Result<Box<dyn Image>, String> {
        let file = self
            .link("exe")
            .map_err(|error| self.explain("its executable", &error))?;
        Ok(Box::new(file))
    }

    fn maps(&self) -> Result<Vec<u8>, String> {
        self.content("maps", MOST_MAPS)
    }

    fn environ(&self) -> Result<Vec<u8>, String> {
        self.content("environ", MOST_STRINGS)
    }

    fn arguments(&self) -> Result<Vec<u8>, String> {
        self.content("cmdline", MOST_STRINGS)
    }

    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, String> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let file = self
            .in_its_root(path)
            .map_err(|error| self.explain(&shown, &error))?;
        Ok(Box::new(file))
    }

    fn mapped(&self, file: &MappedFile) -> Result<Box<dyn Image>, String> {
        // This is the file itself, also where it has no name any more, but needs CAP_CHECKPOINT_RESTORE (before 5.9 CAP_SYS_ADMIN).
        if let Ok(file) = self.link(&format!("map_files/{:x}-{:x}", file.start, file.end)) {
            return Ok(Box::new(file));
        }
        let shown = String::from_utf8_lossy(&file.path).into_owned();
        let mut error = None;
        for path in paths(&file.path) {
            let found = self.in_its_root(&path);
            // `maps` has paths as memtrace's own root has them: of a process in a chroot that is another one than its own.
            let outside = || {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let found =
                    openat(CWD, &path[..], flags, Mode::empty()).map_err(io::Error::from)?;
                Ok(for_reading(found)?)
            };
            for found in [found, outside()] {
                match found {
                    Ok(found) if is_same(&found, file) => return Ok(Box::new(found)),
                    Ok(_) => error = error.or(Some(None)),
                    Err(failed) => error = error.or(Some(Some(failed))),
                }
            }
        }
        Err(match error.flatten() {
            Some(ProcError::NotFound(_)) => format!(
                "{shown} has been removed since it was mapped; to read it all the same needs CAP_CHECKPOINT_RESTORE, or root"
            ),
            Some(error) => self.explain(&shown, &error),
            None => format!(
                "{shown} has been replaced since it was mapped; to read what is mapped needs CAP_CHECKPOINT_RESTORE, or root"
            ),
        })
    }
}

/// The paths that a line of `maps` may mean: a line feed is written as `\012`, and so is a name that holds these four characters.
fn paths(shown: &[u8]) -> Vec<Vec<u8>> {
    const LINE_FEED: &[u8] = b"\\012";
    let mut path = Vec::new();
    let mut rest = shown;
    while let Some(at) = memchr::memmem::find(rest, LINE_FEED) {
        let (before, behind) = rest.split_at(at);
        path.extend_from_slice(before);
        path.push(b'\n');
        rest = behind.strip_prefix(LINE_FEED).unwrap_or_default();
    }
    path.extend_from_slice(rest);
    let mut paths = vec![shown.to_vec()];
    if path != shown {
        paths.push(path);
    }
    paths
}

/// Opens what a descriptor for looking only has found, where that is a regular file.
fn for_reading(found: impl AsFd) -> io::Result<File> {
    let found = File::from(found.as_fd().try_clone_to_owned()?);
    if !found.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(openat(CWD, link, flags, Mode::empty())?.into())
}

fn is_same(found: &File, mapped: &MappedFile) -> bool {
    let Ok(metadata) = found.metadata() else {
        return false;
    };
    let device = (
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
    );
    metadata.ino() == mapped.inode
        && (device == mapped.device
            || fstatfs(found).is_ok_and(|system| SEVERAL_DEVICES.contains(&(system.f_type as u64))))
}

fn gone(pid: u32) -> String {
    format!("process {pid} has ended")
}

fn explain(pid: u32, what: &str, error: &ProcError) -> String {
    let raw = match error {
        ProcError::Io(error, _) => error.raw_os_error().map(Errno::from_raw_os_error),
        _ => None,
    };
    match (error, raw) {
        (ProcError::PermissionDenied(_), _) | (_, Some(Errno::PERM | Errno::ACCESS)) => format!(
            "{what} cannot be read: of another user's process, or of one that protects itself, that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
        ),
        (_, Some(Errno::SRCH)) => gone(pid),
        (ProcError::NotFound(_), _) => {
            format!("{what} cannot be read: it is not there, or process {pid} has ended")
        }
        (ProcError::Io(error, _), _) => format!("{what} cannot be read: {error}"),
        (error, _) => format!("{what} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_line_feed_is_one_of_two() {
        assert_eq!(paths(b"/a/b"), [b"/a/b".to_vec()]);
        assert_eq!(
            paths(b"/a\\012b\\012\\012c"),
            [b"/a\\012b\\012\\012c".to_vec(), b"/a\nb\n\nc".to_vec()]
        );
        assert_eq!(paths(b"\\012").last().unwrap(), b"\n");
    }
}
