//! Reading a capture's ticks once more, oldest first, one after the other: for what needs to know the whole capture before it
//! looks at the first tick. No tick is kept, so it may be larger than memory.
//!
//! In a capture file the last epoch stands before the earlier ones, so those are read in a pass of their own.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::{
    ReadError, TakenBack,
    capture_file::{Part, Reading, Receiver},
    read::wrong,
    read_journal::{self, Loaded},
};
use crate::model::{Capture, Epoch, Tick};

/// What is read at once.
const BLOCK: usize = 256 << 10;

/// How an epoch's ticks stand in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many.
    pub ticks: u64,
    /// Those of a journal whose comparison was with the next program's memory.
    pub taken_back: Option<TakenBack>,
}

/// Takes the ticks of a capture, oldest first, epoch by epoch.
pub trait Sink {
    /// An epoch begins; epochs are counted from 0. `epoch` has not all of its ticks.
    ///
    /// # Errors
    ///
    /// Whatever is to end the reading.
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()>;

    /// Its next tick.
    ///
    /// # Errors
    ///
    /// Whatever is to end the reading.
    fn tick(&mut self, tick: &Tick) -> io::Result<()>;

    /// It has no more.
    ///
    /// # Errors
    ///
    /// Whatever is to end the reading.
    fn end(&mut self, number: usize, epoch: &Epoch) -> io::Result<()>;
}

/// Why not all ticks were taken.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// They could not be read a second time: the file has changed meanwhile.
    #[error(transparent)]
    Read(ReadError),
    /// The [`Sink`] has ended it.
    #[error(transparent)]
    Sink(io::Error),
}

/// The ticks of a capture that was loaded.
#[derive(Debug)]
pub struct Replay<R> {
    source: R,
    /// Where it begins in the source, in bytes.
    begin: u64,
    extents: Vec<Extent>,
    is_journal: bool,
}

impl<R: Read + Seek> Replay<R> {
    /// Of what was loaded from `source`, from byte `begin` on.
    pub fn new<D>(source: R, begin: u64, loaded: &Loaded<D>) -> Self {
        Self {
            source,
            begin,
            extents: loaded.extents.clone(),
            is_journal: loaded.journal.is_some(),
        }
    }

    /// Hands every tick to the sink. `capture` is what was loaded.
    ///
    /// # Errors
    ///
    /// Where the sink ends it, or the source is no longer what was loaded.
    pub fn each(&mut self, capture: &Capture, sink: &mut dyn Sink) -> Result<(), ReplayError> {
        if self.is_journal {
            let version = capture.memtrace_version.raw().to_owned();
            let epochs = capture.epochs().zip(&self.extents).enumerate();
            let source = rewound(&mut self.source, self.begin)?;
            return read_journal::replay(source, version, epochs, sink);
        }
        if !capture.earlier_epochs.is_empty() {
            self.pass(capture, true, sink)?;
        }
        self.pass(capture, false, sink)
    }

    fn pass(
        &mut self,
        capture: &Capture,
        earlier: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), ReplayError> {
        let mut receiver = Pass {
            capture,
            earlier,
            sink,
        };
        let mut reading = Reading::new(&mut receiver);
        let source = rewound(&mut self.source, self.begin)?;
        let parsed = reading.read(&mut serde_json::Deserializer::from_reader(source));
        match (reading.stopped, parsed) {
            (Some(error), _) => Err(ReplayError::Sink(error)),
            (None, Err(error)) => Err(ReplayError::Read(wrong(
                error,
                "",
                capture.memtrace_version.raw(),
            ))),
            (None, Ok(_)) => Ok(()),
        }
    }
}

fn rewound<R: Read + Seek>(source: R, begin: u64) -> Result<BufReader<R>, ReplayError> {
    let mut source = BufReader::with_capacity(BLOCK, source);
    source
        .seek(SeekFrom::Start(begin))
        .map_err(|error| ReplayError::Read(ReadError::Io(error)))?;
    Ok(source)
}

/// A pass over a capture file that was read before.
struct Pass<'a> {
    capture: &'a Capture,
    /// The earlier epochs are taken; else the last one is.
    earlier: bool,
    sink: &'a mut dyn Sink,
}

impl<'a> Pass<'a> {
    /// Returns the number of an epoch, and what is known of it.
    fn epoch(&self, part: Part) -> Option<(usize, &'a Epoch)> {
        let earlier = &self.capture.earlier_epochs;
        match part {
            Part::Last => Some((earlier.len(), &self.capture.epoch)),
            Part::Earlier(number) => Some((number, earlier.get(number)?)),
        }
    }
}

impl Receiver for Pass<'_> {
    fn wants(&self, part: Part) -> bool {
        self.earlier == (part != Part::Last) && self.epoch(part).is_some()
    }

    fn fewest(&self) -> usize {
        self.capture.earlier_epochs.len()
    }

    fn begin(&mut self, part: Part) -> io::Result<()> {
        let epoch = self.epoch(part);
        epoch.map_or(Ok(()), |(number, epoch)| self.sink.begin(number, epoch))
    }

    fn tick(&mut self, tick: Tick) -> io::Result<()> {
        self.sink.tick(&tick)
    }

    fn end(&mut self, part: Part) -> io::Result<()> {
        let epoch = self.epoch(part);
        epoch.map_or(Ok(()), |(number, epoch)| self.sink.end(number, epoch))
    }
}
