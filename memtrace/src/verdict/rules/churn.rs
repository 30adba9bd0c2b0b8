//! Memory is given back and taken again, over and over.

use crate::{
    model::{Cause, CauseRow, Level, Unit},
    verdict::{
        advice::{self, Topic},
        candidate::Candidate,
        case::{Field, Matter, OfCalls, share, total},
        evidence::Figure,
        limits::{CHURNED, TURNS},
        rules::released::own,
        trend::gives_back,
    },
};

/// More of it does not matter more.
const MOST_POINTS: i64 = 50;

fn giving(row: &CauseRow) -> bool {
    gives_back(row.cause, row.advice.as_deref()) || row.cause == Cause::Brk
}

/// What was given back and taken again, and how that is known.
struct Again {
    bytes: i64,
    by_ledger: bool,
}

/// Whether memory goes back and forth.
fn again(matter: &Matter<'_>) -> Option<Again> {
    let highest = matter.highest().value;
    let given = total(&matter.falls(own))?.saturating_neg();
    let taken = total(&matter.rises(own))?;
    // What came once and went once is no churn: both must have happened again.
    let once = highest.saturating_sub(lowest(matter));
    let bytes = given.min(taken).saturating_sub(once);
    let by_ledger = bytes >= CHURNED.of(highest.max(0)).max(matter.noise());
    let by_ticks = !matter.is_exact() && matter.case.trend.turns() >= TURNS.value.unsigned_abs();
    (highest > 0 && (by_ledger || by_ticks)).then_some(Again { bytes, by_ledger })
}

/// Whether it does: then a fall is one of many.
pub fn is_churning(matter: &Matter<'_>) -> bool {
    again(matter).is_some()
}

pub fn propose(matter: &Matter<'_>) -> Option<Candidate> {
    let Again {
        bytes: again,
        by_ledger,
    } = again(matter)?;
    let highest = matter.highest();
    let falls = matter.falls(own);
    let rises = matter.rises(own);
    let part = share(again, highest.value).min(MOST_POINTS);
    let mut candidate =
        Candidate::new("churn", 10 + if by_ledger { part } else { MOST_POINTS / 2 });
    let facts = &mut candidate.facts;
    let rss = facts.is("RSS", Unit::Bytes, &matter.now(Field::Rss))?;
    let high = facts.is("highest RSS", Unit::Bytes, &highest)?;
    let time = facts.is("captured", Unit::Ns, &matter.duration()?)?;
    let down = facts.sum("its own releases moved RSS by", Unit::Bytes, &falls);
    let up = facts.sum("taken", Unit::Bytes, &rises);
    let returned = matter.case.summary.returned.as_ref();
    if let Some(bytes) = returned.and_then(|returned| returned.reacquired_bytes) {
        let figure = Figure::new("/summary/returned/reacquired_bytes", bytes);
        facts.is("taken again", Unit::Bytes, &figure);
    }
    let faults = faults(matter);
    let faults = facts.sum("page faults", Unit::Count, &faults);
    let calls = facts.sum(
        "calls that give back",
        Unit::Count,
        &matter.of_calls(giving, OfCalls::Calls),
    );
    let spent = facts.sum(
        "time in these calls",
        Unit::Ns,
        &matter.of_calls(giving, OfCalls::Time),
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
    candidate.checks.whole(matter);
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
    candidate.suggestions = advice::of(Topic::Churn, matter);
    Some(candidate)
}

fn lowest(matter: &Matter<'_>) -> i64 {
    let start = matter.start(Field::Rss).value;
    let lowest = matter.case.trend.lowest();
    lowest.map_or(start, |point| point.rss.min(start)).max(0)
}

fn faults(matter: &Matter<'_>) -> Vec<Figure> {
    let faults = &matter.case.summary.faults;
    [("user", faults.user), ("kernel", faults.kernel)]
        .into_iter()
        .filter_map(|(name, count)| Figure::unsigned(format!("/summary/faults/{name}"), count?))
        .collect()
}
