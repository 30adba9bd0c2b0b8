//! Reading a capture file: whole and checked, or an error with its position.
//!
//! It is read as a stream, so it may be larger than memory.

use std::{
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use super::{
    Capture, CaptureInfo, Epoch, HostInfo, SCHEMA, Summary, TargetInfo, Tick, Verdict,
    read_journal::{self, Loaded},
};
use crate::view::format::{size, untrusted};

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

/// Reads a capture, or a journal as at its last whole line.
///
/// # Errors
///
/// Where it cannot be read, or is not a whole capture of this version's schema, nor the beginning of a journal.
pub fn read(source: impl Read) -> Result<Capture, ReadError> {
    parse::<Vec<Tick>>(source, true).map(|loaded| loaded.capture)
}

/// Reads a capture for its table. Every tick is checked, and none is kept but the last one, and the last one that has seen
/// LazyFree, so that memory does not grow with the timeline.
///
/// # Errors
///
/// As [`read`].
pub fn read_closing(source: impl Read) -> Result<Capture, ReadError> {
    load(source).map(|loaded| loaded.capture)
}

/// As [`read_closing`], and says whether it was a journal.
///
/// # Errors
///
/// As [`read`].
pub fn load(source: impl Read) -> Result<Loaded, ReadError> {
    parse::<Closing>(source, false)
}

fn parse<T: DeserializeOwned + Into<Vec<Tick>>>(
    mut source: impl Read,
    all: bool,
) -> Result<Loaded, ReadError> {
    // What was read to find the schema is read again, for everything.
    let mut seen = Vec::new();
    let Found { version, journal } = look(&mut source, &mut seen, MOST_BEFORE_SCHEMA)?;
    let again = BufReader::new(Cursor::new(seen).chain(source));
    if journal {
        return read_journal::read(again, version, all);
    }
    let mut json = serde_json::Deserializer::from_reader(again);
    let flat: Flat<T> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        wrong(error.into_inner(), &path, &version)
    })?;
    json.end().map_err(|error| wrong(error, "", &version))?;
    Ok(Loaded {
        capture: flat.into(),
        journal: None,
    })
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
    let version = untrusted(version.as_deref().unwrap_or("unknown"), 40);
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
    let schema = untrusted(schema, 40);
    if is_later {
        return ReadError::Later { schema, version };
    }
    ReadError::Foreign {
        at: stopped.as_ref().map(Position::of).unwrap_or_default(),
        what: format!("its schema is \"{schema}\", and this memtrace reads {SCHEMA}"),
    }
}

/// The parser's error in our words.
fn wrong(error: serde_json::Error, path: &str, version: &str) -> ReadError {
    let at = Position::of(&error);
    let path = untrusted(path, QUOTED);
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
    untrusted(text.strip_suffix(&position).unwrap_or(&text), QUOTED)
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

/// [`Capture`] as it stands in the file. Its own `flatten` would hold the whole file in memory before it looks at a field,
/// and then not know where that was.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Flat<T> {
    schema: String,
    memtrace_version: String,
    host: HostInfo,
    target: TargetInfo,
    capture: CaptureInfo,
    summary: Summary,
    timeline: T,
    verdict: Option<Verdict>,
    earlier_epochs: Vec<FlatEpoch<T>>,
}

/// [`Epoch`].
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct FlatEpoch<T> {
    target: TargetInfo,
    capture: CaptureInfo,
    summary: Summary,
    timeline: T,
    verdict: Option<Verdict>,
}

impl<T: Into<Vec<Tick>>> From<Flat<T>> for Capture {
    fn from(flat: Flat<T>) -> Self {
        let Flat {
            schema,
            memtrace_version,
            host,
            target,
            capture,
            summary,
            timeline,
            verdict,
            earlier_epochs,
        } = flat;
        let last = FlatEpoch {
            target,
            capture,
            summary,
            timeline,
            verdict,
        };
        Self {
            schema,
            memtrace_version,
            host,
            epoch: last.into(),
            earlier_epochs: earlier_epochs.into_iter().map(Epoch::from).collect(),
        }
    }
}

impl<T: Into<Vec<Tick>>> From<FlatEpoch<T>> for Epoch {
    fn from(flat: FlatEpoch<T>) -> Self {
        let FlatEpoch {
            target,
            capture,
            summary,
            timeline,
            verdict,
        } = flat;
        Self {
            target,
            capture,
            summary,
            timeline: timeline.into(),
            verdict,
        }
    }
}

/// What the table needs of a timeline.
#[derive(Default)]
struct Closing {
    with_lazyfree: Option<Tick>,
    last: Option<Tick>,
}

impl From<Closing> for Vec<Tick> {
    fn from(closing: Closing) -> Self {
        closing
            .with_lazyfree
            .into_iter()
            .chain(closing.last)
            .collect()
    }
}

impl<'de> Deserialize<'de> for Closing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Ticks)
    }
}

struct Ticks;

impl<'de> Visitor<'de> for Ticks {
    type Value = Closing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut ticks: A) -> Result<Closing, A::Error> {
        let mut closing = Closing::default();
        while let Some(tick) = ticks.next_element::<Tick>()? {
            if let Some(before) = closing.last.replace(tick)
                && before.lazyfree_bytes.is_some()
            {
                closing.with_lazyfree = Some(before);
            }
        }
        Ok(closing)
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
