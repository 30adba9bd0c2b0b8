//! What a dump can say, and no more.

use super::{Dump, Point};
use crate::text::format::{signed_size, size};

/// Less than this is not worth a word, bytes: as `memtrace` counts a program without its heap.
const NOISE: i64 = 16 << 20;
/// The same as a part of RSS: one in so many.
const PART: i64 = 10;

/// What a dump does not hold, and memtrace would.
pub const NOT_KNOWN: [(&str, &str); 6] = [
    (
        "LazyFree",
        "how much was given back with MADV_FREE, and is still in RSS",
    ),
    (
        "causes",
        "what moved RSS: page faults, munmap, madvise by its advice, the kernel",
    ),
    (
        "kinds of pages",
        "anonymous memory, mapped files, shared memory, swap, huge pages",
    ),
    (
        "Go's version and settings",
        "which advice the runtime gives memory back with",
    ),
    ("host and cgroup", "kernel, limit, working set"),
    (
        "between the lines",
        "what came and went within an interval, 5 s by default",
    ),
];

/// What can be said of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In a line.
    pub title: String,
    /// In a few sentences.
    pub text: String,
    /// The numbers that it rests on, bytes.
    pub evidence: Vec<(&'static str, i64)>,
}

/// Says what the last line allows to say.
#[must_use]
pub fn answer(dump: &Dump) -> Option<Answer> {
    let last = Figures::of(&dump.last)?;
    let first = Figures::of(&dump.first)?;
    let worth = NOISE.max(last.rss / PART);
    let evidence = vec![
        ("RSS", last.rss),
        ("Sys", last.sys),
        ("HeapReleased", last.released),
        ("Sys - HeapReleased", last.kept()),
        ("HeapIdle - HeapReleased", last.idle - last.released),
        ("HeapInuse", last.inuse),
    ];
    let beyond = last.rss - last.kept();
    let idle = last.idle - last.released;
    let risen = last.rss - first.rss;
    let (title, text) = if beyond >= worth {
        (
            format!(
                "At least {} of {} RSS is not memory that Go still holds",
                signed_size(beyond),
                signed_size(last.rss)
            ),
            format!(
                "Of what it got from the kernel, Go has {} that it has not given back. RSS is more than that. The rest was given back with \
                 MADV_FREE, and is in RSS until the kernel needs it (Go 1.12 to 1.15, and later with GODEBUG=madvdontneed=0); \
                 or it is not Go's: C code, mapped files. A dump cannot tell these apart.",
                signed_size(last.kept())
            ),
        )
    } else if idle >= worth {
        (
            format!(
                "Go keeps {} idle, and has not given it back",
                signed_size(idle)
            ),
            format!(
                "The program uses {} of its heap. What is idle may be in RSS, of which it has {}; the runtime gives it back \
                 later, bit by bit, or at debug.FreeOSMemory.",
                signed_size(last.inuse),
                signed_size(last.rss)
            ),
        )
    } else if risen >= worth {
        (
            format!(
                "RSS rose by {}, to {}",
                signed_size(risen),
                signed_size(last.rss)
            ),
            format!(
                "HeapInuse went from {} to {}. What brought the pages in, a dump does not know.",
                signed_size(first.inuse),
                signed_size(last.inuse)
            ),
        )
    } else {
        (
            "Nothing stands out: RSS is within what Go has not given back".to_owned(),
            format!(
                "At the last line RSS is {}. Its highest was {}.",
                signed_size(last.rss),
                size(dump.highest.rss)
            ),
        )
    };
    Some(Answer {
        title,
        text,
        evidence,
    })
}

/// A line's figures with room for a difference; `None` where one is beyond any memory.
struct Figures {
    rss: i64,
    sys: i64,
    released: i64,
    idle: i64,
    inuse: i64,
}

impl Figures {
    fn of(point: &Point) -> Option<Self> {
        // Half of what fits, so that no difference overflows.
        let checked = |value: u64| {
            i64::try_from(value)
                .ok()
                .filter(|value| *value < i64::MAX / 2)
        };
        Some(Self {
            rss: checked(point.rss)?,
            sys: checked(point.sys)?,
            released: checked(point.heap_released)?,
            idle: checked(point.heap_idle)?,
            inuse: checked(point.heap_inuse)?,
        })
    }

    /// What Go has not given back: no more than this of it can be resident.
    const fn kept(&self) -> i64 {
        self.sys - self.released
    }
}
