//! Two captures side by side, as a person reads them: what differs in the conditions first.

mod page;

use crate::text::Foreign;
use std::fmt::Write as _;

pub use page::page;

use super::{
    holdings::headline,
    table::{NAME, label},
    verdict::{item, paragraph},
};
use crate::{
    diff::{Answer, CauseDiff, Diff, Figure, Group, Judged, Quantity, Side, Unit},
    model::Level,
    text::{
        format::{
            BAD, BOLD, DIM, GOOD, WARN, change, count, paint, sanitized, signed_size, span, tail,
        },
        wrapped,
    },
};

const CALLS: usize = 7;
const REQUESTED: usize = 8;
const MOVED: usize = 9;
const CHANGE: usize = 9;
/// Width of a figure.
const FIGURE: usize = 10;
/// From this width on, there is a column for each change.
const WIDE: usize = 98;
/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 120;
/// Width of an answer's title, at any width of the terminal.
const TITLE: usize = 67;
/// Width of a condition's name.
const CONDITION: usize = 20;

/// The whole comparison, with styles.
#[must_use]
pub fn diff(diff: &Diff, width: usize) -> String {
    let width = width.clamp(80, WIDEST);
    let mut text = String::new();
    for (name, side) in [("A", &diff.a), ("B", &diff.b)] {
        let _ = writeln!(text, "{}  {}", paint(BOLD, name), of_side(side, width));
    }
    text.push('\n');
    for row in wrapped(&sanitized(&diff.headline, 1000), width) {
        let _ = writeln!(text, "{}", paint(BOLD, &row));
    }
    conditions(&mut text, diff, width);
    answers(&mut text, diff, width);
    causes(&mut text, diff, width >= WIDE);
    figures(&mut text, &diff.figures);
    text
}

fn of_side(side: &Side, width: usize) -> String {
    let started = side.started_at.raw();
    let what = format!(
        "{} ({}), {} from {}",
        side.comm.shown(15),
        side.pid,
        span(side.duration_ns),
        // To the second.
        sanitized(started.get(..19).unwrap_or(started), 40),
    );
    let room = width.saturating_sub(what.chars().count() + 5).max(20);
    let mut line = format!("{}  {what}", tail(&side.file, room));
    if !side.is_complete {
        let _ = write!(line, "  {}", paint(BAD, "incomplete"));
    }
    line
}

