//! What visitors are told: everything, once, and the same as the capture file holds.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::client::{Event, Served, Ticks, serve};
use crate::common::{Guard, copy_program, needs_root, row, signal, sleeper};

fn ended(served: &mut Served) {
    assert!(served.memtrace.0.wait().unwrap().success());
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The exact number in a cell of the page's ledger.
fn cell(event: &Event, cause: &str, column: &str) -> Option<i64> {
    let panels = event.data["epoch"]["panels"].as_array().unwrap();
    let ledger = panels.iter().find(|panel| panel["id"] == "ledger").unwrap();
    let table = &ledger["blocks"][0];
    let mut columns = table["columns"].as_array().unwrap().iter();
    let place = columns.position(|known| known["name"] == column).unwrap();
    let mut rows = table["rows"].as_array().unwrap().iter();
    let row = rows.find(|row| row["cells"][0]["text"] == cause).unwrap();
    row["cells"][place]["value"].as_i64()
}

#[test]
fn the_numbers_are_those_of_the_capture_file_for_early_and_late_visitors() {
    if needs_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.json");
    let name = file.to_str().unwrap();
    let arguments = [
        "demo",
        "dontneed",
        "-i",
        "50ms",
        "-o",
        name,
        "--web",
        "127.0.0.1:0",
    ];
    let mut served = serve(&arguments);
    let mut early = served.visit();
    assert_eq!(early.head.status, 200);
    assert_eq!(early.head.header("content-type"), Some("text/event-stream"));
    // There is something to be late for.
    let mut first = Vec::new();
    while Ticks::all(&first).rss.len() < 20 {
        first.push(early.next().unwrap());
    }
    let early = thread::spawn(move || {
        first.extend(early.rest());
        first
    });
    let late = served.visit().rest();
    let early = early.join().unwrap();
    ended(&mut served);

    let capture = read(&file);
    let whole = Ticks::in_file(&capture);
    for events in [&early, &late] {
        let (first, rest) = events.split_first().unwrap();
        let (last, updates) = rest.split_last().unwrap();
        assert_eq!((first.name.as_str(), last.name.as_str()), ("state", "end"));
        assert!(updates.iter().all(|event| event.name == "update"));
        // Each tick once, in order, and none left out.
        assert_eq!(Ticks::all(events), whole);
        let closing = updates.last().unwrap();
        assert!(closing.data["head"]["ended"].is_string());
        for (cause, advice, name) in [
            ("fault", None, "fault"),
            ("madvise", Some("MADV_DONTNEED"), "madvise DONTNEED"),
        ] {
            let row = row(&capture, cause, advice);
            let moved = row["rss_delta_bytes"].as_i64();
            assert_ne!(moved, Some(0));
            assert_eq!(cell(closing, name, "RSS"), moved);
            assert_eq!(cell(closing, name, "calls"), row["calls"].as_i64());
        }
    }
    assert!(Ticks::of(&late[0]).rss.len() >= 20);
    assert!(Ticks::of(&early[0]).rss.len() < Ticks::of(&late[0]).rss.len());
}

#[test]
fn ten_updates_a_second_are_enough() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let served = serve(&["-p", &pid, "-i", "10ms", "-d", "3s", "--web", "127.0.0.1:0"]);
    let mut visitor = served.visit();
    assert_eq!(visitor.next().unwrap().name, "state");
    let begun = Instant::now();
    let updates = visitor.rest();
    let most = begun.elapsed().as_millis() / 100 + 3;
    assert!(updates.len() as u128 <= most, "{} in {most}", updates.len());
    assert!(updates.len() > 10, "{}", updates.len());
    assert!(Ticks::all(&updates).rss.len() > updates.len() * 2);
}

/// A process may call itself what it likes.
#[test]
fn a_hostile_name_is_data() {
    if needs_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // What would end an event, or begin a tag.
    let program = folder.path().join("\n\ndata:{}<b>x");
    copy_program("/bin/sleep", &program);
    let mut command = Command::new(&program);
    command.arg0("</script><script>alert(1)</script>\n\nevent: end\ndata: {}\n\n");
    let target = Guard(command.arg("1000").stdin(Stdio::null()).spawn().unwrap());
    let pid = target.0.id().to_string();
    let mut served = serve(&[
        "-p",
        &pid,
        "-i",
        "100ms",
        "-d",
        "2s",
        "--web",
        "127.0.0.1:0",
    ]);
    // The reader here asserts that each event is one line of JSON.
    let events = served.visit().rest();
    ended(&mut served);
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    let ends = names.iter().filter(|name| **name == "end").count();
    assert_eq!((names[0], names.last(), ends), ("state", Some(&"end"), 1));
    let process = events[0].data["head"]["process"].as_str().unwrap();
    assert!(process.contains("data:{}"), "{process}");
}

#[test]
fn all_are_told_of_the_end_and_memtrace_does_not_wait_for_who_does_not_listen() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let mut served = serve(&["-p", &pid, "-i", "100ms", "--web", "127.0.0.1:0"]);
    let mut visitor = served.visit();
    // One who asks for nothing, one who asks by and by, and one who does not read.
    let idle = served.connect();
    let mut silent = served.connect();
    served.ask_for_events(&mut silent);
    assert_eq!(visitor.next().unwrap().name, "state");
    signal(&served.memtrace.0, libc::SIGINT);
    let begun = Instant::now();
    let events = visitor.rest();
    let [.., closing, end] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end.name, "end");
    assert!(
        closing.data["head"]["ended"].is_string(),
        "{}",
        closing.data["head"]
    );
    ended(&mut served);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    drop((idle, silent));
}
