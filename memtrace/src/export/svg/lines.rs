//! What the process holds: RSS, what of it is lazily freed, swap, Go's heap.

use std::fmt::Write as _;

use super::{
    Frame, LEFT, RIGHT, ROW, SIGN, flow, levels,
    paper::{Paper, px, width},
};
use crate::{
    text::format::{change, signed_size, size},
    timeline::{
        MarkKind, Span,
        figures::{
            Figure, GO_HEAP_INUSE, GO_HEAP_RELEASED, LAZYFREE, LINES, RSS, RSS_LESS_LAZYFREE, SWAP,
            Shown,
        },
    },
    view::chart::{Point, Scale, byte_label, byte_ticks, line, moment, releases},
};

const HEIGHT: f64 = 216.0;
/// Points per line at most: half a px each.
const COLUMNS: u32 = 1444;
/// Most readings that have a dot each.
const DOTS: usize = 200;
/// Most releases that are marked.
const RELEASES: usize = 6;
/// Rows of labels for marks.
const LABELS: usize = 2;

/// The lines from the back to the front, each with its class.
const DRAWN: [(&str, &Figure); 6] = [
    ("released", &GO_HEAP_RELEASED),
    ("inuse", &GO_HEAP_INUSE),
    ("swap", &SWAP),
    ("rss", &RSS),
    ("lazy", &LAZYFREE),
    ("held", &RSS_LESS_LAZYFREE),
];

/// A line.
struct Series {
    class: &'static str,
    figure: &'static Figure,
    points: Vec<Point>,
}

impl Series {
    fn of(class: &'static str, figure: &'static Figure, spans: &[Span]) -> Self {
        let point = |span: &Span| {
            let value = figure.of_span(span)?;
            Some(if figure.name == RSS.name {
                Point {
                    t_ns: span.t_ns,
                    value,
                    lowest: span.rss_lowest_bytes.into(),
                    highest: span.rss_highest_bytes.into(),
                }
            } else if figure.rare {
                // Both that are drawn are read with `LazyFree`: each reading stands at its tick.
                Point::new(span.lazyfree_t_ns.unwrap_or(span.t_ns), value)
            } else {
                Point::new(span.t_ns, value)
            })
        };
        let mut points: Vec<Point> = spans.iter().filter_map(point).collect();
        if figure.shown == Shown::IfAny && points.iter().all(|point| point.value == 0) {
            points.clear();
        }
        Self {
            class,
            figure,
            points,
        }
    }

    /// Returns true if the approximate mode samples it.
    fn is_sampled(&self) -> bool {
        [RSS.name, SWAP.name].contains(&self.figure.name)
    }

    fn name(&self) -> &'static str {
        self.figure.short_title()
    }

    /// Returns its place in the legend.
    fn place(&self) -> Option<usize> {
        LINES.iter().position(|line| line.name == self.figure.name)
    }
}

fn series(frame: &Frame<'_>, spans: &[Span]) -> Vec<Series> {
    let mut all = DRAWN.map(|(class, figure)| Series::of(class, figure, spans));
    let capture = frame.capture;
    let first = capture.earlier_epochs.first().unwrap_or(&capture.epoch);
    for rss in all.iter_mut().filter(|series| series.class == "rss") {
        if !spans.is_empty() {
            let start = Point::new(0, first.summary.rss_start_bytes);
            rss.points.insert(0, start);
        }
    }
    all.into()
}

