//! `/proc/PID/status`.

use super::{fields, hex, number, words};

/// What memtrace needs of `/proc/PID/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The process that this thread belongs to.
    pub tgid: u32,
    /// Its process ids, from the PID namespace of the `/proc` that was read down to its own. Empty before 4.1.
    pub ns_pids: Vec<u32>,
    /// Effective capabilities, a bit each.
    pub cap_effective: u64,
}

/// Parses `status`; `None` where the bytes are something else.
#[must_use]
pub fn status(bytes: &[u8]) -> Option<Status> {
    let mut tgid = None;
    let mut ns_pids = None;
    let mut cap_effective = None;
    // The name is shown with its line ends escaped, so it cannot bring lines of its own.
    for (key, value) in fields(bytes) {
        match key {
            b"Tgid" => tgid = Some(number(value)?),
            b"NSpid" => ns_pids = Some(words(value).map(number).collect::<Option<Vec<u32>>>()?),
            b"CapEff" => cap_effective = Some(hex(value)?),
            _ => {}
        }
    }
    Some(Status {
        tgid: tgid?,
        ns_pids: ns_pids.unwrap_or_default(),
        cap_effective: cap_effective?,
    })
}

/// RSS by kind from `/proc/PID/status`, bytes. Takes no lock of the target, and before 6.16 it is not exact: `docs/accuracy.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Anonymous memory.
    pub anon: u64,
    /// File mappings.
    pub file: u64,
    /// Shared memory.
    pub shmem: u64,
    /// Swap entries: not part of RSS.
    pub swap: u64,
    /// Threads: each may keep pages to itself before 6.2.
    pub threads: u64,
}

impl Resident {
    /// RSS: without swap.
    #[must_use]
    pub const fn rss(&self) -> u64 {
        self.anon
            .saturating_add(self.file)
            .saturating_add(self.shmem)
    }
}

/// Parses RSS by kind out of `status`; `None` where it is not there: a process without memory shows none of it.
#[must_use]
pub fn resident(bytes: &[u8]) -> Option<Resident> {
    let (mut anon, mut file, mut shmem, mut swap, mut threads) = (None, None, None, None, None);
    for (key, value) in fields(bytes) {
        match key {
            b"RssAnon" => anon = Some(kib(value)?),
            b"RssFile" => file = Some(kib(value)?),
            b"RssShmem" => shmem = Some(kib(value)?),
            b"VmSwap" => swap = Some(kib(value)?),
            b"Threads" => threads = Some(number(value)?),
            _ => {}
        }
    }
    Some(Resident {
        anon: anon?,
        file: file?,
        shmem: shmem?,
        // A kernel without swap shows none.
        swap: swap.unwrap_or(0),
        threads: threads?,
    })
}

/// Parses the highest RSS so far out of `status`, bytes; `None` where it is not there.
#[must_use]
pub fn peak(bytes: &[u8]) -> Option<u64> {
    let (_, value) = fields(bytes).find(|&(key, _)| key == b"VmHWM")?;
    kib(value)
}

fn kib(value: &[u8]) -> Option<u64> {
    number::<u64>(value.strip_suffix(b" kB")?)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let found = status(
            b"Name:\t\xff\xfe:\\n\nState:\tS (sleeping)\nTgid:\t27734\nGroups:\t \nNSpid:\t27734\t12\t1\nCapEff:\t000001fffeffffff\n",
        )
        .unwrap();
        assert_eq!(found.tgid, 27_734);
        assert_eq!(found.ns_pids, [27_734, 12, 1]);
        assert_eq!(found.cap_effective, 0x1ff_feff_ffff);
    }

    #[test]
    fn what_is_missing_or_no_number_makes_it_nothing() {
        for wrong in [
            &b""[..],
            b"Tgid:\t1\n",
            b"CapEff:\t0\n",
            b"Tgid:\tone\nCapEff:\t0\n",
            b"Tgid:\t1\nCapEff:\txyz\n",
            b"Tgid:\t1\nCapEff:\t0\nNSpid:\t1 x\n",
        ] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn rss_is_there_by_kind_or_not_at_all() {
        let text = b"Name:\tx\nRssAnon:\t     264 kB\nRssFile:\t    2092 kB\nRssShmem:\t      4 kB\nVmSwap:\t       8 kB\nThreads:\t3\n";
        let found = resident(text).unwrap();
        assert_eq!((found.anon, found.file), (264 << 10, 2092 << 10));
        assert_eq!((found.shmem, found.swap, found.threads), (4096, 8192, 3));
        assert_eq!(found.rss(), 2360 << 10);
        for wrong in [
            &b"Name:\tkthreadd\nThreads:\t1\n"[..],
            b"RssAnon:\t1 kB\nRssFile:\t1 MB\nRssShmem:\t0 kB\nThreads:\t1\n",
            b"RssAnon:\t-1 kB\nRssFile:\t1 kB\nRssShmem:\t0 kB\nThreads:\t1\n",
            b"RssAnon:\t18014398509481984 kB\nRssFile:\t1 kB\nRssShmem:\t0 kB\nThreads:\t1\n",
        ] {
            assert_eq!(resident(wrong), None, "{wrong:?}");
        }
    }
}
