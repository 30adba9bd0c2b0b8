//! The two answers.

use super::{Answer, Answers, Subject};
use crate::{
    model::{Level, Verdict},
    verdict::rules,
};

/// Both answers, and what changed between them.
pub(super) fn answers(a: &Subject<'_>, b: &Subject<'_>) -> Answers {
    let of = |subject: &Subject<'_>| subject.epoch().verdict.as_ref().map(answer);
    let (a, b) = (of(a), of(b));
    let both = a.as_ref().zip(b.as_ref());
    let mut text = match both {
        None => "one of the captures has no answer".to_owned(),
        Some((a, b)) if a.id == b.id => format!("{} in both: {}", a.id, found(a.id.raw())),
        Some((a, b)) => format!("{} → {}: {}", a.id, b.id, turn(a.id.raw(), b.id.raw())),
    };
    let unsure: Vec<&str> = [("A", &a), ("B", &b)]
        .into_iter()
        .filter(|(_, answer)| {
            answer
                .as_ref()
                .is_some_and(|answer| answer.confidence == Level::Low)
        })
        .map(|(name, _)| name)
        .collect();
    if !unsure.is_empty() {
        text.push_str("; confidence is low in ");
        text.push_str(&unsure.join(" and "));
    }
    Answers {
        changed: both.map(|(a, b)| a.id != b.id),
        a,
        b,
        text,
    }
}

fn answer(verdict: &Verdict) -> Answer {
    Answer {
        id: verdict.id.clone(),
        title: verdict.title.clone(),
        confidence: verdict.confidence.level,
        also: verdict
            .also
            .iter()
            .map(|finding| finding.id.clone())
            .collect(),
    }
}

/// What a rule finds, in a line.
fn found(id: &str) -> &'static str {
    let rule = rules().iter().find(|rule| rule.id == id);
    rule.map_or("a rule that this version does not know", |rule| rule.title)
}

/// What it means that B is not what A is.
fn turn(a: &str, b: &str) -> String {
    let known = match (a, b) {
        ("lazy-free", "released") => "what is given back leaves RSS by itself in B",
        ("released", "lazy-free") => {
            "what is given back stays in RSS in B, until the kernel needs it"
        }
        ("allocator-holds", "released") => "what is freed goes back to the kernel in B",
        ("released", "allocator-holds") => "what is freed stays with the allocator in B",
        ("allocator-holds", "lazy-free") => {
            "what is freed is given back with MADV_FREE in B; RSS shows it when the kernel takes it"
        }
        ("growing", _) => "B does not grow without end, as far as it lasts",
        (_, "growing") => "B grows, and does not level off",
        _ => return format!("A: {}. B: {}", found(a), found(b)),
    };
    known.to_owned()
}
