//! The journal's file: beside the capture file, under its name with `.partial` behind it, or without a name where the capture
//! goes to a pipe.
//!
//! What lies there is never overwritten: it is what a memtrace that was killed has left, or another one writes it. Which of the
//! two, a lock tells, which the kernel takes back with the process.

use std::{
    env,
    ffi::OsString,
    fs::{File, TryLockError},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fchown, fstat, openat, statat, unlinkat},
    io::Errno,
    process::{Uid, geteuid},
};

use super::{
    file::{
        FileError, MODE, failure, folder_of, fresh, io_error, is_here, kind_of, remedy, text,
        trusted,
    },
    folder,
};
use crate::{
    model::errno_words,
    privilege::{Invoker, as_invoker},
};

/// What is put behind the capture file's name.
const SUFFIX: &str = ".partial";
/// Where files without a name are made, unless `TMPDIR` says otherwise. The first is on a disk on most hosts.
const TEMPORARY: [&str; 2] = ["/var/tmp", "/tmp"];
/// How often it is tried again where somebody else was faster.
const TRIES: u32 = 20;

/// Where the journal of the capture file `path` is.
#[must_use]
pub fn partial_of(path: &Path) -> PathBuf {
    path.with_file_name(name_of(path))
}

fn name_of(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    name
}

/// A journal that is being written. One in which no tick has been noted goes with this value; any other one stays until
/// [`Self::remove`].
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    /// As it is said to people.
    path: PathBuf,
    /// Its folder and its name there, if it has one.
    place: Option<(OwnedFd, OsString)>,
    /// Bytes of whole lines.
    length: u64,
    lines: u64,
}

impl JournalFile {
    /// Makes the journal of the capture file `path`, whose folder is held open, by the present thread's user. Only what belongs
    /// to somebody whom `trusted` knows is looked into.
    pub(super) fn beside(
        path: &Path,
        folder: &OwnedFd,
        trusted: impl Fn(Uid) -> bool,
    ) -> Result<Self, FileError> {
        let name = name_of(path);
        let partial = path.with_file_name(&name);
        for _ in 0..TRIES {
            match made(folder, Path::new(&name), MODE) {
                Ok(file) => {
                    // Where the file system knows no locks, it goes without.
                    let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
                    // Another one may have taken it for an empty one that was left.
                    if taken || !is_here(&file, folder, Path::new(&name)) {
                        continue;
                    }
                    let folder = folder
                        .try_clone()
                        .map_err(|error| io_error(&partial, error))?;
                    return Ok(Self {
                        file,
                        path: partial,
                        place: Some((folder, name)),
                        length: 0,
                        lines: 0,
                    });
                }
                Err(Errno::EXIST) => {
                    clear(path, &partial, folder, Path::new(&name), &trusted)?;
                }
                Err(errno) => return Err(failure(&partial, geteuid(), errno)),
            }
        }
        Err(io_error(&partial, Errno::BUSY))
    }

    /// Makes a journal without a name in a temporary folder, by who started memtrace. Nothing is left over of it, however
    /// memtrace ends.
    ///
    /// # Errors
    ///
    /// Where there is no folder for it.
    pub fn unnamed(invoker: Option<&Invoker>) -> Result<Self, FileError> {
        let (file, path) =
            unnamed(invoker).map_err(|reasons| FileError::NoTemporary { reasons })?;
        Ok(Self {
            file,
            path,
            place: None,
            length: 0,
            lines: 0,
        })
    }

