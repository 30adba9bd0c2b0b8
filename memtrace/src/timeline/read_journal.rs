//! Reading a journal: the capture as at its last whole line, or an error with the number of the line.

use std::{
    collections::BTreeMap,
    io::{BufRead, Read},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::{
    Closing, Extent, Fold, Position, ReadError, ReplayError, Sink, TakenBack,
    journal::{Changes, FORMAT},
    read::{Digest, Keep, QUOTED, Ticks, what},
};
use crate::{
    model::{
        Account, Capture, CauseRow, Children, End, Epoch, Faults, HookInfo, HostInfo, LossInfo,
        SCHEMA, TargetInfo, Tick,
    },
    text::format::{size, untrusted},
};

/// The newest journal that this version reads.
pub(super) const NEWEST: u64 = FORMAT as u64;
/// Most bytes of a line.
const MOST: u64 = 64 << 20;

/// A capture, and what it was read from.
#[derive(Clone, Debug)]
pub struct Loaded<D> {
    /// The capture.
    pub capture: Capture,
    /// What was worked out of the ticks: of the earlier epochs, oldest first, and of the last one.
    pub digests: Vec<D>,
    /// How many ticks each of these epochs has.
    pub extents: Vec<Extent>,
    /// `None`: a capture file. Otherwise it was a journal.
    pub journal: Option<Unassembled>,
}

impl<A, B> Loaded<(A, B)> {
    /// Parts what two have made of the ticks.
    #[must_use]
    pub fn parted(self) -> (Loaded<A>, Vec<B>) {
        let Self {
            capture,
            digests,
            extents,
            journal,
        } = self;
        let (digests, others) = digests.into_iter().unzip();
        let loaded = Loaded {
            capture,
            digests,
            extents,
            journal,
        };
        (loaded, others)
    }
}

/// A journal that no capture file was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unassembled {
    /// memtrace has ended the capture: nothing is missing.
    pub ended: bool,
    /// Bytes of a last line that was cut, and is left out.
    pub cut_bytes: u64,
}

#[derive(Deserialize)]
struct Head {
    memtrace_version: String,
    host: HostInfo,
    epoch: Account,
}

#[derive(Deserialize)]
struct Line {
    tick: Option<Tick>,
    #[serde(default)]
    causes: BTreeMap<u32, Option<CauseRow>>,
    faults: Option<Faults>,
    losses: Option<LossInfo>,
    children: Option<Children>,
    rss_sampling_bound_bytes: Option<u64>,
    hooks: Option<Vec<HookInfo>>,
    target: Option<TargetInfo>,
    ended: Option<Account>,
    taken_back: Option<TakenBack>,
    next: Option<Account>,
}

/// Reads a journal from its first line.
pub(super) fn read<K: Keep, D: Digest>(
    source: impl BufRead,
    version: String,
) -> Result<Loaded<D>, ReadError> {
    let mut lines = Lines {
        source,
        version,
        bytes: Vec::new(),
        number: 0,
    };
    lines.next()?;
    let Head {
        memtrace_version,
        host,
        epoch,
    } = match lines.parsed() {
        Err(Bad::Cut(at)) => {
            return Err(ReadError::Cut {
                at,
                path: "the first line of a journal".to_owned(),
            });
        }
        parsed => parsed.map_err(Bad::into_error)?,
    };
    let mut epochs = Epochs::<K, D> {
        earlier: Vec::new(),
        digests: Vec::new(),
        extents: Vec::new(),
        current: Some(Fold::of(epoch)),
        ticks: Ticks::default(),
        last: None,
    };
    let mut cut_bytes = 0;
    while lines.next()? {
        match lines.parsed::<Line>() {
            Ok(line) => epochs.take(line).map_err(|what| lines.wrong(what))?,
            Err(Bad::Cut(_)) => cut_bytes = lines.bytes.len() as u64,
            Err(bad) => return Err(bad.into_error()),
        }
    }
    let ended = epochs.current.is_none();
    let epoch = epochs.close().map_err(|what| lines.wrong(what))?;
    let Epochs {
        earlier: earlier_epochs,
        digests,
        extents,
        ..
    } = epochs;
    Ok(Loaded {
        capture: Capture {
            schema: SCHEMA.to_owned(),
            memtrace_version,
            host,
            epoch,
            earlier_epochs,
        },
        digests,
        extents,
        journal: Some(Unassembled { ended, cut_bytes }),
    })
}