fn conditions(text: &mut String, diff: &Diff, width: usize) {
    let conditions = &diff.conditions;
    headline(text, "conditions");
    let room = (width - CONDITION - 4) / 2;
    for condition in &conditions.differ {
        let value = |value: &Option<Foreign>| {
            let shown = value.as_ref().map(|value| value.shown(400));
            wrapped(&shown.unwrap_or_else(|| "-".to_owned()), room)
        };
        let (a, b) = (value(&condition.a), value(&condition.b));
        for row in 0..a.len().max(b.len()) {
            let title = if row == 0 {
                condition.title.shown(CONDITION - 1)
            } else {
                String::new()
            };
            let of = |rows: &[String]| rows.get(row).cloned().unwrap_or_default();
            let line = format!("  {title:<CONDITION$}{:<room$}  {}", of(&a), of(&b));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if !conditions.same.is_empty() {
        let same = format!("the same: {}", conditions.same.join(", "));
        for row in wrapped(&sanitized(&same, 1000), width - 2) {
            let _ = writeln!(text, "  {}", paint(DIM, &row));
        }
    }
    for note in &conditions.notes {
        item(text, note, width);
    }
}

fn answers(text: &mut String, diff: &Diff, width: usize) {
    let answers = &diff.answers;
    headline(text, "answers");
    for (name, answer) in [("A", &answers.a), ("B", &answers.b)] {
        match answer {
            Some(answer) => of_answer(text, name, answer),
            None => {
                let _ = writeln!(text, "  {name}  -");
            }
        }
    }
    paragraph(text, 2, &answers.text, width);
    if let (Some(a), Some(b)) = (&answers.a, &answers.b) {
        for (name, one, other) in [("A", a, b), ("B", b, a)] {
            let only: Vec<&str> = one
                .also
                .iter()
                .filter(|id| !other.also.contains(id) && **id != other.id)
                .map(Foreign::raw)
                .collect();
            if !only.is_empty() {
                let line = format!("said beside it in {name} only: {}", only.join(", "));
                paragraph(text, 2, &line, width);
            }
        }
    }
}

fn of_answer(text: &mut String, name: &str, answer: &Answer) {
    let (style, level) = match answer.confidence {
        Level::High => (GOOD, "high"),
        Level::Medium => (WARN, "medium"),
        Level::Low => (BAD, "low"),
    };
    let title = answer.title.shown(400);
    let mut rows = wrapped(&title, TITLE).into_iter();
    let _ = writeln!(
        text,
        "  {name}  {:<TITLE$}  {}",
        rows.next().unwrap_or_default(),
        paint(style, level)
    );
    for row in rows {
        let _ = writeln!(text, "     {row}");
    }
}

fn causes(text: &mut String, diff: &Diff, wide: bool) {
    let rate = if diff.conditions.by_rate { "/s" } else { "" };
    let columns = [
        ("calls", CALLS, wide),
        ("requested", REQUESTED, wide),
        ("RSS", MOVED, true),
    ];
    let mut above = format!("{:<NAME$}", "");
    let mut below = format!("{:<NAME$}", "cause");
    for (name, width, has_change) in columns {
        let room = 2 * width;
        let _ = write!(above, "{:>room$}", format!("{name}{rate}"));
        let _ = write!(below, "{:>width$}{:>width$}", "A", "B");
        if has_change {
            let _ = write!(above, "{:>CHANGE$}", "");
            let _ = write!(below, "{:>CHANGE$}", "change");
        }
    }
    let _ = writeln!(text, "\n{}", paint(BOLD, above.trim_end()));
    let _ = writeln!(text, "{}", paint(BOLD, &below));
    let mut family = None;
    for row in &diff.causes {
        let group = row.advice.is_some().then_some(row.cause);
        if group.is_some() && family != group {
            let _ = writeln!(text, "{}", row.cause.name());
        }
        family = group;
        line(text, row, columns);
    }
    if diff.causes.is_empty() {
        let _ = writeln!(text, "{}", paint(DIM, "nothing moved in either"));
    }
}

fn line(text: &mut String, row: &CauseDiff, columns: [(&str, usize, bool); 3]) {
    let name = label(row.cause, row.advice.as_ref(), row.task.as_ref());
    let mut line = format!("{name:<NAME$}");
    let cells = [
        (&row.calls, Unit::Count, false),
        (&row.requested_bytes, Unit::Bytes, false),
        (&row.rss_delta_bytes, Unit::Bytes, true),
    ];
    for ((quantity, unit, is_change), (_, width, has_change)) in cells.into_iter().zip(columns) {
        for value in both(quantity, unit, is_change) {
            let cell = format!("{value:>width$}");
            let is_dim = !quantity.is_changed();
            line.push_str(&if is_dim { paint(DIM, &cell) } else { cell });
        }
        if has_change {
            line.push_str(&changed(quantity, unit, CHANGE));
        }
    }
    let _ = writeln!(text, "{line}");
}

/// A number of A and of B, per second where that is what is compared.
fn both(quantity: &Quantity, unit: Unit, is_change: bool) -> [String; 2] {
    let per_second = quantity.per_second;
    [
        (quantity.a, per_second.map(|rate| rate.a)),
        (quantity.b, per_second.map(|rate| rate.b)),
    ]
    .map(|(value, rate)| match (rate, value) {
        (Some(Some(rate)), _) => show_rate(rate, unit, is_change),
        (None, Some(value)) => show(value, unit, is_change),
        _ => "-".to_owned(),
    })
}

/// The difference, or what is to be said in its place.
fn changed_text(quantity: &Quantity, unit: Unit) -> String {
    let difference = match quantity.per_second {
        Some(rate) => rate.change.map(|rate| show_rate(rate, unit, true)),
        None => quantity.change.map(|change| show(change, unit, true)),
    };
    match (quantity.judged, difference) {
        (Judged::Equal, _) => "=".to_owned(),
        (Judged::Small, _) => "≈".to_owned(),
        (Judged::Changed, Some(shown)) => shown,
        (Judged::Changed | Judged::NotComparable, _) => "-".to_owned(),
    }
}

fn changed(quantity: &Quantity, unit: Unit, width: usize) -> String {
    let cell = format!("{:>width$}", changed_text(quantity, unit));
    paint(if quantity.is_changed() { BOLD } else { DIM }, &cell)
}

const fn group_title(group: Group) -> &'static str {
    match group {
        Group::Memory => "memory",
        Group::Activity => "what happened",
        Group::Go => "Go, at the end",
        Group::Cgroup => "cgroup, at the end",
    }
}

fn show(value: i64, unit: Unit, is_change: bool) -> String {
    match unit {
        Unit::Bytes if is_change => change(value),
        Unit::Bytes => signed_size(value),
        Unit::Count => {
            let sign = if value < 0 {
                "-"
            } else if is_change && value > 0 {
                "+"
            } else {
                ""
            };
            format!("{sign}{}", count(value.unsigned_abs()))
        }
    }
}

fn show_rate(rate: f64, unit: Unit, is_change: bool) -> String {
    // Few calls are shown with a decimal: 216 in 14 s are 15.4 per second.
    if unit == Unit::Count && rate.abs() < 999.95 {
        return if is_change {
            format!("{rate:+.1}")
        } else {
            format!("{rate:.1}")
        };
    }
    show(rate.round() as i64, unit, is_change)
}

fn figures(text: &mut String, figures: &[Figure]) {
    let mut group = None;
    for figure in figures {
        // What is 0 in both says nothing.
        if figure.quantity.is_nothing() {
            continue;
        }
        if group != Some(figure.group) {
            let title = group_title(figure.group);
            let header = format!(
                "{title:<NAME$}{:>FIGURE$}{:>FIGURE$}{:>FIGURE$}",
                "A", "B", "change"
            );
            headline(text, &header);
            group = Some(figure.group);
        }
        let [a, b] = both(&figure.quantity, figure.unit, false);
        let rate = if figure.quantity.per_second.is_some() {
            "/s"
        } else {
            ""
        };
        let name = format!("{}{rate}", figure.title);
        let _ = writeln!(
            text,
            "{name:<NAME$}{a:>FIGURE$}{b:>FIGURE$}{}",
            changed(&figure.quantity, figure.unit, FIGURE)
        );
    }
    let _ = writeln!(
        text,
        "\n{}",
        paint(
            DIM,
            "=: no difference. ≈: one run each, and runs of one program differ by as much.\n-: not known on one side."
        )
    );
}
