//! Where the samples of many series wait until their turn: ticks come one after the other, and the format wants all samples of a series
//! together. Memory holds a little of each; the rest goes to a file without a name.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
};

use crate::{export::journal::unnamed, privilege::Invoker};

/// Bytes that are held in memory, of all series together.
const MOST: usize = 4 << 20;

/// Series, by their number.
pub struct Shelf<'a> {
    series: Vec<Series>,
    /// Bytes in memory.
    held: usize,
    most: usize,
    file: Option<File>,
    length: u64,
    invoker: Option<&'a Invoker>,
}

#[derive(Default)]
struct Series {
    held: Vec<u8>,
    /// What was put into the file: where it begins, and its length.
    pieces: Vec<(u64, u64)>,
}

impl<'a> Shelf<'a> {
    /// An empty one, whose file is made by `invoker` once there is need of it.
    pub const fn new(invoker: Option<&'a Invoker>) -> Self {
        Self::holding(MOST, invoker)
    }

    const fn holding(most: usize, invoker: Option<&'a Invoker>) -> Self {
        Self {
            series: Vec::new(),
            held: 0,
            most,
            file: None,
            length: 0,
            invoker,
        }
    }

    /// The number of a new series.
    pub fn add(&mut self) -> usize {
        self.series.push(Series::default());
        self.series.len() - 1
    }

    /// Puts something behind what a series has.
    pub fn put(&mut self, series: usize, text: &str) -> io::Result<()> {
        if let Some(series) = self.series.get_mut(series) {
            series.held.extend_from_slice(text.as_bytes());
            self.held += text.len();
        }
        if self.held >= self.most {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, _) = unnamed(self.invoker).map_err(|reasons| {
                    io::Error::other(format!(
                        "the timeline cannot be put in order, since no file can be made for it ({reasons}); set TMPDIR to a folder with room"
                    ))
                })?;
                none.insert(file)
            }
        };
        for series in self
            .series
            .iter_mut()
            .filter(|series| !series.held.is_empty())
        {
            file.write_all(&series.held).map_err(|error| {
                let said = format!(
                    "the timeline cannot be put in order: {error}; set TMPDIR to a folder with room"
                );
                io::Error::other(said)
            })?;
            let length = series.held.len() as u64;
            series.pieces.push((self.length, length));
            self.length += length;
            series.held = Vec::new();
        }
        self.held = 0;
        Ok(())
    }

    /// Whether nothing was put into it.
    pub fn is_empty(&self, series: usize) -> bool {
        self.series
            .get(series)
            .is_none_or(|series| series.held.is_empty() && series.pieces.is_empty())
    }

    /// Writes the lines of a series, each behind `prefix`.
    pub fn copy(&self, series: usize, prefix: &str, out: &mut impl Write) -> io::Result<()> {
        let Some(series) = self.series.get(series) else {
            return Ok(());
        };
        let mut piece = Vec::new();
        for (begin, length) in &series.pieces {
            let Some(mut file) = self.file.as_ref() else {
                continue;
            };
            file.seek(SeekFrom::Start(*begin))?;
            piece.clear();
            file.take(*length).read_to_end(&mut piece)?;
            lines(&piece, prefix, out)?;
        }
        lines(&series.held, prefix, out)
    }
}

fn lines(text: &[u8], prefix: &str, out: &mut impl Write) -> io::Result<()> {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        out.write_all(prefix.as_bytes())?;
        out.write_all(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_out_whole_whether_they_were_spilled_or_not() {
        for most in [1, 64, 1 << 20] {
            let mut shelf = Shelf::holding(most, None);
            let series = [shelf.add(), shelf.add(), shelf.add()];
            let mut expected = [String::new(), String::new(), String::new()];
            for number in 0..100 {
                // The last one stays empty.
                let at = number % 2;
                let line = format!("{number}\n");
                shelf.put(series[at], &line).unwrap();
                expected[at].push_str(&format!("p {line}"));
            }
            assert_eq!(shelf.file.is_some(), most <= 64);
            for (series, expected) in series.into_iter().zip(expected) {
                let mut out = Vec::new();
                shelf.copy(series, "p ", &mut out).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), expected);
                assert_eq!(shelf.is_empty(series), expected.is_empty());
            }
        }
    }
}
