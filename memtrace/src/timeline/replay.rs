//! Reading a capture's ticks once more, oldest first, one after the other: for what needs to know the whole capture before it
//! looks at the first tick. No tick is kept, so it may be larger than memory.
//!
//! In a capture file the last epoch stands before the earlier ones, so those are read in a pass of their own.

use std::{
    fmt,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    ReadError, TakenBack,
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
            let version = capture.memtrace_version.clone();
            let epochs = capture.epochs().zip(&self.extents).enumerate();
            let source = rewound(&mut self.source, self.begin)?;
            return read_journal::replay(source, version, epochs, sink);
        }
        if !capture.earlier_epochs.is_empty() {
            self.pass(capture, Part::Earlier, sink)?;
        }
        self.pass(capture, Part::Last, sink)
    }

    fn pass(
        &mut self,
        capture: &Capture,
        part: Part,
        sink: &mut dyn Sink,
    ) -> Result<(), ReplayError> {
        let mut state = State {
            sink,
            stopped: None,
        };
        let mut json =
            serde_json::Deserializer::from_reader(rewound(&mut self.source, self.begin)?);
        let whole = Whole {
            capture,
            part,
            state: &mut state,
        };
        let parsed = json.deserialize_map(whole);
        match (state.stopped, parsed) {
            (Some(error), _) => Err(ReplayError::Sink(error)),
            (None, Err(error)) => Err(ReplayError::Read(wrong(
                error,
                "",
                &capture.memtrace_version,
            ))),
            (None, Ok(())) => Ok(()),
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

/// What is taken in a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Earlier,
    Last,
}

struct State<'a> {
    sink: &'a mut dyn Sink,
    /// Why the sink has ended the reading, which the parser takes for an error of the file.
    stopped: Option<io::Error>,
}

impl State<'_> {
    fn told<E: serde::de::Error>(
        &mut self,
        tell: impl FnOnce(&mut dyn Sink) -> io::Result<()>,
    ) -> Result<(), E> {
        tell(self.sink).map_err(|error| {
            self.stopped = Some(error);
            E::custom("stopped")
        })
    }
}

/// The object that a capture file is: everything in it has been checked already.
struct Whole<'a, 'b> {
    capture: &'a Capture,
    part: Part,
    state: &'a mut State<'b>,
}

impl<'de> Visitor<'de> for Whole<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a capture")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self {
            capture,
            part,
            state,
        } = self;
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), part) {
                ("timeline", Part::Last) => {
                    let (number, epoch) = (capture.earlier_epochs.len(), &capture.epoch);
                    state.told(|sink| sink.begin(number, epoch))?;
                    map.next_value_seed(Ticks { state })?;
                    state.told(|sink| sink.end(number, epoch))?;
                }
                ("earlier_epochs", Part::Earlier) => {
                    let epochs = &capture.earlier_epochs;
                    map.next_value_seed(Earlier { epochs, state })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Earlier<'a, 'b> {
    epochs: &'a [Epoch],
    state: &'a mut State<'b>,
}

impl<'de> DeserializeSeed<'de> for Earlier<'_, '_> {
    type Value = ();

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<(), S::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Earlier<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("epochs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { epochs, state } = self;
        for (number, epoch) in epochs.iter().enumerate() {
            let part = OneEpoch {
                number,
                epoch,
                state: &mut *state,
            };
            if seq.next_element_seed(part)?.is_none() {
                return Err(A::Error::custom("it has lost an epoch"));
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

struct OneEpoch<'a, 'b> {
    number: usize,
    epoch: &'a Epoch,
    state: &'a mut State<'b>,
}

impl<'de> DeserializeSeed<'de> for OneEpoch<'_, '_> {
    type Value = ();

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<(), S::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneEpoch<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an epoch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self {
            number,
            epoch,
            state,
        } = self;
        state.told(|sink| sink.begin(number, epoch))?;
        while let Some(key) = map.next_key::<String>()? {
            if key == "timeline" {
                map.next_value_seed(Ticks { state })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        state.told(|sink| sink.end(number, epoch))
    }
}

struct Ticks<'a, 'b> {
    state: &'a mut State<'b>,
}

impl<'de> DeserializeSeed<'de> for Ticks<'_, '_> {
    type Value = ();

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<(), S::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Ticks<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ticks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(tick) = seq.next_element::<Tick>()? {
            self.state.told(|sink| sink.tick(&tick))?;
        }
        Ok(())
    }
}
