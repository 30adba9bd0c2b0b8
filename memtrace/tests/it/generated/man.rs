//! The manual pages: what clap knows of the options, and what `--help` says below them, in the sections that `man-pages(7)` wants.

use std::collections::BTreeMap;

use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, italic, roman},
};
use memtrace::cli::Cli;

/// What tracing reads of the environment.
const TRACE_ENVIRONMENT: &[(&str, &str)] = &[
    (
        "NO_COLOR",
        "Where it is set, and not empty, there are no colours unless --color says so.",
    ),
    ("TERM", "dumb: likewise."),
    (
        "COLUMNS",
        "The width to print for where standard output is no terminal, from 80 to 400; 80 where it is not set.",
    ),
    (
        "TMPDIR",
        "The folder of the capture while it lasts, where it has no name of its own; then /var/tmp and /tmp are tried.",
    ),
    (
        "SUDO_UID, SUDO_GID",
        "As sudo sets them: who has started memtrace, and is to own the files that it writes.",
    ),
];
/// What the other commands read.
const VIEW_ENVIRONMENT: &[&str] = &["NO_COLOR", "TERM", "COLUMNS"];

/// What tracing needs, and what it leaves.
const FILES: &[(&str, &str)] = &[
    (
        "FILE.partial",
        "The capture while it lasts, with --json FILE. It becomes FILE at the end; should memtrace be killed, it stays, and memtrace report reads it.",
    ),
    (
        "/sys/kernel/btf/vmlinux",
        "The kernel's own description of its structures, which the exact mode needs.",
    ),
    (
        "/proc/PID/statm, /proc/PID/smaps_rollup",
        "What the ledger is held against.",
    ),
];

/// Which commands write files, and trace.
const TRACING: [&str; 2] = ["memtrace", "memtrace-demo"];

fn heading(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

fn tagged(roff: &mut Roff, tag: Inline, text: &str) {
    roff.control("TP", []);
    roff.text([tag]);
    roff.text([roman(text)]);
}

/// Examples, as `--help` writes them: what is to be done is indented by 2, what is to be typed by 6.
fn examples(roff: &mut Roff, paragraph: &str) {
    heading(roff, "EXAMPLES");
    let mut typed = false;
    for line in paragraph.lines().skip(1) {
        let is_typed = line.starts_with("      ");
        if is_typed && !typed {
            roff.control("RS", ["4"]);
            roff.control("EX", []);
        } else if typed && !is_typed {
            roff.control("EE", []);
            roff.control("RE", []);
        }
        if !is_typed {
            roff.control("PP", []);
        }
        roff.text([roman(line.trim_start())]);
        typed = is_typed;
    }
    if typed {
        roff.control("EE", []);
        roff.control("RE", []);
    }
}

fn exits(roff: &mut Roff, paragraph: &str) {
    heading(roff, "EXIT STATUS");
    let text = paragraph.replace('\n', " ");
    let codes = text.trim_start_matches("Exit codes:").trim_end_matches('.');
    for code in codes.split(';').map(str::trim) {
        match code.split_once(' ') {
            None => tagged(roff, bold(code), "Success."),
            Some((number, what)) if number.parse::<u8>().is_ok() => {
                tagged(roff, bold(number), what);
            }
            Some(_) => {
                roff.control("PP", []);
                roff.text([roman(code)]);
            }
        }
    }
}

/// What `--help` says below the options.
fn below(roff: &mut Roff, command: &Command) {
    let text = command.get_after_long_help().or(command.get_after_help());
    let text = text.map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        // The last line of a paragraph may be about exit codes.
        let at = paragraph.find("Exit codes:").unwrap_or(paragraph.len());
        let (said, codes) = paragraph.split_at(at);
        if said.starts_with("Examples") {
            examples(roff, said);
        } else if !said.is_empty() {
            notes.push(said);
        }
        if !codes.is_empty() {
            exits(roff, codes);
        }
    }
    if !notes.is_empty() {
        heading(roff, "NOTES");
    }
    for note in notes {
        roff.control("PP", []);
        roff.text([roman(note.replace('\n', " ").trim())]);
    }
}

