//! The ledger as a table with bars.

use ratatui_core::style::{Modifier, Style};

use super::{
    Sort,
    pen::Pen,
    rows::{Row, Still},
};
use crate::text::format::{change, count, size};

/// Columns of a change.
const CHANGE: u16 = 10;
const CALLS: u16 = 8;
const REQUESTED: u16 = 11;
/// From this width on, there is a group for the chart's time.
const WIDE: u16 = 110;
/// A longer bar says no more.
const LONGEST_BAR: u16 = 31;

/// Where everything stands.
struct Columns {
    name: u16,
    /// 0 where there is no room for it.
    calls: u16,
    /// Likewise.
    requested: u16,
    bar: u16,
    window: bool,
}

impl Columns {
    fn of(width: u16) -> Self {
        let name = if width < 70 {
            18
        } else {
            (width / 5).clamp(20, 34)
        };
        let window = width >= WIDE;
        let groups = if window { 3 } else { 2 };
        // What was moved comes first.
        let room = width.saturating_sub(name + groups * CHANGE);
        let requested = if room >= CALLS + REQUESTED {
            REQUESTED
        } else {
            0
        };
        let calls = if room >= CALLS { CALLS } else { 0 };
        let left = width.saturating_sub(name + calls + requested) / groups;
        let mut bar = left.saturating_sub(CHANGE + 1).min(LONGEST_BAR);
        // The middle is a column of its own.
        if bar.is_multiple_of(2) {
            bar = bar.saturating_sub(1);
        }
        Self {
            name,
            calls,
            requested,
            bar,
            window,
        }
    }

    /// Where the changes begin.
    const fn changes(&self) -> u16 {
        self.name + self.calls + self.requested
    }

    const fn group(&self) -> u16 {
        if self.bar == 0 {
            CHANGE
        } else {
            CHANGE + 1 + self.bar
        }
    }
}

type Bytes = fn(&Row<'_>) -> Option<i64>;
type Group = (&'static str, Sort, Bytes);

/// Draws rows from the `skip`th on, and below them their sum; says how many rows there is room for. `still`: the sum of none.
pub fn table(pen: &mut Pen<'_>, rows: &[Row<'_>], still: Still, sort: Sort, skip: usize) -> usize {
    let columns = Columns::of(pen.width());
    let room = usize::from(pen.height().saturating_sub(2));
    let skip = skip.min(rows.len().saturating_sub(room));
    let mut groups: Vec<Group> = vec![("interval", Sort::Interval, |row| row.interval_bytes())];
    let mut none = vec![still.interval];
    if columns.window {
        groups.push(("window", Sort::Window, |row| row.window_bytes()));
        none.push(still.window);
    }
    groups.push(("total", Sort::Total, |row| row.total_bytes()));
    none.push(still.total);
    head(pen, &columns, &groups, sort);
    let shown = rows.iter().skip(skip).take(room);
    let mut y = 1;
    for row in shown {
        line(pen, &columns, row, y);
        y += 1;
    }
    let mut x = columns.changes();
    for ((_, _, bytes), none) in groups.iter().zip(none) {
        let largest = rows.iter().filter_map(bytes).map(i64::unsigned_abs).max();
        for (row, y) in rows.iter().skip(skip).take(room).zip(1..) {
            if let Some(bytes) = bytes(row) {
                bar(
                    pen,
                    x + CHANGE + 1,
                    y,
                    columns.bar,
                    bytes,
                    largest.unwrap_or(0),
                );
            }
            cell(
                pen,
                x + CHANGE,
                y,
                bytes(row).map(change),
                bytes(row) == Some(0),
            );
        }
        let known = rows.iter().filter_map(bytes);
        let sum = known.reduce(i64::saturating_add);
        let sum = sum.or(none.filter(|_| rows.is_empty()));
        let text = sum.map_or_else(|| "-".to_owned(), change);
        pen.put_right(x + CHANGE, y, &text, pen.look.bold());
        x += columns.group();
    }
    let more = rows.len().saturating_sub(room);
    let name = match more {
        0 => "sum".to_owned(),
        1 => "sum, with 1 more row".to_owned(),
        more => format!("sum, with {more} more rows"),
    };
    pen.put_within(0, y, columns.changes(), &name, pen.look.bold());
    room
}

fn head(pen: &mut Pen<'_>, columns: &Columns, groups: &[Group], sort: Sort) {
    let bold = pen.look.bold();
    let style = |by: Sort| {
        if by == sort {
            bold.add_modifier(Modifier::UNDERLINED)
        } else {
            bold
        }
    };
    pen.put(0, 0, "cause", style(Sort::Ledger));
    if columns.calls > 0 {
        pen.put_right(columns.name + columns.calls, 0, "calls", style(Sort::Calls));
    }
    if columns.requested > 0 {
        pen.put_right(columns.changes(), 0, "requested", style(Sort::Requested));
    }
    let mut x = columns.changes();
    for (name, by, _) in groups {
        pen.put_right(x + CHANGE, 0, name, style(*by));
        x += columns.group();
    }
}

fn line(pen: &mut Pen<'_>, columns: &Columns, row: &Row<'_>, y: u16) {
    pen.put_name(0, y, columns.name.saturating_sub(1), &row.name);
    if columns.calls > 0 {
        let end = columns.name + columns.calls;
        let calls = row.total.and_then(|row| row.calls);
        cell(pen, end, y, calls.map(count), calls == Some(0));
    }
    if columns.requested > 0 {
        let requested = row.total.and_then(|row| row.requested_bytes);
        cell(
            pen,
            columns.changes(),
            y,
            requested.map(size),
            requested == Some(0),
        );
    }
}

fn cell(pen: &mut Pen<'_>, end: u16, y: u16, text: Option<String>, is_nothing: bool) {
    let style = if is_nothing || text.is_none() {
        pen.look.dim()
    } else {
        Style::new()
    };
    pen.put_right(end, y, text.as_deref().unwrap_or("-"), style);
}

/// A bar from the middle: to the right what rose, to the left what fell.
pub fn bar(pen: &mut Pen<'_>, x: u16, y: u16, width: u16, bytes: i64, largest: u64) {
    let look = pen.look;
    // An axis without a bar on it says nothing.
    if width < 5 || largest == 0 {
        return;
    }
    let half = width / 2;
    let middle = x + half;
    pen.letter(middle, y, if look.unicode { '│' } else { '|' }, look.dim());
    let steps = u128::from(half) * 2;
    let halves = u128::from(bytes.unsigned_abs()) * steps / u128::from(largest.max(1));
    let mut halves = u16::try_from(halves.min(steps)).unwrap_or(0);
    // What moved at all is seen.
    if bytes != 0 {
        halves = halves.max(1);
    }
    let (style, full, part) = match (bytes > 0, look.unicode) {
        (true, true) => (look.rise(), '█', '▌'),
        (false, true) => (look.fall(), '█', '▐'),
        (true, false) => (look.rise(), '#', '#'),
        (false, false) => (look.fall(), '#', '#'),
    };
    for step in 0..halves.div_ceil(2) {
        let letter = if 2 * step + 1 == halves { part } else { full };
        let column = if bytes > 0 {
            middle + 1 + step
        } else {
            middle - 1 - step
        };
        pen.letter(column, y, letter, style);
    }
}
