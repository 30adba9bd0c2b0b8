//! `--fail-on ID,…`: an exit code for continuous integration.

use clap::{Args, builder::PossibleValuesParser};

use super::shared::CI;
use crate::{
    capture::{Ended, Observer, Opening},
    model::Verdict,
    verdict::rules,
};

/// Rules whose finding ends memtrace with an exit code of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct FailOn {
    /// End with exit code 4 where the answer is one of these, or where one of these is said beside it, such as
    /// growing,cgroup-limit
    ///
    /// However sure it is: a short capture may only guess, so give it time (a minute at least) in a test. Where the capture is
    /// incomplete too, or anything else went wrong, that exit code comes first. `memtrace explain` lists the rules.
    #[arg(
        id = "fail_on",
        help_heading = CI,
        long = "fail-on",
        value_name = "ID,…",
        value_delimiter = ',',
        hide_possible_values = true,
        value_parser = rule_id()
    )]
    pub ids: Vec<String>,
}

impl FailOn {
    /// The first of the rules that was found: as the answer, else beside it.
    #[must_use]
    pub fn found<'a>(&self, verdict: &'a Verdict) -> Option<&'a str> {
        let beside = verdict.also.iter().map(|finding| finding.id.raw());
        let mut found = [verdict.id.raw()].into_iter().chain(beside);
        found.find(|id| self.ids.iter().any(|wanted| wanted == id))
    }
}

/// Looks for the rules in each epoch's verdict.
pub struct Failing<'a> {
    wanted: &'a FailOn,
    /// The first that was found, in any epoch.
    pub found: Option<String>,
}

impl<'a> Failing<'a> {
    /// Looks for these.
    pub const fn new(wanted: &'a FailOn) -> Self {
        Self {
            wanted,
            found: None,
        }
    }
}

impl Observer for Failing<'_> {
    fn end(&mut self, ended: &Ended<'_>, _: Option<&Opening<'_>>) {
        if self.found.is_none() {
            let verdict = ended.epoch.verdict.as_ref();
            let found = verdict.and_then(|verdict| self.wanted.found(verdict));
            self.found = found.map(str::to_owned);
        }
    }
}

/// The name of a rule: any other is an error that names all of them, and the nearest one.
pub fn rule_id() -> PossibleValuesParser {
    PossibleValuesParser::new(rules().iter().map(|rule| rule.id))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::{Confidence, Finding, Level};

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        fail_on: FailOn,
    }

    fn parsed(value: &str) -> Result<Vec<String>, String> {
        Only::try_parse_from(["memtrace", "--fail-on", value])
            .map(|only| only.fail_on.ids)
            .map_err(|error| error.to_string())
    }

    fn verdict(id: &str, also: &[&str]) -> Verdict {
        let finding = |id: &&str| Finding {
            id: (*id).into(),
            title: String::new().into(),
            text: String::new().into(),
            evidence: Vec::new(),
            suggestions: Vec::new(),
        };
        Verdict {
            id: id.into(),
            title: String::new().into(),
            text: String::new().into(),
            confidence: Confidence {
                level: Level::Low,
                because: Vec::new(),
            },
            evidence: Vec::new(),
            suggestions: Vec::new(),
            also: also.iter().map(finding).collect(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn rules_are_given_by_name_with_commas() {
        assert_eq!(parsed("growing"), Ok(vec!["growing".to_owned()]));
        let two = vec!["growing".to_owned(), "cgroup-limit".to_owned()];
        assert_eq!(parsed("growing,cgroup-limit"), Ok(two));
        assert!(Only::parse_from(["memtrace"]).fail_on.ids.is_empty());
    }

    #[test]
    fn an_unknown_rule_is_an_error_that_names_them() {
        for wrong in ["growin", "growing,leak", "", "growing,", "GROWING"] {
            let error = parsed(wrong).unwrap_err();
            assert!(error.contains("lazy-free, "), "{wrong}: {error}");
        }
        assert!(parsed("growin").unwrap_err().contains("'growing'"));
    }

    #[test]
    fn the_answer_and_what_is_beside_it_count() {
        let only = |ids: &[&str]| FailOn {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
        };
        let answer = verdict("lazy-free", &["cgroup-limit", "growing"]);
        assert_eq!(only(&["lazy-free"]).found(&answer), Some("lazy-free"));
        assert_eq!(
            only(&["growing", "swapped"]).found(&answer),
            Some("growing")
        );
        assert_eq!(only(&["swapped"]).found(&answer), None);
        assert_eq!(only(&[]).found(&answer), None);
    }
}
