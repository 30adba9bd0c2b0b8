//! The panels of one program: the answer first, then where its memory went, what it is made of, and how that was found out.

mod answer;
mod facts;
mod holdings;
mod ledger;

pub use crate::view::table::ended;

use super::{
    panel::{Block, Cell, Column, Item, Panel, Row},
    series::shown,
};
use crate::text::Foreign;
use crate::{
    model::{CaptureInfo, Cause, HostInfo, Summary, TargetInfo, Verdict},
    text::format::{change, count, signed_size, size},
    timeline::Live,
};

/// Characters of a name that came from outside.
const NAME: usize = 200;
/// Characters of a text.
const TEXT: usize = 1500;

/// What is said of an epoch.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// Where it ran.
    pub host: &'a HostInfo,
    /// The process.
    pub target: &'a TargetInfo,
    /// How it was captured.
    pub capture: &'a CaptureInfo,
    /// The ledger.
    pub summary: &'a Summary,
    /// The answer.
    pub verdict: Option<&'a Verdict>,
    /// Of a process that has ended: when LazyFree was seen last, RSS of that moment, and how much it was.
    pub seen: Option<(u64, i64, u64)>,
}

/// All panels.
pub fn of(told: &Told<'_>) -> Vec<Panel> {
    let mut panels = vec![answer::panel(told), ledger::panel(told)];
    panels.extend(answer::reasons(told));
    panels.extend(answer::also(told));
    panels.extend(holdings::panels(told));
    panels.extend(facts::panels(told));
    panels
}

/// Adds what is known while a capture goes on, and a file does not have.
pub fn add_live(panels: &mut Vec<Panel>, live: &Live) {
    panels.extend(facts::live(live));
}

/// What a cause is called.
pub fn cause_name(
    cause: Cause,
    advice: Option<&Foreign>,
    task: Option<&Foreign>,
    most: usize,
) -> String {
    let name = cause.name();
    match (advice, task) {
        (Some(advice), _) => format!("{name} {}", advice.without("MADV_").shown(most)),
        (None, Some(task)) if cause == Cause::OtherProcess => {
            format!("other: {}", shown(task, most))
        }
        (None, Some(task)) => format!("{name}: {}", shown(task, most)),
        (None, None) => name.to_owned(),
    }
}

fn text(look: &'static str, text: impl Into<String>) -> Block {
    Block::Text {
        text: text.into(),
        look,
    }
}

fn heading(text: &str) -> Block {
    Block::Heading {
        text: text.to_owned(),
    }
}

fn item(head: impl Into<String>, text: impl Into<String>) -> Item {
    Item {
        head: head.into(),
        text: text.into(),
    }
}

const fn column(name: &'static str, numeric: bool) -> Column {
    Column { name, numeric }
}

/// A table of names, values and remarks, without a head.
fn entries(caption: &str, rows: Vec<Row>) -> Block {
    Block::Table {
        caption: caption.to_owned(),
        sortable: false,
        columns: vec![column("", false), column("", true), column("", false)],
        rows,
    }
}

fn entry(name: &str, value: Cell, note: &str) -> Row {
    Row {
        look: "",
        cells: vec![Cell::text(name), value, Cell::text(note)],
    }
}

/// A number with its digits in groups of three, as long numbers are read.
fn digits(number: u64) -> String {
    let plain = number.to_string();
    let mut grouped = String::with_capacity(plain.len() * 4 / 3);
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn sign(value: i64) -> &'static str {
    if value < 0 { "-" } else { "" }
}

fn number(shown: String, value: i64, unit: &str) -> Cell {
    Cell {
        text: shown,
        value: Some(value),
        hint: format!("{}{}{unit}", sign(value), digits(value.unsigned_abs())),
    }
}

fn bytes(value: i64) -> Cell {
    number(signed_size(value), value, " bytes")
}

fn moved(value: i64) -> Cell {
    number(change(value), value, " bytes")
}

fn unsigned(value: u64, shown: String, unit: &str) -> Cell {
    Cell {
        text: shown,
        value: i64::try_from(value).ok(),
        hint: format!("{}{unit}", digits(value)),
    }
}

fn room(value: u64) -> Cell {
    unsigned(value, size(value), " bytes")
}

fn counted(value: u64) -> Cell {
    unsigned(value, count(value), "")
}

/// What could not be had.
fn unknown() -> Cell {
    Cell {
        text: "-".to_owned(),
        hint: "not known".to_owned(),
        ..Cell::default()
    }
}

fn optional<T>(value: Option<T>, cell: impl Fn(T) -> Cell) -> Cell {
    value.map_or_else(unknown, cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (335_900_672, "335,900,672"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(digits(number), text);
        }
        assert_eq!(bytes(i64::MIN).hint, "-9,223,372,036,854,775,808 bytes");
    }
}