    /// Where it lies; `None` where it has no name (any more).
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        let (folder, name) = self.place.as_ref()?;
        is_here(&self.file, folder, Path::new(name)).then_some(&*self.path)
    }

    /// Whether it holds more than its first line.
    #[must_use]
    pub const fn has_ticks(&self) -> bool {
        self.lines > 1
    }

    /// Puts a line behind the others, with one call. What is written of a line that does not fit is taken back.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; all lines before are there.
    pub fn append(&mut self, line: &[u8]) -> Result<(), FileError> {
        if let Err(error) = self.file.write_all_at(line, self.length) {
            // Where even that fails, a reader leaves the half of a line out.
            let _ = self.file.set_len(self.length);
            return Err(self.stopped(&error));
        }
        self.length += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    fn stopped(&self, error: &io::Error) -> FileError {
        let reason = error.to_string();
        match self.path() {
            // Without a tick in it, it does not stay.
            Some(path) if !self.has_ticks() => {
                let errno = error
                    .raw_os_error()
                    .map_or(Errno::IO, Errno::from_raw_os_error);
                io_error(path, errno)
            }
            Some(path) => FileError::Stopped {
                path: text(path),
                remedy: remedy(error.kind(), folder_of(path)),
                reason,
            },
            None => FileError::StoppedUnnamed {
                path: text(&self.path),
                remedy: remedy(error.kind(), &self.path),
                reason,
            },
        }
    }

    /// What was written.
    #[must_use]
    pub const fn contents(&self) -> &File {
        &self.file
    }

    /// What was written so far, for a reader that is not in the way of who goes on writing.
    ///
    /// # Errors
    ///
    /// Where its descriptor cannot be duplicated.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        Ok(Snapshot {
            file: self.file.try_clone()?,
            at: 0,
            end: self.length,
        })
    }

    /// Gives it to somebody else.
    pub(super) fn give(&self, invoker: &Invoker) -> Result<(), FileError> {
        fchown(&self.file, Some(invoker.uid), Some(invoker.gid))
            .map_err(|errno| io_error(&self.path, errno))
    }

    /// Removes it: everything that it holds is elsewhere.
    ///
    /// # Errors
    ///
    /// Where it stays.
    pub fn remove(mut self) -> Result<(), FileError> {
        self.unlink().map_err(|errno| FileError::NotRemoved {
            path: text(&self.path),
            reason: errno_words(errno),
        })
    }

    fn unlink(&mut self) -> Result<(), Errno> {
        match self.place.take() {
            // What somebody put in its place is not ours.
            Some((folder, name)) if is_here(&self.file, &folder, Path::new(&name)) => {
                unlinkat(&folder, Path::new(&name), AtFlags::empty())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        if !self.has_ticks() {
            let _ = self.unlink();
        }
    }
}

/// The first lines of a journal that may have more by now.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    at: u64,
    end: u64,
}

