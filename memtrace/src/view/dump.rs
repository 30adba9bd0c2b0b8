//! A dump of pprofplus, as a person reads it: what it holds, what that allows to say, and what it does not know.

use std::fmt::Write as _;

use super::verdict::{item, paragraph};
use crate::{
    dump::{Dump, NOT_KNOWN, Point, answer},
    text::{
        format::{BOLD, DIM, count, paint, signed_size, size},
        wrapped,
    },
};

const TIME: usize = 10;
const VALUE: usize = 10;
/// Width of a number's name.
const NAME: usize = 24;
/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 100;

/// A column: its name, and its figure.
type Column = (&'static str, fn(&Point) -> u64);

const COLUMNS: [Column; 7] = [
    ("RSS", |point| point.rss),
    ("VMS", |point| point.vms),
    ("HeapInuse", |point| point.heap_inuse),
    ("HeapIdle", |point| point.heap_idle),
    ("Released", |point| point.heap_released),
    ("HeapAlloc", |point| point.heap_alloc),
    ("Sys", |point| point.sys),
];

/// The report of a dump; with `alone`, what it allows to say alone.
#[must_use]
pub fn dump(dump: &Dump, width: usize, alone: bool) -> String {
    let width = width.clamp(80, WIDEST);
    let mut text = String::new();
    if !alone {
        let title = format!(
            "dump of pprofplus: {} lines, {} s",
            count(dump.lines),
            dump.last.timestamp.saturating_sub(dump.first.timestamp)
        );
        let _ = writeln!(text, "{}", paint(BOLD, &title));
        let what = "Written by a library inside a Go program; RSS as in /proc/PID/statm, the rest by runtime.ReadMemStats. It is no \
                    capture of memtrace: it holds no causes, and is not judged by memtrace's rules.";
        for row in wrapped(what, width) {
            let _ = writeln!(text, "{}", paint(DIM, &row));
        }
        table(&mut text, dump);
        text.push('\n');
    }
    say(&mut text, dump, width);
    text
}

fn table(text: &mut String, dump: &Dump) {
    let mut header = format!("\n{:>TIME$}", "time");
    for (name, _) in COLUMNS {
        let _ = write!(header, "{name:>VALUE$}");
    }
    let _ = writeln!(text, "{}", paint(BOLD, &header));
    let shown = dump.history.iter();
    // The last line is there, whatever was left out.
    let last = (dump.history.last() != Some(&dump.last)).then_some(&dump.last);
    for point in shown.chain(last) {
        let since = point.timestamp.saturating_sub(dump.first.timestamp);
        let mut line = format!("{:>TIME$}", format!("{since}s"));
        for (_, of) in COLUMNS {
            let _ = write!(line, "{:>VALUE$}", size(of(point)));
        }
        let _ = writeln!(text, "{line}");
    }
    let left_out = dump.lines.saturating_sub(dump.history.len() as u64);
    if left_out > u64::from(last.is_some()) {
        let note = "The lines between these are left out here; all were read.";
        let _ = writeln!(text, "{}", paint(DIM, note));
    }
    let highest = dump.highest.timestamp.saturating_sub(dump.first.timestamp);
    let _ = writeln!(
        text,
        "\n{:<NAME$}{:>9}  {}",
        "highest RSS",
        size(dump.highest.rss),
        paint(
            DIM,
            &format!("at {highest}s; between two lines it may have been more")
        )
    );
    if dump.set_back > 0 {
        let _ = writeln!(
            text,
            "the clock was set back {} times: the times above are those of the dump",
            count(dump.set_back)
        );
    }
}

fn say(text: &mut String, dump: &Dump, width: usize) {
    match answer(dump) {
        None => {
            let _ = writeln!(
                text,
                "{}",
                paint(
                    BOLD,
                    "Its figures are out of any range that memory has: nothing can be said"
                )
            );
        }
        Some(answer) => {
            let _ = writeln!(text, "{}\n", paint(BOLD, &answer.title));
            paragraph(text, 0, &answer.text, width);
            text.push('\n');
            for (name, bytes) in answer.evidence {
                let _ = writeln!(text, "  {name:<NAME$}{:>9}", signed_size(bytes));
            }
        }
    }
    let _ = writeln!(text, "\n{}", paint(BOLD, "not in a dump"));
    for (what, why) in NOT_KNOWN {
        item(text, format!("{what}: {why}"), width);
    }
    let _ = writeln!(
        text,
        "\n{}",
        paint(
            DIM,
            "sudo memtrace --pid PID sees all of it, from outside, with no library in the program"
        )
    );
}