/// Draws the plot below `top`, and says where it ends.
pub(super) fn draw(paper: &mut Paper, frame: &Frame<'_>, top: f64) -> f64 {
    let spans = frame.history.spans(0, u64::MAX, usize::MAX);
    let mut all = series(frame, &spans);
    all.retain(|series| !series.points.is_empty());
    let below = legend(paper, frame, &all, top);
    let points = || all.iter().flat_map(|series| &series.points);
    let highest = points().map(|point| point.highest).max().unwrap_or(0);
    let lowest = points().map(|point| point.lowest).min().unwrap_or(0);
    let rss_highest = spans.iter().map(|span| span.rss_highest_bytes).max();
    let marks = marks(frame, i128::from(rss_highest.unwrap_or(0)));
    let (labels, rows) = placed(frame, &marks);
    let plot = below + rows as f64 * 14.0 - 2.0;
    let bottom = plot + HEIGHT;
    let scale = Scale {
        axis: byte_ticks(lowest.min(0), highest.max(0), 6),
        low: bottom,
        high: plot,
    };
    frame.draw_gaps(paper, plot, bottom);
    frame.draw_verticals(paper, plot, bottom);
    levels(paper, scale, byte_label);
    for (mark, place) in marks.iter().zip(labels) {
        mark.draw(paper, frame, (plot, bottom), place);
    }
    if spans.is_empty() {
        let x = LEFT.midpoint(RIGHT);
        paper.text(x, plot.midpoint(bottom), "dim mid", "nothing was read");
    }
    let mut breaks: Vec<u64> = frame.gaps.iter().map(|gap| gap.from_ns).collect();
    let (execs, _) = frame.history.marks();
    breaks.extend(execs.map(|mark| mark.t_ns));
    let begin = ("class", "plot".to_owned());
    paper.open(&[
        begin,
        ("data-low-bytes", scale.axis.low.to_string()),
        ("data-high-bytes", scale.axis.high.to_string()),
        ("data-low-y", px(scale.low)),
        ("data-high-y", px(scale.high)),
    ]);
    for series in &all {
        series.draw(paper, frame, scale, &breaks);
    }
    paper.close();
    bottom
}

fn legend(paper: &mut Paper, frame: &Frame<'_>, all: &[Series], top: f64) -> f64 {
    let mut found: Vec<&Series> = all.iter().collect();
    found.sort_by_key(|series| series.place());
    let items: Vec<(&Series, String)> = found
        .into_iter()
        .map(|series| {
            let mark = if series.is_sampled() {
                frame.mark()
            } else {
                ""
            };
            let last = series.points.last().map_or(0, |point| point.value);
            let last = i64::try_from(last).map_or_else(
                |_| size(u64::try_from(last).unwrap_or(u64::MAX)),
                signed_size,
            );
            (series, format!("{mark}{} {mark}{last}", series.name()))
        })
        .collect();
    let (places, next) = flow(items.iter().map(|(_, text)| text.as_str()), top);
    for ((series, text), (x, y)) in items.iter().zip(places) {
        let middle = y - 4.0;
        let path = format!("M{} {}h18", px(x), px(middle));
        let class = series.class.to_owned();
        paper.empty("path", &[("d", path), ("class", class.clone())]);
        if series.figure.rare {
            dot(paper, (x + 9.0, middle), &class, &[], None);
        }
        paper.text(x + SIGN - 3.0, y, "", text);
    }
    next
}

fn dot(
    paper: &mut Paper,
    (x, y): (f64, f64),
    class: &str,
    data: &[(&str, String)],
    title: Option<&str>,
) {
    let mut place = vec![
        ("cx", px(x)),
        ("cy", px(y)),
        ("r", px(3.0)),
        ("class", class.to_owned()),
    ];
    place.extend_from_slice(data);
    match title {
        Some(title) => paper.titled("circle", &place, title),
        None => paper.empty("circle", &place),
    }
}

impl Series {
    fn draw(&self, paper: &mut Paper, frame: &Frame<'_>, scale: Scale, breaks: &[u64]) {
        let points = self.points.iter().copied();
        let mut path = String::new();
        for line in line(points, breaks, frame.end_ns, COLUMNS) {
            let mut begin = 'M';
            for point in &line {
                let x = px(frame.x(point.t_ns));
                let mut go = |value: i128| {
                    let _ = write!(path, "{begin}{x} {}", px(scale.at(value)));
                    begin = 'L';
                };
                if point.lowest != point.highest {
                    go(point.lowest);
                    go(point.highest);
                }
                go(point.value);
            }
            if let [only] = line.as_slice()
                && !self.figure.rare
            {
                // A line of one point has no length, and round ends: it is a dot.
                let _ = write!(
                    path,
                    "L{} {}",
                    px(frame.x(only.t_ns)),
                    px(scale.at(only.value))
                );
            }
        }
        let highest = self.points.iter().map(|point| point.highest).max();
        let lowest = self.points.iter().map(|point| point.lowest).min();
        let last = self.points.last().map(|point| point.value);
        let data = |name, value: Option<i128>| (name, value.unwrap_or(0).to_string());
        let attributes = [
            ("d", path),
            ("class", self.class.to_owned()),
            ("data-name", self.name().to_owned()),
            data("data-lowest-bytes", lowest),
            data("data-highest-bytes", highest),
            data("data-last-bytes", last),
        ];
        paper.titled("path", &attributes, self.name());
        if !self.figure.rare || self.points.len() > DOTS {
            return;
        }
        for point in &self.points {
            let data = [
                ("data-t-ns", point.t_ns.to_string()),
                ("data-bytes", point.value.to_string()),
            ];
            let at = (frame.x(point.t_ns), scale.at(point.value));
            let short = i64::try_from(point.value).map_or_else(|_| "?".to_owned(), signed_size);
            let title = format!("{}: {} {short}", moment(point.t_ns), self.name());
            dot(paper, at, self.class, &data, Some(&title));
        }
    }
}

