//! What changed, in a line: made of numbers of both captures, and of nothing else.

use super::{Answers, CauseDiff, Conditions, Figure, Judged, Quantity, Unit};
use crate::{
    model::Cause,
    text::format::{count, signed_size},
    verdict::gives_back,
};

/// Most parts of the line.
const PARTS: usize = 6;
/// Ways to give memory back that are named.
const WAYS: usize = 2;

/// The line.
pub(super) fn headline(
    conditions: &Conditions,
    causes: &[CauseDiff],
    figures: &[Figure],
    answers: &Answers,
) -> String {
    let quantities = causes
        .iter()
        .flat_map(|row| [row.calls, row.requested_bytes, row.rss_delta_bytes])
        .chain(figures.iter().map(|figure| figure.quantity));
    let all_equal = quantities.clone().all(|quantity| {
        quantity.judged == Judged::Equal || (quantity.a, quantity.b) == (None, None)
    });
    if all_equal && conditions.differ.is_empty() && answers.changed != Some(true) {
        return "Nothing differs".to_owned();
    }
    let mut parts = Vec::new();
    let figure = |name: &str| figures.iter().find(|figure| figure.name == name);
    // The level first: at the end, or, where a process has none, its highest.
    let known = |figure: &&Figure| figure.quantity.judged != Judged::NotComparable;
    let end = figure("rss_end_bytes").filter(known);
    parts.extend(end.map(level));
    let highest = figure("rss_highest_seen_bytes").filter(known);
    parts.extend(
        highest
            .filter(|figure| end.is_none() || figure.quantity.is_changed())
            .map(level),
    );
    let changed = |figure: &&Figure| figure.quantity.is_changed();
    parts.extend(figure("lazyfree_bytes").filter(changed).map(level));
    ways(&mut parts, causes);
    let beside = [
        "swap_bytes",
        "anon_huge_bytes",
        "faults",
        "go.heap_released_bytes",
    ];
    let beside = beside.into_iter().filter_map(figure).filter(changed);
    parts.extend(beside.map(level));
    parts.truncate(PARTS);
    if let (Some(a), Some(b)) = (&answers.a, &answers.b) {
        parts.push(if a.id == b.id {
            format!("the answer is {} in both", a.id)
        } else {
            format!("the answer: {} → {}", a.id, b.id)
        });
    }
    parts.join("; ")
}

/// Which ways to give memory back are used more, or less: the largest.
fn ways(parts: &mut Vec<String>, causes: &[CauseDiff]) {
    let mut ways: Vec<(String, &Quantity)> = causes
        .iter()
        .filter(|row| gives_back(row.cause, row.advice.as_ref()))
        .filter(|row| row.requested_bytes.is_changed())
        .map(|row| (name(row), &row.requested_bytes))
        .collect();
    let largest = |quantity: &Quantity| {
        let of = |value: Option<i64>| value.unwrap_or(0).unsigned_abs();
        of(quantity.a).max(of(quantity.b))
    };
    ways.sort_by_key(|(_, quantity)| std::cmp::Reverse(largest(quantity)));
    ways.truncate(WAYS);
    if let [(one, first), (other, second)] = ways.as_slice() {
        // One takes the place of the other.
        for (from, old, to, new) in [(one, first, other, second), (other, second, one, first)] {
            if (old.b, new.a) == (Some(0), Some(0)) {
                let old = of_side(old, Unit::Bytes, true);
                let new = of_side(new, Unit::Bytes, false);
                parts.push(format!("{from} {old} → {to} {new}"));
                return;
            }
        }
    }
    for (name, quantity) in ways {
        parts.push(both(&name, quantity, Unit::Bytes));
    }
}

fn name(row: &CauseDiff) -> String {
    match (&row.advice, row.cause) {
        (Some(advice), Cause::Madvise) => advice.to_string(),
        (Some(advice), cause) => format!("{} {advice}", cause.name()),
        (None, cause) => cause.name().to_owned(),
    }
}

fn level(figure: &Figure) -> String {
    both(&figure.title, &figure.quantity, figure.unit)
}

/// A number of both, as it is compared.
fn both(title: &str, quantity: &Quantity, unit: Unit) -> String {
    let a = of_side(quantity, unit, true);
    let b = of_side(quantity, unit, false);
    match quantity.judged {
        Judged::Equal => format!("{title} {a} in both"),
        Judged::Small => format!("{title} {a} ≈ {b}"),
        Judged::Changed | Judged::NotComparable => format!("{title} {a} → {b}"),
    }
}

/// A number of one side, per second where that is what is compared.
fn of_side(quantity: &Quantity, unit: Unit, is_a: bool) -> String {
    let value = if is_a { quantity.a } else { quantity.b };
    let rate = quantity
        .per_second
        .map(|rate| if is_a { rate.a } else { rate.b });
    match (rate, value) {
        (Some(Some(rate)), _) => format!("{}/s", show(unit, rate as i64)),
        (_, Some(value)) => show(unit, value),
        _ => "-".to_owned(),
    }
}

fn show(unit: Unit, value: i64) -> String {
    match unit {
        Unit::Bytes => signed_size(value),
        Unit::Count if value < 0 => format!("-{}", count(value.unsigned_abs())),
        Unit::Count => count(value.unsigned_abs()),
    }
}
