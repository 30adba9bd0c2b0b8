//! RSS went down, by the program's own doing: fine.

use crate::{
    model::{CauseRow, Level, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, share, total},
        evidence::Facts,
        limits::{FALL, MOSTLY},
        rules::churn,
    },
};

pub fn own(row: &CauseRow) -> bool {
    row.cause.is_own()
}

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let highest = analysis.highest();
    let now = analysis.now(Field::Rss);
    let swapped = analysis.rise(Field::Swap).max(0);
    let fall = highest.value.checked_sub(now.value)?.checked_sub(swapped)?;
    if fall < analysis.noise()
        || share(fall, highest.value) < FALL.value
        || churn::is_churning(analysis)
    {
        return None;
    }
    let falls = analysis.falls(own);
    if analysis.is_exact() && total(&falls)?.saturating_neg() < MOSTLY.of(fall) {
        return None;
    }
    let mut candidate = Candidate::new("released", 10 + share(fall, highest.value));
    let facts: &mut Facts = &mut candidate.facts;
    let down = facts.less("RSS fell by", Unit::Bytes, &highest, &now)?;
    let from = facts.is("highest RSS", Unit::Bytes, &highest)?;
    let to = facts.is("RSS", Unit::Bytes, &now)?;
    let by_calls = facts.sum("given back by its own calls", Unit::Bytes, &falls);
    candidate.title = format!("It went down: RSS fell by {down}, to {to}");
    candidate.text = format!(
        "RSS had been {from}. The program gave memory back to the kernel, and RSS shows it: this is how it should be."
    );
    if let Some(by_calls) = by_calls {
        candidate.text.push_str(&format!(
            " All its own calls together moved RSS by {by_calls}; what was needed again in between came back."
        ));
    }
    let start = analysis.start(Field::Rss);
    if now.value.saturating_sub(start.value) >= analysis.noise()
        && let Some(above) = facts.less("above where it began", Unit::Bytes, &now, &start)
    {
        candidate
            .text
            .push_str(&format!(" It is {above} above where the capture began."));
    }
    candidate.checks.whole(analysis);
    if analysis.is_exact() {
        candidate
            .checks
            .holds("the ledger saw the program's own calls give it back");
    } else {
        candidate.checks.at_most(
            Level::Medium,
            "approximate mode: RSS is sampled, and by what it fell is not known",
        );
    }
    Some(candidate)
}
