//! Every rule has a page, whose thresholds are the code's.

use std::fmt::Write as _;

use memtrace::verdict::{Rule, explain, rendered, rules};

const HEADING: &str = "\n## Thresholds\n";

/// The part of a page that is made from the code.
fn thresholds(rule: &Rule) -> String {
    let mut text = format!("{HEADING}\n| what | value |\n|---|---|\n");
    for limit in rule.limits {
        let value = rendered(limit.value, limit.unit);
        let _ = writeln!(text, "| {} | {value} |", limit.what);
    }
    text
}

#[test]
fn every_page_has_the_thresholds_of_the_code() {
    let bless = std::env::var_os("MEMTRACE_BLESS").is_some();
    for rule in rules() {
        let path = format!(
            "{}/../docs/explain/{}.md",
            env!("CARGO_MANIFEST_DIR"),
            rule.id
        );
        let page = std::fs::read_to_string(&path).unwrap();
        let words = page.split(HEADING).next().unwrap();
        let wanted = format!("{words}{}", thresholds(rule));
        if bless {
            std::fs::write(&path, &wanted).unwrap();
        } else {
            assert!(
                page == wanted,
                "docs/explain/{}.md is not current; type: MEMTRACE_BLESS=1 cargo test --test it verdict::",
                rule.id
            );
            assert_eq!(rule.page, page, "the page in the binary");
        }
    }
}

#[test]
fn every_page_says_what_a_reader_needs() {
    for rule in rules() {
        let page = explain(rule.id).unwrap();
        let title = page.lines().next().unwrap();
        assert!(title.starts_with(&format!("# {}: ", rule.id)), "{title}");
        for section in [
            "What it means",
            "How memtrace tells",
            "What to look at",
            "What to do",
            "What it is not",
        ] {
            assert!(
                page.contains(&format!("\n## {section}")),
                "{}: {section}",
                rule.id
            );
        }
        let lines = page.lines().count();
        assert!((20..=60).contains(&lines), "{}: {lines} lines", rule.id);
        assert!(
            page.lines().all(|line| line.chars().count() <= 150),
            "{}",
            rule.id
        );
        assert!(!rule.limits.is_empty() && !rule.title.is_empty());
    }
    assert_eq!(explain("nonsense"), None);
}

#[test]
fn every_page_of_the_folder_is_of_a_rule() {
    let folder = format!("{}/../docs/explain", env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut ids: Vec<String> = rules()
        .iter()
        .map(|rule| format!("{}.md", rule.id))
        .collect();
    pages.sort();
    ids.sort();
    assert_eq!(pages, ids);
}
