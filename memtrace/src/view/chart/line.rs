//! Lines: no peak is lost, and a gap stays one.

use std::collections::VecDeque;

use crate::timeline::Span;

/// A time in which memtrace did not run, or not often enough to say what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The tick before it, ns since the start of the capture.
    pub from_ns: u64,
    /// The tick after it.
    pub to_ns: u64,
}

/// A point of a line: one value, or those of several ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The last of the ticks, ns since the start of the capture.
    pub t_ns: u64,
    /// The value at this tick.
    pub value: i128,
    /// The lowest among the ticks.
    pub lowest: i128,
    /// The highest.
    pub highest: i128,
}

impl Point {
    /// Of one tick.
    #[must_use]
    pub fn new(t_ns: u64, value: impl Into<i128>) -> Self {
        let value = value.into();
        Self {
            t_ns,
            value,
            lowest: value,
            highest: value,
        }
    }
}

/// Where ticks are further apart than twice the interval. A late tick alone is no gap. Of spans of several ticks that hold
/// such a time, where it was is not known any more: all of the span is given.
#[must_use]
pub fn gaps(spans: &[Span], interval_ns: u64) -> Vec<Gap> {
    let too_long = |span: &&Span| {
        let apart = u128::from(span.t_ns.saturating_sub(span.from_ns));
        let due = u128::from(interval_ns.max(1)) * (u128::from(span.ticks) + 1);
        apart > due
    };
    spans
        .iter()
        .filter(too_long)
        .map(|span| Gap {
            from_ns: span.from_ns,
            to_ns: span.t_ns,
        })
        .collect()
}

/// Points in the order of time as lines: broken at each of `breaks`, which is the last time before a break; what falls into one
/// of `columns` equal parts of the time up to `end_ns` becomes one point.
#[must_use]
pub fn line(
    points: impl IntoIterator<Item = Point>,
    breaks: &[u64],
    end_ns: u64,
    columns: u32,
) -> Vec<Vec<Point>> {
    let column = |t_ns: u64| {
        let along = u128::from(t_ns) * u128::from(columns.max(1));
        along / u128::from(end_ns.max(1))
    };
    let mut breaks: VecDeque<u64> = breaks.iter().copied().collect();
    breaks.make_contiguous().sort_unstable();
    let mut lines: Vec<Vec<Point>> = Vec::new();
    let mut present: Vec<Point> = Vec::new();
    for point in points {
        let mut broken = false;
        while breaks.front().is_some_and(|&at| at < point.t_ns) {
            breaks.pop_front();
            broken = true;
        }
        if broken && !present.is_empty() {
            lines.push(std::mem::take(&mut present));
        }
        match present.last_mut() {
            Some(last) if column(last.t_ns) == column(point.t_ns) => {
                *last = Point {
                    t_ns: point.t_ns,
                    value: point.value,
                    lowest: last.lowest.min(point.lowest),
                    highest: last.highest.max(point.highest),
                };
            }
            _ => present.push(point),
        }
    }
    if !present.is_empty() {
        lines.push(present);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(times: &[(u64, i64)]) -> Vec<Point> {
        let points = times.iter();
        points
            .map(|&(t_ns, value)| Point::new(t_ns, value))
            .collect()
    }

    #[test]
    fn a_peak_between_two_columns_stays() {
        let lines = line(points(&[(1, 5), (2, 900), (3, 6), (100, 7)]), &[], 100, 10);
        let [only] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert_eq!(only.len(), 2);
        assert_eq!(
            (only[0].value, only[0].lowest, only[0].highest),
            (6, 5, 900)
        );
    }

    #[test]
    fn a_line_breaks_where_it_is_to_and_nowhere_else() {
        let all = points(&[(10, 1), (20, 2), (30, 3), (40, 4)]);
        let lines = line(all.clone(), &[30, 20, 20], 40, 40);
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        assert_eq!(line(all, &[50], 40, 40).len(), 1);
        assert!(line(Vec::new(), &[1], 0, 0).is_empty());
    }
}
