//! Reading a capture file: whole and checked, or an error with its position.
//!
//! It is read as a stream, so it may be larger than memory.

use std::{
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::error::Category;

use super::{
    Extent, TakenBack,
    capture_file::{Parsed, Part, Reading, Receiver},
    read_journal::{self, Loaded},
};
use crate::{
    dump::is_dump,
    model::{Capture, Epoch, SCHEMA, Tick},
    text::format::{sanitized, size},
};

/// Most bytes in which the field `schema` must come. memtrace writes it first, tools that sort the fields of an object late.
const MOST_BEFORE_SCHEMA: usize = 64 << 20;
/// Characters of a foreign text in an error.
pub(super) const QUOTED: usize = 200;

/// Why a file is no capture that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("{0}")]
    Io(io::Error),
    /// Nothing is in it.
    #[error(
        "it is empty, at {0}; a capture is one JSON object, as `memtrace --json FILE` writes it"
    )]
    Empty(Position),
    /// It ends too early.
    #[error("it ends at {at}{}, in the middle of the capture: it was cut, or is still being written", inside(.path))]
    Cut {
        /// The end.
        at: Position,
        /// In which field.
        path: String,
    },
    /// It is not JSON.
    #[error("it is not JSON, at {at}{}: {what}; a capture is one JSON object, as `memtrace --json FILE` writes it", inside(.path))]
    Syntax {
        /// Where it is not.
        at: Position,
        /// In which field.
        path: String,
        /// What is wrong there.
        what: String,
    },
    /// It is JSON of another kind.
    #[error("it is not a capture of memtrace, at {at}: {what}")]
    Foreign {
        /// Where that was seen.
        at: Position,
        /// What is missing.
        what: String,
    },
    /// Another tool wrote it, and `memtrace report` prints it.
    #[error(
        "it is a dump of pprofplus, which has no causes; `memtrace report` prints what it has, and `memtrace --json FILE` writes a capture"
    )]
    Dump,
    /// A later version of memtrace wrote it.
    #[error(
        "it was written by a later memtrace (schema {schema}, version {version}); this one, {}, reads {SCHEMA}: read it with that version",
        env!("CARGO_PKG_VERSION")
    )]
    Later {
        /// Its schema.
        schema: String,
        /// The version that wrote it.
        version: String,
    },
    /// It is a journal, and a line of it is not what memtrace writes.
    #[error("its journal is broken, at {at}{}: {what}{}", inside(.path), written_by(.version))]
    Line {
        /// Where.
        at: Position,
        /// In which field.
        path: String,
        /// What is wrong there.
        what: String,
        /// The version that wrote the file.
        version: String,
    },
    /// It is a capture, and a field of it is wrong.
    #[error("it is not a whole capture, at {at}{}: {what}{}", inside(.path), written_by(.version))]
    Field {
        /// Where.
        at: Position,
        /// Which field.
        path: String,
        /// What is wrong with it.
        what: String,
        /// The version that wrote the file.
        version: String,
    },
}

fn inside(path: &str) -> String {
    match path {
        "" | "." | "?" => String::new(),
        path => format!(" ({path})"),
    }
}

fn written_by(version: &str) -> String {
    if version == env!("CARGO_PKG_VERSION") {
        return String::new();
    }
    format!(
        "; memtrace {version} wrote it, and this is {}",
        env!("CARGO_PKG_VERSION")
    )
}

/// A place in a file, as editors count: lines from 1; columns from 1, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Byte in the line. 0: before its first.
    pub column: usize,
}

impl Position {
    fn of(error: &serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column } = self;
        write!(f, "line {line}, column {column}")
    }
}

/// What is worked out of an epoch's ticks while they are read, whether they are kept or not.
pub trait Digest: Default {
    /// Takes note of the next tick.
    fn note(&mut self, tick: &Tick);
}

/// Nothing is.
impl Digest for () {
    fn note(&mut self, _: &Tick) {}
}

/// Both are.
impl<A: Digest, B: Digest> Digest for (A, B) {
    fn note(&mut self, tick: &Tick) {
        self.0.note(tick);
        self.1.note(tick);
    }
}

/// Reads a capture, or a journal as at its last whole line.
///
/// # Errors
///
/// Where it cannot be read, or is not a whole capture of this version's schema, nor the beginning of a journal.
pub fn read(source: impl Read) -> Result<Capture, ReadError> {
    parse::<Every, ()>(source).map(|loaded| loaded.capture)
}

