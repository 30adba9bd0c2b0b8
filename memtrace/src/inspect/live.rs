//! What `/proc` shows of a process, for who wants to know what it is.
//!
//! Whoever runs the target chooses its files, its paths and what lies at them. So nothing is opened for reading before it is
//! known to be a regular file: opening a FIFO blocks, and opening a device may do something.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2},
    io::Errno,
};

use super::{Image, InspectError, MappedFile, Memory, Process};
use crate::{
    proc::{self, ProcDir, is_gone},
    process::living_thread,
};

/// Most bytes of arguments and environment. The kernel lets them be 6 MiB together, however large the stack may be.
const MOST_STRINGS: u64 = 8 << 20;
/// Most bytes that are kept of `maps`: some 60,000 private mappings of files.
const MOST_KEPT: usize = 8 << 20;
/// Most bytes of `maps` that are read: a million mappings.
const MOST_MAPS: u64 = 128 << 20;

/// `f_type` of file systems whose files have another device for `stat` than in `maps`: overlayfs, btrfs (include/uapi/linux/magic.h).
const SEVERAL_DEVICES: [u64; 2] = [0x794c_7630, 0x9123_683e];

/// A process, looked at through its directory in `/proc`, which is held open: everything read is this process's.
///
/// Its files may lie on a file system that never answers, and its memory may be mapped from there. Whoever reads them waits
/// without end, in a way that no signal ends: only a process that may be left behind should do so.
#[derive(Debug)]
pub struct LiveProcess {
    dir: ProcDir,
}

impl LiveProcess {
    /// Opens the process `pid`.
    ///
    /// # Errors
    ///
    /// [`InspectError::Io`] if there is none, or it is hidden from this user.
    pub fn open(pid: u32) -> Result<Self, InspectError> {
        let dir = ProcDir::open(pid);
        dir.map(Self::at).map_err(|source| InspectError::Io {
            pid,
            what: "its directory in /proc".to_owned(),
            source,
        })
    }

    /// Looks at the process through its directory.
    #[must_use]
    pub const fn at(dir: ProcDir) -> Self {
        Self { dir }
    }

    /// Returns true if the process has memory: false once it has ended, and of a kernel thread.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        let maps = self.dir.open_relative(self.path("maps"));
        maps.is_ok_and(|mut maps| Read::read(&mut maps, &mut [0]).is_ok_and(|read| read > 0))
    }

    /// Opens its memory for reading. It stays that of the program that runs now: after an exec nothing can be read through it.
    ///
    /// # Errors
    ///
    /// [`InspectError::Refused`] if memtrace may not read it, [`InspectError::Io`] if it cannot be opened.
    pub fn open_memory(&self) -> Result<LiveMemory<'_>, InspectError> {
        match self.dir.open_relative(self.path("mem")) {
            Ok(file) => Ok(LiveMemory::File(file)),
            // The file is the user's whose process it is; the system call asks for CAP_SYS_PTRACE alone.
            Err(error) if is_refused(&error) && self.may_read_memory() => {
                Ok(LiveMemory::Process(self))
            }
            Err(error) if is_refused(&error) => Err(self.memory_refused()),
            Err(error) => Err(self.failed("its memory", error)),
        }
    }

    /// Returns true if the kernel lets this process read its memory, whatever is at address 0.
    fn may_read_memory(&self) -> bool {
        match self.read_memory(0, &mut [0]) {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::EFAULT),
        }
    }

    fn read_memory(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let pid = i32::try_from(self.dir.pid()).map_err(io::Error::other)?;
        let size = buffer.len();
        let here = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: size,
        };
        let there = libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(
                usize::try_from(address).map_err(io::Error::other)?,
            ),
            iov_len: size,
        };
        // SAFETY: writes into `buffer`, no more than it holds; the other address is of the other process.
        let read = unsafe { libc::process_vm_readv(pid, &here, 1, &there, 1, 0) };
        if read < 0 {
            return Err(io::Error::last_os_error());
        }
        // The id was its own while its directory shows it.
        self.dir.open_relative("stat")?;
        if read.unsigned_abs() < size {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        Ok(())
    }

    fn memory_refused(&self) -> InspectError {
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        let pid = self.dir.pid();
        InspectError::Refused(match scope.as_deref().map(str::trim) {
            Ok("3") => format!(
                "the memory of process {pid} may not be read: kernel.yama.ptrace_scope is 3, which forbids it to everyone until the next boot"
            ),
            Ok(scope @ ("1" | "2")) => format!(
                "the memory of process {pid} may not be read: kernel.yama.ptrace_scope is {scope}, with which that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
            ),
            _ => format!(
                "the memory of process {pid} may not be read: of another user's process, or of one that protects itself, that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
            ),
        })
    }

    /// Returns the path of one of its files in its directory. A leading thread that has exited shows nothing; the others go on.
    fn path(&self, name: &str) -> String {
        let state = proc::read(&self.dir, "stat", proc::stat).map(|stat| stat.state);
        match state {
            Ok(b'Z' | b'X') => living_thread(&self.dir),
            _ => None,
        }
        .map_or_else(|| name.to_owned(), |tid| format!("task/{tid}/{name}"))
    }

    fn content(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let file = self.dir.open_relative(self.path(name))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == most {
            return Err(too_long(most));
        }
        Ok(bytes)
    }

    /// Reads the environment from the process's memory, where `/proc/PID/stat` says that it begins and ends: the file `environ` is the
    /// user's whose process it is, and root without `CAP_DAC_READ_SEARCH` is not this user.
    fn environ_in_memory(&self) -> io::Result<Vec<u8>> {
        let (start, end) = proc::read(&self.dir, &self.path("stat"), proc::environment)?;
        let size = end
            .checked_sub(start)
            .filter(|&size| start > 0 && size < MOST_STRINGS)
            .ok_or(io::ErrorKind::PermissionDenied)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.read_memory(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Opens the file that one of its links leads to, if that is a regular one.
    fn link(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        for_reading(self.dir.open_relative_flags(self.path(name), flags)?)
    }

    /// Opens what lies at a path for the process: links are followed as it would follow them, and lead nowhere outside of its root.
    fn in_its_root(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = self.dir.open_relative_flags(self.path("root"), flags)?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&root, path, flags, Mode::empty(), resolve)?;
        for_reading(found)
    }

    fn failed(&self, what: impl Into<String>, source: io::Error) -> InspectError {
        InspectError::Io {
            pid: self.dir.pid(),
            what: what.into(),
            source,
        }
    }
}

