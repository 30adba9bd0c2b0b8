//! `/proc/PID/auxv`.

use std::mem::size_of;

/// Of how many bits a program is: `EI_CLASS` of its ELF header, which may not be readable, as this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Its system calls pass neither the `syscalls:*` tracepoints nor the functions of the native ones.
    Bits32,
    /// Its system calls are the kernel's own, on a 64-bit kernel.
    Bits64,
}

/// `AT_PAGESZ`, `include/uapi/linux/auxvec.h`.
const AT_PAGESZ: u64 = 6;

/// The class of the program that the kernel wrote this vector for: pairs of a tag and a value, in the program's own words. It
/// always says how large a page is. `None` where it does not, as of a zombie.
#[must_use]
pub fn class(bytes: &[u8], page_size: u64) -> Option<Class> {
    let wide = bytes
        .as_chunks::<{ size_of::<u64>() }>()
        .0
        .iter()
        .map(|word| u64::from_ne_bytes(*word));
    let narrow = bytes
        .as_chunks::<{ size_of::<u32>() }>()
        .0
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)));
    if says(wide, page_size) {
        Some(Class::Bits64)
    } else if says(narrow, page_size) {
        Some(Class::Bits32)
    } else {
        None
    }
}

fn says(mut words: impl Iterator<Item = u64>, page_size: u64) -> bool {
    while let (Some(tag), Some(value)) = (words.next(), words.next()) {
        if (tag, value) == (AT_PAGESZ, page_size) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: [u64; 8] = [33, 0x7fff_0000_1000, 16, 0xbfeb_fbff, 6, 4096, 0, 0];
    const NARROW: [u32; 8] = [32, 0xf7f0_0570, 16, 0xbfeb_fbff, 6, 4096, 0, 0];

    #[test]
    fn the_size_of_its_words_tells() {
        let wide: Vec<u8> = WIDE.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let narrow: Vec<u8> = NARROW.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(class(&wide, 4096), Some(Class::Bits64));
        assert_eq!(class(&narrow, 4096), Some(Class::Bits32));
        for wrong in [&b""[..], &wide[..40], &narrow[..20], &wide[4..]] {
            assert_eq!(class(wrong, 4096), None, "{wrong:?}");
        }
        assert_eq!(class(&wide, 65536), None);
    }

    #[test]
    fn this_test_is_of_this_machines_size() {
        let own = std::fs::read("/proc/self/auxv").unwrap();
        let bits = if cfg!(target_pointer_width = "64") {
            Class::Bits64
        } else {
            Class::Bits32
        };
        assert_eq!(class(&own, crate::proc::page_size()), Some(bits));
    }
}
