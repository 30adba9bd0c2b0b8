//! Captures as the commands that work on files load them: read, checked, judged, and what is to be said of them.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufReader, Cursor, ErrorKind, Read, Seek as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use super::output;
use crate::{
    dump::{Dump, is_dump, read as read_dump},
    export::{Causes, journal::is_being_written, spool::Spool},
    privilege::invoker,
    text::format::sanitized,
    timeline::{Digest, Loaded, ReadError, Replay, Unassembled, load as read},
    verdict::{self, Trend},
};

/// A capture, with what is needed to read its ticks once more.
pub struct Again {
    /// The capture, judged.
    pub loaded: Loaded<Trend>,
    /// Its causes.
    pub causes: Causes,
    /// Its ticks.
    pub ticks: Replay<File>,
    /// Which file it is; `None` where it came through a pipe.
    pub file_id: Option<FileId>,
    /// Whether it is written to at this moment.
    pub busy: bool,
}

/// A file by its device and its inode.
pub type FileId = (u64, u64);

/// Whether `output` is the file that `input` is read from: to write it would replace it.
pub fn is_itself(input: &Path, output: &Path) -> bool {
    let read = fs::metadata(input).ok().and_then(|found| id_of(&found));
    read.is_some() && read == file_id(output)
}

/// Which file this is, if it is one.
pub fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path)
        .ok()
        .and_then(|found| id_of(&found))
}

fn id_of(found: &Metadata) -> Option<FileId> {
    found.is_file().then(|| (found.dev(), found.ino()))
}

/// As [`load`], for what needs the ticks too. None is kept: what cannot be read twice is put into a temporary file.
///
/// # Errors
///
/// As [`load`], and where there is no room for the temporary file.
pub fn load_again(path: &Path) -> anyhow::Result<Again> {
    let file = if path == Path::new("-") {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path).map_err(|error| unreadable(ReadError::Io(error)))?
    };
    let file_id = id_of(&file.metadata()?);
    let (loaded, file, begin) = if file_id.is_some() {
        // The shell may have read some of it.
        let begin = (&file).stream_position()?;
        (read(&file), file, begin)
    } else {
        let mut spool = Spool::new(file, invoker().as_ref())?;
        let loaded = read(&mut spool);
        (loaded, spool.into_kept(), 0)
    };
    let (mut loaded, causes) = loaded.map_err(unreadable)?.parted();
    judge_unjudged(&mut loaded);
    Ok(Again {
        file_id,
        busy: file_id.is_some() && loaded.journal.is_some() && is_being_written(&file),
        ticks: Replay::new(file, begin, &loaded),
        causes: Causes::union(causes),
        loaded,
    })
}

/// Most bytes by which a dump is told.
const DUMP_HEAD: u64 = 256;

/// Reads a capture or a journal, `-` being standard input. Also says whether it is written to at this moment.
///
/// # Errors
///
/// Where it cannot be read, in words that say what to do.
pub fn load<D: Digest>(path: &Path) -> anyhow::Result<(Loaded<D>, bool)> {
    Opened::open(path)?.capture()
}

/// A file, and its first bytes, by which it is told what it is. It is opened once, and read once: it may be a pipe.
pub struct Opened {
    head: Vec<u8>,
    /// `None`: standard input.
    file: Option<File>,
}

impl Opened {
    /// Opens it, `-` being standard input.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, in words that say what to do.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = |error| unreadable(ReadError::Io(error));
        let file = if path == Path::new("-") {
            None
        } else {
            Some(File::open(path).map_err(failed)?)
        };
        let mut head = Vec::new();
        match &file {
            Some(file) => file.take(DUMP_HEAD).read_to_end(&mut head),
            None => io::stdin().lock().take(DUMP_HEAD).read_to_end(&mut head),
        }
        .map_err(failed)?;
        Ok(Self { head, file })
    }

    /// Whether it is a dump of pprofplus.
    pub fn is_dump(&self) -> bool {
        is_dump(&self.head)
    }

    /// Reads it as one.
    ///
    /// # Errors
    ///
    /// Where it is broken.
    pub fn dump(self) -> anyhow::Result<Dump> {
        let Self { head, file } = self;
        let begin = Cursor::new(head);
        Ok(match file {
            Some(file) => read_dump(BufReader::new(begin.chain(file)))?,
            None => read_dump(BufReader::new(begin.chain(io::stdin().lock())))?,
        })
    }

    /// Reads it as a capture or a journal, as [`load`] does.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn capture<D: Digest>(self) -> anyhow::Result<(Loaded<D>, bool)> {
        let Self { head, file } = self;
        let begin = Cursor::new(head);
        let Some(file) = file else {
            let loaded = read(begin.chain(io::stdin().lock())).map_err(unreadable)?;
            return Ok((loaded, false));
        };
        let loaded = read(begin.chain(&file)).map_err(unreadable)?;
        let busy = loaded.journal.is_some() && is_being_written(&file);
        Ok((loaded, busy))
    }
}

/// The reader's error, in words that say what to do.
pub fn unreadable(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::Io(error) if error.kind() == ErrorKind::IsADirectory => {
            anyhow::anyhow!("it is a folder; give the name of a capture file in it")
        }
        ReadError::Io(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::anyhow!("there is no such file; `memtrace --json FILE` writes one")
        }
        error => error.into(),
    }
}

/// Answers for the epochs of which the file has no answer: of a capture that memtrace did not end, or that a version wrote
/// which did not judge.
pub fn judge_unjudged(loaded: &mut Loaded<Trend>) {
    verdict::judge_unjudged(&mut loaded.capture, &loaded.digests);
}

/// Says what is to be said of a journal beside what it holds.
pub fn about(name: &str, journal: Unassembled, busy: bool) {
    let name = sanitized(name, 200);
    if busy {
        output::say(&format!(
            "memtrace: {name}: memtrace is still writing it; this is as at its last line"
        ));
        return;
    }
    if journal.cut_bytes > 0 {
        output::say(&format!(
            "memtrace: {name}: its last line was cut, and is left out ({} bytes)",
            journal.cut_bytes
        ));
    }
    if journal.ended {
        output::say(&format!(
            "memtrace: {name}: the capture came to its end, and is whole; memtrace could not write the capture file"
        ));
    }
}