fn see_also(roff: &mut Roff, name: &str, all: &[String]) {
    heading(roff, "SEE ALSO");
    let others = all.iter().filter(|other| *other != name);
    let pages = others.map(|other| (other.as_str(), "1"));
    let outside = [
        ("madvise", "2"),
        ("proc", "5"),
        ("capabilities", "7"),
        ("cgroups", "7"),
    ];
    let pages: Vec<(&str, &str)> = pages.chain(outside).collect();
    let mut words = Vec::new();
    for (number, (page, section)) in pages.iter().enumerate() {
        let end = if number + 1 == pages.len() { "" } else { ", " };
        words.push(bold(*page));
        words.push(roman(format!("({section}){end}")));
    }
    roff.text(words);
}

/// The options: one section, and their headings below it as `man-pages(7)` has them. `clap_mangen` would make sections of them.
fn options(man: &Man) -> String {
    let mut section = Vec::new();
    man.render_options_section(&mut section).unwrap();
    let section = String::from_utf8(section).unwrap();
    let (mut page, mut begun) = (String::new(), false);
    for line in section.lines() {
        match line.strip_prefix(".SH ") {
            Some(title) => {
                if !begun {
                    page.push_str(".SH OPTIONS\n");
                    begun = true;
                }
                if title != "OPTIONS" {
                    let title = title.trim_matches('"').to_lowercase();
                    let (first, rest) = title.split_at(1);
                    page.push_str(&format!(".SS \"{}{rest}\"\n", first.to_uppercase()));
                }
            }
            None => page.push_str(&format!("{line}\n")),
        }
    }
    page
}

fn page(name: &str, command: &Command, all: &[String]) -> String {
    let man = Man::new(command.clone())
        .manual("memtrace")
        .source(format!("memtrace {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    page.extend_from_slice(options(&man).as_bytes());
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut page).unwrap();
    }
    let mut roff = Roff::new();
    below(&mut roff, command);
    let traces = TRACING.contains(&name);
    if traces {
        heading(&mut roff, "FILES");
        for (file, text) in FILES {
            tagged(&mut roff, italic(*file), text);
        }
    }
    heading(&mut roff, "ENVIRONMENT");
    for (variable, text) in TRACE_ENVIRONMENT {
        if traces || VIEW_ENVIRONMENT.contains(variable) {
            tagged(&mut roff, bold(*variable), text);
        }
    }
    see_also(&mut roff, name, all);
    roff.to_writer(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// The pages by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut found = vec![("memtrace".to_owned(), command.clone())];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        found.push((format!("memtrace-{}", sub.get_name()), sub.clone()));
    }
    let all: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    found
        .iter()
        .map(|(name, command)| (format!("{name}.1"), page(name, command, &all)))
        .collect()
}

#[test]
fn man_pages_are_current() {
    super::current("man", ".1", "man", &pages());
}

#[test]
fn every_page_has_the_sections_that_are_looked_for() {
    let pages = pages();
    assert!(pages.len() >= 6, "{:?}", pages.keys());
    for (name, page) in &pages {
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "ENVIRONMENT",
        ] {
            assert!(
                page.contains(&format!(".SH {section}")),
                "{name} has no {section}"
            );
        }
        for section in ["\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(
                page.contains(&format!(".SH {section}")),
                "{name} has no {section}"
            );
        }
    }
    assert!(pages["memtrace.1"].contains(".SH FILES"));
}

#[test]
fn the_headings_of_the_help_are_below_the_options() {
    let page = &pages()["memtrace.1"];
    let places = [
        ".SS \"What to trace\"",
        "\\-\\-pid",
        ".SS \"What to write\"",
        "\\-\\-json",
        ".SS \"How to trace\"",
        "\\-\\-mode",
        ".SH SUBCOMMANDS",
    ];
    let after = page.split_once(".SH OPTIONS").unwrap().1;
    let found: Vec<Option<usize>> = places.iter().map(|what| after.find(what)).collect();
    assert!(
        found.iter().all(Option::is_some) && found.is_sorted(),
        "{found:?}"
    );
}
