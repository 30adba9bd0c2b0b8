//! `memtrace diff`: two captures side by side, and what can be wrong with them. Needs neither root nor a kernel.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf};

use crate::common::{fails_with, json, run, text};
use memtrace::{
    diff::{Diff, Judged, Quantity, Subject, compare},
    model::{Capture, Tick},
    verdict::{Trend, judge_epoch},
    view,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const FREE: &str = include_str!("../../../docs/captures/go1.15-service.json");
const DONTNEED: &str = include_str!("../../../docs/captures/go1.15-madvdontneed.json");
const LAZY: &str = include_str!("../../../fuzz/seeds/capture/lazy-free.json");
/// Two epochs.
const EXEC: &str = include_str!("../../../fuzz/seeds/capture/exec.json");

fn path(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(name).to_str().unwrap().to_owned()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn compared(a: &Value, b: &Value) -> Diff {
    let load = |value: &Value| -> Capture { serde_json::from_value(value.clone()).unwrap() };
    let (mut a, mut b) = (load(a), load(b));
    for capture in [&mut a, &mut b] {
        if capture.epoch.verdict.is_none() {
            capture.epoch.verdict = Some(judge_epoch(&capture.host, &capture.epoch));
        }
    }
    let trend = |capture: &Capture| {
        let ticks: &[Tick] = &capture.epoch.timeline;
        Trend::of(ticks)
    };
    let (trend_a, trend_b) = (trend(&a), trend(&b));
    compare(
        &Subject {
            file: "a.json",
            capture: &a,
            trend: &trend_a,
        },
        &Subject {
            file: "b.json",
            capture: &b,
            trend: &trend_b,
        },
    )
}

fn shown(diff: &Diff, width: usize) -> String {
    anstream::adapter::strip_str(&view::diff(diff, width)).to_string()
}

fn quantities(diff: &Diff) -> Vec<Quantity> {
    let causes = diff
        .causes
        .iter()
        .flat_map(|row| [row.calls, row.requested_bytes, row.rss_delta_bytes]);
    let figures = diff.figures.iter().map(|figure| figure.quantity);
    causes.chain(figures).collect()
}

fn condition<'a>(diff: &'a Diff, what: &str) -> Option<(Option<&'a str>, Option<&'a str>)> {
    let mut all = diff.conditions.differ.iter();
    let found = all.find(|condition| condition.what == what)?;
    Some((
        found.a.as_ref().map(|it| it.raw()),
        found.b.as_ref().map(|it| it.raw()),
    ))
}

#[track_caller]
fn row(diff: &Diff, advice: &str) -> [Quantity; 3] {
    let row = diff
        .causes
        .iter()
        .find(|row| row.advice.as_ref().map(|it| it.raw()) == Some(advice))
        .unwrap_or_else(|| panic!("no {advice}"));
    [row.calls, row.requested_bytes, row.rss_delta_bytes]
}

// --- what two real captures say -----------------------------------------------------------------------------------------

#[test]
fn a_setting_that_changed_the_advice_is_seen_with_its_effect() {
    let diff = compared(&value(FREE), &value(DONTNEED));
    assert_eq!(
        diff.headline,
        "RSS at the end 333.5M → 13.22M; LazyFree 320.3M → 0; MADV_FREE 320.3M → MADV_DONTNEED 320.4M; the answer: lazy-free → released"
    );
    assert_eq!(
        condition(&diff, "setting:GODEBUG"),
        Some((None, Some("madvdontneed=1")))
    );
    assert_eq!(diff.conditions.differ.len(), 2, "{:?}", diff.conditions);
    assert_eq!(
        diff.conditions.notes,
        ["One thing differs that may have made a change: GODEBUG."]
    );
    assert!(!diff.conditions.by_rate);
    // A row that one capture does not have is 0 there: the call was hooked, and the ledger saw everything.
    let [calls, requested, moved] = row(&diff, "MADV_FREE");
    assert_eq!(
        (calls.a, calls.b, calls.change),
        (Some(216), Some(0), Some(-216))
    );
    assert_eq!(requested.change, Some(-335_904_768));
    assert_eq!((moved.a, moved.b), (Some(0), Some(0)));
    assert_eq!(moved.judged, Judged::Equal);
    let [calls, _, moved] = row(&diff, "MADV_DONTNEED");
    assert_eq!((calls.a, calls.b), (Some(0), Some(221)));
    assert_eq!(moved.judged, Judged::Changed);
    // What two runs differ by anyway is no change.
    let fault = &diff.causes[0];
    assert_eq!(fault.cause.name(), "fault");
    assert_eq!((fault.calls.a, fault.calls.b), (None, None));
    assert_eq!(fault.rss_delta_bytes.judged, Judged::Small);
    assert_eq!(diff.answers.changed, Some(true));
}

#[test]
fn conditions_come_before_every_number() {
    let diff = compared(&value(FREE), &value(DONTNEED));
    for width in [80, 100, 200] {
        let shown = shown(&diff, width);
        let at = |part: &str| {
            shown
                .find(part)
                .unwrap_or_else(|| panic!("{part:?} is missing in {shown}"))
        };
        assert!(at("GODEBUG") < at("\nanswers"), "{shown}");
        assert!(at("\nanswers") < at("\ncause "), "{shown}");
        assert!(at("\ncause ") < at("\nmemory "), "{shown}");
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width.min(120)), "{widest:?}: {shown}");
    }
}

