//! The chart: lines over time, in dots or letters.

use ratatui_core::style::Style;

use super::{Look, Series, pen::Pen, shot::Shot};
use crate::{
    text::format::{clock, round_size},
    timeline::{Mark, Span},
};

/// Columns of the figures on the left.
const GUTTER: u16 = 8;
/// Rows below the lines: the axis and its times.
const BELOW: u16 = 2;
/// A figure stands in every so many rows at least.
const LEAST_APART: u64 = 2;
/// Where there is room, so many parts lie between figures at least.
const LEAST_PARTS: u64 = 3;
/// Columns between two times.
const TIME_APART: u64 = 14;
/// Times at which a label can stand, s.
const STEPS: [u64; 19] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
    604_800,
];
const SECOND: u64 = 1_000_000_000;
/// Dots of a cell, by column and row from the top, as Unicode numbers them from U+2800.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
/// Between two readings of `LazyFree` nothing is known: a dot in so many columns leads from one to the next.
const SPARSE: usize = 3;

/// Which lines there are.
#[must_use]
pub fn present(shot: &Shot) -> Vec<Series> {
    let known = |series: &Series| {
        *series == Series::Rss
            || shot
                .total
                .as_ref()
                .is_some_and(|total| value(total, *series).is_some())
    };
    Series::ALL.into_iter().filter(known).collect()
}

/// The last value of a line in a span, bytes.
#[must_use]
pub fn value(span: &Span, series: Series) -> Option<i64> {
    i64::try_from(series.figure().of_span(span)?).ok()
}

/// How many spans a chart of so many columns can show.
#[must_use]
pub fn columns(width: u16, look: Look) -> usize {
    let cells = usize::from(width.saturating_sub(GUTTER));
    (if look.dots() { 2 * cells } else { cells }).max(2)
}

/// Draws it. The newest is at the right.
pub fn chart(pen: &mut Pen<'_>, shot: &Shot, from_zero: bool) {
    let (width, height) = (pen.width(), pen.height());
    if width < GUTTER + 8 || height < BELOW + 2 {
        return;
    }
    let series = present(shot);
    let rows = height - BELOW;
    let axis = Axis::of(shot, &series, from_zero, rows);
    figures(pen, &axis, rows);
    times(pen, shot, rows);
    let mut plot = pen.part(GUTTER, 0, width - GUTTER, rows);
    let (across, up) = if pen_dots(&plot) { (2, 4) } else { (1, 1) };
    let grid = Grid {
        columns: usize::from(plot.width()) * across,
        rows: usize::from(rows) * up,
        window: shot.window,
        axis,
    };
    let traces: Vec<(Series, Trace)> = series
        .into_iter()
        .map(|series| (series, grid.trace(shot, series)))
        .collect();
    for row in 0..rows {
        for column in 0..plot.width() {
            cell(&mut plot, &grid, &traces, column, row);
        }
    }
}

const fn pen_dots(pen: &Pen<'_>) -> bool {
    pen.look.dots()
}

/// The bytes that the chart is high.
#[derive(Clone, Copy, Debug)]
struct Axis {
    lowest: i64,
    highest: i64,
    step: i64,
}

impl Axis {
    fn of(shot: &Shot, series: &[Series], from_zero: bool, rows: u16) -> Self {
        let mut lowest = if from_zero { 0 } else { i64::MAX };
        let mut highest = 0;
        let values = shot.spans.iter().flat_map(|span| {
            let last = series.iter().filter_map(|series| value(span, *series));
            last.chain([span.rss_lowest_bytes, span.rss_highest_bytes])
        });
        for value in values.chain(shot.rss_at_start()) {
            lowest = lowest.min(value);
            highest = highest.max(value);
        }
        // Nothing is below 0 in earnest; a file may say so.
        let lowest = lowest.clamp(0, highest);
        let above = u64::from(rows.saturating_sub(1)).max(1);
        let most_apart = (above / LEAST_PARTS).max(LEAST_APART + 1).min(above);
        let apart = LEAST_APART.min(above)..=most_apart;
        let axes = apart.map(|apart| Self::with(lowest, highest, above, apart));
        // What uses most of the rows.
        let best = axes.min_by_key(|axis| axis.highest.saturating_sub(axis.lowest));
        best.unwrap_or(Self {
            lowest,
            highest,
            step: (highest - lowest).max(1),
        })
    }