impl io::Read for Snapshot {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl io::Seek for Snapshot {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
            io::SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Makes a file without a name in a temporary folder, by who started memtrace, and says in which folder; or why there is none.
pub(super) fn unnamed(invoker: Option<&Invoker>) -> Result<(File, PathBuf), String> {
    let chosen = env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
    let dirs = chosen
        .map(PathBuf::from)
        .into_iter()
        .chain(TEMPORARY.map(PathBuf::from));
    let mut reasons = Vec::new();
    for dir in dirs {
        let make = || {
            let folder = folder::open(&dir, trusted(invoker))?;
            nameless(&folder).map_err(folder::FolderError::from)
        };
        // Root in a container may be unable to become somebody else.
        let file = as_invoker(invoker, make).unwrap_or_else(|_| make());
        match file {
            Ok(file) => return Ok((file, dir)),
            Err(folder::FolderError::Kernel(errno)) => {
                reasons.push(format!("{}: {}", text(&dir), errno_words(errno)));
            }
            Err(folder::FolderError::ForeignLink { owner, .. }) => {
                reasons.push(format!("{}: a link of user {owner}", text(&dir)));
            }
        }
    }
    Err(reasons.join("; "))
}

/// Whether another process writes this journal.
#[must_use]
pub fn is_being_written(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn made(folder: &OwnedFd, name: &Path, mode: Mode) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, mode).map(File::from)
}

fn nameless(folder: &OwnedFd) -> Result<File, Errno> {
    let private = Mode::RUSR | Mode::WUSR;
    // With O_EXCL nobody can give it a name.
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(folder, ".", flags, private) {
        Ok(file) => Ok(File::from(file)),
        // Not every file system knows them, and each says so in its own way.
        Err(_) => {
            let (name, file) = fresh(|name| made(folder, name, private))?;
            unlinkat(folder, Path::new(&name), AtFlags::empty())?;
            Ok(file)
        }
    }
}

/// What has the journal's name already: says what it is, or removes it where it is an empty one that nobody writes. A memtrace
/// that was ended while it attached has left that.
fn clear(
    path: &Path,
    partial: &Path,
    folder: &OwnedFd,
    name: &Path,
    trusted: impl Fn(Uid) -> bool,
) -> Result<(), FileError> {
    let in_the_way = || FileError::InTheWay {
        path: text(path),
        partial: text(partial),
    };
    let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        // It went meanwhile.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failure(partial, geteuid(), errno)),
    };
    if kind_of(&found) != FileType::RegularFile || !trusted(Uid::from_raw(found.st_uid)) {
        return Err(in_the_way());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(()),
        Err(_) => return Err(in_the_way()),
    };
    // A reader's lock, which lasts for a moment, is no writer's.
    if is_being_written(&file) {
        return Err(FileError::InUse {
            path: text(path),
            partial: text(partial),
        });
    }
    let is_empty = fstat(&file).is_ok_and(|found| found.st_size == 0);
    if is_empty && file.try_lock().is_ok() && is_here(&file, folder, name) {
        return unlinkat(folder.as_fd(), name, AtFlags::empty())
            .map_err(|errno| failure(partial, geteuid(), errno));
    }
    if is_empty {
        return Ok(());
    }
    Err(FileError::Left {
        path: text(path),
        partial: text(partial),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder_at(path: &Path) -> OwnedFd {
        folder::open(path, |_| true).unwrap()
    }

    fn beside(dir: &Path) -> Result<JournalFile, FileError> {
        JournalFile::beside(&dir.join("c.json"), &folder_at(dir), |_| true)
    }

    #[test]
    fn without_a_tick_it_goes_and_with_one_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("c.json.partial");
        let mut journal = beside(dir.path()).unwrap();
        assert_eq!(journal.path(), Some(&*partial));
        journal.append(b"first\n").unwrap();
        drop(journal);
        assert!(!partial.exists());
        let mut journal = beside(dir.path()).unwrap();
        journal.append(b"first\n").unwrap();
        journal.append(b"tick\n").unwrap();
        drop(journal);
        assert_eq!(fs::read_to_string(&partial).unwrap(), "first\ntick\n");
        let said = beside(dir.path()).unwrap_err().to_string();
        assert!(said.contains("did not come to its end"), "{said}");
        assert_eq!(fs::read_to_string(&partial).unwrap(), "first\ntick\n");
    }

    #[test]
    fn one_that_is_written_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let journal = beside(dir.path()).unwrap();
        let said = beside(dir.path()).unwrap_err().to_string();
        assert!(said.contains("which still runs"), "{said}");
        let file = File::open(dir.path().join("c.json.partial")).unwrap();
        assert!(is_being_written(&file));
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // An empty one that was left, and that somebody looks at.
        fs::write(dir.path().join("c.json.partial"), "").unwrap();
        assert!(!is_being_written(
            &File::open(dir.path().join("c.json.partial")).unwrap()
        ));
        beside(dir.path()).unwrap();
    }

    #[test]
    fn the_half_of_a_line_that_did_not_fit_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = beside(dir.path()).unwrap();
        journal.append(b"first\n").unwrap();
        journal.append(b"tick\n").unwrap();
        let partial = dir.path().join("c.json.partial");
        let writable = std::mem::replace(&mut journal.file, File::open(&partial).unwrap());
        let said = journal.append(b"more\n").unwrap_err().to_string();
        assert!(said.contains("memtrace report"), "{said}");
        journal.file = writable;
        journal.append(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&partial).unwrap(), "first\ntick\nmore\n");
        // What others put in its place is not removed.
        fs::remove_file(&partial).unwrap();
        fs::write(&partial, "mine").unwrap();
        assert_eq!(journal.path(), None);
        journal.remove().unwrap();
        assert_eq!(fs::read_to_string(&partial).unwrap(), "mine");
    }

    #[test]
    fn one_without_a_name_is_not_seen() {
        let mut journal = JournalFile::unnamed(None).unwrap();
        journal.append(b"first\n").unwrap();
        assert_eq!(journal.path(), None);
        let mut text = String::new();
        io::Read::read_to_string(&mut journal.contents(), &mut text).unwrap();
        assert_eq!(text, "first\n");
    }
}