/// Reads a capture for its table. Every tick is checked, and none is kept but the last one, and the last one that has seen
/// LazyFree, so that memory does not grow with the timeline.
///
/// # Errors
///
/// As [`read`].
pub fn read_closing(source: impl Read) -> Result<Capture, ReadError> {
    load::<()>(source).map(|loaded| loaded.capture)
}

/// As [`read_closing`], with what `D` makes of the ticks, and says whether it was a journal.
///
/// # Errors
///
/// As [`read`].
pub fn load<D: Digest>(source: impl Read) -> Result<Loaded<D>, ReadError> {
    parse::<Closing, D>(source)
}

fn parse<K: Keep, D: Digest>(mut source: impl Read) -> Result<Loaded<D>, ReadError> {
    // What was read to find the schema is read again, for everything.
    let mut seen = Vec::new();
    let found = look(&mut source, &mut seen, MOST_BEFORE_SCHEMA);
    let Found { version, journal } = match found {
        Err(ReadError::Foreign { .. } | ReadError::Cut { .. }) if is_dump(&seen) => {
            return Err(ReadError::Dump);
        }
        found => found?,
    };
    let again = BufReader::new(Cursor::new(seen).chain(source));
    if journal {
        return read_journal::read::<K, D>(again, version);
    }
    let mut json = serde_json::Deserializer::from_reader(again);
    let mut collected = Collected::<K, D>::default();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let parsed = Reading::new(&mut collected)
        .read(tracked)
        .map_err(|error| wrong(error, &track.path().to_string(), &version))?;
    json.end().map_err(|error| wrong(error, "", &version))?;
    Ok(collected.into_loaded(parsed))
}

/// What is known of a file that this version can read.
#[derive(Debug)]
struct Found {
    /// The version that wrote it.
    version: String,
    journal: bool,
}

/// Reads until it knows the schema, and keeps what it has read.
fn look(source: impl Read, seen: &mut Vec<u8>, most: usize) -> Result<Found, ReadError> {
    let mut head = Head::default();
    let recorded = Recorded { source, seen, most };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(recorded));
    // It stops at the schema, which the parser takes for an error.
    let stopped = json.deserialize_map(Look(&mut head));
    drop(json);
    let Head {
        schema,
        version,
        journal,
    } = head;
    let version = sanitized(version.as_deref().unwrap_or("unknown"), 40);
    match (schema, stopped) {
        (Some(schema), _) if schema == SCHEMA => match journal {
            Some(format) if format > read_journal::NEWEST => Err(ReadError::Later {
                schema: format!("{SCHEMA}, journal {format}"),
                version,
            }),
            journal => Ok(Found {
                version,
                journal: journal.is_some(),
            }),
        },
        (Some(schema), stopped) => Err(other_schema(&schema, version, stopped.err())),
        (None, Err(error)) if seen.iter().all(u8::is_ascii_whitespace) && error.is_eof() => {
            Err(ReadError::Empty(Position::of(&error)))
        }
        (None, Err(error)) if error.is_data() => Err(ReadError::Foreign {
            at: Position::of(&error),
            what: what(&error),
        }),
        (None, Err(error)) => Err(wrong(error, "", &version)),
        (None, Ok(())) => Err(ReadError::Foreign {
            at: Position::default(),
            what: "missing field `schema`".to_owned(),
        }),
    }
}

fn other_schema(schema: &str, version: String, stopped: Option<serde_json::Error>) -> ReadError {
    let number = |schema: &str| schema.strip_prefix("memtrace/")?.parse::<u64>().ok();
    let is_later = number(schema) > number(SCHEMA);
    let schema = sanitized(schema, 40);
    if is_later {
        return ReadError::Later { schema, version };
    }
    ReadError::Foreign {
        at: stopped.as_ref().map(Position::of).unwrap_or_default(),
        what: format!("its schema is \"{schema}\", and this memtrace reads {SCHEMA}"),
    }
}

/// The parser's error in our words.
pub(super) fn wrong(error: serde_json::Error, path: &str, version: &str) -> ReadError {
    let at = Position::of(&error);
    let path = sanitized(path, QUOTED);
    match error.classify() {
        Category::Io => ReadError::Io(error.into()),
        Category::Eof => ReadError::Cut { at, path },
        Category::Syntax => ReadError::Syntax {
            at,
            path,
            what: what(&error),
        },
        Category::Data => ReadError::Field {
            at,
            path,
            what: what(&error),
            version: version.to_owned(),
        },
    }
}

