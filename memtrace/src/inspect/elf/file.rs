//! The bytes of a file, in small pieces that are kept and in chunks that are gone through.

use std::{
    collections::HashMap,
    io::{self, Read, Seek, SeekFrom},
    ops::ControlFlow,
};

use object::pod::{self, Pod};

use super::Error;
use crate::inspect::Image;

/// Most bytes of a name: of a symbol (mangled names may be longer, none that is asked for), or of a library.
const MOST_NAME: usize = 512;
/// Bytes that are read at once where a table is gone through.
const CHUNK: usize = 256 << 10;
/// How much of a chunk is seen again at the start of the next: what is sought is shorter.
pub const OVERLAP: usize = 512;
/// Size of the pieces that are kept for look-ups, and how many of them are.
const PIECE: u64 = 4096;
const MOST_PIECES: usize = 256;
/// Pieces that are read of one file before nothing more is believed of it. Real files take some dozens.
const MOST_READS: u32 = 8192;

/// A file, and the pieces of it that were read last.
pub struct File {
    image: Box<dyn Image>,
    length: u64,
    pieces: HashMap<u64, Vec<u8>>,
    reads_left: u32,
}

impl File {
    pub(super) fn new(mut image: Box<dyn Image>) -> Result<Self, Error> {
        let length = image.seek(SeekFrom::End(0)).map_err(Error::Unreadable)?;
        Ok(Self {
            image,
            length,
            pieces: HashMap::new(),
            reads_left: MOST_READS,
        })
    }

    /// Returns its size in bytes, when it was opened.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Returns the structure of that number in the table that starts at `start`.
    pub(super) fn get_nth<T: Pod>(&mut self, start: u64, index: u64) -> Result<T, Error> {
        let place = index.checked_mul(size_of::<T>() as u64);
        let place = place.and_then(|place| start.checked_add(place));
        let bytes = self.bytes(place.ok_or(Error::Cut)?, size_of::<T>())?;
        let (value, _) = pod::from_bytes::<T>(&bytes).map_err(|()| Error::Cut)?;
        Ok(*value)
    }

    /// Returns text up to its zero byte; `None` if that is too far away.
    pub(super) fn name_at(&mut self, offset: u64) -> Option<Vec<u8>> {
        let room = usize::try_from(self.length.checked_sub(offset)?).ok()?;
        let mut length = 32;
        loop {
            let part = self.bytes(offset, length.min(room)).ok()?;
            if let Some(end) = memchr::memchr(0, &part) {
                return part.get(..end).map(<[u8]>::to_vec);
            }
            if length >= MOST_NAME || length >= room {
                return None;
            }
            length *= 4;
        }
    }

    /// Returns a few bytes.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` from `offset` on, through the pieces that are kept.
    ///
    /// # Errors
    ///
    /// If the file does not have all of it, or too much of it was read.
    pub fn read(&mut self, offset: u64, mut buffer: &mut [u8]) -> Result<(), Error> {
        let mut at = offset;
        while !buffer.is_empty() {
            let within = usize::try_from(at % PIECE).unwrap_or(usize::MAX);
            let piece = self.piece(at / PIECE)?.get(within..).unwrap_or_default();
            let part = piece.len().min(buffer.len());
            let (filled, rest) = buffer.split_at_mut(part);
            let piece = piece.get(..part).filter(|piece| !piece.is_empty());
            filled.copy_from_slice(piece.ok_or(Error::Cut)?);
            buffer = rest;
            at = at.checked_add(part as u64).ok_or(Error::Cut)?;
        }
        Ok(())
    }

    fn piece(&mut self, number: u64) -> Result<&[u8], Error> {
        if !self.pieces.contains_key(&number) {
            self.reads_left = self.reads_left.checked_sub(1).ok_or(Error::Reads)?;
            if self.pieces.len() >= MOST_PIECES {
                self.pieces.clear();
            }
            let mut piece = vec![0; PIECE as usize];
            let read = self.fill(number * PIECE, &mut piece)?;
            piece.truncate(read);
            self.pieces.insert(number, piece);
        }
        Ok(self.pieces.get(&number).map_or(&[], Vec::as_slice))
    }

