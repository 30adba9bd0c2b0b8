//! The table of the cases: on the terminal, and as `docs/verdicts.md`.

use std::{fmt::Write as _, fs, path::PathBuf};

use memtrace::timeline::{CauseRow, Summary};

use crate::{
    stage::{MIB, Shown, captures_dir, owned},
    table::Expected,
    tools::sources,
};

/// A case that was played.
pub struct Line {
    pub name: &'static str,
    situation: &'static str,
    expected: String,
    /// The verdict; `None` where there was none.
    pub got: Option<String>,
    confidence: Option<String>,
    /// Runtime and allocator as memtrace sees them; `None` where it did not look.
    pub runtime: Option<String>,
    showed: String,
}

impl Line {
    pub fn new(expected: &Expected, shown: &Shown) -> Self {
        let epoch = &shown.capture.epoch;
        let verdict = epoch.verdict.as_ref();
        let confidence = verdict.map(|verdict| {
            let text = serde_json::to_value(verdict.confidence.level).unwrap();
            text.as_str().unwrap().to_owned()
        });
        let runtime = epoch.target.runtime.as_ref().map(|runtime| {
            let name = runtime.version.as_deref().or(runtime.name.as_deref());
            let name = match (&runtime.name, name) {
                (Some(name), Some(version)) if !version.starts_with(name.as_str()) => {
                    format!("{name} {version}")
                }
                (_, Some(version)) => version.to_owned(),
                _ => "native".to_owned(),
            };
            match (&runtime.name, &runtime.allocator) {
                (Some(name), Some(allocator)) if name == allocator => {
                    name_only(&runtime.version, name)
                }
                (_, Some(allocator)) => format!("{name}, {allocator}"),
                (_, None) => name,
            }
        });
        Self {
            name: expected.name,
            situation: expected.situation,
            expected: expected.verdicts.join(" or "),
            got: verdict.map(|verdict| verdict.id.clone()),
            confidence,
            runtime,
            showed: showed(&epoch.summary),
        }
    }

    /// What is the same in each run.
    fn stable(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} |",
            self.name,
            self.situation,
            self.runtime.as_deref().unwrap_or("-"),
            self.expected,
            self.got.as_deref().unwrap_or("-"),
        )
    }

    fn markdown(&self) -> String {
        let confidence = self.confidence.as_deref().unwrap_or("-");
        format!("{} {confidence} | {} |", self.stable(), self.showed)
    }
}

fn name_only(version: &Option<String>, name: &str) -> String {
    version.clone().unwrap_or_else(|| name.to_owned())
}

/// The figures that say what happened, in a line: RSS, what is not in it or not needed in it, and the rows that moved most.
fn showed(summary: &Summary) -> String {
    let mut text = format!(
        "RSS {} → {}",
        mib(summary.rss_start_bytes),
        mib(summary.rss_end_bytes)
    );
    if summary.rss_highest_seen_bytes > summary.rss_end_bytes + MIB {
        let _ = write!(text, " (highest {})", mib(summary.rss_highest_seen_bytes));
    }
    for (name, bytes) in [
        ("LazyFree", summary.lazyfree_bytes.map(u64::cast_signed)),
        (
            "in huge pages",
            summary.anon_huge_bytes.map(u64::cast_signed),
        ),
        ("swap", Some(summary.end.swap_bytes)),
        (
            "file",
            Some(summary.end.file_bytes - summary.start.file_bytes)
                .filter(|bytes| *bytes > 32 * MIB),
        ),
        ("shmem", Some(summary.end.shmem_bytes)),
    ] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes >= MIB) {
            let _ = write!(text, ", {name} {}", mib(bytes));
        }
    }
    let weight = |row: &CauseRow| {
        let moved = row.rss_delta_bytes.unwrap_or(0).unsigned_abs();
        let advised = row.advice.as_ref().and(row.requested_bytes).unwrap_or(0);
        moved.max(advised)
    };
    let mut rows: Vec<&CauseRow> = summary.causes.iter().collect();
    rows.retain(|row| weight(row) >= MIB.unsigned_abs());
    rows.sort_by_key(|row| std::cmp::Reverse(weight(row)));
    for row in rows.into_iter().take(4) {
        let name = row.advice.as_deref().unwrap_or(row.cause.name());
        let by = row
            .task
            .as_deref()
            .map_or(String::new(), |task| format!(" by {task}"));
        let _ = write!(text, "; `{name}`{by}");
        if let (Some(calls), Some(bytes), Some(_)) = (row.calls, row.requested_bytes, &row.advice) {
            let _ = write!(text, " {calls} calls for {},", mib(bytes.cast_signed()));
        }
        let _ = write!(text, " {}", signed(row.rss_delta_bytes.unwrap_or(0)));
    }
    text
}

fn mib(bytes: i64) -> String {
    format!("{} MiB", (bytes + MIB / 2).div_euclid(MIB))
}

fn signed(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1.. => format!("+{}", mib(bytes)),
        _ => format!("−{}", mib(-bytes)),
    }
}

/// For the terminal.
pub fn terminal(lines: &[Line]) -> String {
    let width = |of: fn(&Line) -> usize| lines.iter().map(of).max().unwrap_or(0);
    let name = width(|line| line.name.len());
    let runtime = width(|line| line.runtime.as_deref().unwrap_or("-").len());
    let expected = width(|line| line.expected.len());
    let got = width(|line| line.got.as_deref().unwrap_or("-").len()).max(3);
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(
            text,
            "{:name$}  {:runtime$}  {:expected$}  {:got$}  {:6}  {}",
            line.name,
            line.runtime.as_deref().unwrap_or("-"),
            line.expected,
            line.got.as_deref().unwrap_or("-"),
            line.confidence.as_deref().unwrap_or("-"),
            line.showed,
        );
    }
    text
}

const HEAD: &str = "\
# The verdicts, tried

Real programs, each in one situation, each traced by memtrace as a user traces it, and judged from that capture. `cargo xtask verdicts` plays all of
them (`cargo xtask verdicts go-leak` one), and fails where a verdict is not the expected one, or the ledger does not show what the program did.
`cargo xtask verdicts --bless` writes this page: nothing on it is written by hand. The captures stay in `target/verdicts/`.

The last column is from the capture of one run: RSS at the start and at the end, then the causes that moved most.

| case | situation | seen as | expected | got | confidence | what it showed |
|---|---|---|---|---|---|---|
";

/// Writes the page beside the captures.
pub fn keep(lines: &[Line]) {
    let mut text = HEAD.to_owned();
    for line in lines {
        let _ = writeln!(text, "{}", line.markdown());
    }
    owned(&captures_dir().join("verdicts.md"), |file| {
        fs::write(file, text)
    });
}

/// Whether the page in `docs/`, where there is one, says of every case what this run says, but for the figures.
pub fn is_current(lines: &[Line]) -> bool {
    let page: PathBuf = sources().join("../../../docs/verdicts.md");
    let Ok(text) = fs::read_to_string(page) else {
        return true;
    };
    let mut current = true;
    for line in lines {
        let stable = line.stable();
        if !text.lines().any(|row| row.starts_with(&stable)) {
            eprintln!("docs/verdicts.md does not say: {stable}");
            current = false;
        }
    }
    if !current {
        eprintln!("type: cargo xtask verdicts --bless");
    }
    current
}