    /// One with a figure in every `apart`th of the rows, which `above` are above the lowest.
    fn with(lowest: i64, highest: i64, above: u64, apart: u64) -> Self {
        let apart_bytes = |bytes: u64| {
            let bytes = u128::from(bytes) * u128::from(apart);
            u64::try_from(bytes.div_ceil(u128::from(above))).unwrap_or(u64::MAX)
        };
        let mut step = nice_step(apart_bytes((highest - lowest).unsigned_abs()));
        // Where the lowest is rounded down, the highest may lie above the last row.
        if (highest - lowest / step * step).unsigned_abs() > reach(step, above, apart) {
            step = nice_step(step.unsigned_abs() + 1);
        }
        let lowest = lowest / step * step;
        let reach = i64::try_from(reach(step, above, apart)).unwrap_or(i64::MAX);
        Self {
            lowest,
            highest: lowest.saturating_add(reach),
            step,
        }
    }

    /// Where a value lies, in rows from the bottom.
    fn row(&self, value: i64, rows: usize) -> usize {
        let over = i128::from(value.clamp(self.lowest, self.highest)) - i128::from(self.lowest);
        let of = (i128::from(self.highest) - i128::from(self.lowest)).max(1);
        let top = rows.saturating_sub(1);
        usize::try_from((over * top as i128 + of / 2) / of).map_or(top, |row| row.min(top))
    }
}

/// Bytes from the lowest row to the highest.
fn reach(step: i64, above: u64, apart: u64) -> u64 {
    let reach = u128::from(step.unsigned_abs()) * u128::from(above) / u128::from(apart.max(1));
    u64::try_from(reach).unwrap_or(u64::MAX)
}

/// The next of 1, 2, 5, 10, 20, 50, 100, 200, 500 of a unit; at least 4 KiB, a page.
fn nice_step(bytes: u64) -> i64 {
    let mut unit: i64 = 1024;
    loop {
        for step in [1, 2, 5, 10, 20, 50, 100, 200, 500] {
            let step = unit.saturating_mul(step);
            if step >= 4096 && step.unsigned_abs() >= bytes {
                return step;
            }
        }
        unit = unit.saturating_mul(1024);
        if unit == i64::MAX {
            return unit;
        }
    }
}

/// Places of the lines.
struct Grid {
    columns: usize,
    rows: usize,
    window: (u64, u64),
    axis: Axis,
}

/// A line: in each column from which to which row, counted from the bottom.
type Trace = Vec<Option<(usize, usize)>>;

impl Grid {
    fn column(&self, t_ns: u64) -> usize {
        let (from, to) = self.window;
        let of = u128::from(to.saturating_sub(from).max(1));
        let last = self.columns.saturating_sub(1);
        let place = u128::from(t_ns.saturating_sub(from)) * last as u128 / of;
        usize::try_from(place).map_or(last, |place| place.min(last))
    }

    fn row(&self, value: i64) -> usize {
        self.axis.row(value, self.rows)
    }

    fn trace(&self, shot: &Shot, series: Series) -> Trace {
        let mut trace = vec![None; self.columns];
        match series {
            Series::Held => self.readings(&mut trace, &shot.spans, &shot.marks),
            _ => self.line(&mut trace, shot, series),
        }
        trace
    }

