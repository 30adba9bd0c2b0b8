//! `memtrace doctor` for people.

use std::fmt::Write as _;

use anstyle::Style;

use crate::{
    doctor::{Check, Report, State, TraceMode},
    text::{
        format::{BAD, BOLD, DIM, GOOD, WARN, paint, sanitized},
        wrapped,
    },
};

const STATE: usize = 9;
const TITLE: usize = 22;
/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// A reason may come from outside; it is cut there.
const LONGEST: usize = 600;

/// The whole report, with styles.
#[must_use]
pub fn doctor(report: &Report, width: usize) -> String {
    let width = width.clamp(60, WIDEST);
    let mut text = String::new();
    let title = format!(
        "memtrace {}: what this host allows",
        report.memtrace_version
    );
    let _ = writeln!(text, "{}", paint(BOLD, &title));
    let mut section = None;
    for check in &report.checks {
        if section != Some(check.section) {
            section = Some(check.section);
            let _ = writeln!(text, "\n{}", paint(BOLD, check.section.title()));
        }
        // The same reason is given once.
        let first = report
            .checks
            .iter()
            .take_while(|other| !std::ptr::eq(*other, check))
            .find(|other| is_reason(other) && other.found == check.found);
        line(&mut text, check, first, width);
    }
    verdict(&mut text, report, width);
    text
}

const fn style(state: State) -> Style {
    match state {
        State::Ok => GOOD,
        State::Limited => WARN,
        State::Missing => BAD,
        State::Unknown | State::Info => DIM,
    }
}

/// Whether what was found is a reason, which may stand for others.
fn is_reason(check: &Check) -> bool {
    !matches!(check.state, State::Ok | State::Info) && check.found.chars().count() > 40
}

fn line(text: &mut String, check: &Check, first: Option<&Check>, width: usize) {
    let column = STATE + TITLE;
    let mark = match check.state {
        State::Info => "",
        state => state.name(),
    };
    let found = match first {
        Some(first) => format!("as above: {}", first.title),
        None => check.found.clone(),
    };
    let mut rows = wrap(&found, width - column).into_iter();
    let _ = writeln!(
        text,
        "{}{:<TITLE$}{}",
        paint(style(check.state), &format!("{mark:<STATE$}")),
        check.title,
        rows.next().unwrap_or_default()
    );
    for row in rows {
        let _ = writeln!(text, "{:column$}{row}", "");
    }
    for (name, note) in [("costs: ", &check.cost), ("try: ", &check.advice)] {
        if let Some(note) = note {
            hang(text, column, name, note, width);
        }
    }
}

/// A text behind a name, broken so that it hangs beside it.
fn hang(text: &mut String, column: usize, name: &str, note: &str, width: usize) {
    let indent = column + name.len();
    for (index, row) in wrap(note, width - indent).into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        let _ = writeln!(
            text,
            "{:column$}{}{row}",
            "",
            paint(DIM, &format!("{name:<0$}", indent - column))
        );
    }
}

fn verdict(text: &mut String, report: &Report, width: usize) {
    let verdict = &report.verdict;
    let _ = writeln!(text, "\n{}", paint(BOLD, "verdict"));
    let (style, head) = match verdict.mode {
        TraceMode::Exact => (GOOD, "a trace is exact: "),
        TraceMode::Approximate => (BAD, "a trace is approximate: "),
        TraceMode::None => (BAD, "no trace: "),
    };
    for (index, row) in wrap(&format!("{head}{}", verdict.reason), width)
        .into_iter()
        .enumerate()
    {
        let row = match row.strip_prefix(head.trim_end()) {
            Some(rest) if index == 0 => format!("{}{rest}", paint(style, head.trim_end())),
            _ => row,
        };
        let _ = writeln!(text, "{row}");
    }
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    for hook in &verdict.hooks {
        let kind = hook.kind.map_or("not hooked", |kind| kind.name());
        match kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, names)) => names.push(hook.name.to_string()),
            None => kinds.push((kind, vec![hook.name.to_string()])),
        }
    }
    for (kind, names) in kinds {
        hang(text, 0, &format!("{kind}: "), &names.join(" "), width);
    }
}

/// Breaks at spaces; a word that is longer than a line is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    wrapped(&sanitized(text, LONGEST), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_are_cut() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij b"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn nothing_that_comes_from_outside_moves_the_cursor() {
        assert_eq!(wrap("a\x1b[2Jb", 40), ["a\\u{1b}[2Jb"]);
    }
}