#[test]
fn a_capture_compared_with_itself_has_no_change() {
    for text in [FREE, DONTNEED, LAZY, EXEC] {
        let capture = value(text);
        let diff = compared(&capture, &capture);
        assert_eq!(diff.headline, "Nothing differs");
        assert_eq!(diff.conditions.differ, []);
        for quantity in quantities(&diff) {
            assert!(
                matches!(quantity.judged, Judged::Equal)
                    || (quantity.a, quantity.b) == (None, None),
                "{quantity:?}"
            );
            assert!(quantity.change.is_none_or(|change| change == 0));
        }
    }
}

#[test]
fn captures_of_different_length_are_compared_per_second() {
    let mut twice = value(FREE);
    twice["capture"]["duration_ns"] = json!(28_080_384_192u64);
    let diff = compared(&value(FREE), &twice);
    assert!(diff.conditions.by_rate);
    assert_eq!(
        condition(&diff, "duration_ns"),
        Some((Some("14.0 s"), Some("28.1 s")))
    );
    let [calls, ..] = row(&diff, "MADV_FREE");
    // As many calls in twice the time.
    assert_eq!(calls.change, Some(0));
    let rate = calls.per_second.unwrap();
    assert!((rate.a.unwrap() - 15.38).abs() < 0.01, "{rate:?}");
    assert!((rate.b.unwrap() - 7.69).abs() < 0.01, "{rate:?}");
    assert_eq!(calls.judged, Judged::Changed);
    // A level is one, however long it took.
    let end = diff
        .figures
        .iter()
        .find(|figure| figure.name == "rss_end_bytes");
    assert_eq!(end.unwrap().quantity.per_second, None);
    assert!(shown(&diff, 80).contains("calls/s"));
}

#[test]
fn what_only_a_ledger_knows_is_not_known_of_an_approximate_capture() {
    let mut sampled = value(FREE);
    sampled["capture"]["mode"] = json!("approximate");
    sampled["summary"]["rss_sampling_bound_bytes"] = json!(1 << 20);
    sampled["summary"]["unexplained_bytes"] = Value::Null;
    sampled["summary"]["rss_end_bytes"] = json!(349_724_672 + (900 << 10));
    let rows = sampled["summary"]["causes"].as_array_mut().unwrap();
    rows.retain(|row| row["advice"] != "MADV_FREE");
    for row in rows {
        row["rss_delta_bytes"] = Value::Null;
        row["by_kind"] = Value::Null;
    }
    let diff = compared(&sampled, &value(FREE));
    for row in &diff.causes {
        assert_eq!(row.rss_delta_bytes.a, None);
        assert_eq!(row.rss_delta_bytes.judged, Judged::NotComparable);
    }
    // Calls were counted: that there is no row of them says that there were none.
    let [calls, _, _] = row(&diff, "MADV_FREE");
    assert_eq!(calls.a, Some(0));
    // Within the bound of what was sampled.
    let end = diff
        .figures
        .iter()
        .find(|figure| figure.name == "rss_end_bytes");
    assert_eq!(end.unwrap().quantity.judged, Judged::Small);
    assert!(condition(&diff, "mode").is_some());
    assert!(
        diff.conditions
            .notes
            .iter()
            .any(|note| note.contains("A has no ledger")),
        "{:?}",
        diff.conditions.notes
    );
}