    fn line(&self, trace: &mut Trace, shot: &Shot, series: Series) {
        let start = shot.rss_at_start().filter(|_| series == Series::Rss);
        let mut before = start.map(|rss| (0, self.row(rss)));
        if let Some((column, row)) = before {
            note(trace, column, row, row);
        }
        for span in &shot.spans {
            let Some(value) = value(span, series) else {
                before = None;
                continue;
            };
            let (column, row) = (self.column(span.t_ns), self.row(value));
            // What is longer than a column is left out where it is mostly a gap.
            let is_gap = span.gap_ns > span.t_ns.saturating_sub(span.from_ns) / 2;
            match before.filter(|_| !is_gap) {
                Some(before) => join(trace, before, (column, row)),
                None => note(trace, column, row, row),
            }
            if series == Series::Rss && span.ticks > 1 {
                let low = self.row(span.rss_lowest_bytes);
                let high = self.row(span.rss_highest_bytes);
                note(trace, column, low, high);
            }
            before = Some((column, row));
        }
    }

    /// A line where each tick has read it, and dots from one reading to the next where it was read now and then. From one program to
    /// the next nothing leads.
    fn readings(&self, trace: &mut Trace, spans: &[Span], marks: &[Mark]) {
        let mut execs = marks.iter().map(|mark| mark.t_ns).peekable();
        let mut before: Option<(usize, usize)> = None;
        let mut every = false;
        for span in spans {
            let reading = span.rss_less_lazyfree_bytes.zip(span.lazyfree_t_ns);
            let Some((value, t_ns)) = reading else {
                every = false;
                continue;
            };
            while execs.next_if(|exec| *exec < t_ns).is_some() {
                before = None;
            }
            let place = (self.column(t_ns), self.row(value));
            match before {
                Some(before) if every => join(trace, before, place),
                Some((column, row)) => {
                    for column in (column..place.0).step_by(SPARSE) {
                        note(trace, column, row, row);
                    }
                }
                None => {}
            }
            note(trace, place.0, place.1, place.1);
            before = Some(place);
            every = true;
        }
    }
}

fn note(trace: &mut Trace, column: usize, low: usize, high: usize) {
    if let Some(place) = trace.get_mut(column) {
        let (lowest, highest) = place.unwrap_or((low, high));
        *place = Some((lowest.min(low), highest.max(high)));
    }
}

/// A straight line.
fn join(trace: &mut Trace, from: (usize, usize), to: (usize, usize)) {
    let (columns, mut last) = (to.0.saturating_sub(from.0), from.1);
    if columns == 0 {
        note(trace, to.0, from.1.min(to.1), from.1.max(to.1));
        return;
    }
    for step in 1..=columns {
        let rise = to.1 as i64 - from.1 as i64;
        let row = from.1 as i64 + rise * step as i64 / columns as i64;
        let row = usize::try_from(row).unwrap_or(0);
        // Whole from one column to the next, however steep.
        let (low, high) = match row.cmp(&last) {
            std::cmp::Ordering::Greater => (last + 1, row),
            std::cmp::Ordering::Less => (row, last - 1),
            std::cmp::Ordering::Equal => (row, row),
        };
        note(trace, from.0 + step, low, high);
        last = row;
    }
}

fn cell(pen: &mut Pen<'_>, grid: &Grid, traces: &[(Series, Trace)], column: u16, row: u16) {
    let look = pen.look;
    let bottom = |up: usize| grid.rows - (usize::from(row) + 1) * up;
    if !look.dots() {
        let place = bottom(1);
        let covers = |trace: &Trace| {
            let range = trace.get(usize::from(column)).copied().flatten();
            range.is_some_and(|(low, high)| (low..=high).contains(&place))
        };
        let there = traces.iter().filter(|(_, trace)| covers(trace));
        if let Some(series) = turn(there.map(|(series, _)| *series), column) {
            pen.letter(column, row, look.letter(series), look.series(series));
        }
        return;
    }
    let dots = traces.iter().map(|(series, trace)| {
        let mut own = 0;
        for (x, bits) in DOTS.iter().enumerate() {
            let range = trace.get(usize::from(column) * 2 + x).copied().flatten();
            let Some((low, high)) = range else {
                continue;
            };
            for (y, bit) in bits.iter().rev().enumerate() {
                if (low..=high).contains(&(bottom(4) + y)) {
                    own |= bit;
                }
            }
        }
        (*series, own)
    });
    let there = dots.filter(|(_, own)| *own != 0);
    if let Some((series, own)) = turn(there, column)
        && let Some(letter) = char::from_u32(0x2800 + u32::from(own))
    {
        pen.letter(column, row, letter, look.series(series));
    }
}

