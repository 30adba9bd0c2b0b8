//! Adding up what the test runners say.

use std::fmt;

/// What became of all tests so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Summary {
    /// Adds a line of output, where it is a runner's closing line; whether it was.
    pub fn add(&mut self, line: &str) -> bool {
        let Some(closing) = closing(line) else {
            return false;
        };
        self.passed += closing.passed;
        self.failed += closing.failed;
        self.skipped += closing.skipped;
        true
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`, of libtest and of
/// libtest-mimic. Tests that a filter leaves out were not asked for, so they are not counted.
fn closing(line: &str) -> Option<Summary> {
    let counts = line.trim().strip_prefix("test result: ")?;
    let (_verdict, counts) = counts.split_once(". ")?;
    let count = |name: &str| {
        counts
            .split(';')
            .filter_map(|part| part.trim().split_once(' '))
            .find(|(_, what)| *what == name)
            .and_then(|(number, _)| number.parse().ok())
    };
    Some(Summary {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut summary = Summary::default();
        assert!(summary.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s"
        ));
        assert!(summary.add(
            "test result: FAILED. 14 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.10s"
        ));
        assert_eq!(summary.to_string(), "17 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn other_lines_add_nothing() {
        let mut summary = Summary::default();
        for line in [
            "",
            "test result",
            "test result: ok.",
            "test result: ok. some passed; 0 failed; 0 ignored",
            "test a::b ... ok",
            "the test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured",
        ] {
            assert!(!summary.add(line), "{line}");
        }
        assert_eq!(summary, Summary::default());
    }
}
