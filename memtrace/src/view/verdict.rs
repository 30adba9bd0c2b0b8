//! The answer, as a person reads it first.

use crate::text::Foreign;
use std::fmt::Write as _;

use anstyle::Style;

use crate::{
    model::{Evidence, Finding, Level, Missing, Suggestion, Verdict},
    text::{
        format::{BAD, BOLD, DIM, GOOD, WARN, paint},
        wrapped,
    },
    verdict::show,
};

/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// A text of a file may be of any length; it is cut there.
const LONGEST: usize = 1500;
/// Indent of everything below the title.
const INDENT: usize = 2;
/// Lines of evidence that are shown; the capture file has all.
const EVIDENCE: usize = 14;
/// Longest name of a number.
const WHAT: usize = 44;
/// Others that are shown.
const ALSO: usize = 8;

/// The whole answer, with styles.
#[must_use]
pub fn verdict(verdict: &Verdict, width: usize) -> String {
    let width = width.clamp(60, WIDEST);
    let mut text = String::new();
    for row in wrap(&verdict.title, width) {
        let _ = writeln!(text, "{}", paint(BOLD, &row));
    }
    text.push('\n');
    paragraph(&mut text, 0, &verdict.text, width);
    if !verdict.evidence.is_empty() {
        text.push('\n');
        evidence(&mut text, &verdict.evidence);
    }
    if !verdict.suggestions.is_empty() {
        let _ = writeln!(text, "\n{}", paint(BOLD, "what to do"));
        for suggestion in verdict.suggestions.iter().take(ALSO) {
            suggest(&mut text, suggestion, width);
        }
    }
    if !verdict.also.is_empty() {
        let _ = writeln!(text, "\n{}", paint(BOLD, "also"));
        for finding in verdict.also.iter().take(ALSO) {
            also(&mut text, finding, width);
        }
    }
    if !verdict.missing.is_empty() {
        let _ = writeln!(text, "\n{}", paint(BOLD, "not known"));
        for (what, why) in by_reason(&verdict.missing).iter().take(ALSO) {
            item(&mut text, format!("{}: {why}", what.join(", ")), width);
        }
    }
    confidence(&mut text, verdict, width);
    text
}

/// What is missing for one reason is said with it once.
pub fn by_reason(missing: &[Missing]) -> Vec<(Vec<String>, &Foreign)> {
    let mut reasons: Vec<(Vec<String>, &Foreign)> = Vec::new();
    for Missing { what, why } in missing {
        match reasons.iter_mut().find(|(_, reason)| *reason == why) {
            Some((whats, _)) => whats.push(what.to_string()),
            None => reasons.push((vec![what.to_string()], why)),
        }
    }
    reasons
}

/// Numbers, one a line, in two columns.
fn evidence(text: &mut String, evidence: &[Evidence]) {
    let shown: Vec<(String, String)> = evidence
        .iter()
        .take(EVIDENCE)
        .map(|evidence| (evidence.what.shown(WHAT), show(evidence)))
        .collect();
    let of = |side: fn(&(String, String)) -> &String| {
        let widths = shown.iter().map(|pair| side(pair).chars().count());
        widths.max().unwrap_or(0)
    };
    let (names, values) = (of(|pair| &pair.0), of(|pair| &pair.1));
    for (name, value) in &shown {
        let _ = writeln!(text, "{:INDENT$}{name:<names$}  {value:>values$}", "");
    }
}

fn suggest(text: &mut String, suggestion: &Suggestion, width: usize) {
    match &suggestion.setting {
        Some(setting) => {
            item_of(text, setting, GOOD, width);
            paragraph(text, 2 * INDENT, &suggestion.text, width);
        }
        None => item(text, &suggestion.text, width),
    }
}

fn also(text: &mut String, finding: &Finding, width: usize) {
    item(text, format!("{} ({})", finding.title, finding.id), width);
    paragraph(text, 2 * INDENT, &finding.text, width);
}

/// How sure, and why; and where there is more.
fn confidence(text: &mut String, verdict: &Verdict, width: usize) {
    let (style, level) = match verdict.confidence.level {
        Level::High => (GOOD, "high"),
        Level::Medium => (WARN, "medium"),
        Level::Low => (BAD, "low"),
    };
    let _ = writeln!(
        text,
        "\n{} {}",
        paint(BOLD, "confidence"),
        paint(style, level)
    );
    for because in verdict.confidence.because.iter().take(ALSO) {
        item(text, because, width);
    }
    let more = format!("memtrace explain {:.40}", verdict.id);
    let _ = writeln!(text, "\n{}", paint(DIM, &more));
}

/// A line with a dash.
pub(super) fn item(text: &mut String, what: impl Into<Foreign>, width: usize) {
    item_of(text, what, Style::new(), width);
}

/// A line with a dash, broken so that it hangs behind it.
fn item_of(text: &mut String, what: impl Into<Foreign>, style: Style, width: usize) {
    for (number, row) in wrap(what, width - 2 * INDENT).into_iter().enumerate() {
        let mark = if number == 0 { "- " } else { "  " };
        let row = if style == Style::new() {
            row
        } else {
            paint(style, &row)
        };
        let _ = writeln!(text, "{:INDENT$}{mark}{row}", "");
    }
}

/// Lines of at most this width, behind `indent` spaces.
pub(super) fn paragraph(text: &mut String, indent: usize, what: impl Into<Foreign>, width: usize) {
    for row in wrap(what, width - indent) {
        let _ = writeln!(text, "{:indent$}{row}", "");
    }
}

/// Breaks a text, which may come from outside, at its spaces; a word that is longer than a line is cut.
fn wrap(text: impl Into<Foreign>, width: usize) -> Vec<String> {
    wrapped(&text.into().shown(LONGEST), width)
}
