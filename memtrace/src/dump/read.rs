//! Reading a dump: a JSON object a line.

use std::io::{self, BufRead, Read as _};

use serde_json::error::Category;

use super::{Dump, Point};
use crate::text::format::sanitized;

/// Most bytes of a line. The library's own have at most 280.
const MOST: u64 = 64 << 10;
/// Characters of a foreign text in an error.
const QUOTED: usize = 200;

/// Why a file is no whole dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It could not be read.
    #[error("{0}")]
    Io(io::Error),
    /// A line is not what pprofplus writes.
    #[error("it is a dump of pprofplus, and its line {line} is broken, at column {column}: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// Its only line was cut.
    #[error(
        "it is a dump of pprofplus, and ends in the middle of its first line, at column {column}"
    )]
    Cut {
        /// From 1, in bytes.
        column: usize,
    },
}

/// Whether a file that begins like this is a dump: told by the field that the library writes first, and captures do not have.
#[must_use]
pub fn is_dump(head: &[u8]) -> bool {
    let Some(object) = head.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    object.trim_ascii_start().starts_with(b"\"Timestamp\"")
}

/// Reads a dump. A last line that was cut, as a program that is killed leaves it, is left out.
///
/// # Errors
///
/// Where it cannot be read, or any other line is not whole.
pub fn read(mut source: impl BufRead) -> Result<Dump, DumpError> {
    let mut dump: Option<Dump> = None;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let count = source
            .by_ref()
            .take(MOST)
            .read_until(b'\n', &mut line)
            .map_err(DumpError::Io)?;
        if count == 0 {
            break;
        }
        let is_ended = line.last() == Some(&b'\n');
        if !is_ended && line.len() as u64 == MOST {
            return Err(DumpError::Line {
                line: number,
                column: line.len(),
                what: "it is longer than any line that the library writes".to_owned(),
            });
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match (
            serde_json::from_slice::<Point>(line.trim_ascii_end()),
            &mut dump,
        ) {
            (Ok(point), dump) => dump.get_or_insert_with(|| Dump::of(point)).note(point),
            (Err(error), dump) if !is_ended && error.classify() == Category::Eof => match dump {
                Some(dump) => dump.cut_bytes = line.len() as u64,
                None => {
                    return Err(DumpError::Cut {
                        column: error.column(),
                    });
                }
            },
            (Err(error), _) => {
                let text = error.to_string();
                let position = format!(" at line {} column {}", error.line(), error.column());
                let what = text.strip_suffix(&position).unwrap_or(&text);
                return Err(DumpError::Line {
                    line: number,
                    column: error.column(),
                    what: sanitized(what, QUOTED),
                });
            }
        }
    }
    // What is not one line is none.
    dump.ok_or(DumpError::Cut { column: 0 })
}
