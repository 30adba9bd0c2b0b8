//! `/proc/PID/statm`.

use super::{number, words};

/// `/proc/PID/statm`: 5 to 11 µs, takes no lock of the target. RSS is exact since 6.16, see `docs/accuracy.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statm {
    /// Size of the address space in pages. 0: the process has no memory any more.
    pub size: u64,
    /// Resident pages.
    pub resident: u64,
}

/// Parses `statm`; `None` where the bytes are something else.
#[must_use]
pub fn statm(bytes: &[u8]) -> Option<Statm> {
    let mut words = words(bytes);
    Some(Statm {
        size: number(words.next()?)?,
        resident: number(words.next()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_numbers_are_size_and_resident() {
        let found = statm(b"765 432 404 5 0 123 0\n").unwrap();
        assert_eq!((found.size, found.resident), (765, 432));
        for wrong in [
            &b""[..],
            b"765",
            b"765 -1 0",
            b"a b",
            b"99999999999999999999 1",
        ] {
            assert_eq!(statm(wrong), None, "{wrong:?}");
        }
    }
}
