//! Memory is given back and taken again, over and over.

use crate::{
    model::{Cause, CauseRow, Level, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::Candidate,
        case::{Analysis, Field, OfCalls, share, total},
        evidence::Figure,
        limits::{CHURNED, TURNS},
        rules::released::own,
        trend::gives_back,
    },
};

/// More of it does not matter more.
const MOST_POINTS: i64 = 50;

fn giving(row: &CauseRow) -> bool {
    gives_back(row.cause, row.advice.as_ref()) || row.cause == Cause::Brk
}

/// What was given back and taken again, and how that is known.
struct Again {
    bytes: i64,
    by_ledger: bool,
}

/// Whether memory goes back and forth.
fn again(analysis: &Analysis<'_>) -> Option<Again> {
    let highest = analysis.highest().value;
    let given = total(&analysis.falls(own))?.saturating_neg();
    let taken = total(&analysis.rises(own))?;
    // What came once and went once is no churn: both must have happened again.
    let once = highest.saturating_sub(lowest(analysis));
    let bytes = given.min(taken).saturating_sub(once);
    let by_ledger = bytes >= CHURNED.of(highest.max(0)).max(analysis.noise());
    let by_ticks =
        !analysis.is_exact() && analysis.case.trend.turns() >= TURNS.value.unsigned_abs();
    (highest > 0 && (by_ledger || by_ticks)).then_some(Again { bytes, by_ledger })
}

/// Whether it does: then a fall is one of many.
pub fn is_churning(analysis: &Analysis<'_>) -> bool {
    again(analysis).is_some()
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let Again {
        bytes: again,
        by_ledger,
    } = again(analysis)?;
    let highest = analysis.highest();
    let falls = analysis.falls(own);
    let rises = analysis.rises(own);
    let part = share(again, highest.value).min(MOST_POINTS);
    let mut candidate =
        Candidate::new("churn", 10 + if by_ledger { part } else { MOST_POINTS / 2 });
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &analysis.now(Field::Rss))?;
    let high = facts.is("highest RSS", Unit::Bytes, &highest)?;
    let time = facts.is("captured", Unit::Ns, &analysis.duration()?)?;
    let down = facts.sum("its own releases moved RSS by", Unit::Bytes, &falls);
    let up = facts.sum("taken", Unit::Bytes, &rises);
    let returned = analysis.case.summary.returned.as_ref();
    if let Some(bytes) = returned.and_then(|returned| returned.reacquired_bytes) {
        let figure = Figure::new("/summary/returned/reacquired_bytes", bytes);
        facts.is("taken again", Unit::Bytes, &figure);
    }
    let faults = faults(analysis);
    let faults = facts.sum("page faults", Unit::Count, &faults);
    let calls = facts.sum(
        "calls that give back",
        Unit::Count,
        &analysis.of_calls(giving, OfCalls::Calls),
    );
    let spent = facts.sum(
        "time in these calls",
        Unit::Ns,
        &analysis.of_calls(giving, OfCalls::Time),
    );
    let mut text = match (&up, &down) {
        (Some(up), Some(down)) => format!(
            "In {time} the process took {up}, and its own releases moved RSS by {down}. RSS was never above {high}, and is {rss}: the \
             same memory goes back and forth."
        ),
        _ => {
            format!("RSS went up and down many times in {time}, never above {high}, and is {rss}.")
        }
    };
    match (&faults, &calls, &spent) {
        (Some(faults), Some(calls), Some(spent)) => text.push_str(&format!(
            " That cost {faults} page faults, and {calls} calls, which took {spent}."
        )),
        (Some(faults), ..) => text.push_str(&format!(" There were {faults} page faults.")),
        _ => {}
    }
    candidate.title = match &up {
        Some(up) => {
            format!("Memory goes back and forth: {up} taken in {time}, with RSS never above {high}")
        }
        None => "Memory goes back and forth: RSS rises and falls over and over".to_owned(),
    };
    candidate.text = text;
    candidate.checks.whole(analysis);
    if by_ledger {
        candidate
            .checks
            .holds("the ledger saw as much taken as given back, beyond what RSS can hold at once");
    } else {
        candidate.checks.at_most(
            Level::Low,
            "approximate mode: seen in the ticks alone, and what did it is not known",
        );
    }
    candidate.suggestions = advice::of(Topic::Churn, analysis);
    Some(candidate)
}

fn lowest(analysis: &Analysis<'_>) -> i64 {
    let start = analysis.start(Field::Rss).value;
    let lowest = analysis.case.trend.lowest();
    lowest.map_or(start, |point| point.rss.min(start)).max(0)
}

fn faults(analysis: &Analysis<'_>) -> Vec<Figure> {
    let faults = &analysis.case.summary.faults;
    [("user", faults.user), ("kernel", faults.kernel)]
        .into_iter()
        .filter_map(|(name, count)| Figure::unsigned(format!("/summary/faults/{name}"), count?))
        .collect()
}
