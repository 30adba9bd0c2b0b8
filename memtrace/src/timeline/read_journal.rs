//! Reading a journal: the capture as at its last whole line, or an error with the number of the line.

use std::io::BufRead;

use super::{
    Closing, Extent, Fold, ReadError, ReplayError, Sink,
    journal::FORMAT,
    lines::{Bad, Head, Line, Lines, TickOf},
    read::{Digest, Keep, Ticks},
};
use crate::model::{Account, Capture, End, Epoch, SCHEMA, Tick};

/// The newest journal that this version reads.
pub(super) const NEWEST: u64 = FORMAT as u64;

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

/// Reads a journal from its first line.
pub(super) fn read<K: Keep, D: Digest>(
    source: impl BufRead,
    version: String,
) -> Result<Loaded<D>, ReadError> {
    let mut lines = Lines::new(source, version);
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
        parsed => parsed?,
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
            Err(Bad::Cut(_)) => cut_bytes = lines.length(),
            Err(bad) => return Err(bad.into()),
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
            memtrace_version: memtrace_version.into(),
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
    let mut lines = Lines::new(source, version);
    for (number, (epoch, extent)) in epochs {
        // The first line, or the end of the epoch before.
        lines.next().map_err(ReplayError::Read)?;
        sink.begin(number, epoch).map_err(ReplayError::Sink)?;
        for index in 0..extent.ticks {
            lines.next().map_err(ReplayError::Read)?;
            let TickOf::<Tick> { mut tick } = lines
                .parsed()
                .map_err(|bad| ReplayError::Read(bad.into()))?;
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
    fn take(&mut self, mut line: Line) -> Result<(), &'static str> {
        let Some(current) = &mut self.current else {
            return Err("a line behind the end of the capture");
        };
        match (line.tick.take(), line.ended.take()) {
            (Some(tick), None) => {
                current.changed(&tick, line.into_changes());
                self.ticks.push(tick);
                Ok(())
            }
            (None, Some(ended)) => {
                let mut ticks = std::mem::take(&mut self.ticks);
                if let Some(taken_back) = line.taken_back {
                    ticks.take_back(taken_back);
                }
                let epoch = self.split(ended, ticks);
                match line.next {
                    Some(_) => self.earlier.push(epoch),
                    None => self.last = Some(epoch),
                }
                self.current = line.next.map(Fold::of);
                Ok(())
            }
            _ => Err("a line is either a `tick` or what has `ended`"),
        }
    }

    fn split(&mut self, account: Account, ticks: Ticks<K, D>) -> Epoch {
        let (ticks, digest, extent) = ticks.split();
        self.digests.push(digest);
        self.extents.push(extent);
        Epoch::of(account, ticks)
    }

    /// The last epoch: nothing comes behind it.
    fn close(&mut self) -> Result<Epoch, &'static str> {
        match (self.current.take(), self.last.take()) {
            (Some(current), _) => {
                let ticks = std::mem::take(&mut self.ticks);
                Ok(self.split(interrupted(&current), ticks))
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