/// What the parser says, without the position that it puts behind it: it may quote the file, at any length.
pub(super) fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    sanitized(text.strip_suffix(&position).unwrap_or(&text), QUOTED)
}

/// Passes bytes on, and keeps them.
struct Recorded<'a, R> {
    source: R,
    seen: &'a mut Vec<u8>,
    most: usize,
}

impl<R: Read> Read for Recorded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.seen.len() >= self.most {
            return Err(io::Error::other(format!(
                "its first {} have no field `schema`: it is not a capture of memtrace",
                size(self.most as u64)
            )));
        }
        let count = self.source.read(buffer)?;
        self.seen.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// What is known of a file before its fields are read.
#[derive(Default)]
struct Head {
    schema: Option<String>,
    version: Option<String>,
    journal: Option<u64>,
}

/// Looks for the schema, and for what stands before it or right behind it: the version, and whether it is a journal.
struct Look<'a>(&'a mut Head);

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a field `schema`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => self.0.schema = Some(map.next_value()?),
                "memtrace_version" => self.0.version = Some(map.next_value()?),
                "journal" => self.0.journal = Some(map.next_value()?),
                _ if self.0.schema.is_some() => return Ok(()),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match self.0.schema {
            Some(_) => Ok(()),
            None => Err(A::Error::missing_field("schema")),
        }
    }
}

/// The ticks of a capture file as they are read: of the last epoch, then of the earlier ones.
#[derive(Default)]
struct Collected<K, D> {
    current: Ticks<K, D>,
    last: Option<Ticks<K, D>>,
    earlier: Vec<Ticks<K, D>>,
}

impl<K: Keep, D: Digest> Receiver for Collected<K, D> {
    fn begin(&mut self, _: Part) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self, tick: Tick) -> io::Result<()> {
        self.current.push(tick);
        Ok(())
    }

    fn end(&mut self, part: Part) -> io::Result<()> {
        let ticks = std::mem::take(&mut self.current);
        match part {
            Part::Last => self.last = Some(ticks),
            Part::Earlier(_) => self.earlier.push(ticks),
        }
        Ok(())
    }
}

impl<K: Keep, D: Digest> Collected<K, D> {
    fn into_loaded(self, parsed: Parsed) -> Loaded<D> {
        let Parsed {
            schema,
            memtrace_version,
            host,
            last,
            earlier,
        } = parsed;
        let mut digests = Vec::new();
        let mut extents = Vec::new();
        let mut epoch = |account, ticks: Ticks<K, D>| {
            let (ticks, digest, extent) = ticks.split();
            digests.push(digest);
            extents.push(extent);
            Epoch::of(account, ticks)
        };
        let both = earlier.into_iter().zip(self.earlier);
        let earlier_epochs = both.map(|(account, ticks)| epoch(account, ticks)).collect();
        let epoch = epoch(last, self.last.unwrap_or_default());
        Loaded {
            capture: Capture {
                schema,
                memtrace_version: memtrace_version.into(),
                host,
                epoch,
                earlier_epochs,
            },
            digests,
            extents,
            journal: None,
        }
    }
}

/// Which ticks of an epoch are kept.
pub(super) trait Keep: Default {
    /// Takes the next one, which has this number.
    fn push(&mut self, number: u64, tick: Tick);

    /// Takes back what was compared with the next program's memory.
    fn take_back(&mut self, taken: TakenBack);

    /// Those that were kept, oldest first.
    fn into_ticks(self) -> Vec<Tick>;
}

/// All of them.
#[derive(Default)]
pub(super) struct Every(Vec<Tick>);

impl Keep for Every {
    fn push(&mut self, _: u64, tick: Tick) {
        self.0.push(tick);
    }

    fn take_back(&mut self, taken: TakenBack) {
        for (number, tick) in (0..).zip(&mut self.0) {
            if taken.concerns(number) {
                tick.take_back();
            }
        }
    }

    fn into_ticks(self) -> Vec<Tick> {
        self.0
    }
}

/// What a table needs: the last one, and the last one before it that has seen LazyFree. With their numbers.
#[derive(Default)]
pub(super) struct Closing {
    with_lazyfree: Option<(u64, Tick)>,
    last: Option<(u64, Tick)>,
}

