//! The lines of a journal: what stands in each, and a reader of one at a time.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Seek, SeekFrom},
};

use serde::Deserialize;
use serde_json::error::Category;

use super::{
    Position, ReadError, TakenBack,
    journal::{Changes, ENDED},
    read::{QUOTED, what},
};
use crate::{
    model::{Account, CauseRow, Children, Faults, HookInfo, HostInfo, LossInfo, TargetInfo, Tick},
    text::format::{sanitized, size},
};

/// Most bytes of a line.
const MOST: u64 = 64 << 20;

/// The first line.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) memtrace_version: String,
    pub(super) host: HostInfo,
    pub(super) epoch: Account,
}

/// Any other line: a tick with what has changed, or the end of an epoch.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) tick: Option<Tick>,
    #[serde(default)]
    causes: BTreeMap<u32, Option<CauseRow>>,
    faults: Option<Faults>,
    losses: Option<LossInfo>,
    children: Option<Children>,
    rss_sampling_bound_bytes: Option<u64>,
    hooks: Option<Vec<HookInfo>>,
    target: Option<TargetInfo>,
    pub(super) ended: Option<Account>,
    pub(super) taken_back: Option<TakenBack>,
    pub(super) next: Option<Account>,
}

impl Line {
    /// Returns what has changed at a tick.
    pub(super) fn into_changes(self) -> Changes {
        Changes {
            causes: self.causes,
            faults: self.faults,
            losses: self.losses,
            children: self.children,
            rss_sampling_bound_bytes: self.rss_sampling_bound_bytes,
            hooks: self.hooks,
            target: self.target,
        }
    }
}

/// A tick's line for those who need the tick alone: parsed, or as its JSON.
#[derive(Deserialize)]
pub(super) struct TickOf<T> {
    pub(super) tick: T,
}

/// Why a line could not be understood.
pub(super) enum Bad {
    /// It is the last one, and ends in its middle.
    Cut(Position),
    Wrong(ReadError),
}

impl From<Bad> for ReadError {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Cut(at) => Self::Cut {
                at,
                path: String::new(),
            },
            Bad::Wrong(error) => error,
        }
    }
}

/// A place before a line: bytes from the beginning, and lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: u64,
    lines: usize,
}

/// Reads a journal line by line, with an error that names the line.
pub(super) struct Lines<R> {
    source: R,
    version: String,
    bytes: Vec<u8>,
    read: Mark,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the first line on. `version` wrote it.
    pub(super) const fn new(source: R, version: String) -> Self {
        Self {
            source,
            version,
            bytes: Vec::new(),
            read: Mark { bytes: 0, lines: 0 },
        }
    }

    /// Reads the next line, with its end if it has one. Returns false if there is none.
    pub(super) fn next(&mut self) -> Result<bool, ReadError> {
        self.bytes.clear();
        let length = self
            .source
            .by_ref()
            .take(MOST)
            .read_until(b'\n', &mut self.bytes)
            .map_err(ReadError::Io)? as u64;
        self.read.bytes += length;
        self.read.lines += usize::from(length > 0);
        if length == MOST && !self.is_whole() {
            let most = size(MOST);
            return Err(self.wrong(&format!("the line is longer than {most}")));
        }
        Ok(length > 0)
    }

    /// Reads the next line that is whole. Returns false if there is none.
    pub(super) fn next_whole(&mut self) -> Result<bool, ReadError> {
        Ok(self.next()? && self.is_whole())
    }

    pub(super) const fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn is_whole(&self) -> bool {
        self.bytes.last() == Some(&b'\n')
    }

    /// Returns true if the line ends an epoch, without parsing it.
    pub(super) fn is_end(&self) -> bool {
        self.bytes.starts_with(ENDED)
    }

    pub(super) fn parsed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Bad> {
        let mut json = serde_json::Deserializer::from_slice(&self.bytes);
        let (error, path) = match serde_path_to_error::deserialize(&mut json) {
            Ok(parsed) => match json.end() {
                Ok(()) => return Ok(parsed),
                Err(error) => (error, String::new()),
            },
            Err(error) => {
                let path = error.path().to_string();
                (error.into_inner(), path)
            }
        };
        // Within a line the parser counts from 1, and takes its end for the beginning of the next one.
        let column = if error.line() == 1 {
            error.column()
        } else {
            self.bytes.len()
        };
        let at = Position {
            line: self.read.lines,
            column,
        };
        if !self.is_whole() && error.classify() != Category::Data {
            return Err(Bad::Cut(at));
        }
        Err(Bad::Wrong(ReadError::Line {
            at,
            path: sanitized(&path, QUOTED),
            what: what(&error),
            version: self.version.clone(),
        }))
    }

    pub(super) fn wrong(&self, what: &str) -> ReadError {
        ReadError::Line {
            at: Position {
                line: self.read.lines,
                column: 1,
            },
            path: String::new(),
            what: what.to_owned(),
            version: self.version.clone(),
        }
    }
}

impl<R: BufRead + Seek> Lines<R> {
    /// Returns the place before the next line.
    pub(super) const fn mark(&self) -> Mark {
        self.read
    }

    /// Goes back to a place.
    pub(super) fn go_to(&mut self, mark: Mark) -> io::Result<()> {
        self.read = mark;
        self.source.seek(SeekFrom::Start(mark.bytes)).map(drop)
    }
}