#[test]
fn calls_that_were_not_hooked_are_not_known() {
    let mut blind = value(DONTNEED);
    for hook in blind["capture"]["hooks"].as_array_mut().unwrap() {
        if hook["name"] == "madvise" {
            hook["kind"] = Value::Null;
            hook["error"] = json!("tracefs is not mounted");
        }
    }
    let rows = blind["summary"]["causes"].as_array_mut().unwrap();
    rows.retain(|row| row["advice"] != "MADV_DONTNEED");
    let diff = compared(&value(FREE), &blind);
    let [calls, requested, _] = row(&diff, "MADV_FREE");
    assert_eq!((calls.b, calls.change), (None, None));
    assert_eq!(requested.judged, Judged::NotComparable);
    assert!(condition(&diff, "hooks").is_some());
}

#[test]
fn several_differences_cannot_be_told_apart() {
    let mut other = value(DONTNEED);
    other["host"]["kernel"] = json!("5.10.0");
    other["target"]["runtime"]["version"] = json!("go1.24");
    let diff = compared(&value(FREE), &other);
    let note = &diff.conditions.notes[0];
    assert!(
        note.starts_with("3 things differ that may have made a change:"),
        "{note}"
    );
    assert!(note.contains("two captures cannot tell"), "{note}");
}

// --- properties ---------------------------------------------------------------------------------------------------------

/// A capture with other numbers: rows, figures, length.
fn changed(numbers: &[i64], duration: u64) -> Value {
    let mut capture = value(DONTNEED);
    let mut numbers = numbers.iter().copied().cycle();
    let mut next = || numbers.next().unwrap_or(0);
    for row in capture["summary"]["causes"].as_array_mut().unwrap() {
        if !row["calls"].is_null() {
            row["calls"] = json!(next().unsigned_abs());
            row["requested_bytes"] = json!(next().unsigned_abs());
        }
        row["rss_delta_bytes"] = json!(next());
    }
    for name in ["rss_start_bytes", "rss_end_bytes", "rss_highest_seen_bytes"] {
        capture["summary"][name] = json!(next());
    }
    capture["summary"]["lazyfree_bytes"] = json!(next().unsigned_abs());
    capture["capture"]["duration_ns"] = json!(duration);
    capture
}

fn any_capture() -> impl Strategy<Value = Value> {
    let near = -1_000_000_000i64..1_000_000_000;
    let number = prop_oneof![4 => near, 1 => any::<i64>()];
    let duration = prop_oneof![Just(14_000_000_000u64), any::<u64>()];
    (prop::collection::vec(number, 1..24), duration)
        .prop_map(|(numbers, duration)| changed(&numbers, duration))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn of_b_and_a_everything_is_the_other_way_round(a in any_capture(), b in any_capture()) {
        let (there, back) = (compared(&a, &b), compared(&b, &a));
        let (there, back) = (quantities(&there), quantities(&back));
        prop_assert_eq!(there.len(), back.len());
        for (there, back) in there.into_iter().zip(back) {
            prop_assert_eq!((there.a, there.b), (back.b, back.a));
            prop_assert_eq!(there.change.map(|change| -change), back.change);
            prop_assert_eq!(there.judged, back.judged);
            let rates = |quantity: Quantity| quantity.per_second.map(|rate| rate.change);
            prop_assert_eq!(rates(there).map(|rate| rate.map(|rate| -rate)), rates(back));
        }
    }

    #[test]
    fn of_a_and_a_nothing_differs(a in any_capture()) {
        let diff = compared(&a, &a);
        prop_assert_eq!(diff.headline.as_str(), "Nothing differs");
        for quantity in quantities(&diff) {
            prop_assert!(quantity.change.is_none_or(|change| change == 0));
            prop_assert!(!quantity.is_changed());
        }
    }

    #[test]
    fn no_number_breaks_a_view(a in any_capture(), b in any_capture()) {
        let diff = compared(&a, &b);
        for width in [80, 120] {
            let shown = shown(&diff, width);
            let widest = shown.lines().map(|line| line.chars().count()).max();
            prop_assert!(widest <= Some(width), "{}", shown);
        }
        let page = view::diff_page(&diff);
        prop_assert!(!page.contains("NaN") && !page.contains("inf"), "{}", page);
    }
}

// --- the command --------------------------------------------------------------------------------------------------------