/// The memory of a process.
#[derive(Debug)]
pub enum LiveMemory<'p> {
    /// `/proc/PID/mem`.
    File(File),
    /// By process_vm_readv(2).
    Process(&'p LiveProcess),
}

impl Memory for LiveMemory<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read(address, buffer),
            Self::Process(process) => process.read_memory(address, buffer),
        }
    }
}

impl Process for LiveProcess {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        let file = self
            .link("exe")
            .map_err(|error| self.failed("its executable", error))?;
        Ok(Box::new(file))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        let kept = || {
            let maps = self.dir.open_relative(self.path("maps"))?;
            file_mappings(BufReader::new(maps))
        };
        kept().map_err(|error| self.failed("its file maps", error))
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        let environ = match self.content("environ", MOST_STRINGS) {
            Err(error) if is_refused(&error) => self.environ_in_memory().map_err(|_| error),
            environ => environ,
        };
        environ.map_err(|error| self.failed("its file environ", error))
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        self.content("cmdline", MOST_STRINGS)
            .map_err(|error| self.failed("its file cmdline", error))
    }

    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let file = self
            .in_its_root(path)
            .map_err(|error| self.failed(shown, error))?;
        Ok(Box::new(file))
    }

    fn mapped(&self, file: &MappedFile) -> Result<Box<dyn Image>, InspectError> {
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
                for_reading(openat(CWD, &path[..], flags, Mode::empty())?)
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
            Some(error) if is_gone(&error) => InspectError::Refused(format!(
                "{shown} has been removed since it was mapped; to read it all the same needs CAP_CHECKPOINT_RESTORE, or root"
            )),
            Some(error) => self.failed(shown, error),
            None => InspectError::Refused(format!(
                "{shown} has been replaced since it was mapped; to read what is mapped needs CAP_CHECKPOINT_RESTORE, or root"
            )),
        })
    }
}

/// Returns the lines of a `maps` that are of private mappings of files. Of the others there may be hundreds of thousands.
fn file_mappings(mut maps: impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut line = Vec::new();
    let mut read = 0;
    while maps.by_ref().take(MOST_MAPS).read_until(b'\n', &mut line)? > 0 {
        read += line.len() as u64;
        let is_private = line
            .split(|&byte| byte == b' ')
            .nth(1)
            .is_some_and(|access| access.ends_with(b"p"));
        if is_private && line.contains(&b'/') {
            kept.extend_from_slice(&line);
        }
        if kept.len() > MOST_KEPT || read > MOST_MAPS {
            return Err(too_long(kept.len() as u64));
        }
        line.clear();
    }
    Ok(kept)
}

fn too_long(most: u64) -> io::Error {
    io::Error::other(format!(
        "it is longer than {} MiB, of which nothing is believed",
        most >> 20
    ))
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
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

/// Returns the words for [`InspectError::Io`].
pub(super) fn explain(pid: u32, what: &str, error: &io::Error) -> String {
    let raw = error.raw_os_error().map(Errno::from_raw_os_error);
    match raw {
        _ if is_refused(error) => format!(
            "{what} cannot be read: of another user's process, or of one that protects itself, that needs CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}"
        ),
        Some(Errno::SRCH) => format!("process {pid} has ended"),
        Some(Errno::NOENT) => {
            format!("{what} cannot be read: it is not there, or process {pid} has ended")
        }
        _ => format!("{what} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_maps_the_private_mappings_of_files_are_kept() {
        let maps = b"\
5590a2a4a000-5590a2a4c000 r--p 00000000 fe:00 523 /usr/bin/a b
5590a2a4c000-5590a2a50000 r-xp 00002000 fe:00 523 /usr/bin/a b
7f1d4e000000-7f1d4e021000 r--s 00000000 fe:00 99 /data/big
7f1d4e100000-7f1d4e121000 rw-p 00000000 00:00 0
7ffd1c7e5000-7ffd1c7e7000 r-xp 00000000 00:00 0 [vdso]
";
        let kept = file_mappings(&maps[..]).unwrap();
        assert_eq!(
            kept,
            maps[..maps.windows(5).position(|five| five == b"7f1d4").unwrap()]
        );
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(file_mappings(endless).is_err());
        let line = [&b"0-1 r--p 0 0:0 1 /"[..], &[b'y'; 4000], b"\n"].concat();
        assert!(file_mappings(&line.repeat(3000)[..]).is_err());
    }

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
