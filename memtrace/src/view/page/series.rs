//! The timeline as columns, as short as they can be written: a day of ticks has to open in a browser at once.

use crate::text::Foreign;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::panels::cause_name;
use crate::timeline::{
    CauseName, History, Moved, Span,
    figures::{FAULTS, Figure, GO_NUM_GC, LINES, Shown, VM},
};

/// Whole numbers beyond are not exact in a browser. No process has so many bytes.
const EXACT: i64 = 1 << 53;
/// Runs of equal numbers from this length on are written as one.
const RUN: usize = 4;
/// Characters of a cause's name.
const NAME: usize = 64;

/// A column that is no figure: its name, and its value in a span.
type Part = (&'static str, fn(&Span) -> Option<i64>);

const PARTS: [Part; 3] = [
    ("ticks", |span| signed(span.ticks)),
    ("rss_lowest", |span| exact(span.rss_lowest_bytes)),
    ("rss_highest", |span| exact(span.rss_highest_bytes)),
];

/// Returns the figures that are columns: those that are drawn, and those that the read-out names.
fn figures() -> impl Iterator<Item = &'static Figure> {
    LINES.iter().copied().chain([&FAULTS, &GO_NUM_GC])
}

/// A line that the chart can draw, as the script is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The column.
    key: &'static str,
    label: String,
    /// Drawn from the start.
    on: bool,
    /// Drawn from the start if it was ever above 0.
    where_seen: bool,
    /// Read at some ticks only, so drawn from reading to reading, with points.
    rare: bool,
}

/// Returns the lines that the chart can draw, in the order of its legend.
pub(super) fn lines() -> Vec<Line> {
    let line = |figure: &&Figure| Line {
        key: figure.key(),
        // Beside RSS, what people know the address space as.
        label: if figure.name == VM.name {
            "VMS".to_owned()
        } else {
            figure.title.replace(" - ", " − ")
        },
        on: figure.shown == Shown::Always,
        where_seen: figure.shown == Shown::IfAny,
        rare: figure.rare,
    };
    LINES.iter().map(line).collect()
}

fn exact(value: i64) -> Option<i64> {
    (value.unsigned_abs() <= EXACT.unsigned_abs()).then_some(value)
}

fn signed(value: u64) -> Option<i64> {
    i64::try_from(value).ok().and_then(exact)
}

/// Numbers one after the other. In JSON each is the difference to the last one that is not `null`, and `[difference, n]` stands for n
/// times the same difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(pub Vec<Option<i64>>);

impl Numbers {
    fn of(numbers: impl IntoIterator<Item = i64>) -> Self {
        Self(numbers.into_iter().map(Some).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        // All of them are exact, so no difference overflows.
        let steps: Vec<Option<i64>> = self
            .0
            .iter()
            .map(|number| {
                let number = number.and_then(exact)?;
                let step = number - before;
                before = number;
                Some(step)
            })
            .collect();
        let mut out = serializer.serialize_seq(None)?;
        for run in steps.chunk_by(|one, next| one == next) {
            if run.len() >= RUN {
                out.serialize_element(&(run.first(), run.len()))?;
            } else {
                for step in run {
                    out.serialize_element(step)?;
                }
            }
        }
        out.end()
    }
}

/// What one cause did, in the spans in which it did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CauseSeries {
    /// What it is called.
    pub name: String,
    /// Whether the process does it itself.
    pub own: bool,
    /// Whether the bytes asked for were given back without leaving RSS: `MADV_FREE`.
    pub lazily: bool,
    /// Which spans: rows of the columns.
    pub row: Numbers,
    /// Change of RSS, bytes; `null` in the approximate mode.
    pub rss: Numbers,
    /// Calls; `null` where it is no hooked call.
    pub calls: Numbers,
    /// Bytes that they asked for.
    pub requested: Numbers,
}

/// Spans, a column per figure. Times are µs since the start of the capture, rounded down; bytes are exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Series {
    /// How many spans.
    pub rows: usize,
    /// Where each ends: its last tick.
    pub t_us: Numbers,
    /// Where each begins.
    pub from_us: Numbers,
    /// The figures by name; one that no span has is left out.
    #[serde(serialize_with = "as_map")]
    pub columns: Vec<(&'static str, Numbers)>,
    /// The causes that did something.
    pub causes: Vec<CauseSeries>,
}

fn as_map<S: Serializer>(
    columns: &[(&'static str, Numbers)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(columns.iter().map(|(name, numbers)| (name, numbers)))
}

/// Microseconds, rounded down.
pub fn us(ns: u64) -> i64 {
    i64::try_from(ns / 1000).unwrap_or(i64::MAX)
}

impl Series {
    /// The columns of spans, whose causes have these names.
    #[must_use]
    pub fn of(spans: &[Span], names: &[CauseName]) -> Self {
        let parts = PARTS.map(|(name, part)| (name, spans.iter().map(part).collect()));
        let figures = figures().map(|figure| {
            let value = |span| i64::try_from(figure.of_span(span)?).ok().and_then(exact);
            (figure.key(), spans.iter().map(value).collect())
        });
        let columns = parts
            .into_iter()
            .chain(figures)
            .map(|(name, numbers)| (name, Numbers(numbers)))
            .filter(|(_, numbers)| !numbers.is_empty())
            .collect();
        let mut moved: Vec<Vec<(usize, Moved)>> = vec![Vec::new(); names.len()];
        for (row, span) in spans.iter().enumerate() {
            for cause in &span.causes {
                if let Some(rows) = moved.get_mut(usize::from(cause.name)) {
                    rows.push((row, *cause));
                }
            }
        }
        let causes = names
            .iter()
            .zip(moved)
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(name, rows)| cause(name, &rows))
            .collect();
        Self {
            rows: spans.len(),
            t_us: Numbers::of(spans.iter().map(|span| us(span.t_ns))),
            from_us: Numbers::of(spans.iter().map(|span| us(span.from_ns))),
            columns,
            causes,
        }
    }
}

fn cause(name: &CauseName, rows: &[(usize, Moved)]) -> CauseSeries {
    let numbers = |part: fn(&Moved) -> Option<i64>| {
        Numbers(rows.iter().map(|(_, moved)| part(moved)).collect())
    };
    CauseSeries {
        name: label(name),
        own: name.cause.is_own(),
        lazily: name.advice.as_ref().is_some_and(|it| *it == "MADV_FREE"),
        row: Numbers(
            rows.iter()
                .map(|(row, _)| i64::try_from(*row).ok())
                .collect(),
        ),
        rss: numbers(|moved| moved.rss_delta_bytes.and_then(exact)),
        calls: numbers(|moved| moved.calls.and_then(signed)),
        requested: numbers(|moved| moved.requested_bytes.and_then(signed)),
    }
}

fn label(name: &CauseName) -> String {
    cause_name(name.cause, name.advice.as_ref(), name.task.as_ref(), NAME)
}

/// A text that came from outside, in one line.
pub(super) fn shown(text: impl Into<Foreign>, most: usize) -> String {
    text.into().shown(most)
}

/// All of the capture: coarse as long as that is all there is, then tick by tick.
#[must_use]
pub fn whole(history: &History) -> Vec<Span> {
    let mut spans = history.spans(0, history.recent_from_ns(), usize::MAX);
    let edge = spans.last().map_or(0, |span| span.t_ns);
    if spans.is_empty() {
        return history.spans(0, u64::MAX, usize::MAX);
    }
    spans.extend(history.since(edge));
    spans
}
