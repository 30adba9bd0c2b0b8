//! From the journal to the capture file: as a stream, whose memory does not grow with the capture.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{TakenBack, journal::ENDED};
use crate::model::{Account, SCHEMA, Tick};

/// What is read from the journal at once.
const BLOCK: usize = 256 << 10;

/// The parts of a line that are copied as they are.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    tick: Option<&'a RawValue>,
    #[serde(borrow)]
    ended: Option<RawAccount<'a>>,
    taken_back: Option<TakenBack>,
}

#[derive(Deserialize)]
struct RawAccount<'a> {
    #[serde(borrow)]
    target: &'a RawValue,
    #[serde(borrow)]
    capture: &'a RawValue,
    #[serde(borrow)]
    summary: &'a RawValue,
    #[serde(borrow)]
    verdict: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    memtrace_version: &'a RawValue,
    #[serde(borrow)]
    host: &'a RawValue,
}

/// Writes the capture file, one JSON object with a line's end, from a journal that is all there. `last` closes the last epoch:
/// the journal need not have it. A last line that was cut is left out.
///
/// # Errors
///
/// Where one of the two cannot be read or written, or the journal is none.
pub fn assemble(journal: impl Read + Seek, last: &Account, mut out: impl Write) -> io::Result<()> {
    let mut journal = Lines::new(journal);
    let places = Places::find(&mut journal)?;
    journal.go_to(0)?;
    journal.next()?;
    let Head {
        memtrace_version,
        host,
    } = journal.parsed()?;
    write!(
        out,
        r#"{{"schema":"{SCHEMA}","memtrace_version":{memtrace_version},"host":{host},"#
    )?;
    field(&mut out, "target", &last.target)?;
    field(&mut out, "capture", &last.capture)?;
    field(&mut out, "summary", &last.summary)?;
    journal.go_to(places.last)?;
    ticks(&mut journal, None, &mut out)?;
    field(&mut out, "verdict", &last.verdict)?;
    out.write_all(br#""earlier_epochs":["#)?;
    earlier(&mut journal, &places, &mut out)?;
    out.write_all(b"]}\n")?;
    out.flush()
}

/// Where the ticks of the first and of the last epoch begin, in bytes.
struct Places {
    first: u64,
    last: u64,
}

impl Places {
    /// Looks at how each line begins, and no further.
    fn find(journal: &mut Lines<impl Read + Seek>) -> io::Result<Self> {
        journal.go_to(0)?;
        if !journal.next()? {
            return Err(journal.bad("it has no first line"));
        }
        let first = journal.at;
        let mut places = Self { first, last: first };
        while journal.next()? {
            // The line that ends the last epoch names no next one, and nothing is behind it.
            let next = journal.at;
            if journal.is_end() && journal.has_next_epoch()? {
                places.last = next;
            }
        }
        Ok(places)
    }
}

/// The epochs before the last one, oldest first.
fn earlier(
    journal: &mut Lines<impl Read + Seek>,
    places: &Places,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut begin = places.first;
    while begin < places.last {
        journal.go_to(begin)?;
        loop {
            if !journal.next()? {
                return Err(journal.bad("it ends before its last epoch begins"));
            }
            if journal.is_end() {
                break;
            }
        }
        let next = journal.at;
        let Line {
            ended, taken_back, ..
        } = journal.parsed()?;
        let Some(ended) = ended else {
            return Err(journal.bad("it has no `ended`"));
        };
        if begin != places.first {
            out.write_all(b",")?;
        }
        let RawAccount {
            target,
            capture,
            summary,
            verdict,
        } = ended;
        write!(
            out,
            r#"{{"target":{target},"capture":{capture},"summary":{summary},"#
        )?;
        let verdict = verdict.map_or("null", RawValue::get).to_owned();
        journal.go_to(begin)?;
        ticks(journal, taken_back, out)?;
        write!(out, r#""verdict":{verdict}}}"#)?;
        begin = next;
    }
    Ok(())
}

/// The ticks from here to the end of the epoch.
fn ticks(
    journal: &mut Lines<impl Read + Seek>,
    taken_back: Option<TakenBack>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(br#""timeline":["#)?;
    let mut number = 0;
    while journal.next()? && !journal.is_end() {
        if number > 0 {
            out.write_all(b",")?;
        }
        let Line {
            tick: Some(tick), ..
        } = journal.parsed()?
        else {
            return Err(journal.bad("it is no tick"));
        };
        if taken_back.is_some_and(|taken| taken.concerns(number)) {
            let mut tick: Tick = serde_json::from_str(tick.get())?;
            tick.take_back();
            serde_json::to_writer(&mut *out, &tick)?;
        } else {
            out.write_all(tick.get().as_bytes())?;
        }
        number += 1;
    }
    out.write_all(b"],")
}

fn field(out: &mut impl Write, name: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, r#""{name}":"#)?;
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b",")
}

/// The lines of a journal, one at a time.
struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    /// Where the next one begins.
    at: u64,
}

impl<R: Read + Seek> Lines<R> {
    fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(BLOCK, source),
            line: Vec::new(),
            at: 0,
        }
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        self.at = at;
        self.source.seek(SeekFrom::Start(at)).map(drop)
    }

    /// Reads the next line; `false` where there is none that is whole.
    fn next(&mut self) -> io::Result<bool> {
        self.line.clear();
        let length = self.source.read_until(b'\n', &mut self.line)?;
        if self.line.pop() != Some(b'\n') {
            return Ok(false);
        }
        self.at += length as u64;
        Ok(true)
    }

    fn is_end(&self) -> bool {
        self.line.starts_with(ENDED)
    }

    fn has_next_epoch(&self) -> io::Result<bool> {
        #[derive(Deserialize)]
        struct Next<'a> {
            #[serde(borrow)]
            next: Option<&'a RawValue>,
        }
        Ok(self.parsed::<Next<'_>>()?.next.is_some())
    }

    fn parsed<'a, T: Deserialize<'a>>(&'a self) -> io::Result<T> {
        serde_json::from_slice(&self.line).map_err(|error| self.bad(&error.to_string()))
    }

    fn bad(&self, what: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the journal is not as memtrace wrote it, before byte {}: {what}",
                self.at
            ),
        )
    }
}
