//! A line per interval.

use std::fmt::{self, Display};

use crate::{
    model::{Mode, Tick, TickCause},
    text::format::{BOLD, DIM, change, count, paint, signed_size, size},
};

/// Width of the first column: 80 in all.
const TIME: usize = 8;
/// From this width on, there are all columns, and the largest cause is named behind them.
const WIDE: usize = 112;

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Rss,
    Change,
    Anon,
    File,
    Shmem,
    Swap,
    LazyFree,
    HeapInuse,
    HeapReleased,
    Faults,
}

/// Which columns there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    mode: Mode,
    /// Go's figures are known.
    go: bool,
    wide: bool,
}

impl Columns {
    /// Those that fit: with Go's own figures, where there are any, in place of the parts of RSS.
    #[must_use]
    pub const fn new(mode: Mode, go: bool, width: usize) -> Self {
        Self {
            mode,
            go,
            wide: width >= WIDE,
        }
    }

    const fn list(self) -> &'static [Column] {
        use Column::{
            Anon, Change, Faults, File, HeapInuse, HeapReleased, LazyFree, Rss, Shmem, Swap,
        };
        match (self.go, self.wide) {
            (false, _) => &[Rss, Change, Anon, File, Shmem, Swap, LazyFree, Faults],
            (true, false) => &[Rss, Change, LazyFree, HeapInuse, HeapReleased, Swap, Faults],
            (true, true) => &[
                Rss,
                Change,
                Anon,
                File,
                Swap,
                LazyFree,
                HeapInuse,
                HeapReleased,
                Faults,
            ],
        }
    }
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Rss => "RSS",
            Self::Change => "change",
            Self::Anon => "anon",
            Self::File => "file",
            Self::Shmem => "shmem",
            Self::Swap => "swap",
            Self::LazyFree => "LazyFree",
            Self::HeapInuse => "HeapInuse",
            Self::HeapReleased => "HeapReleased",
            Self::Faults => "faults/s",
        }
    }

    const fn width(self) -> usize {
        match self {
            Self::HeapInuse => 11,
            Self::HeapReleased => 14,
            _ => 9,
        }
    }

    /// In the approximate mode it may be off.
    const fn is_sampled(self) -> bool {
        matches!(
            self,
            Self::Rss | Self::Change | Self::Anon | Self::File | Self::Shmem | Self::Swap
        )
    }
}

/// The headline over the lines. A `~` marks what is sampled, and may be off.
#[must_use]
pub fn live_header(columns: Columns) -> String {
    let mut line = format!("{:>TIME$}", "time");
    for column in columns.list() {
        let mark = if columns.mode == Mode::Approximate && column.is_sampled() {
            "~"
        } else {
            ""
        };
        let name = format!("{mark}{}", column.name());
        line.push_str(&format!("{name:>0$}", column.width()));
    }
    if columns.wide {
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
    /// Those of the headline.
    pub columns: Columns,
}

impl LiveLine<'_> {
    /// What stands in a column, and whether it is nothing of note.
    fn value(&self, column: Column) -> (String, bool) {
        let tick = self.tick;
        let (before_ns, before_rss) = self.before.unwrap_or((0, self.start));
        let part = |bytes: i64| (signed_size(bytes), bytes == 0);
        let known = |bytes: Option<u64>| match bytes {
            Some(bytes) => (size(bytes), bytes == 0),
            None => ("-".to_owned(), true),
        };
        match column {
            Column::Rss => (signed_size(tick.rss_bytes), false),
            Column::Change => {
                let delta = tick.rss_bytes.saturating_sub(before_rss);
                (change(delta), delta == 0)
            }
            Column::Anon => part(tick.anon_bytes),
            Column::File => part(tick.file_bytes),
            Column::Shmem => part(tick.shmem_bytes),
            Column::Swap => part(tick.swap_bytes),
            Column::LazyFree => known(tick.lazyfree_bytes),
            Column::HeapInuse => known(tick.go.and_then(|go| go.heap_inuse_bytes)),
            Column::HeapReleased => known(tick.go.and_then(|go| go.heap_released_bytes)),
            Column::Faults => match tick.faults {
                Some(faults) => {
                    let elapsed = tick.t_ns.saturating_sub(before_ns).max(1);
                    let rate = (u128::from(faults) * 1_000_000_000 / u128::from(elapsed)) as u64;
                    (count(rate), rate == 0)
                }
                None => ("-".to_owned(), true),
            },
        }
    }
}

impl Display for LiveLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tick = self.tick;
        let seconds = tick.t_ns as f64 / 1e9;
        let time = if seconds < 1000.0 {
            format!("{seconds:.2}s")
        } else {
            format!("{seconds:.0}s")
        };
        write!(f, "{time:>TIME$}")?;
        for &column in self.columns.list() {
            let (text, dim) = self.value(column);
            let text = format!("{text:>0$}", column.width());
            if dim {
                write!(f, "{DIM}{text}{DIM:#}")?;
            } else {
                f.write_str(&text)?;
            }
        }
        if self.columns.wide
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
        name.push_str(&advice.without("MADV_").to_string());
    }
    if let Some(task) = &cause.task {
        name.push(' ');
        name.push_str(&task.shown(15));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

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

    fn line(tick: &Tick, columns: Columns) -> String {
        let line = LiveLine {
            tick,
            before: Some((1_000_000_000, 20 << 20)),
            start: 0,
            columns,
        };
        plain(&line.to_string())
    }

    #[test]
    fn header_and_line_are_aligned_and_fit_80_columns() {
        let columns = Columns::new(Mode::Exact, false, 80);
        let line = line(&tick(), columns);
        let header = plain(&live_header(columns));
        assert_eq!(line.len(), header.len());
        let sampled = plain(&live_header(Columns::new(Mode::Approximate, false, 80)));
        assert_eq!(line.len(), sampled.len());
        assert!(sampled.contains(" ~RSS "), "{sampled}");
        assert!(line.len() <= 80);
        assert_eq!(
            line,
            "   2.00s   220.0M  +200.0M   218.0M    2048K        0        0        -    51200"
        );
    }

    #[test]
    fn a_go_program_has_columns_of_its_own() {
        let mut tick = tick();
        tick.go = Some(crate::model::GoFigures {
            heap_inuse_bytes: Some(12 << 20),
            heap_released_bytes: None,
            ..Default::default()
        });
        for width in [80, 120] {
            let columns = Columns::new(Mode::Exact, true, width);
            let header = plain(&live_header(columns));
            let line = line(&tick, columns);
            let end = header.find("HeapInuse").unwrap() + "HeapInuse".len();
            assert!(line[..end].ends_with(" 12.00M"), "{line}");
            let end = header.find("HeapReleased").unwrap() + "HeapReleased".len();
            assert!(line[..end].ends_with("  -"), "{line}");
            assert!(header.len() <= width, "{header}");
        }
    }

    #[test]
    fn a_wide_terminal_names_the_largest_cause() {
        let line = line(&tick(), Columns::new(Mode::Exact, false, 120));
        assert!(line.ends_with("  fault +200.0M"), "{line}");
    }
}
