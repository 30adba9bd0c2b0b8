//! Where a result goes: into a file without a name, or beside the final one, then renamed, so that the file is whole or absent,
//! and nothing is left of it should memtrace be killed. Never through a link.
//!
//! The file is made by the user who started memtrace, so a folder that only this user can write to (NFS) takes it. Only where
//! this user may not, and root typed it through sudo, does root make it. It belongs to the user in both cases.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, fchown, fcntl_setfl, fstat,
        linkat, openat, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
    process::{Uid, geteuid},
};

pub use super::error::FileError;
use super::error::RenameError;
use super::{
    folder::{self, FolderError},
    journal::JournalFile,
};
use crate::{
    model::errno_text,
    privilege::{Invoker, as_invoker},
};

/// A file to be written once, at the end.
pub struct Pending {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Written beside, then renamed.
    Regular(Beside),
    /// A device or a pipe: written to as it is.
    Special(File),
}

impl Pending {
    /// Makes sure that `path` can be written, before anything is traced, by who started memtrace: `invoker` where that is another
    /// one than the present user. Also makes the journal that the file will come from.
    ///
    /// # Errors
    ///
    /// Where it cannot, or there is a journal already.
    pub fn create(path: &Path, invoker: Option<Invoker>) -> Result<(Self, JournalFile), FileError> {
        let invoker = invoker.as_ref();
        by_invoker(
            path,
            invoker,
            || Self::open(path, invoker),
            |(pending, journal), invoker| {
                if let Kind::Regular(beside) = &pending.kind {
                    beside.give(path, invoker)?;
                    journal.give(invoker)?;
                }
                Ok(())
            },
        )
    }

    /// By the present thread's user.
    fn open(path: &Path, invoker: Option<&Invoker>) -> Result<(Self, JournalFile), FileError> {
        let (kind, journal) = match destination(path, invoker)? {
            Destination::Special(file) => (Kind::Special(file), JournalFile::unnamed(invoker)?),
            Destination::Regular(folder) => {
                let journal = JournalFile::beside(path, &folder, trusted(invoker))?;
                let failed = |errno| failure(path, geteuid(), errno);
                let beside = Beside::create(folder).map_err(failed)?;
                (Kind::Regular(beside), journal)
            }
        };
        let pending = Self {
            path: path.to_owned(),
            kind,
        };
        Ok((pending, journal))
    }

    /// As [`create`](Self::create), for a file that comes of no journal of its own.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn alone(path: &Path, invoker: Option<Invoker>) -> Result<Self, FileError> {
        let invoker = invoker.as_ref();
        let make = || {
            let kind = match destination(path, invoker)? {
                Destination::Special(file) => Kind::Special(file),
                Destination::Regular(folder) => {
                    let failed = |errno| failure(path, geteuid(), errno);
                    Kind::Regular(Beside::create(folder).map_err(failed)?)
                }
            };
            Ok(Self {
                path: path.to_owned(),
                kind,
            })
        };
        by_invoker(path, invoker, make, |pending, invoker| {
            match &pending.kind {
                Kind::Special(_) => Ok(()),
                Kind::Regular(beside) => beside.give(path, invoker),
            }
        })
    }

    /// Whether the file could get its name, with the privileges that memtrace has at this moment.
    pub fn can_finish(&mut self) -> bool {
        match &mut self.kind {
            Kind::Special(_) => true,
            Kind::Regular(beside) => beside.rename_aside().is_ok(),
        }
    }

    /// Writes the contents, and gives the file its name.
    ///
    /// # Errors
    ///
    /// Where writing fails; then there is no file of this name, or the old one.
    pub fn write(
        self,
        contents: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let Self { path, kind } = self;
        let failed = |error: io::Error| io_error(&path, error);
        match kind {
            Kind::Special(file) => {
                let mut out = BufWriter::new(file);
                // There is no room to be made in a device's folder.
                contents(&mut out)
                    .and_then(|()| out.flush())
                    .map_err(|error| FileError::Io {
                        path: text(&path),
                        reason: error.to_string(),
                    })
            }
            Kind::Regular(beside) => {
                let mut out = BufWriter::new(&beside.file);
                contents(&mut out)
                    .and_then(|()| out.flush())
                    .map_err(failed)?;
                drop(out);
                beside.file.sync_all().map_err(failed)?;
                let name = path.file_name().unwrap_or_default();
                beside.finish(name).map_err(|(error, beside)| {
                    let reason = error.to_string();
                    // What was captured is worth more than a tidy folder.
                    match beside.keep() {
                        Some(name) => FileError::NotNamed {
                            path: text(&path),
                            reason,
                            whole: text(&path.with_file_name(name)),
                        },
                        None => FileError::Io {
                            path: text(&path),
                            reason,
                        },
                    }
                })
            }
        }
    }
}