    /// Reads as much as there is, up to the buffer's size.
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.image.seek(SeekFrom::Start(offset))?;
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..)
            && !rest.is_empty()
        {
            match self.image.read(rest) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }

    /// Returns the file from `offset` on, at most `size` bytes, as a stream.
    ///
    /// # Errors
    ///
    /// If the offset is none of a file.
    pub fn stream(&mut self, offset: u64, size: u64) -> Result<impl Read, Error> {
        self.image.seek(SeekFrom::Start(offset))?;
        Ok((&mut self.image).take(size))
    }

    /// Goes through texts in chunks that overlap by [`OVERLAP`] bytes, as [`entries`](Self::entries) does.
    pub(super) fn texts<B>(
        &mut self,
        offset: u64,
        size: u64,
        look: impl FnMut(u64, &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        self.chunks(offset, size, (CHUNK, OVERLAP), look)
    }

    /// Goes through a table in chunks of whole entries of `entry` bytes, each with its place in the table, until `look` breaks off;
    /// returns what it broke off with.
    ///
    /// # Errors
    ///
    /// If not all of it can be read; `look` has then seen what is there.
    pub fn entries<B>(
        &mut self,
        offset: u64,
        size: u64,
        entry: usize,
        look: impl FnMut(u64, &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        self.chunks(offset, size, (CHUNK - CHUNK % entry, 0), look)
    }

    fn chunks<B>(
        &mut self,
        offset: u64,
        size: u64,
        (most, overlap): (usize, usize),
        mut look: impl FnMut(u64, &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        let part_of = |left: u64| usize::try_from(left).unwrap_or(most).min(most);
        let mut buffer = vec![0; part_of(size)];
        let mut done = 0;
        while done < size {
            let part = part_of(size - done);
            let buffer = buffer.get_mut(..part).unwrap_or_default();
            let at = offset.checked_add(done).ok_or(Error::Cut)?;
            let read = self.fill(at, buffer)?;
            if let ControlFlow::Break(found) = look(done, buffer.get(..read).unwrap_or_default()) {
                return Ok(Some(found));
            }
            if read < part {
                return Err(Error::Cut);
            }
            done += part as u64;
            if done < size {
                done -= overlap as u64;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(bytes: Vec<u8>) -> File {
        File::new(Box::new(Cursor::new(bytes))).unwrap()
    }

    #[test]
    fn a_name_across_two_chunks_is_found_once() {
        for start in [CHUNK - 9, CHUNK - 4, CHUNK - OVERLAP, CHUNK - OVERLAP - 5] {
            let mut bytes = vec![b'x'; 2 * CHUNK];
            bytes[start - 1] = 0;
            bytes[start..start + 7].copy_from_slice(b"malloc\0");
            let (places, all) = file(bytes).places(1, 2 * CHUNK as u64 - 1, &["free_", "malloc"]);
            assert_eq!(places, [(start as u64 - 1, 1)]);
            all.unwrap();
        }
    }

    #[test]
    fn names_without_end_are_refused_with_those_that_were_found() {
        let (places, all) = file(b"malloc\0".repeat(100_000)).places(0, 700_000, &["malloc"]);
        assert!(places.len() < 2 * CHUNK / 7, "{}", places.len());
        assert!(matches!(all, Err(Error::Names)), "{all:?}");
    }

    #[test]
    fn a_table_that_is_cut_is_seen_as_far_as_it_goes() {
        let mut seen = 0;
        let mut look = |at: u64, chunk: &[u8]| {
            assert!(at.is_multiple_of(24));
            seen += chunk.len();
            ControlFlow::<()>::Continue(())
        };
        let read = file(vec![0; CHUNK + 100]).entries(50, 1 << 40, 24, &mut look);
        assert!(matches!(read, Err(Error::Cut)), "{read:?}");
        assert_eq!(seen, CHUNK + 50);
    }

    #[test]
    fn reads_of_a_file_are_counted() {
        let mut file = file(vec![7; PIECE as usize * (MOST_READS as usize + 1)]);
        for number in 0..u64::from(MOST_READS) {
            assert_eq!(file.bytes(number * PIECE + 1, 2).unwrap(), [7, 7]);
        }
        // What is kept costs none.
        file.bytes(u64::from(MOST_READS) * PIECE - 2, 2).unwrap();
        let refused = file.bytes(u64::from(MOST_READS) * PIECE, 1);
        assert!(matches!(refused, Err(Error::Reads)), "{refused:?}");
    }
}