/// Where lines share a cell, each has it in turn, from column to column: a cell has one colour, and it must be its line's own.
fn turn<T>(there: impl Iterator<Item = T> + Clone, column: u16) -> Option<T> {
    let count = there.clone().count();
    let mut there = there;
    there.nth(usize::from(column) % count.max(1))
}

/// The axis on the left.
fn figures(pen: &mut Pen<'_>, axis: &Axis, rows: u16) {
    let look = pen.look;
    let (line, tick) = if look.unicode {
        ('│', '┤')
    } else {
        ('|', '+')
    };
    for row in 0..rows {
        pen.letter(GUTTER - 1, row, line, look.dim());
    }
    let mut value = axis.lowest;
    while value <= axis.highest {
        let up = u16::try_from(axis.row(value, usize::from(rows))).unwrap_or(0);
        let row = rows - 1 - up.min(rows - 1);
        let text = u64::try_from(value).map(round_size).unwrap_or_default();
        pen.put_right(GUTTER - 1, row, &text, look.dim());
        pen.letter(GUTTER - 1, row, tick, look.dim());
        match value.checked_add(axis.step) {
            Some(next) => value = next,
            None => break,
        }
    }
}

/// The axis below, with marks of what happened, and times since the start.
fn times(pen: &mut Pen<'_>, shot: &Shot, row: u16) {
    let look = pen.look;
    let width = pen.width() - GUTTER;
    let (line, corner, tick) = if look.unicode {
        ('─', '└', '┴')
    } else {
        ('-', '+', '+')
    };
    pen.letter(GUTTER - 1, row, corner, look.dim());
    for column in 0..width {
        pen.letter(GUTTER + column, row, line, look.dim());
    }
    let grid = Grid {
        columns: usize::from(width),
        rows: 1,
        window: shot.window,
        axis: Axis {
            lowest: 0,
            highest: 1,
            step: 1,
        },
    };
    let place = |t_ns: u64| u16::try_from(grid.column(t_ns)).unwrap_or(0);
    let (from, to) = shot.window;
    let seconds = to.saturating_sub(from).div_ceil(SECOND);
    let labels = (u64::from(width) / TIME_APART).max(1);
    let fits = |step: &&u64| seconds <= **step * labels;
    let step = STEPS.iter().find(fits).copied().unwrap_or(seconds.max(1));
    let step = step.saturating_mul(SECOND);
    let mut t_ns = from.div_ceil(step).saturating_mul(step);
    let mut free = 0;
    while t_ns <= to {
        let column = place(t_ns);
        pen.letter(GUTTER + column, row, tick, look.dim());
        let text = clock(t_ns);
        let length = u16::try_from(text.len()).unwrap_or(0);
        let begin = (GUTTER + column).saturating_sub(length / 2);
        let begin = begin.min((GUTTER + width).saturating_sub(length));
        if begin >= free {
            free = pen.put(begin, row + 1, &text, look.dim()) + 1;
        }
        t_ns = t_ns.saturating_add(step);
    }
    for span in shot
        .spans
        .iter()
        .filter(|span| span.gap_ns > 0 && span.ticks == 1)
    {
        for column in place(span.from_ns.max(from))..=place(span.t_ns) {
            pen.letter(
                GUTTER + column,
                row,
                if look.unicode { '╌' } else { '.' },
                look.bad(),
            );
        }
    }
    for mark in &shot.marks {
        mark_at(pen, GUTTER + place(mark.t_ns), row, look.warn());
    }
}

fn mark_at(pen: &mut Pen<'_>, column: u16, row: u16, style: Style) {
    let letter = if pen.look.unicode { '▲' } else { '^' };
    pen.letter(column, row, letter, style);
}