impl Keep for Closing {
    fn push(&mut self, number: u64, tick: Tick) {
        if let Some(before) = self.last.replace((number, tick))
            && before.1.lazyfree_bytes.is_some()
        {
            self.with_lazyfree = Some(before);
        }
    }

    fn take_back(&mut self, taken: TakenBack) {
        for (number, tick) in self.with_lazyfree.iter_mut().chain(&mut self.last) {
            if taken.concerns(*number) {
                tick.take_back();
            }
        }
    }

    fn into_ticks(self) -> Vec<Tick> {
        let kept = self.with_lazyfree.into_iter().chain(self.last);
        kept.map(|(_, tick)| tick).collect()
    }
}

/// The ticks of an epoch as they are read.
#[derive(Default)]
pub(super) struct Ticks<K, D> {
    count: u64,
    taken_back: Option<TakenBack>,
    kept: K,
    digest: D,
}

impl<K: Keep, D: Digest> Ticks<K, D> {
    pub(super) fn push(&mut self, tick: Tick) {
        self.digest.note(&tick);
        self.kept.push(self.count, tick);
        self.count += 1;
    }

    pub(super) fn take_back(&mut self, taken: TakenBack) {
        self.kept.take_back(taken);
        self.taken_back = Some(taken);
    }

    pub(super) fn split(self) -> (Vec<Tick>, D, Extent) {
        let extent = Extent {
            ticks: self.count,
            taken_back: self.taken_back,
        };
        (self.kept.into_ticks(), self.digest, extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_schema_is_looked_at_first() {
        let later = r#"{"schema": "memtrace/2", "memtrace_version": "9.0.0", "host": 7}"#;
        let said = error(later);
        assert!(
            said.contains("later memtrace (schema memtrace/2, version 9.0.0)"),
            "{said}"
        );
        let sorted =
            r#"{"host": {"kernel": 7}, "memtrace_version": "9.0.0", "schema": "memtrace/2"}"#;
        assert!(error(sorted).contains("version 9.0.0"));
        let unsaid = r#"{"schema": "memtrace/18446744073709551615", "x": [}"#;
        assert!(error(unsaid).contains("version unknown"));
    }

    #[test]
    fn what_is_no_capture_is_said_with_its_position() {
        for (text, parts) in [
            ("", &["it is empty", "line 1, column 0"][..]),
            (" \n \n", &["it is empty", "line 3, column 0"]),
            ("{\n", &["it ends at line 2, column 0"]),
            ("PK\u{3}\u{4}", &["not JSON", "line 1, column 1"]),
            ("{\"a\": 1,\n\"b\" 2}", &["not JSON", "line 2, column 5"]),
            (
                "{}",
                &[
                    "not a capture",
                    "missing field `schema`",
                    "line 1, column 2",
                ],
            ),
            (
                "[1]",
                &["not a capture", "an object with a field `schema`", "line 1"],
            ),
            ("17", &["not a capture", "integer `17`"]),
            (
                "{\"schema\": 1}",
                &["not a capture", "integer `1`", "line 1, column 13"],
            ),
            (
                "{\"schema\": \"memtrace/0\"}",
                &["not a capture", "\"memtrace/0\""],
            ),
            (
                "{\"schema\": \"\\u001b[2J\"}",
                &["its schema is \"\\u{1b}[2J\""],
            ),
            (
                "{\"schema\": \"memtrace/1\"}",
                &["not a whole capture", "missing field"],
            ),
            (
                "{\"schema\": \"memtrace/1\", \"memtrace_version\": \"9\", \"host\": {\"kernel\": 7}}",
                &["(host.kernel)", "integer `7`", "memtrace 9 wrote it"],
            ),
        ] {
            let said = error(text);
            for part in parts {
                assert!(said.contains(part), "{part:?} is missing in: {said}");
            }
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }

    #[test]
    fn a_source_that_fails_says_so() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let failed = read(Failing).unwrap_err();
        assert!(matches!(failed, ReadError::Io(_)), "{failed}");
        assert!(
            failed.to_string().contains("Input/output error"),
            "{failed}"
        );
    }

    #[test]
    fn a_source_without_end_is_left_soon() {
        let endless = b"{\"a\": [".chain(io::repeat(b'['));
        let said = look(endless, &mut Vec::new(), 1 << 20)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("first 1024K have no field `schema`"),
            "{said}"
        );
    }
}
