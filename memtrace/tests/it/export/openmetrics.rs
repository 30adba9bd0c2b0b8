//! OpenMetrics, read by Prometheus' own Python library, and held against the capture.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};

use super::captures::{
    EXEC, JOURNAL, LAZY_FREE, NULLS, SERVICE, approximate, command, epochs, exported, fed,
    is_missing, text, ticks, value,
};

/// A sample: its name and labels as they are written, its value, its time.
type Samples = Vec<(String, String, Option<String>)>;

fn samples(capture: &[u8], arguments: &[&str]) -> Samples {
    let text = text(&exported(
        capture,
        &[&["--to", "openmetrics"], arguments].concat(),
    ));
    assert!(text.ends_with("\n# EOF\n"));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, rest) = line.rsplit_once("} ").unwrap();
            let mut rest = rest.split(' ').map(str::to_owned);
            (format!("{series}}}"), rest.next().unwrap(), rest.next())
        })
        .collect()
}

fn of<'a>(samples: &'a Samples, series: &str) -> Vec<&'a str> {
    let found = samples.iter().filter(|(name, ..)| name == series);
    found.map(|(_, value, _)| value.as_str()).collect()
}

const LABELS: &str = r#"pid="27336",comm="service",epoch="0""#;

#[test]
fn the_state_at_the_end_is_the_summarys() {
    let samples = samples(SERVICE, &[]);
    let capture = value(SERVICE);
    let summary = &capture["summary"];
    let last = capture["timeline"].as_array().unwrap().last().unwrap();
    let is = |series: &str, expected: &Value| {
        assert_eq!(of(&samples, series), [expected.to_string()], "{series}");
    };
    for (name, expected) in [
        ("rss_bytes", &summary["rss_end_bytes"]),
        ("anon_bytes", &summary["end"]["anon_bytes"]),
        ("file_bytes", &summary["end"]["file_bytes"]),
        ("lazyfree_bytes", &summary["lazyfree_bytes"]),
        ("unexplained_bytes", &summary["unexplained_bytes"]),
        ("vm_bytes", &last["vm_bytes"]),
        ("go_heap_released_bytes", &last["go"]["heap_released_bytes"]),
        ("go_num_gc_total", &last["go"]["num_gc"]),
        (
            "cgroup_usage_bytes",
            &summary["cgroup"]["end"]["usage_bytes"],
        ),
        (
            "cgroup_memory_limit_bytes",
            &summary["cgroup"]["limit_bytes"],
        ),
        (
            "faults_total",
            &json!(
                summary["faults"]["user"].as_u64().unwrap()
                    + summary["faults"]["kernel"].as_u64().unwrap()
            ),
        ),
        (
            "lazily_freed_bytes_total",
            &summary["returned"]["lazily_freed_bytes"],
        ),
    ] {
        is(&format!("memtrace_{name}{{{LABELS}}}"), expected);
    }
    for row in summary["causes"].as_array().unwrap() {
        let cause = row["cause"].as_str().unwrap();
        let advice = row["advice"]
            .as_str()
            .map(|advice| format!(r#",advice="{advice}""#));
        let labels = format!(r#"{LABELS},cause="{cause}"{}"#, advice.unwrap_or_default());
        is(
            &format!("memtrace_rss_change_bytes{{{labels}}}"),
            &row["rss_delta_bytes"],
        );
        let series = format!("memtrace_calls_total{{{labels}}}");
        match &row["calls"] {
            Value::Null => assert!(of(&samples, &series).is_empty(), "{series}"),
            calls => is(&series, calls),
        }
    }
    assert!(samples.iter().all(|(.., time)| time.is_none()));
    let seconds = of(
        &samples,
        &format!(r#"memtrace_call_seconds_total{{{LABELS},cause="madvise",advice="MADV_FREE"}}"#),
    )[0];
    assert_eq!(seconds, "0.030079900");
    assert!(
        samples
            .iter()
            .any(|(series, ..)| series.contains(r#"id="lazy-free",confidence="high""#))
    );
}

#[test]
fn the_timeline_has_every_tick_and_its_sums_end_at_the_summarys() {
    for bytes in [SERVICE, EXEC, LAZY_FREE] {
        let capture = value(bytes);
        let samples = samples(bytes, &["--timeline"]);
        assert!(samples.iter().all(|(.., time)| time.is_some()));
        for (number, epoch) in epochs(&capture).into_iter().enumerate() {
            let target = &epoch["target"];
            let labels = format!(
                r#"pid="{}",comm={},epoch="{number}""#,
                target["pid"], target["comm"]
            );
            let rss: Vec<_> = ticks(epoch)
                .iter()
                .map(|tick| tick["rss_bytes"].to_string())
                .collect();
            assert_eq!(
                of(&samples, &format!("memtrace_rss_bytes{{{labels}}}")),
                rss
            );
            for row in epoch["summary"]["causes"].as_array().unwrap() {
                let own = ["cause", "advice", "task"]
                    .iter()
                    .filter(|name| row.get(**name).is_some())
                    .map(|name| format!(",{name}={}", row[*name]))
                    .collect::<String>();
                for (name, field) in [
                    ("rss_change_bytes", "rss_delta_bytes"),
                    ("calls_total", "calls"),
                    ("requested_bytes_total", "requested_bytes"),
                ] {
                    let series = format!("memtrace_{name}{{{labels}{own}}}");
                    let found = of(&samples, &series);
                    if row[field].is_null() {
                        assert!(found.is_empty(), "{series}");
                    } else {
                        assert_eq!(found.len(), rss.len(), "{series}");
                        assert_eq!(*found.last().unwrap(), row[field].to_string(), "{series}");
                    }
                }
            }
        }
    }
    // 00:26:03.288731024 and 1.009176469 s, in ms.
    let first = samples(SERVICE, &["--timeline"])[0].2.clone();
    assert_eq!(first.as_deref(), Some("1795739164.297"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let samples = samples(&approximate(SERVICE), &["--timeline"]);
    assert!(
        !samples
            .iter()
            .any(|(series, ..)| series.starts_with("memtrace_rss_change_bytes"))
    );
    assert!(
        samples
            .iter()
            .any(|(series, ..)| series.starts_with("memtrace_calls_total"))
    );
    // LazyFree is read at some ticks only.
    let read = |tick: &&Value| !tick["lazyfree_bytes"].is_null();
    let capture = value(SERVICE);
    let expected = ticks(&capture).iter().filter(read).count();
    assert!(expected > 0 && expected < ticks(&capture).len());
    assert_eq!(
        of(&samples, &format!("memtrace_lazyfree_bytes{{{LABELS}}}")).len(),
        expected
    );
    // After its end a process has no heap.
    let mut ended = value(SERVICE);
    ended["capture"]["end"] = json!("target_exited");
    let samples = self::samples(ended.to_string().as_bytes(), &[]);
    assert!(
        !samples
            .iter()
            .any(|(series, ..)| series.starts_with("memtrace_go_"))
    );
}

#[test]
fn of_two_ticks_in_a_ms_one_is_written() {
    let mut close = value(LAZY_FREE);
    let first = close["timeline"][0]["t_ns"].as_u64().unwrap();
    close["timeline"][1]["t_ns"] = json!(first + 1);
    let before = samples(LAZY_FREE, &["--timeline"]);
    let samples = samples(close.to_string().as_bytes(), &["--timeline"]);
    let count = |samples: &Samples| {
        samples
            .iter()
            .filter(|(series, ..)| series.starts_with("memtrace_rss_bytes{"))
            .count()
    };
    assert_eq!(count(&samples), count(&before) - 1);
    let mut times = BTreeMap::new();
    for (series, _, time) in samples {
        let time: f64 = time.unwrap().parse().unwrap();
        assert!(
            times
                .insert(series, time)
                .is_none_or(|before| before < time)
        );
    }
}

#[test]
fn without_a_time_of_day_there_is_no_timeline() {
    let mut timeless = value(LAZY_FREE);
    timeless["capture"]["started_at"] = json!("yesterday");
    let timeless = timeless.to_string();
    assert!(!samples(timeless.as_bytes(), &[]).is_empty());
    let output = fed(
        command(&["-", "--to", "openmetrics", "--timeline"]),
        timeless.as_bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("it does not say when it began"));
    let output = fed(command(&["-", "--to", "csv", "--timeline"]), LAZY_FREE);
    assert_eq!(output.status.code(), Some(2));
}

const PARSE: &str = "
import json, sys
from prometheus_client import samples
# Debian 12's 0.16 takes 1.2 s for later than 2.1 s: it compares the ns also where the seconds differ.
samples.Timestamp.__gt__ = lambda one, other: (one.sec, one.nsec) > (other.sec, other.nsec)
from prometheus_client.openmetrics.parser import text_string_to_metric_families
out = []
for family in text_string_to_metric_families(sys.stdin.buffer.read().decode('utf-8')):
    assert family.documentation and family.samples, family
    assert family.name.endswith('_bytes') == (family.unit == 'bytes'), family
    for sample in family.samples:
        out.append([family.type, sample.name, sample.labels, sample.value, float(sample.timestamp) if sample.timestamp is not None else None])
json.dump(out, sys.stdout)
";

/// One that has the library: the first in PATH need not be the distribution's.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut command = Command::new(python);
        command.args(["-c", "import prometheus_client.openmetrics.parser"]);
        command.output().is_ok_and(|output| output.status.success())
    })
}

#[test]
fn prometheus_own_parser_reads_every_sample() {
    let Some(python) = python() else {
        is_missing("false", "python3-prometheus-client");
        return;
    };
    let hostile = "a\\b\"c\nd\u{1b}[2J{}=,# EOF";
    let mut capture = value(EXEC);
    capture["target"]["comm"] = json!(hostile);
    capture["summary"]["causes"][0]["cause"] = json!("other_process");
    capture["summary"]["causes"][0]["task"] = json!(hostile);
    capture["target"]["exe"] = json!(hostile);
    let hostile = capture.to_string();
    for bytes in [SERVICE, LAZY_FREE, EXEC, NULLS, JOURNAL, hostile.as_bytes()] {
        for arguments in [&[][..], &["--timeline"]] {
            let text_of = exported(bytes, &[&["--to", "openmetrics"], arguments].concat());
            let mut parser = Command::new(python);
            parser.args(["-c", PARSE]);
            let output = fed(parser, &text_of);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let parsed = value(&output.stdout);
            let parsed = parsed.as_array().unwrap();
            let lines = text(&text_of)
                .lines()
                .filter(|line| !line.starts_with('#'))
                .count();
            assert_eq!(parsed.len(), lines);
            for sample in parsed {
                let is_total = sample[1].as_str().unwrap().ends_with("_total");
                assert_eq!(sample[0] == "counter", is_total, "{sample}");
            }
        }
    }
    let samples = exported(hostile.as_bytes(), &["--to", "openmetrics"]);
    let mut parser = Command::new(python);
    parser.args(["-c", PARSE]);
    let parsed = value(&fed(parser, &samples).stdout);
    // As it is shown in a terminal: nothing in it moves a cursor.
    assert_eq!(parsed[0][2]["comm"], "a\\b\"c\\u{a}d\\u{1b}[2J{}=,# EOF");
}
