//! A line per interval.

use std::fmt::{self, Display};

use super::format::{BOLD, DIM, change, count, paint, signed_size, size, untrusted};
use crate::timeline::{Mode, Tick, TickCause};

/// Column widths: 80 in all.
const TIME: usize = 8;
const COLUMN: usize = 9;
/// From this width on, the largest cause is named behind the columns.
const WIDE: usize = 112;

/// The headline over the lines. A `~` marks what is sampled, and may be off.
#[must_use]
pub fn live_header(mode: Mode, width: usize) -> String {
    let mut line = format!("{:>TIME$}", "time");
    for name in ["RSS", "change", "anon", "file", "shmem", "swap"] {
        let name = match mode {
            Mode::Exact => name.to_owned(),
            Mode::Approximate => format!("~{name}"),
        };
        line.push_str(&format!("{name:>COLUMN$}"));
    }
    for name in ["LazyFree", "faults/s"] {
        line.push_str(&format!("{name:>COLUMN$}"));
    }
    if width >= WIDE {
        line.push_str("  largest cause");
    }
    paint(BOLD, &line)
}

/// One tick as a line.
pub struct LiveLine<'a> {
    /// The tick.
    pub tick: &'a Tick,
    /// The one before; `None` at the first, whose change is since the start.
    pub before: Option<(u64, i64)>,
    /// RSS at the start.
    pub start: i64,
    /// Columns of the terminal.
    pub width: usize,
}

impl Display for LiveLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tick = self.tick;
        let (before_ns, before_rss) = self.before.unwrap_or((0, self.start));
        let elapsed = tick.t_ns.saturating_sub(before_ns).max(1);
        let seconds = tick.t_ns as f64 / 1e9;
        let time = if seconds < 1000.0 {
            format!("{seconds:.2}s")
        } else {
            format!("{seconds:.0}s")
        };
        write!(f, "{time:>TIME$}")?;
        cell(f, &signed_size(tick.rss_bytes), false)?;
        let delta = tick.rss_bytes - before_rss;
        cell(f, &change(delta), delta == 0)?;
        for bytes in [
            tick.anon_bytes,
            tick.file_bytes,
            tick.shmem_bytes,
            tick.swap_bytes,
        ] {
            cell(f, &signed_size(bytes), bytes == 0)?;
        }
        match tick.lazyfree_bytes {
            Some(bytes) => cell(f, &size(bytes), bytes == 0)?,
            None => cell(f, "-", true)?,
        }
        match tick.faults {
            Some(faults) => {
                let rate = (u128::from(faults) * 1_000_000_000 / u128::from(elapsed)) as u64;
                cell(f, &count(rate), rate == 0)?;
            }
            None => cell(f, "-", true)?,
        }
        if self.width >= WIDE
            && let Some(cause) = largest(&tick.causes)
        {
            write!(f, "  {}", name(cause))?;
            if let Some(bytes) = cause.rss_delta_bytes.filter(|&bytes| bytes != 0) {
                write!(f, " {}", change(bytes))?;
            } else if let Some(requested) = cause.requested_bytes {
                write!(f, " of {}", size(requested))?;
            }
        }
        Ok(())
    }
}

fn cell(f: &mut fmt::Formatter<'_>, text: &str, dim: bool) -> fmt::Result {
    let text = format!("{text:>COLUMN$}");
    if dim {
        write!(f, "{DIM}{text}{DIM:#}")
    } else {
        f.write_str(&text)
    }
}

/// The cause that moved most; where none moved anything, the call that asked for most.
fn largest(causes: &[TickCause]) -> Option<&TickCause> {
    causes.iter().max_by_key(|cause| {
        (
            cause.rss_delta_bytes.unwrap_or(0).unsigned_abs(),
            cause.requested_bytes.unwrap_or(0),
        )
    })
}

fn name(cause: &TickCause) -> String {
    let mut name = cause.cause.name().to_owned();
    if let Some(advice) = &cause.advice {
        name.push(' ');
        name.push_str(advice.trim_start_matches("MADV_"));
    }
    if let Some(task) = &cause.task {
        name.push(' ');
        name.push_str(&untrusted(task, 15));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Cause;

    fn tick() -> Tick {
        Tick {
            t_ns: 2_000_000_000,
            rss_bytes: 220 << 20,
            anon_bytes: 218 << 20,
            file_bytes: 2 << 20,
            shmem_bytes: 0,
            swap_bytes: 0,
            vm_bytes: None,
            lazyfree_bytes: None,
            anon_huge_bytes: None,
            unexplained_bytes: None,
            unexplained_bound_bytes: None,
            faults: Some(51_200),
            causes: vec![TickCause {
                cause: Cause::Fault,
                advice: None,
                task: None,
                calls: None,
                requested_bytes: None,
                rss_delta_bytes: Some(200 << 20),
                swap_delta_bytes: 0,
            }],
            go: None,
            cgroup: None,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn header_and_line_are_aligned_and_fit_80_columns() {
        let tick = tick();
        let line = LiveLine {
            tick: &tick,
            before: Some((1_000_000_000, 20 << 20)),
            start: 0,
            width: 80,
        };
        let line = plain(&line.to_string());
        let header = plain(&live_header(Mode::Exact, 80));
        assert_eq!(line.len(), header.len());
        let sampled = plain(&live_header(Mode::Approximate, 80));
        assert_eq!(line.len(), sampled.len());
        assert!(sampled.contains(" ~RSS "), "{sampled}");
        assert!(line.len() <= 80);
        assert_eq!(
            line,
            "   2.00s   220.0M  +200.0M   218.0M    2048K        0        0        -    51200"
        );
    }

    #[test]
    fn a_wide_terminal_names_the_largest_cause() {
        let tick = tick();
        let line = LiveLine {
            tick: &tick,
            before: None,
            start: 0,
            width: 120,
        };
        assert!(plain(&line.to_string()).ends_with("  fault +200.0M"));
    }
}
