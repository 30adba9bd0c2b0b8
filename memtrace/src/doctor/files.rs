//! The kernel's files, below a folder that stands for `/`: a host to look at, or one that a test has written down.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::proc::cgroup::{Mount, mount};

/// A root folder.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

/// What reading a file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Its contents, without white space around them.
    Here(String),
    /// There is no such file.
    Absent,
    /// It is there, and cannot be read.
    Unreadable(String),
}

impl Text {
    /// The contents.
    #[must_use]
    pub fn here(&self) -> Option<&str> {
        match self {
            Self::Here(text) => Some(text),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

impl Files {
    /// The files below `root`.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Reads a file.
    #[must_use]
    pub fn read(&self, path: &str) -> Text {
        match fs::read(self.path(path)) {
            Ok(bytes) => Text::Here(String::from_utf8_lossy(&bytes).trim().to_owned()),
            Err(error) => failed(&error),
        }
    }

    /// Bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<u64> {
        fs::metadata(self.path(path)).ok().map(|found| found.len())
    }

    /// What a link says.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// Names in a folder, in order. None where it cannot be read.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Whether a folder can be looked into.
    ///
    /// # Errors
    ///
    /// What the kernel says where it cannot.
    pub fn open_folder(&self, path: &str) -> Result<(), Text> {
        fs::read_dir(self.path(path))
            .map(|_| ())
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &io::Error) -> Text {
    match error.kind() {
        // A sysctl of another namespace, or of an option that the kernel was built without.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Text::Absent,
        _ => {
            let text = error.to_string();
            let reason = text
                .split_once(" (os error")
                .map_or(text.as_str(), |cut| cut.0);
            Text::Unreadable(reason.to_owned())
        }
    }
}

/// The value of a line `name: value` or `name value`.
#[must_use]
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The choice in brackets: `always [madvise] never`.
#[must_use]
pub fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// The mounts in `/proc/PID/mountinfo`. A line that is not one is left out.
#[must_use]
pub fn mounts(mountinfo: &str) -> Vec<Mount<'_>> {
    mountinfo
        .lines()
        .filter_map(|line| mount(line.as_bytes()))
        .collect()
}

/// The value of an option, of the filesystem's or of the mount's own.
#[must_use]
pub fn option<'a>(mount: &Mount<'a>, name: &str) -> Option<&'a str> {
    [mount.options, mount.mount_options]
        .into_iter()
        .filter_map(|options| std::str::from_utf8(options).ok())
        .flat_map(|options| options.split(','))
        .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

/// The root folder of the host that this runs on.
#[must_use]
pub fn host() -> Files {
    Files::below(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "CapEffective:\t1\nCapEff:\t00ff\nName:\tx";
        assert_eq!(field(text, "CapEff"), Some("00ff"));
        assert_eq!(field(text, "Cap"), None);
        assert_eq!(field("", "CapEff"), None);
    }

    #[test]
    fn the_choice_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("always"), None);
        assert_eq!(chosen("[cut"), None);
    }

    #[test]
    fn mounts_are_read_with_both_kinds_of_options() {
        let text = "25 1 0:23 / /proc rw,nosuid shared:5 - proc proc rw,hidepid=invisible\n\
            garbage\n\
            30 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        let found = mounts(text);
        assert_eq!(found.len(), 2);
        assert_eq!(option(&found[0], "hidepid"), Some("invisible"));
        assert_eq!(option(&found[0], "nosuid"), None);
        assert_eq!(found[1].kind, b"cgroup2");
    }

    #[test]
    fn absent_and_unreadable_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::below(dir.path());
        assert_eq!(files.read("/no/such/file"), Text::Absent);
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert_eq!(
            files.read("/folder"),
            Text::Unreadable("Is a directory".into())
        );
    }
}
