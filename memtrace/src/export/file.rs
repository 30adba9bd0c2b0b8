//! Where a result goes: beside the final name first, then renamed, so that the file is whole or absent. Never through a link.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::target::Invoker;

/// Why a file cannot be written. Each says what was found, what is needed, and what to type.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No such folder.
    #[error("cannot write {path}: the folder {dir} does not exist; type: mkdir -p {dir}")]
    NoFolder {
        /// The file.
        path: String,
        /// Its folder.
        dir: String,
    },
    /// A folder where a file is wanted.
    #[error(
        "cannot write {path}: it is a folder; give the name of a file in it, such as {path}/capture.json"
    )]
    IsFolder {
        /// The name.
        path: String,
    },
    /// A link.
    #[error(
        "cannot write {path}: it is a symbolic link, which memtrace does not follow; give the name of the file itself, or - for standard output"
    )]
    IsLink {
        /// The name.
        path: String,
    },
    /// Anything else.
    #[error("cannot write {path}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What the kernel said.
        reason: String,
    },
}

/// A file to be written once, at the end.
pub struct Pending {
    path: PathBuf,
    kind: Kind,
    owner: Option<Invoker>,
}

enum Kind {
    /// Written beside, then renamed.
    Regular(NamedTempFile),
    /// A device or a pipe: written to as it is.
    Special(fs::File),
}

impl Pending {
    /// Makes sure that `path` can be written, before anything is traced.
    ///
    /// # Errors
    ///
    /// Where it cannot.
    pub fn create(path: &Path, owner: Option<Invoker>) -> Result<Self, FileError> {
        let name = || path.display().to_string();
        let io_error = |error: io::Error| FileError::Io {
            path: name(),
            reason: error.to_string(),
        };
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        if !dir.is_dir() {
            return Err(FileError::NoFolder {
                path: name(),
                dir: dir.display().to_string(),
            });
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(FileError::IsFolder { path: name() }),
            Ok(found) if found.is_symlink() => return Err(FileError::IsLink { path: name() }),
            Ok(found)
                if found.file_type().is_char_device()
                    || found.file_type().is_fifo()
                    || found.file_type().is_block_device() =>
            {
                let file = OpenOptions::new()
                    .write(true)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(path)
                    .map_err(io_error)?;
                return Ok(Self {
                    path: path.to_owned(),
                    kind: Kind::Special(file),
                    owner: None,
                });
            }
            _ => {}
        }
        let temporary = tempfile::Builder::new()
            .prefix(".memtrace-")
            .suffix(".tmp")
            .tempfile_in(dir)
            .map_err(io_error)?;
        Ok(Self {
            path: path.to_owned(),
            kind: Kind::Regular(temporary),
            owner,
        })
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
        let Self { path, kind, owner } = self;
        let io_error = |error: io::Error| FileError::Io {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        match kind {
            Kind::Special(file) => {
                let mut out = BufWriter::new(file);
                contents(&mut out)
                    .and_then(|()| out.flush())
                    .map_err(io_error)
            }
            Kind::Regular(mut temporary) => {
                let mut out = BufWriter::new(temporary.as_file_mut());
                contents(&mut out)
                    .and_then(|()| out.flush())
                    .map_err(io_error)?;
                drop(out);
                let file = temporary.as_file();
                file.set_permissions(fs::Permissions::from_mode(0o644))
                    .map_err(io_error)?;
                if let Some(owner) = &owner {
                    chown(
                        temporary.path(),
                        Some(owner.uid.as_raw()),
                        Some(owner.gid.as_raw()),
                    )
                    .map_err(io_error)?;
                }
                file.sync_all().map_err(io_error)?;
                temporary
                    .persist(&path)
                    .map_err(|error| io_error(error.error))?;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pending: Pending, text: &str) -> Result<(), FileError> {
        pending.write(|out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn the_file_is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.json");
        let pending = Pending::create(&path, None).unwrap();
        assert!(!path.exists());
        let failed = pending.write(|out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        write(Pending::create(&path, None).unwrap(), "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = dir.path().join("capture.json");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let Err(error) = Pending::create(&link, None) else {
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
        let pending = Pending::create(&path, None).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        write(pending, "capture").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "capture");
    }

    #[test]
    fn a_device_stays_a_device() {
        let pending = Pending::create(Path::new("/dev/null"), None).unwrap();
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
        let Err(error) = Pending::create(&missing, None) else {
            panic!("it must be refused")
        };
        assert!(error.to_string().contains("mkdir -p"));
        let Err(error) = Pending::create(dir.path(), None) else {
            panic!("it must be refused")
        };
        assert!(error.to_string().contains("is a folder"));
    }
}
