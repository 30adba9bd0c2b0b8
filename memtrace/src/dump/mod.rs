//! Dumps of pprofplus: RSS, VMS and Go's heap figures over time, written by a library inside the program.
//!
//! A dump has no causes, no kernel, no process: it is not made into a capture, which would have to invent them. It is read into a
//! digest of its own, in bounded memory, and `memtrace report` shows it with what it does not know. `docs/pprofplus.md` has the
//! format and its source.

mod answer;
mod read;

pub use answer::{Answer, NOT_KNOWN, answer};
pub use read::{DumpError, is_dump, read};

use serde::Deserialize;

/// Most points of the history. Where it is full, every second one is left out.
pub const POINTS: usize = 32;

/// A line of a dump. Bytes, as `runtime.ReadMemStats` and `/proc/PID/statm` gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Point {
    /// Seconds since 1970.
    #[serde(rename = "Timestamp")]
    pub timestamp: i64,
    /// `Sys`.
    pub sys: u64,
    /// `HeapSys`.
    #[serde(rename = "heapsys")]
    pub heap_sys: u64,
    /// `HeapAlloc`.
    #[serde(rename = "heapalloc")]
    pub heap_alloc: u64,
    /// `HeapInuse`.
    #[serde(rename = "heapinuse")]
    pub heap_inuse: u64,
    /// `HeapReleased`.
    #[serde(rename = "heapreleased")]
    pub heap_released: u64,
    /// `HeapIdle`.
    #[serde(rename = "heapidle")]
    pub heap_idle: u64,
    /// Address space.
    pub vms: u64,
    /// RSS.
    pub rss: u64,
}

/// What is kept of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// How many lines there were.
    pub lines: u64,
    /// The first one.
    pub first: Point,
    /// The last one.
    pub last: Point,
    /// The first one with the highest RSS.
    pub highest: Point,
    /// Lines at equal distances, [`POINTS`] at most.
    pub history: Vec<Point>,
    /// How often the clock went back from one line to the next.
    pub set_back: u64,
    /// Bytes of a last line that was cut, and is left out.
    pub cut_bytes: u64,
    /// Each so many-th line is in the history.
    stride: u64,
}

impl Dump {
    const fn of(first: Point) -> Self {
        Self {
            lines: 0,
            first,
            last: first,
            highest: first,
            history: Vec::new(),
            set_back: 0,
            cut_bytes: 0,
            stride: 1,
        }
    }

    fn note(&mut self, point: Point) {
        if point.timestamp < self.last.timestamp {
            self.set_back += 1;
        }
        if point.rss > self.highest.rss {
            self.highest = point;
        }
        if self.lines.is_multiple_of(self.stride) {
            if self.history.len() == POINTS {
                let mut place = 0usize;
                self.history.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                // POINTS is even, so this line is a multiple of the new stride too.
                self.stride *= 2;
            }
            self.history.push(point);
        }
        self.last = point;
        self.lines += 1;
    }
}