/// Where a result may go.
pub(super) enum Destination {
    /// Into this folder, as a new file.
    Regular(OwnedFd),
    /// A device or a pipe.
    Special(File),
}

/// Whose files and links are trusted: root's, the present user's, and those of who started memtrace.
pub(super) fn trusted(invoker: Option<&Invoker>) -> impl Fn(Uid) -> bool + Copy {
    let uid = geteuid();
    let invoker = invoker.map(|invoker| invoker.uid);
    move |owner: Uid| owner.is_root() || owner == uid || invoker == Some(owner)
}

/// Makes something as who started memtrace. Only where this user may not, and root typed it through sudo, root does, and gives it to
/// the user.
pub(super) fn by_invoker<T: Send>(
    path: &Path,
    invoker: Option<&Invoker>,
    make: impl Fn() -> Result<T, FileError> + Sync,
    give: impl FnOnce(&T, &Invoker) -> Result<(), FileError>,
) -> Result<T, FileError> {
    match (as_invoker(invoker, &make), invoker) {
        (Ok(Err(FileError::Denied { .. })) | Err(_), Some(invoker)) => {
            let made = make()?;
            give(&made, invoker)?;
            Ok(made)
        }
        (Ok(made), _) => made,
        (Err(error), None) => Err(io_error(path, error)),
    }
}

/// Looks at what is there under this name, by the present thread's user, and whether it may be written to or replaced.
pub(super) fn destination(
    path: &Path,
    invoker: Option<&Invoker>,
) -> Result<Destination, FileError> {
    let uid = geteuid();
    let trusted = trusted(invoker);
    let failed = |errno| failure(path, uid, errno);
    let dir = folder_of(path);
    let name = match path.file_name() {
        Some(name) => PathBuf::from(name),
        None => return Err(FileError::IsFolder { path: text(path) }),
    };
    let folder = folder::open(dir, trusted).map_err(|error| match error {
        FolderError::Kernel(Errno::NOENT) => FileError::NoFolder {
            path: text(path),
            dir: text(dir),
        },
        FolderError::Kernel(errno) => failed(errno),
        FolderError::ForeignLink {
            link,
            owner,
            target,
        } => FileError::ForeignLink {
            path: text(path),
            link: text(&link),
            owner,
            target: text(&target),
        },
    })?;
    let found = match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(failed(errno)),
    };
    let kind = found.as_ref().map(kind_of);
    let owner = found.as_ref().map(|found| Uid::from_raw(found.st_uid));
    match (kind, owner) {
        (Some(FileType::Directory), _) => Err(FileError::IsFolder { path: text(path) }),
        (Some(FileType::Symlink), _) => Err(FileError::IsLink { path: text(path) }),
        (Some(FileType::Socket), _) => Err(FileError::IsSocket { path: text(path) }),
        (Some(FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo), Some(owner)) => {
            if !trusted(owner) {
                // Whoever reads from it would read the capture.
                return Err(FileError::Foreign {
                    path: text(path),
                    owner,
                });
            }
            let file = special(&folder, &name).map_err(|errno| match errno {
                Errno::NXIO if kind == Some(FileType::Fifo) => {
                    FileError::NoReader { path: text(path) }
                }
                errno => failed(errno),
            })?;
            Ok(Destination::Special(file))
        }
        _ => match owner {
            Some(owner)
                if invoker.is_none_or(|invoker| invoker.uid != owner)
                    && keeps_others(&folder, owner).map_err(failed)? =>
            {
                Err(FileError::Foreign {
                    path: text(path),
                    owner,
                })
            }
            _ => Ok(Destination::Regular(folder)),
        },
    }
}

