//! The answer.

use super::{
    Block, Cell, NAME, Panel, Row, TEXT, Told, column, digits, heading, item, shown, sign, text,
};
use crate::text::Foreign;
use crate::{
    model::{Evidence, Level, Suggestion, Unit, Verdict},
    verdict::show,
    view::verdict::by_reason,
};

/// The answer itself, which stands above everything.
pub(super) fn panel(told: &Told<'_>) -> Panel {
    match told.verdict {
        Some(verdict) => answered(verdict),
        None => Panel {
            id: "answer",
            title: "No answer yet".to_owned(),
            blocks: vec![text("note", "It comes with the first tick.")],
        },
    }
}

fn answered(verdict: &Verdict) -> Panel {
    let (level, look) = match verdict.confidence.level {
        Level::High => ("high", "good"),
        Level::Medium => ("medium", "warn"),
        Level::Low => ("low", "bad"),
    };
    Panel {
        id: "answer",
        title: shown(&verdict.title, TEXT),
        blocks: vec![
            text("lead", shown(&verdict.text, TEXT)),
            text(look, format!("confidence {level}")),
        ],
    }
}

/// What it rests on, and what to do.
pub(super) fn reasons(told: &Told<'_>) -> Option<Panel> {
    let verdict = told.verdict?;
    let mut blocks = Vec::new();
    if !verdict.evidence.is_empty() {
        blocks.push(evidence("The numbers that it rests on", &verdict.evidence));
    }
    if !verdict.suggestions.is_empty() {
        blocks.push(heading("What to do"));
        blocks.push(suggestions(&verdict.suggestions));
    }
    if !verdict.missing.is_empty() {
        blocks.push(heading("Not known"));
        let missing = by_reason(&verdict.missing).into_iter();
        blocks.push(Block::List {
            items: missing
                .map(|(what, why)| item("", shown(format!("{}: {why}", what.join(", ")), TEXT)))
                .collect(),
        });
    }
    if !verdict.confidence.because.is_empty() {
        blocks.push(heading("Why this confidence"));
        let because = verdict.confidence.because.iter();
        blocks.push(Block::List {
            items: because
                .map(|because| item("", shown(because, TEXT)))
                .collect(),
        });
    }
    blocks.push(text(
        "note",
        format!("memtrace explain {}", shown(&verdict.id, NAME)),
    ));
    Some(Panel {
        id: "reasons",
        title: "What the answer rests on".to_owned(),
        blocks,
    })
}

fn evidence(caption: impl Into<Foreign>, evidence: &[Evidence]) -> Block {
    let rows = evidence.iter().map(|evidence| Row {
        look: "",
        cells: vec![
            Cell::text(shown(&evidence.what, NAME)),
            Cell {
                text: show(evidence),
                value: Some(evidence.value),
                hint: format!(
                    "{}{}{}",
                    sign(evidence.value),
                    digits(evidence.value.unsigned_abs()),
                    match evidence.unit {
                        Unit::Bytes => " bytes",
                        Unit::BytesPerSecond => " bytes per second",
                        Unit::Count => "",
                        Unit::Ns => " ns",
                        Unit::Percent => " %",
                    }
                ),
            },
        ],
    });
    Block::Table {
        caption: shown(caption, TEXT),
        sortable: false,
        columns: vec![column("", false), column("", true)],
        rows: rows.collect(),
    }
}

fn suggestions(suggestions: &[Suggestion]) -> Block {
    let items = suggestions.iter().map(|suggestion| {
        let setting = suggestion.setting.clone().unwrap_or_default();
        item(shown(setting, TEXT), shown(&suggestion.text, TEXT))
    });
    Block::List {
        items: items.collect(),
    }
}

/// What else was found.
pub(super) fn also(told: &Told<'_>) -> Option<Panel> {
    let findings = &told.verdict?.also;
    let mut blocks = Vec::new();
    for finding in findings {
        let title = format!(
            "{} ({})",
            shown(&finding.title, TEXT),
            shown(&finding.id, NAME)
        );
        blocks.push(heading(&title));
        blocks.push(text("note", shown(&finding.text, TEXT)));
        if !finding.evidence.is_empty() {
            blocks.push(evidence(&finding.title, &finding.evidence));
        }
        if !finding.suggestions.is_empty() {
            blocks.push(suggestions(&finding.suggestions));
        }
    }
    (!findings.is_empty()).then(|| Panel {
        id: "also",
        title: "What else was found".to_owned(),
        blocks,
    })
}