/// A moment that has a line of its own.
struct Mark {
    t_ns: u64,
    label: String,
    title: String,
    kind: &'static str,
}

fn marks(frame: &Frame<'_>, rss_highest: i128) -> Vec<Mark> {
    let (execs, _) = frame.history.marks();
    let mut marks: Vec<Mark> = execs
        .map(|mark| {
            let MarkKind::Exec(comm) = &mark.kind;
            let label = format!("exec {comm:.16}");
            Mark {
                t_ns: mark.t_ns,
                title: format!("{}: {label}", moment(mark.t_ns)),
                label,
                kind: "exec",
            }
        })
        .collect();
    // A tenth of the highest RSS is what a reader sees in the line.
    let least = (rss_highest / 10).max(1);
    for (t_ns, name, bytes, fell) in releases(frame.history, least, RELEASES) {
        let name = frame.history.names().get(usize::from(name));
        let name = name.map(|name| match &name.advice {
            Some(advice) => advice.shown(24),
            None => name.label(),
        });
        let name = name.unwrap_or_default();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let (label, title) = if fell {
            let label = format!("{name} {}", change(-bytes));
            let title = format!(
                "{}: RSS fell by {} by {name}",
                moment(t_ns),
                size(bytes.unsigned_abs())
            );
            (label, title)
        } else {
            let label = format!("{name} of {}", signed_size(bytes));
            let title = format!(
                "{}: {name} for {}, which stay in RSS until the kernel needs them",
                moment(t_ns),
                signed_size(bytes)
            );
            (label, title)
        };
        marks.push(Mark {
            t_ns,
            label,
            title,
            kind: if fell { "release" } else { "lazy-release" },
        });
    }
    marks.sort_by_key(|mark| mark.t_ns);
    marks
}

/// Where labels of marks are, if there is room for them: from the left, and the row from below.
fn placed(frame: &Frame<'_>, marks: &[Mark]) -> (Vec<Option<(f64, usize)>>, usize) {
    let mut ends = [LEFT - 40.0; LABELS];
    let mut rows = 0;
    let places = marks
        .iter()
        .map(|mark| {
            let wide = width(&mark.label);
            let from = (frame.x(mark.t_ns) - wide / 2.0)
                .min(RIGHT - wide)
                .max(LEFT - 30.0);
            let row = ends.iter().position(|&end| end + 8.0 <= from)?;
            *ends.get_mut(row)? = from + wide;
            rows = rows.max(row + 1);
            Some((from, row))
        })
        .collect();
    (places, rows)
}

impl Mark {
    fn draw(
        &self,
        paper: &mut Paper,
        frame: &Frame<'_>,
        (top, bottom): (f64, f64),
        place: Option<(f64, usize)>,
    ) {
        let x = frame.x(self.t_ns);
        let attributes = [
            ("x1", px(x)),
            ("y1", px(top)),
            ("x2", px(x)),
            ("y2", px(bottom)),
            ("class", "mark".to_owned()),
            ("data-mark", self.kind.to_owned()),
            ("data-t-ns", self.t_ns.to_string()),
        ];
        paper.titled("line", &attributes, &self.title);
        if let Some((from, row)) = place {
            let y = top - 5.0 - row as f64 * 14.0;
            let middle = from + width(&self.label) / 2.0;
            paper.text(middle, y, "dim small mid", &self.label);
        }
    }
}

/// Below the plots.
pub(super) const AXIS: f64 = ROW;