/// Returns whether a folder is sticky, so that a file of `owner` in it is not the present user's to replace. The kernel refuses it
/// to all but the folder's owner and root; memtrace refuses it to root too, who owns most such folders.
fn keeps_others(folder: &OwnedFd, owner: Uid) -> Result<bool, Errno> {
    let uid = geteuid();
    let shared = fstat(folder)?;
    let sticky = Mode::from_raw_mode(shared.st_mode).contains(Mode::SVTX);
    Ok(sticky && owner != uid && (uid.is_root() || Uid::from_raw(shared.st_uid) != uid))
}

/// A file that has not got its name yet.
pub(super) struct Beside {
    folder: OwnedFd,
    file: File,
    /// A name of its own, which goes with this value. None where the file system knows files without one: then nothing is left
    /// over, however memtrace ends.
    name: Option<OsString>,
}

impl Beside {
    pub(super) fn create(folder: OwnedFd) -> Result<Self, Errno> {
        // NFS and some others have no files without a name, and say so in several ways.
        let (file, name) = match unnamed(&folder) {
            Ok(file) => (file, None),
            Err(_) => {
                let (name, file) = fresh(|name| named(&folder, name))?;
                (file, Some(name))
            }
        };
        Ok(Self { folder, file, name })
    }

    /// Gives it another name beside: what may be done now, may be done at the end.
    fn rename_aside(&mut self) -> Result<(), Errno> {
        match &self.name {
            Some(name) => {
                let aside = fresh_name();
                renameat(
                    &self.folder,
                    Path::new(name),
                    &self.folder,
                    Path::new(&aside),
                )?;
                self.name = Some(aside);
            }
            None => {
                // With another one: what has had a name and lost it gets none again.
                let trial = unnamed(&self.folder)?;
                let (aside, ()) = fresh(|name| link(&trial, &self.folder, name))?;
                Self {
                    folder: self.folder.try_clone().map_err(|_| Errno::MFILE)?,
                    file: trial,
                    name: Some(aside),
                }
                .rename_aside()?;
            }
        }
        Ok(())
    }

    /// A file of the same contents under a name beside.
    fn copy(&self) -> io::Result<(OsString, File)> {
        let (name, mut copy) = fresh(|name| named(&self.folder, name))?;
        let mut source = &self.file;
        source.seek(SeekFrom::Start(0))?;
        io::copy(&mut source, &mut copy)?;
        copy.sync_all()?;
        Ok((name, copy))
    }

    fn finish(mut self, name: &OsStr) -> Result<(), (RenameError, Self)> {
        match self.rename(name) {
            Ok(()) => Ok(()),
            Err(error) => Err((error, self)),
        }
    }

    /// Gives it its name; it goes on being written to.
    pub(super) fn rename(&mut self, name: &OsStr) -> Result<(), RenameError> {
        let beside = match self.name.take() {
            Some(beside) => beside,
            None => match fresh(|name| link(&self.file, &self.folder, name)) {
                Ok((name, ())) => name,
                // Of a file that belongs to somebody else by now the kernel does not let everybody do so: proc_sys_fs(5),
                // protected_hardlinks.
                Err(_) => {
                    let (name, copy) = self.copy()?;
                    self.file = copy;
                    name
                }
            },
        };
        // In a folder that others may write to, something else could have been put in its place.
        if !self.is_here(Path::new(&beside)) {
            let gone = Path::new(&beside).display().to_string();
            return Err(RenameError::Removed(gone));
        }
        let renamed = self.replace(Path::new(&beside), Path::new(name));
        if renamed.is_err() {
            self.name = Some(beside);
        }
        renamed
    }

