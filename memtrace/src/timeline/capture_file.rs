//! The one description of a capture file for its readers: a visitor that hands each tick out as it comes, so that a file may be larger than memory.
//!
//! `Capture`'s own `flatten` would hold the whole file in memory before it looks at a field, and then not know where that was.

use std::{fmt, io};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::model::{Account, CaptureInfo, HostInfo, Summary, TargetInfo, Tick, Verdict};

/// Which epoch: the last one stands before the earlier ones in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Last,
    /// By its number, oldest first.
    Earlier(usize),
}

/// Takes the ticks of a capture file in the order of the file.
pub(super) trait Receiver {
    /// Returns false if the ticks of this epoch need not be parsed.
    fn wants(&self, _part: Part) -> bool {
        true
    }

    /// The fewest earlier epochs that the file must have.
    fn fewest(&self) -> usize {
        0
    }

    /// The ticks of an epoch begin.
    fn begin(&mut self, part: Part) -> io::Result<()>;

    /// The next one of them.
    fn tick(&mut self, tick: Tick) -> io::Result<()>;

    /// There are no more of them.
    fn end(&mut self, part: Part) -> io::Result<()>;
}

/// A capture file without its ticks.
pub(super) struct Parsed {
    pub(super) schema: String,
    pub(super) memtrace_version: String,
    pub(super) host: HostInfo,
    pub(super) last: Account,
    pub(super) earlier: Vec<Account>,
}

/// Reads a capture file. If its receiver has stopped the reading, that is an error of the parser, and `stopped` is the receiver's own.
pub(super) struct Reading<'a, R> {
    pub(super) receiver: &'a mut R,
    pub(super) stopped: Option<io::Error>,
}

impl<'a, R: Receiver> Reading<'a, R> {
    pub(super) const fn new(receiver: &'a mut R) -> Self {
        Self {
            receiver,
            stopped: None,
        }
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(
        &mut self,
        source: D,
    ) -> Result<Parsed, D::Error> {
        source.deserialize_map(Whole(self))
    }

    fn told<E: Error>(&mut self, tell: impl FnOnce(&mut R) -> io::Result<()>) -> Result<(), E> {
        tell(self.receiver).map_err(|error| {
            self.stopped = Some(error);
            E::custom("stopped")
        })
    }
}

/// Reads the value of a field that may come once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    field: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if field.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *field = Some(map.next_value()?);
    Ok(())
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>()?;
    Ok(())
}

fn needed<T, E: Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
    field.ok_or_else(|| E::missing_field(name))
}

/// The fields of an epoch, as far as they were read.
#[derive(Default)]
struct Fields {
    target: Option<TargetInfo>,
    capture: Option<CaptureInfo>,
    summary: Option<Summary>,
    timeline: Option<()>,
    verdict: Option<Option<Verdict>>,
}

impl Fields {
    /// Reads the value of a field, whatever it is called.
    fn take<'de, R: Receiver, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        part: Part,
        reading: &mut Reading<'_, R>,
    ) -> Result<(), A::Error> {
        match key {
            "target" => once(&mut self.target, "target", map),
            "capture" => once(&mut self.capture, "capture", map),
            "summary" => once(&mut self.summary, "summary", map),
            "verdict" => once(&mut self.verdict, "verdict", map),
            "timeline" if self.timeline.is_some() => Err(A::Error::duplicate_field("timeline")),
            "timeline" => {
                self.timeline = Some(());
                if !reading.receiver.wants(part) {
                    return skip(map);
                }
                reading.told(|receiver| receiver.begin(part))?;
                map.next_value_seed(Timeline(&mut *reading))?;
                reading.told(|receiver| receiver.end(part))
            }
            _ => skip(map),
        }
    }

    fn account<E: Error>(self) -> Result<Account, E> {
        let account = Account {
            target: needed(self.target, "target")?,
            capture: needed(self.capture, "capture")?,
            summary: needed(self.summary, "summary")?,
            verdict: self.verdict.flatten(),
        };
        needed(self.timeline, "timeline")?;
        Ok(account)
    }
}

/// The object that a capture file is.
struct Whole<'a, 'b, R>(&'a mut Reading<'b, R>);

impl<'de, R: Receiver> Visitor<'de> for Whole<'_, '_, R> {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a capture")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let (mut schema, mut version, mut host) = (None, None, None);
        let mut earlier = None;
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => once(&mut schema, "schema", &mut map)?,
                "memtrace_version" => once(&mut version, "memtrace_version", &mut map)?,
                "host" => once(&mut host, "host", &mut map)?,
                "earlier_epochs" if earlier.is_some() => {
                    return Err(A::Error::duplicate_field("earlier_epochs"));
                }
                "earlier_epochs" => earlier = Some(map.next_value_seed(Earlier(&mut *self.0))?),
                key => fields.take(key, &mut map, Part::Last, self.0)?,
            }
        }
        Ok(Parsed {
            schema: needed(schema, "schema")?,
            memtrace_version: needed(version, "memtrace_version")?,
            host: needed(host, "host")?,
            last: fields.account()?,
            earlier: needed(earlier, "earlier_epochs")?,
        })
    }
}

struct Earlier<'a, 'b, R>(&'a mut Reading<'b, R>);

impl<'de, R: Receiver> DeserializeSeed<'de> for Earlier<'_, '_, R> {
    type Value = Vec<Account>;

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<Vec<Account>, S::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de, R: Receiver> Visitor<'de> for Earlier<'_, '_, R> {
    type Value = Vec<Account>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Account>, A::Error> {
        let mut epochs = Vec::new();
        while let Some(epoch) = seq.next_element_seed(OneEpoch {
            number: epochs.len(),
            reading: &mut *self.0,
        })? {
            epochs.push(epoch);
        }
        if epochs.len() < self.0.receiver.fewest() {
            return Err(A::Error::custom("it has lost an epoch"));
        }
        Ok(epochs)
    }
}

struct OneEpoch<'a, 'b, R> {
    number: usize,
    reading: &'a mut Reading<'b, R>,
}

impl<'de, R: Receiver> DeserializeSeed<'de> for OneEpoch<'_, '_, R> {
    type Value = Account;

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<Account, S::Error> {
        source.deserialize_map(self)
    }
}

impl<'de, R: Receiver> Visitor<'de> for OneEpoch<'_, '_, R> {
    type Value = Account;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an epoch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Account, A::Error> {
        let part = Part::Earlier(self.number);
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            fields.take(&key, &mut map, part, self.reading)?;
        }
        fields.account()
    }
}

struct Timeline<'a, 'b, R>(&'a mut Reading<'b, R>);

impl<'de, R: Receiver> DeserializeSeed<'de> for Timeline<'_, '_, R> {
    type Value = ();

    fn deserialize<S: Deserializer<'de>>(self, source: S) -> Result<(), S::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de, R: Receiver> Visitor<'de> for Timeline<'_, '_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(tick) = seq.next_element::<Tick>()? {
            self.0.told(|receiver| receiver.tick(tick))?;
        }
        Ok(())
    }
}
