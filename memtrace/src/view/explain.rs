//! The rules' pages on a terminal. They are Markdown of a few kinds: headings, paragraphs, lists, and one table.

use std::fmt::Write as _;

use crate::{
    text::{
        format::{BOLD, paint},
        wrapped,
    },
    verdict::Rule,
};

/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 100;

/// All rules, with what they find.
#[must_use]
pub fn rules(rules: &[Rule]) -> String {
    let widest = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut text = format!("{}\n\n", paint(BOLD, "what memtrace may answer"));
    for rule in rules {
        let id = paint(BOLD, &format!("{:<widest$}", rule.id));
        let _ = writeln!(text, "{id}  {}", rule.title);
    }
    text.push_str("\nmemtrace explain ID prints a page about one of them.\n");
    text
}

/// A page.
#[must_use]
pub fn page(page: &str, width: usize) -> String {
    let width = width.clamp(60, WIDEST);
    let mut text = String::new();
    // Lines of one paragraph, or of one item of a list.
    let mut block = String::new();
    for line in page.lines().chain([""]) {
        let begins = line.is_empty() || line.starts_with(['#', '|', '-']);
        if begins {
            flush(&mut text, &mut block, width);
        }
        if let Some(heading) = line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")) {
            let _ = writeln!(text, "{}", paint(BOLD, heading));
        } else if line.starts_with('|') {
            row(&mut text, line, width);
        } else if line.is_empty() {
            if !text.ends_with("\n\n") {
                text.push('\n');
            }
        } else {
            if !block.is_empty() {
                block.push(' ');
            }
            block.push_str(line.trim_start());
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Writes a block: an item of a list hangs behind its dash.
fn flush(text: &mut String, block: &mut String, width: usize) {
    let plain = std::mem::take(block).replace('`', "");
    if plain.is_empty() {
        return;
    }
    let (mark, words) = match plain.strip_prefix("- ") {
        Some(words) => ("- ", words),
        None => ("", plain.as_str()),
    };
    let indent = mark.len();
    for (number, row) in wrapped(words, width - indent).into_iter().enumerate() {
        let mark = if number == 0 { mark } else { "" };
        let _ = writeln!(text, "{mark:<indent$}{row}");
    }
}

/// A row of the table of thresholds: the value first, since names are long.
fn row(text: &mut String, line: &str, width: usize) {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let (Some(what), Some(value)) = (cells.next(), cells.next()) else {
        return;
    };
    if what == "what" || what.starts_with("---") {
        return;
    }
    const VALUE: usize = 12;
    for (number, row) in wrapped(what, width - VALUE).into_iter().enumerate() {
        let value = if number == 0 { value } else { "" };
        let _ = writeln!(text, "{value:<VALUE$}{row}");
    }
}
