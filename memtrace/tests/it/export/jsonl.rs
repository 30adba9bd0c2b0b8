//! JSON Lines, line by line.

use serde_json::{Value, json};

use super::captures::{EXEC, JOURNAL, LAZY_FREE, NULLS, SERVICE, epochs, exported, ticks, value};

fn lines(capture: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(exported(capture, &["--to", "jsonl"])).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_lines_hold_the_capture_and_nothing_else() {
    for capture in [LAZY_FREE, EXEC, NULLS, SERVICE] {
        let mut expected = Vec::new();
        let written = value(capture);
        expected.push(json!({
            "record": "header",
            "schema": "memtrace-lines/1",
            "memtrace_version": written["memtrace_version"],
            "host": written["host"],
            "epochs": epochs(&written).len(),
        }));
        let lines = lines(capture);
        for (number, epoch) in epochs(&written).into_iter().enumerate() {
            expected.push(json!({
                "record": "epoch",
                "epoch": number,
                "target": epoch["target"],
                "capture": epoch["capture"],
            }));
            for tick in ticks(epoch) {
                let mut tick = tick.clone();
                tick["record"] = json!("tick");
                tick["epoch"] = json!(number);
                // Below.
                tick["time"] = lines[expected.len()]["time"].clone();
                expected.push(tick);
            }
            expected
                .push(json!({"record": "summary", "epoch": number, "summary": epoch["summary"]}));
            // A version that did not judge has written some of the captures.
            let verdict = match &epoch["verdict"] {
                Value::Null => lines[expected.len()]["verdict"].clone(),
                verdict => verdict.clone(),
            };
            assert!(verdict["id"].is_string());
            expected.push(json!({"record": "verdict", "epoch": number, "verdict": verdict}));
        }
        for (found, expected) in lines.iter().zip(&expected) {
            assert_eq!(without_nulls(found), without_nulls(expected));
        }
        assert_eq!(lines.len(), expected.len());
    }
}

/// A field that an earlier version did not write is `null` now.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null() && **value != json!([]))
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_tick_has_the_time_of_day() {
    let lines = lines(SERVICE);
    let tick = lines.iter().find(|line| line["record"] == "tick").unwrap();
    // 00:26:03.288731024 and 1.009176469 s.
    assert_eq!(tick["t_ns"], 1_009_176_469);
    assert_eq!(tick["time"], "2026-11-27T00:26:04.297907493Z");
}

#[test]
fn a_capture_that_does_not_say_when_it_began_has_no_times() {
    let mut timeless = value(LAZY_FREE);
    timeless["capture"]["started_at"] = json!("yesterday");
    let lines = lines(timeless.to_string().as_bytes());
    let ticks: Vec<_> = lines
        .iter()
        .filter(|line| line["record"] == "tick")
        .collect();
    assert!(!ticks.is_empty());
    assert!(ticks.iter().all(|tick| tick["time"] == Value::Null));
}

#[test]
fn a_journal_is_exported_as_far_as_it_goes() {
    let lines = lines(JOURNAL);
    let of = |record: &str| lines.iter().filter(|line| line["record"] == record).count();
    let ticks = String::from_utf8_lossy(JOURNAL)
        .lines()
        .filter(|line| line.starts_with("{\"tick\":"))
        .count();
    assert_eq!(of("tick"), ticks);
    assert_eq!((of("epoch"), of("summary"), of("verdict")), (2, 2, 2));
    let order: Vec<_> = lines
        .iter()
        .filter_map(|line| line["epoch"].as_u64())
        .collect();
    assert!(order.is_sorted());
    assert_eq!(
        lines
            .iter()
            .rev()
            .find(|line| line["record"] == "epoch")
            .unwrap()["capture"]["end"],
        "interrupted"
    );
}