/// Hands the ticks of these epochs to a sink: of a journal that was read before, and may have grown since.
pub(super) fn replay<'a>(
    source: impl BufRead,
    version: String,
    epochs: impl Iterator<Item = (usize, (&'a Epoch, &'a Extent))>,
    sink: &mut dyn Sink,
) -> Result<(), ReplayError> {
    #[derive(Deserialize)]
    struct TickLine {
        tick: Tick,
    }
    let mut lines = Lines {
        source,
        version,
        bytes: Vec::new(),
        number: 0,
    };
    for (number, (epoch, extent)) in epochs {
        // The first line, or the end of the epoch before.
        lines.next().map_err(ReplayError::Read)?;
        sink.begin(number, epoch).map_err(ReplayError::Sink)?;
        for index in 0..extent.ticks {
            lines.next().map_err(ReplayError::Read)?;
            let TickLine { mut tick } = lines
                .parsed()
                .map_err(|bad| ReplayError::Read(bad.into_error()))?;
            if extent.taken_back.is_some_and(|taken| taken.concerns(index)) {
                tick.take_back();
            }
            sink.tick(&tick).map_err(ReplayError::Sink)?;
        }
        sink.end(number, epoch).map_err(ReplayError::Sink)?;
    }
    Ok(())
}

/// What the lines have told so far.
struct Epochs<K, D> {
    earlier: Vec<Epoch>,
    /// Of every epoch that has ended.
    digests: Vec<D>,
    extents: Vec<Extent>,
    /// The one that goes on; none once the last one has ended.
    current: Option<Fold>,
    ticks: Ticks<K, D>,
    last: Option<Epoch>,
}

impl<K: Keep, D: Digest> Epochs<K, D> {
    fn take(&mut self, line: Line) -> Result<(), &'static str> {
        let Line {
            tick,
            causes,
            faults,
            losses,
            children,
            rss_sampling_bound_bytes,
            hooks,
            target,
            ended,
            taken_back,
            next,
        } = line;
        let Some(current) = &mut self.current else {
            return Err("a line behind the end of the capture");
        };
        match (tick, ended) {
            (Some(tick), None) => {
                let changes = Changes {
                    causes,
                    faults,
                    losses,
                    children,
                    rss_sampling_bound_bytes,
                    hooks,
                    target,
                };
                current.changed(&tick, changes);
                self.ticks.push(tick);
                Ok(())
            }
            (None, Some(ended)) => {
                let mut ticks = std::mem::take(&mut self.ticks);
                if let Some(taken_back) = taken_back {
                    ticks.take_back(taken_back);
                }
                let (ticks, digest, extent) = ticks.split();
                self.digests.push(digest);
                self.extents.push(extent);
                let epoch = Epoch::of(ended, ticks);
                match next {
                    Some(_) => self.earlier.push(epoch),
                    None => self.last = Some(epoch),
                }
                self.current = next.map(Fold::of);
                Ok(())
            }
            _ => Err("a line is either a `tick` or what has `ended`"),
        }
    }

    /// The last epoch: nothing comes behind it.
    fn close(&mut self) -> Result<Epoch, &'static str> {
        match (self.current.take(), self.last.take()) {
            (Some(current), _) => {
                let (ticks, digest, extent) = std::mem::take(&mut self.ticks).split();
                self.digests.push(digest);
                self.extents.push(extent);
                Ok(Epoch::of(interrupted(&current), ticks))
            }
            (None, Some(last)) => Ok(last),
            (None, None) => Err("it tells of no epoch"),
        }
    }
}

/// Returns the account of an epoch whose end nobody wrote: as at its last tick.
fn interrupted(fold: &Fold) -> Account {
    let missing = "it was not read at the last tick before the interruption";
    fold.account(Closing {
        lazyfree_missing: Some(missing.to_owned()),
        ..Closing::as_at_the_last_tick(End::Interrupted)
    })
}

/// Why a line could not be understood.
enum Bad {
    /// It is the last one, and ends in its middle.
    Cut(Position),
    Wrong(ReadError),
}

impl Bad {
    fn into_error(self) -> ReadError {
        match self {
            Self::Cut(at) => ReadError::Cut {
                at,
                path: String::new(),
            },
            Self::Wrong(error) => error,
        }
    }
}

struct Lines<R> {
    source: R,
    version: String,
    bytes: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line, with its end if it has one; `false` where there is none.
    fn next(&mut self) -> Result<bool, ReadError> {
        self.bytes.clear();
        let length = self
            .source
            .by_ref()
            .take(MOST)
            .read_until(b'\n', &mut self.bytes)
            .map_err(ReadError::Io)?;
        self.number += usize::from(length > 0);
        if length as u64 == MOST && !self.is_whole() {
            let most = size(MOST);
            return Err(self.wrong(&format!("the line is longer than {most}")));
        }
        Ok(length > 0)
    }

    fn is_whole(&self) -> bool {
        self.bytes.last() == Some(&b'\n')
    }

    fn parsed<T: DeserializeOwned>(&self) -> Result<T, Bad> {
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
            line: self.number,
            column,
        };
        if !self.is_whole() && error.classify() != Category::Data {
            return Err(Bad::Cut(at));
        }
        Err(Bad::Wrong(ReadError::Line {
            at,
            path: untrusted(&path, QUOTED),
            what: what(&error),
            version: self.version.clone(),
        }))
    }

    fn wrong(&self, what: &str) -> ReadError {
        ReadError::Line {
            at: Position {
                line: self.number,
                column: 1,
            },
            path: String::new(),
            what: what.to_owned(),
            version: self.version.clone(),
        }
    }
}