    /// Renames it, in place of what has the name, unless that is somebody else's in a sticky folder. What has come there since
    /// [`destination`] looked is looked at: in such a folder nobody can swap what is one's own for something else.
    fn replace(&self, beside: &Path, name: &Path) -> Result<(), RenameError> {
        // Where it fails, there is something, or the file system does not know the flag.
        if renameat_with(
            &self.folder,
            beside,
            &self.folder,
            name,
            RenameFlags::NOREPLACE,
        )
        .is_ok()
        {
            return Ok(());
        }
        if let Ok(found) = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            let owner = Uid::from_raw(found.st_uid);
            let own = fstat(&self.file)?.st_uid == found.st_uid;
            if !own && keeps_others(&self.folder, owner)? {
                return Err(RenameError::Foreign(owner));
            }
        }
        Ok(renameat(&self.folder, beside, &self.folder, name)?)
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Gives it to somebody else.
    pub(super) fn give(&self, path: &Path, invoker: &Invoker) -> Result<(), FileError> {
        fchown(&self.file, Some(invoker.uid), Some(invoker.gid))
            .map_err(|errno| io_error(path, errno))
    }

    fn is_here(&self, name: &Path) -> bool {
        is_here(&self.file, &self.folder, name)
    }

    /// Leaves it where it is: under this name, if it has got one.
    fn keep(mut self) -> Option<OsString> {
        self.name.take()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && self.is_here(Path::new(&name))
        {
            let _ = unlinkat(&self.folder, Path::new(&name), AtFlags::empty());
        }
    }
}

/// Whether the file has this name.
pub(super) fn is_here(file: &File, folder: &OwnedFd, name: &Path) -> bool {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    match (fstat(file), found) {
        (Ok(own), Ok(found)) => (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino),
        _ => false,
    }
}

/// As any program makes its files: the umask and the folder's own rules decide.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o666);

fn unnamed(folder: &OwnedFd) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    openat(folder, ".", flags, MODE).map(File::from)
}

fn named(folder: &OwnedFd, name: &Path) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, MODE).map(File::from)
}

/// Gives a file without a name this one, which nothing else may have.
fn link(file: &File, folder: &OwnedFd, name: &Path) -> Result<(), Errno> {
    // By the descriptor alone, the kernel wants CAP_DAC_READ_SEARCH: open(2), O_TMPFILE.
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, own.as_str(), folder, name, AtFlags::SYMLINK_FOLLOW)
}

