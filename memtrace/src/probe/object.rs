//! The eBPF object that the binary carries.
//!
//! It is built by `cargo xtask build-ebpf` and committed, so that building memtrace needs stable Rust and nothing else;
//! `cargo xtask ci` checks that it belongs to the sources.

use memtrace_common::config::{CAST, CURRENT, NO_CAST, NO_CURRENT};

use super::offsets::Ids;

/// Aligned as an ELF file wants to be read.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ebpf/memtrace.bpf.o"));

/// The object: one little-endian ELF file for x86-64 and arm64.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// What built the object, and from what: the lines of `memtrace.bpf.txt` beside it.
#[must_use]
pub fn provenance() -> &'static str {
    include_str!("../../ebpf/memtrace.bpf.txt")
}

/// The object, with the BTF ids in it that only the loader knows: see [`CAST`] and [`CURRENT`].
pub(super) fn with_ids(ids: Ids) -> Words {
    let put = |instruction: u64, id: Option<u32>, otherwise: u64| {
        id.map_or(otherwise, |id| {
            u64::from(id) << 32 | instruction & u64::from(u32::MAX)
        })
    };
    let words = OBJECT.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        match u64::from_le_bytes(word) {
            CAST => put(CAST, ids.cast, NO_CAST),
            CURRENT => put(CURRENT, ids.current, NO_CURRENT),
            other => other,
        }
    });
    // Bytes as they lie in the file, whatever the host's order is.
    Words(words.map(u64::to_le).collect())
}

/// Bytes at an address that suits an ELF file's numbers; up to seven 0 follow the file's own.
pub(super) struct Words(Vec<u64>);

impl std::ops::Deref for Words {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: all bytes of the numbers, which are bytes themselves.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(bytes: &[u8], word: u64) -> usize {
        let words = bytes
            .chunks(8)
            .filter(|bytes| **bytes == word.to_le_bytes());
        words.count()
    }

    #[test]
    fn ids_that_only_the_loader_knows_are_put_in_everywhere() {
        let object = with_ids(Ids {
            cast: Some(123_456),
            current: Some(7),
        });
        assert_eq!(object.len(), OBJECT.len().next_multiple_of(8));
        for (mark, with_id) in [(CAST, 0x0001_e240_0000_2085), (CURRENT, 0x7_0000_3118)] {
            assert!(places(OBJECT, mark) > 0);
            assert_eq!(places(&object, mark), 0);
            assert_eq!(places(&object, with_id), places(OBJECT, mark));
        }
    }

    #[test]
    fn where_there_is_no_id_nothing_refers_to_one() {
        let object = with_ids(Ids::default());
        for (mark, without) in [(CAST, NO_CAST), (CURRENT, NO_CURRENT)] {
            assert_eq!(places(&object, mark), 0);
            let before = places(OBJECT, without);
            assert_eq!(places(&object, without), before + places(OBJECT, mark));
        }
    }
}
