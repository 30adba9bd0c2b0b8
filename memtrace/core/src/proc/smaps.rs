//! `/proc/PID/smaps_rollup`.

use super::{fields, mapping, number, words};

/// `/proc/PID/smaps_rollup` in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Resident bytes. Hugetlb pages are not in it.
    pub rss: u64,
    /// Bytes that were given to `MADV_FREE` and neither reclaimed nor written again.
    pub lazy_free: u64,
    /// Bytes in anonymous huge pages.
    pub anon_huge: u64,
    /// Bytes in swap.
    pub swap: u64,
}

/// Parses `smaps_rollup`; `None` where the bytes are something else, or lack one of the figures.
#[must_use]
pub fn smaps_rollup(bytes: &[u8]) -> Option<Rollup> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    if mapping(&bytes[..end])?.name != b"[rollup]" {
        return None;
    }
    let mut figures = [None; 4];
    for (key, value) in fields(&bytes[end..]) {
        let figure = match key {
            b"Rss" => 0,
            b"LazyFree" => 1,
            b"AnonHugePages" => 2,
            b"Swap" => 3,
            _ => continue,
        };
        figures[figure] = Some(kib(value)?);
    }
    let [rss, lazy_free, anon_huge, swap] = figures;
    Some(Rollup {
        rss: rss?,
        lazy_free: lazy_free?,
        anon_huge: anon_huge?,
        swap: swap?,
    })
}

/// `1728 kB` in bytes.
pub(super) fn kib(value: &[u8]) -> Option<u64> {
    let mut words = words(value);
    let count: u64 = number(words.next()?)?;
    (words.next()? == b"kB").then(|| count.checked_mul(1024))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "55c9224c4000-7ffccfe9d000 ---p 00000000 00:00 0                          [rollup]\n";
    const FIGURES: &str = "Rss:                1728 kB\nPss:                 310 kB\nLazyFree:             12 kB\n\
        AnonHugePages:      2048 kB\nSwap:                  4 kB\nSwapPss:               0 kB\n";

    #[test]
    fn figures_are_bytes() {
        let found = smaps_rollup(format!("{HEAD}{FIGURES}").as_bytes()).unwrap();
        let expected = Rollup {
            rss: 1728 << 10,
            lazy_free: 12 << 10,
            anon_huge: 2 << 20,
            swap: 4 << 10,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_missing_too_large_or_of_another_unit_makes_it_nothing() {
        let whole = format!("{HEAD}{FIGURES}");
        for wrong in [
            String::new(),
            FIGURES.to_owned(),
            HEAD.to_owned(),
            whole.replace("[rollup]", "[heap]"),
            whole.replace("LazyFree", "Lazy"),
            whole.replace("12 kB", "12 MB"),
            whole.replace("12 kB", "12"),
            whole.replace("12 kB", "-1 kB"),
            whole.replace("12 kB", "18446744073709551615 kB"),
        ] {
            assert_eq!(smaps_rollup(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
