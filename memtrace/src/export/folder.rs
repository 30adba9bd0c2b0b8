//! The folder that a file goes into, held by a descriptor, so that whatever happens to its path later changes nothing.
//!
//! The kernel's own protection (`fs.protected_symlinks`) is off by default, covers sticky folders only, and lets root be led
//! astray elsewhere; refusing every link (`openat2`, `RESOLVE_NO_SYMLINKS`) would refuse `/var/run` and a user's own shortcuts.
//! So each link is looked at: root's and the user's own are followed.

use std::{
    collections::VecDeque,
    ffi::OsString,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat},
    io::Errno,
    process::Uid,
};

/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Why a folder could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderError {
    /// What the kernel said.
    Kernel(Errno),
    /// Somebody else's link.
    ForeignLink {
        /// The link.
        link: PathBuf,
        /// Whose it is.
        owner: Uid,
        /// Where it leads.
        target: PathBuf,
    },
}

impl From<Errno> for FolderError {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// Opens a folder, by a path on which every link belongs to somebody whom `trusted` knows.
///
/// # Errors
///
/// Where there is no such folder, or it may not be entered, or a link is somebody else's.
pub fn open(path: &Path, trusted: impl Fn(Uid) -> bool) -> Result<OwnedFd, FolderError> {
    let mut left = VecDeque::new();
    prepend(&mut left, path);
    let mut at = enter(CWD, Path::new("."))?;
    let mut shown = PathBuf::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        // The kernel's own links, such as /proc/PID/cwd, lead where no text says.
        if fstatfs(&at)?.f_type == PROC_SUPER_MAGIC {
            at = enter(&at, Path::new(&name))?;
            shown.push(&name);
            continue;
        }
        let found = openat(
            &at,
            Path::new(&name),
            STAY | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            at = enter(&found, Path::new("."))?;
            shown.push(&name);
            continue;
        }
        let target = PathBuf::from(OsString::from_vec(
            readlinkat(&found, "", Vec::new())?.into_bytes(),
        ));
        let owner = Uid::from_raw(stat.st_uid);
        if !trusted(owner) {
            return Err(FolderError::ForeignLink {
                link: shown.join(name),
                owner,
                target,
            });
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        prepend(&mut left, &target);
    }
    Ok(at)
}

/// A descriptor that stands for a place, and reads nothing.
const STAY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn enter(at: impl AsFd, name: &Path) -> Result<OwnedFd, FolderError> {
    Ok(openat(at, name, STAY | OFlags::DIRECTORY, Mode::empty())?)
}

fn prepend(left: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        if component != Component::CurDir {
            left.push_front(component.as_os_str().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn same(fd: &OwnedFd, path: &Path) -> bool {
        let (found, wanted) = (fstat(fd).unwrap(), rustix::fs::stat(path).unwrap());
        (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
    }

    #[test]
    fn the_walk_ends_where_the_kernel_would() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        symlink("b", root.join("a/relative")).unwrap();
        symlink(root.join("a/b"), root.join("absolute")).unwrap();
        symlink("../a/relative/..", root.join("a/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for path in [
            "",
            ".",
            "a",
            "a/b/c",
            "a/./b/../b",
            "a/relative/c",
            "absolute/c",
            "a/up/b",
            "a/up/..",
        ] {
            let path = root.join(path);
            assert!(same(&open(&path, |_| true).unwrap(), &path), "{path:?}");
        }
        for path in [
            "/",
            "/..",
            ".",
            "..",
            "/proc/self/cwd",
            "/proc/self/root/proc",
        ] {
            let path = Path::new(path);
            assert!(same(&open(path, |_| true).unwrap(), path), "{path:?}");
        }
        fs::write(root.join("file"), "").unwrap();
        for (path, errno) in [
            ("missing", Errno::NOENT),
            ("missing/../a", Errno::NOENT),
            ("file", Errno::NOTDIR),
            ("file/..", Errno::NOTDIR),
            ("loop", Errno::LOOP),
        ] {
            let error = open(&root.join(path), |_| true).unwrap_err();
            assert_eq!(error, errno.into(), "{path}");
        }
    }

    #[test]
    fn somebody_elses_link_is_named_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join("link")).unwrap();
        let error = open(&dir.path().join("link/x"), |_| false).unwrap_err();
        let FolderError::ForeignLink { link, target, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(link, dir.path().join("link"));
        assert_eq!(target, Path::new("/etc"));
    }
}
