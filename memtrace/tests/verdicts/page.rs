//! The table of the cases: on the terminal, and as `docs/verdicts.md`.

use std::{fmt::Write as _, fs};

use memtrace::model::{CauseRow, RuntimeInfo, Summary};

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
    /// More than one answer is right.
    pub either: bool,
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
        let runtime = epoch.target.runtime.as_ref().map(seen_as);
        Self {
            name: expected.name,
            situation: expected.situation,
            expected: expected.ids(),
            either: expected.verdicts.len() + expected.guesses.len() > 1,
            got: verdict.map(|verdict| verdict.id.to_string()),
            confidence,
            runtime,
            showed: showed(&epoch.summary),
        }
    }

    /// What is the same in each run, and on each host: also what was got, unless either of two answers is right.
    fn stable(&self) -> String {
        let row = self.row();
        match (self.either, row.rsplit_once("| ")) {
            (true, Some((stable, _))) => stable.to_owned(),
            _ => row + " |",
        }
    }

    fn row(&self) -> String {
        let got = self.got.as_deref().unwrap_or("-");
        format!(
            "| {} | {} | {} | {got}",
            self.name, self.situation, self.expected
        )
    }

    fn markdown(&self) -> String {
        let runtime = self.runtime.as_deref().unwrap_or("-");
        let confidence = self.confidence.as_deref().unwrap_or("-");
        format!(
            "{} | {confidence} | {runtime} | {} |",
            self.row(),
            self.showed
        )
    }
}

/// Runtime and allocator, such as `go1.15.15`, `jvm 17.0.15, glibc`, or `jemalloc`.
fn seen_as(runtime: &RuntimeInfo) -> String {
    let RuntimeInfo {
        name,
        version,
        allocator,
        ..
    } = runtime;
    let runtime = match (
        name.as_ref().map(|it| it.raw()),
        version.as_ref().map(|it| it.raw()),
    ) {
        (Some(name), Some(version)) if version.starts_with(name) => Some(version.to_owned()),
        (Some(name), Some(version)) => Some(format!("{name} {version}")),
        (Some(name), None) => Some(name.to_owned()),
        (None, _) => None,
    };
    let allocator = allocator
        .clone()
        .filter(|allocator| name.as_ref() != Some(allocator));
    let parts: Vec<String> = runtime
        .into_iter()
        .chain(allocator.map(|it| it.to_string()))
        .collect();
    parts.join(", ")
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
        let name = row
            .advice
            .as_ref()
            .map(|it| it.raw())
            .unwrap_or(row.cause.name());
        let by = row
            .task
            .as_ref()
            .map(|it| it.raw())
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

/// The page's name, here and in `docs/`.
const PAGE: &str = "verdicts.md";

const HEAD: &str = "\
# The verdicts, tried

Real programs, each in one situation, each traced by memtrace as a user traces it, and judged from that capture. `cargo xtask verdicts` plays all of
them (`cargo xtask verdicts go-leak` one), and fails where a verdict is not the expected one, or the ledger does not show what the program did.
`cargo xtask verdicts --bless` writes this page: nothing on it is written by hand. The captures stay in `target/verdicts/`.

The last column is from the capture of one run: RSS at the start and at the end, then the causes that moved most.

| case | situation | expected | got | confidence | seen as | what it showed |
|---|---|---|---|---|---|---|
";

/// Writes the page beside the captures where it is `whole`, and takes an old one away where it is not.
pub fn keep(lines: &[Line], whole: bool) {
    let file = captures_dir().join(PAGE);
    if !whole {
        let _ = fs::remove_file(file);
        return;
    }
    let mut text = HEAD.to_owned();
    for line in lines {
        let _ = writeln!(text, "{}", line.markdown());
    }
    owned(&file, |file| fs::write(file, text));
}

/// Whether the page in `docs/` says of every case what this run says, but for what differs from run to run, and from host to host.
pub fn is_current(lines: &[Line]) -> bool {
    let page = sources().join("../../../docs").join(PAGE);
    let text = fs::read_to_string(page).unwrap_or_default();
    let is_there = |stable: &String| text.lines().any(|row| row.starts_with(stable.as_str()));
    let mut stale: Vec<String> = lines.iter().map(Line::stable).collect();
    stale.retain(|stable| !is_there(stable));
    for stable in &stale {
        eprintln!("docs/{PAGE} does not say: {stable}");
    }
    if !stale.is_empty() {
        eprintln!("type: cargo xtask verdicts --bless");
    }
    stale.is_empty()
}
