//! The matrix: a row for each kernel, and below it what was skipped, and what is wrong.

use std::fmt::Write as _;

use crate::vm::{
    results::{Outcome, Results},
    verdict::{hooks, is_failed, mode},
};

/// Where nothing works, one would not read on.
const PROBLEMS_SHOWN: usize = 20;

/// A kernel's run of the tests.
pub struct Row {
    pub release: String,
    pub results: Results,
    pub seconds: f64,
    /// What is wrong: one line each. Empty: all is well.
    pub problems: Vec<String>,
}

impl Row {
    /// Returns the same in a line.
    pub fn line(&self) -> String {
        let [_, mode, hooks, thp, passed, failed, skipped, time] = row_cells(self);
        format!(
            "{mode}, {hooks}, THP {thp}, {passed} passed, {failed} failed, {skipped} skipped, {time}"
        )
    }
}

/// The table, its last line without an end.
pub fn table(rows: &[Row]) -> String {
    const HEAD: [&str; 8] = [
        "kernel", "mode", "hooks", "THP", "passed", "failed", "skipped", "time",
    ];
    let mut cells = vec![HEAD.map(str::to_owned)];
    cells.extend(rows.iter().map(row_cells));
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Numbers to the right.
            if column < 4 {
                let _ = write!(line, "{cell:width$}  ");
            } else {
                let _ = write!(line, "{cell:>width$}  ");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    for row in rows {
        text += &notes(row);
    }
    text.trim_end().to_owned()
}

fn row_cells(row: &Row) -> [String; 8] {
    let count = |of: fn(&Outcome) -> bool| row.results.count(of).to_string();
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        row.release.clone(),
        or_dash(mode(&row.results)),
        hook_cell(&row.results),
        or_dash(row.results.thp.as_deref()),
        count(|outcome| *outcome == Outcome::Passed),
        count(is_failed),
        count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        format!("{:.0} s", row.seconds),
    ]
}

/// `tp_btf 6, fentry 6`.
fn hook_cell(results: &Results) -> String {
    let hooks = hooks(results).unwrap_or_default();
    let kinds = ["tp_btf", "fentry", "tracepoint", "missing"];
    let mut parts: Vec<String> = kinds
        .iter()
        .filter_map(|kind| Some(format!("{kind} {}", hooks.get(kind)?.len())))
        .collect();
    // Kinds that are not known here.
    parts.extend(
        hooks
            .iter()
            .filter(|(kind, _)| !kinds.contains(kind))
            .map(|(kind, names)| format!("{kind} {}", names.len())),
    );
    if parts.is_empty() {
        return "-".to_owned();
    }
    parts.join(", ")
}

fn notes(row: &Row) -> String {
    let skips = row.results.skips();
    let hooks = hooks(&row.results).unwrap_or_default();
    let missing = hooks.get("missing");
    let mut text = String::new();
    if skips.is_empty() && row.problems.is_empty() && missing.is_none() {
        return text;
    }
    let _ = writeln!(text, "\n{}", row.release);
    let (shown, more) = row
        .problems
        .split_at(row.problems.len().min(PROBLEMS_SHOWN));
    for problem in shown {
        let _ = writeln!(text, "  FAILED   {problem}");
    }
    if !more.is_empty() {
        let _ = writeln!(text, "  FAILED   and {} more", more.len());
    }
    if let Some(names) = missing {
        let _ = writeln!(text, "  missing  hooks {}", names.join(" "));
    }
    for (reason, names) in skips {
        let count = match names.len() {
            1 => "1 test".to_owned(),
            count => format!("{count} tests"),
        };
        let _ = writeln!(text, "  skipped  {count}: {reason}");
        text += &paragraph(&names);
    }
    text
}

/// Words in lines that are not too long.
pub fn paragraph(words: &[&str]) -> String {
    const INDENT: &str = "           ";
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in words {
        if let Some(line) = lines.last_mut()
            && INDENT.len() + line.len() + 1 + word.len() < WIDTH
        {
            *line += " ";
            *line += word;
        } else {
            lines.push(format!(" {word}"));
        }
    }
    lines
        .iter()
        .map(|line| format!("{INDENT}{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_two_kernels() {
        let capture = json!({"capture": {"mode": "exact", "hooks": [
            {"name": "rss", "kind": "tp_btf"}, {"name": "brk", "kind": "fentry"},
            {"name": "mmap", "kind": "fentry"}, {"name": "exit", "kind": null},
        ]}});
        let good = Row {
            release: "6.1.0-50-cloud-amd64".to_owned(),
            results: Results {
                thp: Some("always".to_owned()),
                capture: Some(capture),
                tests: [
                    ("a".to_owned(), Outcome::Passed),
                    ("b".to_owned(), Outcome::Skipped("no b".to_owned())),
                    ("c".to_owned(), Outcome::Skipped("no b".to_owned())),
                    ("d".to_owned(), Outcome::Skipped("no d".to_owned())),
                ]
                .into(),
                ..Results::default()
            },
            seconds: 180.4,
            problems: Vec::new(),
        };
        let broken = Row {
            release: "7.3".to_owned(),
            results: Results::default(),
            seconds: 90.0,
            problems: vec!["silent for 90 s".to_owned()],
        };
        assert_eq!(
            table(&[good, broken]),
            "\
kernel                mode   hooks                          THP     passed  failed  skipped   time
6.1.0-50-cloud-amd64  exact  tp_btf 1, fentry 2, missing 1  always       1       0        3  180 s
7.3                   -      -                              -            0       0        0   90 s

6.1.0-50-cloud-amd64
  missing  hooks exit
  skipped  2 tests: no b
            b c
  skipped  1 test: no d
            d

7.3
  FAILED   silent for 90 s"
        );
    }
}
