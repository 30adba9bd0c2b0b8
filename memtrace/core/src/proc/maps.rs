//! A line of `/proc/PID/maps`, which is also the head of each entry in `smaps` and `smaps_rollup`.

use super::{hex, number};

/// One mapping, as far as memtrace needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// `rwxp`, or `-` in the place of what is not allowed; `s` in the place of `p` where it is shared.
    pub access: [u8; 4],
    /// Device of the file, major and minor: the file system's own, which is not always what `stat` says. 0 where there is no file.
    pub device: (u32, u32),
    /// Inode of the file; 0 where there is none.
    pub inode: u64,
    /// File, or a name such as `[heap]`; empty for anonymous memory. Chosen by the process: not to be trusted.
    pub name: &'a [u8],
}

impl Mapping<'_> {
    /// Whether what is written there is written into the file, or seen by others who share the memory.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.access.last() == Some(&b's')
    }
}

/// Parses a line, without its end; `None` where it is something else.
#[must_use]
pub fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut parts = line.splitn(6, |&byte| byte == b' ');
    let addresses = parts.next()?;
    let dash = addresses.iter().position(|&byte| byte == b'-')?;
    let (start, end) = (hex(&addresses[..dash])?, hex(&addresses[dash + 1..])?);
    let access = parts.next()?.try_into().ok()?;
    // The offset in the file.
    hex(parts.next()?)?;
    let device = device(parts.next()?)?;
    let inode = number(parts.next()?)?;
    if end < start {
        return None;
    }
    Some(Mapping {
        start,
        end,
        access,
        device,
        inode,
        name: parts.next().unwrap_or_default().trim_ascii_start(),
    })
}

fn device(text: &[u8]) -> Option<(u32, u32)> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let part = |bytes| u32::try_from(hex(bytes)?).ok();
    Some((part(&text[..colon])?, part(&text[colon + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_two_addresses_and_may_have_a_name() {
        let line =
            b"55c9224c4000-7ffccfe9d000 ---p 00000000 00:00 0                          [rollup]";
        let found = mapping(line).unwrap();
        assert_eq!(found.start, 0x55c9_224c_4000);
        assert_eq!(found.end, 0x7ffc_cfe9_d000);
        assert_eq!(found.name, b"[rollup]");
        let anonymous = mapping(b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(anonymous.name, b"");
        let spaced = mapping(b"1000-2000 r-xp 00001000 08:02 12   /a b\xff (deleted)").unwrap();
        assert_eq!(spaced.name, b"/a b\xff (deleted)");
        assert_eq!(spaced.access, *b"r-xp");
        assert_eq!(spaced.device, (8, 2));
        assert_eq!(spaced.inode, 12);
        assert!(!spaced.is_shared());
        let shared = mapping(b"1000-2000 rw-s 00001000 103:1a 12   /a").unwrap();
        assert_eq!(shared.device, (0x103, 0x1a));
        assert!(shared.is_shared());
    }

    #[test]
    fn what_is_no_mapping_is_nothing() {
        for wrong in [
            &b""[..],
            b"1000-2000",
            b"2000-1000 r-xp 0 00:00 0",
            b"1000 r-xp 0 00:00 0",
            b"x-y r-xp 0 00:00 0",
            b"1000-2000 r-xp z 00:00 0",
            b"1000-2000 r 0 00:00 0",
            b"1000-2000 r-xp 0 0000 0",
            b"1000-2000 r-xp 0 00:100000000 0",
            b"1000-2000 r-xp 0 00:00 x",
            b"1000-2000 r-xp 0 00:00 -1",
            b"1000-2000 r-xp 0 00:00",
            b"Rss:                1728 kB",
        ] {
            assert_eq!(mapping(wrong), None, "{wrong:?}");
        }
    }
}
