//! `/proc/PID/stat`.

use super::{number, text, words};

/// What memtrace needs of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Name, up to 15 bytes, chosen by the process: not to be trusted. What is not UTF-8 is U+FFFD.
    pub comm: String,
    /// `R`, `S`, `Z` …
    pub state: u8,
    /// Process id of the parent.
    pub ppid: i32,
    /// `PF_*` flags.
    pub flags: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// Parses `stat`; `None` where the bytes are something else.
#[must_use]
pub fn stat(bytes: &[u8]) -> Option<Stat> {
    // The name may hold spaces, parentheses and line ends; nothing after it holds a parenthesis.
    let open = bytes.iter().position(|&byte| byte == b'(')?;
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let mut words = words(&bytes[close + 1..]);
    let state = words.next()?;
    let ppid = number(words.next()?)?;
    // Process group, session, terminal, its foreground group.
    let flags = number(words.nth(4)?)?;
    // Faults (4), times (4), priority, nice value, threads, an old timer.
    let start_ticks = number(words.nth(12)?)?;
    Some(Stat {
        comm: text(comm),
        state: *state.first()?,
        ppid,
        flags,
        start_ticks,
    })
}

/// Returns the addresses at which a process's environment began when its program started, and ended, from the bytes of its `stat`. Both are 0
/// for who may not look into the process. `None` if the bytes are something else.
#[must_use]
pub fn environment(bytes: &[u8]) -> Option<(u64, u64)> {
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    // The fields 50 and 51 of proc(5), of which the name is the second.
    let mut words = words(&bytes[close + 1..]).skip(50 - 3);
    Some((number(words.next()?)?, number(words.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = " S 4 5 6 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 1 0 1161775 3133440 416 18446744073709551615\n";

    fn with_name(name: &[u8]) -> Vec<u8> {
        [b"27733 (", name, b")", REST.as_bytes()].concat()
    }

    #[test]
    fn fields_are_those_of_proc_5() {
        let found = stat(&with_name(b"cat")).unwrap();
        let expected = Stat {
            comm: "cat".to_owned(),
            state: b'S',
            ppid: 4,
            flags: 4_194_304,
            start_ticks: 1_161_775,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_may_hold_anything() {
        for (name, shown) in [
            (&b") R 1 ("[..], ") R 1 ("),
            (b"a\nb", "a\nb"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"", ""),
        ] {
            let found = stat(&with_name(name)).unwrap();
            assert_eq!(found.comm, shown);
            assert_eq!(found.start_ticks, 1_161_775);
        }
    }

    #[test]
    fn what_is_no_stat_is_nothing() {
        let whole = with_name(b"cat");
        let enough = whole
            .windows(7)
            .position(|seen| seen == b"1161775")
            .unwrap();
        for length in 0..=enough {
            assert_eq!(stat(&whole[..length]), None, "{length} bytes");
        }
        for wrong in [
            &b"1 )(\n"[..],
            b"()",
            b"(",
            b"1 (a) S x 0",
            b"\xff(\xff)\xff",
        ] {
            assert_eq!(stat(wrong), None, "{wrong:?}");
        }
    }
}
