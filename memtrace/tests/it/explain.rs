//! `memtrace explain`, as people use and misuse it. Needs no root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memtrace"))
        .args(arguments)
        .env_remove("COLUMNS")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_name_all_rules_are_listed() {
    let output = run(&["explain"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for rule in memtrace::verdict::rules() {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{} ", rule.id)));
        assert!(
            line.is_some_and(|line| line.ends_with(rule.title)),
            "{}",
            rule.id
        );
        assert!(
            line.is_some_and(|line| line.chars().count() <= 100),
            "{line:?}"
        );
    }
}

#[test]
fn every_page_is_printed_whole_and_fits() {
    for rule in memtrace::verdict::rules() {
        let output = run(&["explain", rule.id]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(shown.starts_with(&format!("{}: ", rule.id)), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
        assert!(
            !shown.contains('\u{1b}'),
            "no styles where there is no terminal"
        );
        // Every word of the page is there.
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|letter: char| !letter.is_alphanumeric());
            let words = words.filter(|word| word.len() > 3);
            let mut words: Vec<String> = words.map(str::to_owned).collect();
            words.sort();
            words
        };
        let (mut page, shown) = (words(rule.page), words(&shown));
        // The heading of the table.
        for heading in ["what", "value"] {
            if let Some(place) = page.iter().position(|word| word == heading) {
                page.remove(place);
            }
        }
        assert_eq!(page, shown, "{}", rule.id);
    }
}

#[test]
fn an_unknown_name_is_a_usage_error_that_names_the_nearest() {
    let output = run(&["explain", "lazyfree"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty());
    for part in [
        "invalid value 'lazyfree'",
        "lazy-free",
        "growing",
        "similar value",
    ] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    assert_eq!(run(&["explain", "idle", "growing"]).status.code(), Some(2));
}
