//! Why a file cannot be written.

use std::io;

use rustix::process::Uid;

use super::TooMany;
use crate::timeline::{ReadError, ReplayError};

/// Why a capture cannot be written in another format.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read a second time.
    #[error(transparent)]
    Read(ReadError),
    /// It has too many columns.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Its ticks have no time of day.
    #[error(
        "it does not say when it began, and so its ticks have no timestamps; --to csv and --to jsonl need none"
    )]
    NoTime,
    /// What was made of it cannot be written.
    #[error(transparent)]
    Write(io::Error),
}

impl From<ReplayError> for ExportError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Read(error) => Self::Read(error),
            ReplayError::Sink(error) => Self::Write(error),
        }
    }
}

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
    /// A folder that was removed while somebody, such as the shell, is in it.
    #[error(
        "cannot write {path}: the folder {dir} has been removed; change to another folder, or give the whole path of a file"
    )]
    Removed {
        /// The file.
        path: String,
        /// Its folder.
        dir: String,
    },
    /// A file system that takes no files.
    #[error(
        "cannot write {path}: the file system of {dir} is read-only; give a FILE in another folder, such as /tmp"
    )]
    ReadOnly {
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
    /// A link on the way.
    #[error(
        "cannot write {path}: on the way, {link} is a link of user {owner}, which memtrace does not follow for you; give the folder itself: {target}"
    )]
    ForeignLink {
        /// The file.
        path: String,
        /// The link.
        link: String,
        /// Whose it is.
        owner: Uid,
        /// Where it leads.
        target: String,
    },
    /// Somebody else's file, device or pipe.
    #[error(
        "cannot write {path}: it belongs to user {owner}; give another name, or remove it first"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Whose it is.
        owner: Uid,
    },
    /// A socket.
    #[error("cannot write {path}: it is a socket; give another name")]
    IsSocket {
        /// The name.
        path: String,
    },
    /// A pipe that nobody reads.
    #[error("cannot write {path}: no program reads from this pipe; start the reader first")]
    NoReader {
        /// The name.
        path: String,
    },
    /// Not allowed.
    #[error("cannot write {path}: user {uid} may not ({reason}); give a folder of your own")]
    Denied {
        /// The file.
        path: String,
        /// Who tried.
        uid: Uid,
        /// What the kernel said.
        reason: String,
    },
    /// The last step failed.
    #[error("cannot give the capture the name {path}: {reason}; it is whole, as {whole}")]
    NotNamed {
        /// The file.
        path: String,
        /// What was in the way.
        reason: String,
        /// Where it is instead.
        whole: String,
    },
    /// No room.
    #[error("cannot write {path}: {reason}; there is no such file now, or the old one: {remedy}")]
    Full {
        /// The file.
        path: String,
        /// What makes room for it.
        remedy: String,
        /// What the kernel said.
        reason: String,
    },
    /// A journal that nobody writes.
    #[error(
        "cannot write {path}: a memtrace that did not come to its end has left {partial}; to see what it holds, type: memtrace report {partial}; then remove it, or give another name"
    )]
    Left {
        /// The file.
        path: String,
        /// The journal.
        partial: String,
    },
    /// A journal that another memtrace writes.
    #[error(
        "cannot write {path}: another memtrace, which still runs, is writing {partial}; give another name, or wait for its end"
    )]
    InUse {
        /// The file.
        path: String,
        /// The journal.
        partial: String,
    },
    /// Something else has the journal's name.
    #[error(
        "cannot write {path}: memtrace writes to {partial} first, and something is there already that is not its own; remove it, or give another name"
    )]
    InTheWay {
        /// The file.
        path: String,
        /// The journal.
        partial: String,
    },
    /// No place for a journal without a name.
    #[error(
        "cannot keep the capture while it lasts: no file can be made there ({reasons}); set TMPDIR to a folder with room, or give --json FILE"
    )]
    NoTemporary {
        /// Each folder, with its reason.
        reasons: String,
    },
    /// No place for what comes through a pipe.
    #[error(
        "cannot keep what comes through the pipe, which is read twice: no file can be made for it ({reasons}); set TMPDIR to a folder with room, or give the name of a file"
    )]
    NoSpool {
        /// Each folder, with its reason.
        reasons: String,
    },
    /// The journal could not be written on.
    #[error(
        "cannot write {path}: {reason}; the capture ends here, and what was written stays: {remedy}, and to see it, type: memtrace report {path}"
    )]
    Stopped {
        /// The journal.
        path: String,
        /// What makes room for more.
        remedy: String,
        /// What the kernel said.
        reason: String,
    },
    /// The same of one without a name.
    #[error(
        "cannot keep more of the capture in {path}: {reason}; it ends here: {remedy}, set TMPDIR to another folder, or give --json FILE"
    )]
    StoppedUnnamed {
        /// The folder.
        path: String,
        /// What makes room for more.
        remedy: String,
        /// What the kernel said.
        reason: String,
    },
    /// The journal could not be removed.
    #[error("cannot remove {path}, which is not needed any more: {reason}")]
    NotRemoved {
        /// The journal.
        path: String,
        /// What the kernel said.
        reason: String,
    },
    /// Anything else.
    #[error("cannot write {path}: {reason}; give another FILE")]
    Io {
        /// The file.
        path: String,
        /// What the kernel said.
        reason: String,
    },
}
