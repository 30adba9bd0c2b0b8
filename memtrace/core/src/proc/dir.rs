//! A process's directory in `/proc`, held open.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
};

use rustix::{
    fs::{CWD, Dir, Mode, OFlags, openat, readlinkat},
    io::Errno,
    path::Arg,
};

/// A process's directory in `/proc`, held open: after the process has ended nothing opens through it, also once another process
/// has the id.
#[derive(Debug)]
pub struct ProcDir {
    pid: u32,
    dir: File,
}

impl ProcDir {
    /// Opens `/proc/PID`, of a process or of a thread.
    ///
    /// # Errors
    ///
    /// If no process has this id, or `/proc` does not show it to this user. [`is_gone`] holds for both.
    pub fn open(pid: u32) -> io::Result<Self> {
        Self::open_at(pid, &format!("/proc/{pid}"))
    }

    /// Opens this process's own, `/proc/self`, also where `/proc` numbers processes otherwise than its PID namespace does.
    ///
    /// # Errors
    ///
    /// If `/proc` is not mounted.
    pub fn own() -> io::Result<Self> {
        Self::open_at(std::process::id(), "/proc/self")
    }

    fn open_at(pid: u32, path: &str) -> io::Result<Self> {
        // With O_PATH, so that no privilege is asked for before a file is opened.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            pid,
            dir: dir.into(),
        })
    }

    /// Takes a directory that was opened by another process as that of the process `pid`.
    #[must_use]
    pub fn received(pid: u32, dir: OwnedFd) -> Self {
        Self {
            pid,
            dir: dir.into(),
        }
    }

    /// The id that it was opened with.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Opens one of its files for reading. `name` may have several parts: `task/12/stat`.
    ///
    /// # Errors
    ///
    /// If the process has ended ([`is_gone`]), or the kernel refuses it.
    pub fn open_relative(&self, name: impl Arg) -> io::Result<File> {
        self.open_relative_flags(name, OFlags::RDONLY | OFlags::CLOEXEC)
    }

    /// Opens one of its files with `flags`, which should have `CLOEXEC`.
    ///
    /// # Errors
    ///
    /// As [`ProcDir::open_relative`].
    pub fn open_relative_flags(&self, name: impl Arg, flags: OFlags) -> io::Result<File> {
        Ok(openat(&self.dir, name, flags, Mode::empty())?.into())
    }

    /// Returns the ids of its threads.
    ///
    /// # Errors
    ///
    /// As [`ProcDir::open_relative`].
    pub fn threads(&self) -> io::Result<impl Iterator<Item = u32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = Dir::new(self.open_relative_flags("task", flags)?)?;
        // `.` and `..` are no numbers.
        Ok(entries
            .flatten()
            .filter_map(|entry| super::number(entry.file_name().to_bytes())))
    }

    /// Returns where one of its links leads.
    ///
    /// # Errors
    ///
    /// As [`ProcDir::open_relative`].
    pub fn link(&self, name: impl Arg) -> io::Result<PathBuf> {
        let path = readlinkat(&self.dir, name, Vec::new())?;
        Ok(OsString::from_vec(path.into_bytes()).into())
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Returns true if an error of a file in `/proc/PID` says that the file or the process is not there: an open of a file of a process
/// that has ended, and a read of one opened before, fail with `ESRCH`.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    let raw = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(raw, Some(Errno::NOENT | Errno::SRCH))
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Seconds since 1970 at which a process started; `ticks` is the start as `/proc/PID/stat` has it, since boot. `None` if `/proc/stat`
/// cannot be read.
#[must_use]
pub fn start_time(ticks: u64) -> Option<i64> {
    let mut bytes = Vec::new();
    let file = File::open("/proc/stat").ok()?;
    file.take(super::MOST).read_to_end(&mut bytes).ok()?;
    let booted: i64 = bytes
        .split(|&byte| byte == b'\n')
        .find_map(|line| super::number(line.strip_prefix(b"btime ")?))?;
    let since = i64::try_from(ticks / rustix::param::clock_ticks_per_second()).ok()?;
    booted.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stays_that_of_the_process_that_it_was_opened_for() {
        let own = ProcDir::open(std::process::id()).unwrap();
        assert_eq!(own.pid(), std::process::id());
        assert!(own.open_relative("stat").is_ok());
        let program = std::env::current_exe().unwrap();
        assert_eq!(own.link("exe").unwrap(), program);
        assert!(own.threads().unwrap().any(|id| id == std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let held = ProcDir::open(child.id()).unwrap();
        let file = held.open_relative("stat").unwrap();
        child.wait().unwrap();
        assert!(is_gone(&held.open_relative("stat").unwrap_err()));
        assert!(is_gone(&(&file).read(&mut [0; 16]).unwrap_err()));
        assert!(is_gone(&ProcDir::open(u32::MAX).unwrap_err()));
        let refused = io::Error::from_raw_os_error(libc::EACCES);
        assert!(!is_gone(&refused));
    }

    #[test]
    fn a_start_is_a_time_of_the_clock() {
        let mut bytes = Vec::new();
        let own = ProcDir::own().unwrap();
        let mut file = own.open_relative("stat").unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let ticks = super::super::stat(&bytes).unwrap().start_ticks;
        let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let age = since_1970 - start_time(ticks).unwrap();
        assert!((-2..3600).contains(&age), "{age}");
    }
}
