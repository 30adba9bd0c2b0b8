//! CSV, read by two readers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::captures::{
    EXEC, LAZY_FREE, NULLS, SERVICE, approximate, command, epochs, exported, fed, is_missing, text,
    ticks, value,
};

type Row = BTreeMap<String, String>;

fn rows(csv: &[u8]) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(csv);
    let columns = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let pairs = columns.iter().zip(record.iter());
            let row: Row = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(row.len(), columns.len(), "two columns have one name");
            row
        })
        .collect()
}

fn table(capture: &[u8]) -> Vec<Row> {
    rows(&exported(capture, &["--to", "csv"]))
}

/// A number as a cell shows it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        number => number.to_string(),
    }
}

/// Where a column's figure stands in a tick.
fn figure<'a>(tick: &'a Value, column: &str) -> &'a Value {
    for part in ["go", "cgroup"] {
        if let Some(name) = column.strip_prefix(&format!("{part}_")) {
            return &tick[part][name];
        }
    }
    &tick[column]
}

fn name(cause: &Value) -> String {
    let parts = [&cause["cause"], &cause["advice"], &cause["task"]];
    let parts: Vec<_> = parts.iter().filter_map(|part| part.as_str()).collect();
    parts.join("_")
}

/// Every figure of every tick is in its cell, and no cell holds anything else.
#[track_caller]
fn is_the_capture(capture: &Value, rows: &[Row]) {
    let mut rows = rows.iter();
    for (number, epoch) in epochs(capture).into_iter().enumerate() {
        for tick in ticks(epoch) {
            let mut row = rows.next().unwrap().clone();
            let mut is = |column: &str, expected: &str| {
                let found = row.remove(column);
                assert_eq!(found.as_deref(), Some(expected), "{column} of {tick}");
            };
            is("epoch", &number.to_string());
            is("pid", &cell(&epoch["target"]["pid"]));
            is("comm", epoch["target"]["comm"].as_str().unwrap());
            for cause in tick["causes"].as_array().unwrap() {
                let name = name(cause);
                is(
                    &format!("{name}_rss_delta_bytes"),
                    &cell(&cause["rss_delta_bytes"]),
                );
                let swap = match (&cause["rss_delta_bytes"], &cause["swap_delta_bytes"]) {
                    (Value::Null, _) => String::new(),
                    (_, Value::Null) => "0".to_owned(),
                    (_, swap) => swap.to_string(),
                };
                is(&format!("{name}_swap_delta_bytes"), &swap);
                if cause.get("calls").is_some() {
                    is(&format!("{name}_calls"), &cell(&cause["calls"]));
                    is(
                        &format!("{name}_requested_bytes"),
                        &cell(&cause["requested_bytes"]),
                    );
                }
            }
            assert!(row.remove("time").unwrap().starts_with("2026-"));
            for (column, found) in row {
                let is_cause = ["_calls", "_requested_bytes", "_delta_bytes"]
                    .iter()
                    .any(|end| column.ends_with(end));
                if is_cause {
                    // Nothing happened, or it is not known.
                    assert!(found == "0" || found.is_empty(), "{column}: {found}");
                } else {
                    assert_eq!(found, cell(figure(tick, &column)), "{column} of {tick}");
                }
            }
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn every_cell_is_the_captures_own_figure() {
    for capture in [LAZY_FREE, EXEC, NULLS, SERVICE] {
        is_the_capture(&value(capture), &table(capture));
    }
}

#[test]
fn columns_stand_in_a_fixed_order_and_the_causes_behind_them() {
    let csv = text(&exported(SERVICE, &["--to", "csv"]));
    let header = csv.lines().next().unwrap();
    assert!(
        header.starts_with("epoch,time,t_ns,pid,comm,rss_bytes,anon_bytes,file_bytes,shmem_bytes,swap_bytes,vm_bytes,lazyfree_bytes,anon_huge_bytes,unexplained_bytes,unexplained_bound_bytes,faults,go_sys_bytes,"),
        "{header}"
    );
    assert!(
        header.ends_with(",cgroup_limit_hits,fault_rss_delta_bytes,fault_swap_delta_bytes,mmap_calls,mmap_requested_bytes,mmap_rss_delta_bytes,mmap_swap_delta_bytes,madvise_MADV_FREE_calls,madvise_MADV_FREE_requested_bytes,madvise_MADV_FREE_rss_delta_bytes,madvise_MADV_FREE_swap_delta_bytes,madvise_MADV_NOHUGEPAGE_calls,madvise_MADV_NOHUGEPAGE_requested_bytes,madvise_MADV_NOHUGEPAGE_rss_delta_bytes,madvise_MADV_NOHUGEPAGE_swap_delta_bytes"),
        "{header}"
    );
    assert!(csv.ends_with('\n') && !csv.contains('\r'));
}

#[test]
fn the_causes_add_up_to_the_change_of_rss() {
    let rows = table(SERVICE);
    let number = |row: &Row, column: &str| row[column].parse::<i64>().unwrap();
    for pair in rows.windows(2) {
        let moved: i64 = pair[1]
            .keys()
            .filter(|column| column.ends_with("_rss_delta_bytes"))
            .map(|column| number(&pair[1], column))
            .sum();
        let change = number(&pair[1], "rss_bytes") - number(&pair[0], "rss_bytes");
        assert_eq!(moved, change);
    }
}

#[test]
fn what_is_not_known_is_empty_and_what_did_not_happen_is_0() {
    // Of a cause that another tick names: hooked, and in the ledger.
    let exact = table(SERVICE);
    assert_eq!(exact[0]["madvise_MADV_FREE_calls"], "0");
    assert_eq!(exact[0]["madvise_MADV_FREE_rss_delta_bytes"], "0");
    // Without a ledger.
    let sampled = table(&approximate(SERVICE));
    for row in &sampled {
        assert_eq!(row["madvise_MADV_FREE_rss_delta_bytes"], "");
        assert_eq!(row["madvise_MADV_FREE_swap_delta_bytes"], "");
    }
    assert_eq!(sampled[0]["madvise_MADV_FREE_calls"], "0");
    // Without the hook.
    let mut unhooked = value(SERVICE);
    for hook in unhooked["capture"]["hooks"].as_array_mut().unwrap() {
        if hook["name"] == "madvise" {
            hook["kind"] = Value::Null;
        }
    }
    let unhooked = table(unhooked.to_string().as_bytes());
    assert_eq!(unhooked[0]["madvise_MADV_FREE_calls"], "");
    assert_eq!(unhooked[0]["madvise_MADV_FREE_requested_bytes"], "");
    assert_eq!(unhooked[0]["madvise_MADV_FREE_rss_delta_bytes"], "0");
    assert_eq!(unhooked[0]["mmap_calls"], "0");
}

#[test]
fn pythons_reader_reads_the_same() {
    if is_missing("python3 -c 'import csv, json'", "python3") {
        return;
    }
    let mut hostile = value(EXEC);
    hostile["target"]["comm"] = json!("a,\"b\"\n;'c");
    hostile["timeline"][0]["causes"][0]["cause"] = json!("other_process");
    hostile["timeline"][0]["causes"][0]["task"] = json!("=\",\u{1b}[2J");
    let csv = exported(hostile.to_string().as_bytes(), &["--to", "csv"]);
    let ours = serde_json::to_value(rows(&csv)).unwrap();
    let mut python = std::process::Command::new("python3");
    python.args([
        "-c",
        "import csv, io, json, sys
source = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8', newline='')
json.dump(list(csv.DictReader(source, strict=True)), sys.stdout)",
    ]);
    let output = fed(python, &csv);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(value(&output.stdout), ours);
    let last = ours.as_array().unwrap().last().unwrap();
    assert_eq!(last["comm"], "a,\"b\"\\u{a};'c");
    assert!(text(&csv).contains(r#""other_process_="",\u{1b}[2J_rss_delta_bytes""#));
}

#[test]
fn more_causes_than_columns_are_refused() {
    let mut crowded = value(LAZY_FREE);
    let causes: Vec<_> = (0..4097)
        .map(|number| json!({"cause": "other_process", "task": number.to_string(), "rss_delta_bytes": 0}))
        .collect();
    crowded["timeline"][0]["causes"] = json!(causes);
    let output = fed(
        command(&["-", "--to", "csv"]),
        crowded.to_string().as_bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("more than 4096 different causes"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a process calls itself, the table keeps its shape, and no cell is a formula or moves a cursor.
    #[test]
    fn no_name_breaks_the_table(comm in prop_oneof![any::<String>(), "[ =+@-]{1,3}[a-z(]{1,8}"], task in "[=+@,;\"'\r\n\t\\PC-]{0,15}") {
        let mut hostile = value(LAZY_FREE);
        let ticks = hostile["timeline"].as_array().unwrap().len();
        hostile["target"]["comm"] = json!(comm);
        hostile["timeline"][0]["causes"][0]["cause"] = json!("other_process");
        hostile["timeline"][0]["causes"][0]["task"] = json!(task);
        let csv = exported(hostile.to_string().as_bytes(), &["--to", "csv"]);
        let csv_text = String::from_utf8(csv.clone()).unwrap();
        prop_assert_eq!(csv_text.lines().count(), ticks + 1);
        prop_assert!(!csv_text.chars().any(|letter| letter.is_control() && letter != '\n'));
        let rows = rows(&csv);
        prop_assert_eq!(rows.len(), ticks);
        for (column, cell) in rows.iter().flatten().filter(|(_, cell)| cell.parse::<i64>().is_err()) {
            let first = cell.trim_start().chars().next();
            prop_assert!(!matches!(first, Some('=' | '+' | '-' | '@')), "{}: {}", column, cell);
        }
    }
}