/// Makes something under a name that nothing else in the folder has.
pub(super) fn fresh<T>(make: impl Fn(&Path) -> Result<T, Errno>) -> Result<(OsString, T), Errno> {
    loop {
        let name = fresh_name();
        match make(Path::new(&name)) {
            Ok(made) => return Ok((name, made)),
            // Somebody guessed it: the next name is another one.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Unlike any other in the folder, though not secret: a file that is there already is never opened.
fn fresh_name() -> OsString {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = now.map_or(0, |now| now.as_nanos());
    format!(".memtrace-{}-{ns:x}.tmp", std::process::id()).into()
}

/// Opens a device or a pipe, which must still be one. It is not waited for a reader.
fn special(folder: impl AsFd, name: &Path) -> Result<File, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let file = openat(&folder, name, flags, Mode::empty())?;
    let opened = fstat(&file)?;
    if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino) {
        return Err(Errno::AGAIN);
    }
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(File::from(file))
}

pub(super) const fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn failure(path: &Path, uid: Uid, errno: Errno) -> FileError {
    match errno {
        Errno::ACCESS | Errno::PERM => FileError::Denied {
            path: text(path),
            uid,
            reason: errno_text(errno),
        },
        Errno::ROFS => FileError::ReadOnly {
            path: text(path),
            dir: text(folder_of(path)),
        },
        // The folder is held open, so it was there.
        Errno::NOENT => FileError::Removed {
            path: text(path),
            dir: text(folder_of(path)),
        },
        errno => io_error(path, errno),
    }
}

pub(super) fn io_error(path: &Path, error: impl Into<io::Error>) -> FileError {
    let error = error.into();
    let (path_text, reason) = (text(path), error.to_string());
    match error.kind() {
        kind @ (io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge) => FileError::Full {
            remedy: remedy(kind, folder_of(path)),
            path: path_text,
            reason,
        },
        _ => FileError::Io {
            path: path_text,
            reason,
        },
    }
}

/// Returns what the user can do about a file that could not be written to its end.
pub(super) fn remedy(kind: io::ErrorKind, folder: &Path) -> String {
    match kind {
        io::ErrorKind::FileTooLarge => {
            "raise RLIMIT_FSIZE (type: sudo prlimit --pid $$ --fsize=unlimited), or use a file system that takes larger files".to_owned()
        }
        _ => format!("make room in {}", text(folder)),
    }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileTypeExt};

    use super::*;

    /// Without its journal, of which nothing is left.
    fn create(path: &Path) -> Result<Pending, FileError> {
        Pending::create(path, None).map(|(pending, _)| pending)
    }

    fn write(pending: Pending, text: &str) -> Result<(), FileError> {
        pending.write(|out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn the_file_is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let pending = create(&path).unwrap();
        assert!(!path.exists());
        if matches!(&pending.kind, Kind::Regular(beside) if beside.name.is_none()) {
            // Nothing could be left over, should this be its end.
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        let failed = pending.write(|out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        write(create(&path).unwrap(), "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn without_files_that_have_no_name_it_is_written_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let pending = || {
            let folder = folder::open(dir.path(), |_| true).unwrap();
            let name = fresh_name();
            let file = File::create_new(dir.path().join(&name)).unwrap();
            Pending {
                path: path.clone(),
                kind: Kind::Regular(Beside {
                    folder,
                    file,
                    name: Some(name),
                }),
            }
        };
        drop(pending());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut whole = pending();
        assert!(whole.can_finish());
        write(whole, "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_put_in_its_place_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let folder = folder::open(dir.path(), |_| true).unwrap();
        let name = fresh_name();
        let pending = Pending {
            path: path.clone(),
            kind: Kind::Regular(Beside {
                folder,
                file: File::create_new(dir.path().join(&name)).unwrap(),
                name: Some(name.clone()),
            }),
        };
        fs::remove_file(dir.path().join(&name)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(&name)).unwrap();
        let said = write(pending, "capture").unwrap_err().to_string();
        assert!(said.contains("another program has removed"), "{said}");
        assert!(!path.exists());
        assert!(dir.path().join(&name).is_symlink());
    }

    #[test]
    fn what_cannot_be_linked_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let pending = create(&path).unwrap();
        if let Kind::Regular(beside) = &pending.kind
            && beside.name.is_none()
        {
            // It has had a name, and gets none again.
            let (name, ()) = fresh(|name| link(&beside.file, &beside.folder, name)).unwrap();
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        write(pending, "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn trying_the_name_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let mut pending = create(&path).unwrap();
        assert!(pending.can_finish());
        write(pending, "whole").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        drop(create(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = dir.path().join("capture.json");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let Err(error) = create(&link) else {
            panic!("it must be refused")
        };
        assert!(error.to_string().contains("symbolic link"));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_link_that_appears_meanwhile_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = dir.path().join("capture.json");
        let pending = create(&path).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        write(pending, "capture").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "capture");
    }

    #[test]
    fn a_device_stays_a_device() {
        let pending = create(Path::new("/dev/null")).unwrap();
        write(pending, "gone").unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn missing_folders_and_folders_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a/b/capture.json");
        let Err(error) = create(&missing) else {
            panic!("it must be refused")
        };
        assert!(error.to_string().contains("mkdir -p"));
        let Err(error) = create(dir.path()) else {
            panic!("it must be refused")
        };
        assert!(error.to_string().contains("is a folder"));
    }
}
