//! From the journal to the capture file: as a stream, whose memory does not grow with the capture.

use std::io::{self, BufReader, Read, Seek, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    ReadError, TakenBack,
    lines::{Head, Line, Lines, Mark, TickOf},
};
use crate::model::{Account, SCHEMA, Tick};

/// What is read from the journal at once.
const BLOCK: usize = 256 << 10;

/// Writes the capture file, one JSON object with a line's end, from a journal that is all there. `last` closes the last epoch:
/// the journal need not have it. A last line that was cut is left out.
///
/// # Errors
///
/// If one of the two cannot be read or written, or the journal is none.
pub fn assemble(
    mut journal: impl Read + Seek,
    last: &Account,
    mut out: impl Write,
) -> io::Result<()> {
    // Other formats may have been made of it before.
    journal.rewind()?;
    let own = env!("CARGO_PKG_VERSION").to_owned();
    let mut journal = Lines::new(BufReader::with_capacity(BLOCK, journal), own);
    if !journal.next_whole().map_err(unread)? {
        return Err(unread(journal.wrong("it has no first line")));
    }
    let Head {
        memtrace_version,
        host,
        epoch: _,
    } = journal.parsed().map_err(unread)?;
    let first = journal.mark();
    let place = last_epoch(&mut journal)?;
    out.write_all(b"{")?;
    field(&mut out, "schema", &SCHEMA)?;
    field(&mut out, "memtrace_version", &memtrace_version)?;
    field(&mut out, "host", &host)?;
    journal.go_to(place)?;
    epoch(&mut journal, last, None, &mut out)?;
    out.write_all(br#","earlier_epochs":["#)?;
    let mut begin = first;
    while begin != place {
        journal.go_to(begin)?;
        while journal.next_whole().map_err(unread)? && !journal.is_end() {}
        let Line {
            ended, taken_back, ..
        } = journal.parsed().map_err(unread)?;
        let Some(ended) = ended else {
            return Err(unread(journal.wrong("its last epoch does not begin")));
        };
        let next = journal.mark();
        out.write_all(if begin == first { b"{" } else { b",{" })?;
        journal.go_to(begin)?;
        epoch(&mut journal, &ended, taken_back, &mut out)?;
        out.write_all(b"}")?;
        begin = next;
    }
    out.write_all(b"]}\n")?;
    out.flush()
}

/// Returns where the ticks of the last epoch begin. Looks at how each line begins, and no further.
fn last_epoch(journal: &mut Lines<impl io::BufRead + Seek>) -> io::Result<Mark> {
    #[derive(Deserialize)]
    struct Next<'a> {
        #[serde(borrow)]
        next: Option<&'a RawValue>,
    }
    let mut place = journal.mark();
    while journal.next_whole().map_err(unread)? {
        // The line that ends the last epoch names no next one, and nothing is behind it.
        if journal.is_end() && journal.parsed::<Next<'_>>().map_err(unread)?.next.is_some() {
            place = journal.mark();
        }
    }
    Ok(place)
}

/// Writes the fields of an epoch, with the ticks from here to its end as they stand there.
fn epoch(
    journal: &mut Lines<impl io::BufRead>,
    account: &Account,
    taken_back: Option<TakenBack>,
    out: &mut impl Write,
) -> io::Result<()> {
    field(out, "target", &account.target)?;
    field(out, "capture", &account.capture)?;
    field(out, "summary", &account.summary)?;
    out.write_all(br#""timeline":["#)?;
    let mut number = 0;
    while journal.next_whole().map_err(unread)? && !journal.is_end() {
        if number > 0 {
            out.write_all(b",")?;
        }
        if taken_back.is_some_and(|taken| taken.concerns(number)) {
            let TickOf::<Tick> { mut tick } = journal.parsed().map_err(unread)?;
            tick.take_back();
            serde_json::to_writer(&mut *out, &tick)?;
        } else {
            let TickOf::<&RawValue> { tick } = journal.parsed().map_err(unread)?;
            out.write_all(tick.get().as_bytes())?;
        }
        number += 1;
    }
    out.write_all(br#"],"verdict":"#)?;
    serde_json::to_writer(out, &account.verdict).map_err(io::Error::from)
}

fn field(out: &mut impl Write, name: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, r#""{name}":"#)?;
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b",")
}

/// An error of the journal as one of the file that is made of it.
fn unread(error: impl Into<ReadError>) -> io::Error {
    match error.into() {
        ReadError::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
