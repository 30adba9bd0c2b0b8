//! The eBPF object that the binary carries.
//!
//! It is built by `cargo xtask build-ebpf` and committed, so that building memtrace needs stable Rust and nothing else;
//! `cargo xtask ci` checks that it belongs to the sources.

use memtrace_common::config::{CAST, NO_CAST};

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

/// The object for a kernel whose `bpf_rdonly_cast` has this BTF id, or which has no such function: see [`CAST`].
pub(super) fn with_cast(id: Option<u32>) -> Words {
    let call = id.map_or(NO_CAST, |id| {
        u64::from(id) << 32 | CAST & u64::from(u32::MAX)
    });
    let words = OBJECT.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        match u64::from_le_bytes(word) {
            CAST => call,
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
    fn the_id_that_only_the_loader_knows_is_put_in_everywhere() {
        let places = |bytes: &[u8], word: u64| {
            let mut words = bytes.chunks(8);
            words
                .by_ref()
                .filter(|bytes| **bytes == word.to_le_bytes())
                .count()
        };
        let calls = places(OBJECT, CAST);
        assert!(calls > 0);
        for (id, word) in [(Some(123_456), 0x0001_e240_0000_2085), (None, NO_CAST)] {
            let object = with_cast(id);
            assert_eq!(object.len(), OBJECT.len().next_multiple_of(8));
            assert_eq!(places(&object, CAST), 0);
            assert_eq!(places(&object, word), places(OBJECT, word) + calls);
        }
    }
}
