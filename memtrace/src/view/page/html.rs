//! The document.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Block, Cell, EpochPart, ExecMark, Head, Item, Panel, Series, State,
    assets::{SCRIPTS, STYLES, UPLOT_LICENCE, policy},
    series::lines,
};
use crate::text::markup::escaped;

/// Panels that stand above the timeline; all others stand below it.
const ABOVE: &[&str] = &["answer"];

/// The whole document. With a state: self-contained, nothing is loaded. Without: it connects to `events`, a relative URL with the
/// query of its own, by `EventSource`, and is told everything there: a [`State`] as the event `state`, each [`super::Update`] as
/// `update`, and `end`.
#[must_use]
pub fn document(state: Option<&State>) -> String {
    let mut page = String::with_capacity(256 << 10);
    let title = state.map_or_else(|| "memtrace".to_owned(), |state| state.head.process.clone());
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{} - memtrace</title>\n",
        escaped(&policy(state.is_none())),
        escaped(&title)
    );
    for style in STYLES {
        let _ = writeln!(page, "<style>{style}</style>");
    }
    page.push_str("</head>\n");
    body(&mut page, state);
    let _ = writeln!(
        page,
        "<!-- The chart is uPlot, https://github.com/leeoniya/uPlot\n\n{UPLOT_LICENCE}\n-->"
    );
    if let Some(state) = state {
        let _ = writeln!(
            page,
            "<script id=\"state\" type=\"application/json\">{}</script>",
            json(&Embedded::of(state))
        );
    }
    let _ = writeln!(
        page,
        "<script id=\"figures\" type=\"application/json\">{}</script>",
        json(&lines())
    );
    for script in SCRIPTS {
        let _ = writeln!(page, "<script>{script}</script>");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// A state whose tables stand in the document already.
#[derive(Serialize)]
struct Embedded<'a> {
    head: &'a Head,
    series: &'a Series,
    marks: &'a [ExecMark],
    marks_left_out: u64,
}

impl<'a> Embedded<'a> {
    fn of(state: &'a State) -> Self {
        Self {
            head: &state.head,
            series: &state.series,
            marks: &state.marks,
            marks_left_out: state.marks_left_out,
        }
    }
}

fn body(page: &mut String, state: Option<&State>) {
    let live = state.is_none();
    let process = state.map_or("memtrace", |state| &state.head.process);
    let _ = write!(
        page,
        "<body data-live=\"{live}\">\n<header>\n<h1 id=\"name\">{}</h1>\n<p id=\"about\">{}</p>\n<div id=\"controls\"></div>\n</header>\n<main>\n",
        escaped(process),
        state.map_or_else(String::new, |state| escaped(&state.head.about())),
    );
    page.push_str("<div id=\"above\">\n");
    let epochs = state.map_or(&[][..], |state| &state.epochs);
    for epoch in epochs {
        programs(page, epoch, epochs.len(), true);
    }
    page.push_str("</div>\n<section id=\"timeline\" aria-label=\"Timeline\"><noscript><p class=\"note\">The timeline is drawn by a script, and scripts are off. Everything else is here.</p></noscript></section>\n<div id=\"below\">\n");
    if let Some(state) = state.filter(|state| state.epochs_left_out > 0) {
        let _ = writeln!(
            page,
            "<p class=\"note\">The process replaced its program often: the tables of its {} first programs are left out.</p>",
            state.epochs_left_out
        );
    }
    for epoch in epochs {
        programs(page, epoch, epochs.len(), false);
    }
    page.push_str("</div>\n</main>\n");
}

/// The panels of one program, above or below the timeline.
fn programs(page: &mut String, epoch: &EpochPart, of: usize, above: bool) {
    let _ = writeln!(
        page,
        "<div class=\"epoch\" data-epoch=\"{}\" data-title=\"{}\">",
        epoch.number,
        escaped(&epoch.title)
    );
    if of > 1 {
        let _ = writeln!(
            page,
            "<p class=\"program\">program {}</p>",
            escaped(&epoch.title)
        );
    }
    for part in &epoch.panels {
        if ABOVE.contains(&part.id) == above {
            panel(page, part);
        }
    }
    page.push_str("</div>\n");
}

fn panel(page: &mut String, panel: &Panel) {
    let _ = writeln!(
        page,
        "<section class=\"panel\" data-panel=\"{}\">\n<h2>{}</h2>",
        panel.id,
        escaped(&panel.title)
    );
    for part in &panel.blocks {
        block(page, part);
    }
    page.push_str("</section>\n");
}

fn block(page: &mut String, block: &Block) {
    match block {
        Block::Text { text, look } => {
            let _ = writeln!(page, "<p{}>{}</p>", class(look), escaped(text));
        }
        Block::Heading { text } => {
            let _ = writeln!(page, "<h3>{}</h3>", escaped(text));
        }
        Block::List { items } => {
            page.push_str("<ul>\n");
            for Item { head, text } in items {
                page.push_str("<li>");
                if !head.is_empty() {
                    let _ = write!(page, "<code>{}</code> ", escaped(head));
                }
                let _ = writeln!(page, "{}</li>", escaped(text));
            }
            page.push_str("</ul>\n");
        }
        Block::Table { .. } => table(page, block),
    }
}

fn table(page: &mut String, block: &Block) {
    let Block::Table {
        caption,
        sortable,
        columns,
        rows,
    } = block
    else {
        return;
    };
    let caption = escaped(caption);
    let _ = writeln!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table{}><caption>{caption}</caption>",
        if *sortable { " class=\"sortable\"" } else { "" }
    );
    if columns.iter().any(|column| !column.name.is_empty()) {
        page.push_str("<thead><tr>");
        for column in columns {
            let _ = write!(
                page,
                "<th scope=\"col\"{}>{}</th>",
                class(if column.numeric { "n" } else { "" }),
                escaped(column.name)
            );
        }
        page.push_str("</tr></thead>\n");
    }
    page.push_str("<tbody>\n");
    for row in rows {
        let _ = write!(page, "<tr{}>", class(row.look));
        for (place, part) in row.cells.iter().enumerate() {
            let numeric = columns.get(place).is_some_and(|column| column.numeric);
            cell(page, part, place == 0, numeric);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn cell(page: &mut String, cell: &Cell, first: bool, numeric: bool) {
    let Cell { text, value, hint } = cell;
    let name = if first { "th" } else { "td" };
    let _ = write!(page, "<{name}");
    if first {
        page.push_str(" scope=\"row\"");
    }
    page.push_str(&class(if numeric { "n" } else { "" }));
    if let Some(value) = value {
        let _ = write!(page, " data-value=\"{value}\"");
    }
    if !hint.is_empty() {
        let _ = write!(page, " title=\"{}\"", escaped(hint));
    }
    let _ = write!(page, ">{}</{name}>", escaped(text));
}

fn class(look: &str) -> String {
    if look.is_empty() {
        String::new()
    } else {
        format!(" class=\"{look}\"")
    }
}

/// JSON as the contents of a script element: nothing in it can end that, or begin a comment there.
fn json(value: &impl Serialize) -> String {
    // What is only numbers and texts can be written.
    let plain = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let mut safe = String::with_capacity(plain.len());
    for letter in plain.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(safe, "\\u{:04x}", letter as u32);
            }
            letter => safe.push(letter),
        }
    }
    safe
}
