//! What an export holds in memory does not grow with the capture.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::captures::{SERVICE, command, ticks, value};

/// Of two captures. The larger one is 6 MB, and its ticks, were they held, some 9 MB.
const TICKS: [u64; 2] = [300, 8_000];
/// What they may differ by: the timeline's samples may take 4 MB until they are put into a file.
const MOST_KIB: u64 = 6 << 10;

/// The service's capture, with its ticks over and over.
fn generate(path: &Path, count: u64) {
    let mut capture = value(SERVICE);
    let base = ticks(&capture).to_vec();
    capture["timeline"] = Value::Array(Vec::new());
    let text = capture.to_string();
    let (before, after) = text.split_once("\"timeline\":[").unwrap();
    let mut out = BufWriter::new(File::create(path).unwrap());
    write!(out, "{before}\"timeline\":[").unwrap();
    for (number, tick) in (0..count).zip(base.iter().cycle()) {
        let mut tick = tick.clone();
        tick["t_ns"] = ((number + 1) * 1_000_000_000).into();
        write!(out, "{}{tick}", if number > 0 { "," } else { "" }).unwrap();
    }
    write!(out, "{after}").unwrap();
    out.into_inner().unwrap();
}

/// The highest RSS of an export, in KiB, as far as it was looked at.
fn peak(arguments: &[&str]) -> u64 {
    let mut child = command(arguments).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success());
    assert!(peak > 0, "it ended before it was looked at");
    peak
}

#[test]
fn memory_does_not_grow_with_the_capture() {
    let dir = tempfile::tempdir().unwrap();
    let paths = TICKS.map(|count| {
        let path = dir.path().join(format!("{count}.json"));
        generate(&path, count);
        path
    });
    for format in [
        &["csv"][..],
        &["jsonl"],
        &["openmetrics"],
        &["openmetrics", "--timeline"],
        &["perfetto"],
    ] {
        let [small, large] = paths
            .each_ref()
            .map(|path| peak(&[&[path.to_str().unwrap(), "--to"], format].concat()));
        assert!(
            large < small + MOST_KIB,
            "{format:?}: {small} KiB, then {large} KiB"
        );
        eprintln!("{format:?}: {small} KiB, then {large} KiB");
    }
}