#[test]
fn json_is_as_its_schema_says() {
    let (a, b) = (
        path("docs/captures/go1.15-service.json"),
        path("docs/captures/go1.15-madvdontneed.json"),
    );
    let output = run(&["diff", "--json", &a, &b]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found = json(&output);
    let schema = value(include_str!("../../../docs/memtrace-diff-1.schema.json"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&found)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(found["schema"], "memtrace-diff/1");
    assert_eq!(found["a"]["rss"].as_array().unwrap().len(), 14);
    let back: Diff = serde_json::from_value(found).unwrap();
    assert_eq!(back.answers.changed, Some(true));
}

#[test]
fn the_last_of_several_epochs_is_compared_and_that_is_said() {
    let (a, b) = (
        path("fuzz/seeds/capture/exec.json"),
        path("fuzz/seeds/capture/lazy-free.json"),
    );
    let output = run(&["diff", &a, &b]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "In A the process replaced its program once: the last one is compared.",
        "The process of A has ended: there is no RSS at the end.",
        "python3 (6784)",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in: {shown}");
    }
}

#[test]
fn an_incomplete_capture_is_said_and_has_its_exit_code() {
    let (a, b) = (
        path("docs/captures/go1.15-service.json"),
        path("fuzz/seeds/capture/exec.partial"),
    );
    let output = run(&["diff", &a, &b]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(
        shown.contains("B is incomplete: memtrace did not bring it to its end"),
        "{shown}"
    );
}

#[test]
fn a_file_that_is_no_capture_is_one_error_and_nothing_is_printed() {
    let capture = path("docs/captures/go1.15-service.json");
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.json");
    fs::write(&broken, &FREE[..FREE.len() / 2]).unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, parts) in [
        (
            [capture.as_str(), broken],
            ["broken.json", "it ends at line"],
        ),
        (
            [capture.as_str(), "/nowhere.json"],
            ["/nowhere.json", "there is no such file"],
        ),
    ] {
        let output = run(&["diff", arguments[0], arguments[1]]);
        fails_with(&output, 1, &parts);
        assert_eq!(text(&output.stdout), "");
    }
    let output = run(&["diff", "-", "-"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("both captures cannot come from standard input"),
        "{error}"
    );
    let dump = path("fuzz/seeds/dump/service.dump");
    let output = run(&["diff", &dump, &capture]);
    fails_with(
        &output,
        1,
        &["service.dump", "dump of pprofplus", "memtrace report"],
    );
}

// --- the page -----------------------------------------------------------------------------------------------------------

#[test]
fn a_hostile_name_is_text_on_the_page_and_harmless_in_the_terminal() {
    const HOSTILE: &str = "</style><script>alert(1)</script>\"'&\u{1b}[2J\u{202e}";
    let mut a = value(FREE);
    a["target"]["comm"] = json!(HOSTILE);
    a["target"]["exe"] = json!(HOSTILE);
    a["target"]["cmdline"] = json!([HOSTILE]);
    a["target"]["runtime"]["settings"][HOSTILE] = json!(HOSTILE);
    a["host"]["kernel"] = json!(HOSTILE);
    a["summary"]["causes"][2]["advice"] = json!(HOSTILE);
    a["verdict"]["id"] = json!(HOSTILE);
    a["verdict"]["title"] = json!(HOSTILE);
    a["capture"]["started_at"] = json!(HOSTILE);
    let diff = compared(&a, &value(DONTNEED));
    let page = view::diff_page(&diff);
    assert!(page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(page.matches("</style>").count(), 1);
    for letter in ['\u{1b}', '\u{202e}'] {
        assert!(!page.contains(letter), "{letter:?}");
        assert!(!shown(&diff, 100).contains(letter), "{letter:?}");
    }
}

#[test]
fn the_page_loads_nothing_and_holds_both_lines() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("diff.html");
    let (a, b) = (
        path("docs/captures/go1.15-service.json"),
        path("docs/captures/go1.15-madvdontneed.json"),
    );
    let output = run(&["diff", &a, &b, "--html", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = fs::read_to_string(&out).unwrap();
    assert!(
        page.contains("default-src 'none'; style-src 'sha256-"),
        "{page}"
    );
    for foreign in [
        "http:", "https:", "//", "url(", "@import", "<script", "src=",
    ] {
        assert!(!page.contains(foreign), "{foreign} in {page}");
    }
    assert_eq!(page.matches("<polyline").count(), 2);
    let points = page
        .split("<polyline class=\"a\" points=\"")
        .nth(1)
        .unwrap();
    let points = points.split('"').next().unwrap();
    assert_eq!(points.split_whitespace().count(), 14);
    assert!(page.contains("prefers-color-scheme: dark"));
    // Nothing else is left in the folder.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
