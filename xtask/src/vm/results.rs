//! What a guest says on its second serial port: lines that begin with `@memtrace-vm`, and between them what the test runner
//! writes to its log file. The kernel writes to the first port only, so no line is torn.

use std::collections::BTreeMap;

use serde_json::Value;

const MARK: &str = "@memtrace-vm ";

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// With what it said, where it said anything.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// What a guest said.
#[derive(Debug, Default)]
pub struct Results {
    /// As `uname -r` prints it.
    pub release: Option<String>,
    /// What went wrong before the tests.
    pub trouble: Vec<String>,
    /// The transparent huge pages in force.
    pub thp: Option<String>,
    /// A capture file of memtrace's own, made in the guest.
    pub capture: Option<Value>,
    pub tests: BTreeMap<String, Outcome>,
    /// Whether the runner's closing line is there.
    pub closed: bool,
    /// The exit code of the job.
    pub code: Option<i32>,
    /// Every line that is not a mark.
    pub lines: Vec<String>,
}

impl Results {
    /// Reads all that came out of the port.
    pub fn parse(text: &str) -> Self {
        let mut results = Self::default();
        let mut messages: BTreeMap<&str, String> = BTreeMap::new();
        let mut message = None;
        for line in text.lines() {
            let line = line.trim_end_matches('\r');
            if let Some(mark) = line.strip_prefix(MARK) {
                results.mark(mark);
                continue;
            }
            results.lines.push(line.to_owned());
            if let Some(name) = heading(line) {
                message = Some(messages.entry(name).or_default());
            } else if line == "failures:" || line.starts_with("test result: ") {
                message = None;
            } else if let Some(message) = &mut message {
                message.push_str(line);
                message.push('\n');
            } else if let Some((name, outcome)) = test(line) {
                results.tests.insert(name.to_owned(), outcome);
            }
            results.closed |= line.starts_with("test result: ");
        }
        for (name, text) in messages {
            if let Some(Outcome::Failed(message)) = results.tests.get_mut(name) {
                text.trim().clone_into(message);
            }
        }
        results
    }

    fn mark(&mut self, mark: &str) {
        let (kind, text) = mark.split_once(' ').unwrap_or((mark, ""));
        match kind {
            "release" => self.release = Some(text.to_owned()),
            "trouble" => self.trouble.push(text.to_owned()),
            // The one in force stands in brackets.
            "thp" => {
                self.thp = text
                    .split_once('[')
                    .and_then(|(_, rest)| rest.split_once(']'))
                    .map(|(thp, _)| thp.to_owned());
            }
            "capture" => self.capture = serde_json::from_str(text).ok(),
            "end" => self.code = text.parse().ok(),
            _ => {}
        }
    }

    pub fn count(&self, of: impl Fn(&Outcome) -> bool) -> usize {
        self.tests.values().filter(|outcome| of(outcome)).count()
    }

    /// Skipped tests, by reason.
    pub fn skips(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut skips: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, outcome) in &self.tests {
            if let Outcome::Skipped(reason) = outcome {
                skips.entry(reason).or_default().push(name);
            }
        }
        skips
    }
}

/// `---- NAME ----` above what a failed test said.
fn heading(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" ----")
}

/// `test NAME   ... ok`, `… FAILED` or `… ignored (REASON)`. The outcome is missing while the test runs.
pub fn test(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed(String::new()),
        _ => {
            let reason = outcome.strip_prefix("ignored")?.trim();
            let reason = reason.strip_prefix('(').unwrap_or(reason);
            Outcome::Skipped(reason.strip_suffix(')').unwrap_or(reason).to_owned())
        }
    };
    Some((name.trim_end(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = "\
@memtrace-vm release 6.1.0-50-cloud-amd64\r
@memtrace-vm thp [always] madvise never\r
@memtrace-vm capture {\"capture\":{\"mode\":\"exact\"}}\r
\r
running 4 tests\r
test first_touch    ... ok\r
test storm          ... FAILED\r
test guard          ... ignored (this kernel does not have MADV_GUARD_INSTALL (since 6.13))\r
test torn           ... \r
\r
failures:\r
\r
---- storm ----\r
test panicked: 3 pages off\r
test first_touch    ... FAILED\r
\r
\r
failures:\r
    storm\r
\r
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\r
@memtrace-vm end 101\r
";

    #[test]
    fn a_runs_results_are_read() {
        let results = Results::parse(RESULTS);
        assert_eq!(results.release.as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(results.thp.as_deref(), Some("always"));
        assert_eq!(
            results.capture.as_ref().unwrap()["capture"]["mode"],
            "exact"
        );
        assert_eq!(results.code, Some(101));
        assert!(results.closed);
        assert_eq!(
            results.tests,
            BTreeMap::from([
                ("first_touch".to_owned(), Outcome::Passed),
                (
                    "storm".to_owned(),
                    // What a test says is no result, whatever it looks like.
                    Outcome::Failed(
                        "test panicked: 3 pages off\ntest first_touch    ... FAILED".to_owned()
                    )
                ),
                (
                    "guard".to_owned(),
                    Outcome::Skipped(
                        "this kernel does not have MADV_GUARD_INSTALL (since 6.13)".to_owned()
                    )
                ),
            ])
        );
        assert_eq!(results.skips().len(), 1);
    }

    #[test]
    fn a_run_that_broke_off_has_no_end() {
        let cut = &RESULTS[..RESULTS.find("test guard").unwrap()];
        let results = Results::parse(cut);
        assert_eq!((results.closed, results.code), (false, None));
        assert_eq!(results.tests.len(), 2);
        assert!(Results::parse("").tests.is_empty());
    }
}
