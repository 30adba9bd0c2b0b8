//! A Perfetto trace, read by a decoder that knows the wire format and, of Perfetto's own definitions, the numbers below alone:
//! <https://github.com/google/perfetto/tree/ec5d16b14b743ba6063d720956d6d6af6610fd72/protos/perfetto>.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};

use super::captures::{
    EXEC, LAZY_FREE, SERVICE, approximate, command, epochs, exported, fed, text, ticks, value,
};

// trace/trace_packet.proto
const TIMESTAMP: u64 = 8;
const TIMESTAMP_CLOCK_ID: u64 = 58;
const TRUSTED_PACKET_SEQUENCE_ID: u64 = 10;
const SEQUENCE_FLAGS: u64 = 13;
const CLOCK_SNAPSHOT: u64 = 6;
const TRACK_EVENT: u64 = 11;
const TRACK_DESCRIPTOR: u64 = 60;
// trace/clock_snapshot.proto
const PRIMARY_TRACE_CLOCK: u64 = 2;
// common/builtin_clock.proto
const REALTIME: u64 = 1;
// trace/track_event/track_descriptor.proto
const UUID: u64 = 1;
const NAME: u64 = 2;
const PROCESS: u64 = 3;
const PARENT_UUID: u64 = 5;
const COUNTER: u64 = 8;
// trace/track_event/process_descriptor.proto
const PID: u64 = 1;
const PROCESS_NAME: u64 = 6;
// trace/track_event/counter_descriptor.proto
const UNIT: u64 = 3;
const UNIT_COUNT: u64 = 2;
const UNIT_SIZE_BYTES: u64 = 3;
// trace/track_event/track_event.proto
const TYPE: u64 = 9;
const TRACK_UUID: u64 = 11;
const EVENT_NAME: u64 = 23;
const COUNTER_VALUE: u64 = 30;
const DOUBLE_COUNTER_VALUE: u64 = 44;
const TYPE_INSTANT: u64 = 3;
const TYPE_COUNTER: u64 = 4;

/// A field's value on the wire: <https://protobuf.dev/programming-guides/encoding/>.
#[derive(Clone, Debug)]
enum Wire {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
}

/// A message's fields by their numbers. None that is written occurs twice, but in a list.
struct Message(BTreeMap<u64, Vec<Wire>>);

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    unreachable!("a varint has ten bytes at most");
}

fn message(mut bytes: &[u8]) -> Message {
    let mut fields = BTreeMap::<u64, Vec<Wire>>::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)),
            1 => {
                let (value, rest) = bytes.split_at(8);
                bytes = rest;
                Wire::Fixed64(u64::from_le_bytes(value.try_into().unwrap()))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Wire::Bytes(value.to_vec())
            }
            other => unreachable!("wire type {other}"),
        };
        fields.entry(tag >> 3).or_default().push(value);
    }
    Message(fields)
}

impl Message {
    fn one(&self, number: u64) -> Option<&Wire> {
        let values = self.0.get(&number)?;
        assert_eq!(values.len(), 1, "field {number}");
        values.first()
    }

    fn number(&self, number: u64) -> Option<u64> {
        self.one(number).map(|value| match value {
            Wire::Varint(value) | Wire::Fixed64(value) => *value,
            Wire::Bytes(_) => unreachable!("field {number} is a number"),
        })
    }

    fn bytes(&self, number: u64) -> Option<&[u8]> {
        self.one(number).map(|value| match value {
            Wire::Bytes(value) => &value[..],
            _ => unreachable!("field {number} has a length"),
        })
    }

    fn text(&self, number: u64) -> Option<String> {
        self.bytes(number)
            .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn part(&self, number: u64) -> Option<Message> {
        self.bytes(number).map(message)
    }
}

#[derive(Default)]
struct Track {
    unit: Option<u64>,
    parent: Option<u64>,
    /// ns since 1970, and the value.
    values: Vec<(u64, f64)>,
}

#[derive(Default)]
struct Trace {
    process: Option<(u64, u64, String)>,
    tracks: BTreeMap<String, Track>,
    instants: Vec<(u64, String)>,
}

fn trace(capture: &[u8]) -> Trace {
    let bytes = exported(capture, &["--to", "perfetto"]);
    let whole = message(&bytes);
    // Nothing but packets.
    assert_eq!(whole.0.keys().collect::<Vec<_>>(), [&1]);
    let mut trace = Trace::default();
    let mut names = BTreeMap::new();
    for (number, packet) in whole.0[&1].iter().enumerate() {
        let Wire::Bytes(packet) = packet else {
            unreachable!("a packet is a message")
        };
        let packet = message(packet);
        assert_eq!(packet.number(TRUSTED_PACKET_SEQUENCE_ID), Some(1));
        if number == 0 {
            assert_eq!(packet.number(SEQUENCE_FLAGS), Some(1));
            let snapshot = packet.part(CLOCK_SNAPSHOT).unwrap();
            assert_eq!(snapshot.number(PRIMARY_TRACE_CLOCK), Some(REALTIME));
        } else if let Some(track) = packet.part(TRACK_DESCRIPTOR) {
            let uuid = track.number(UUID).unwrap();
            let name = track.text(NAME).unwrap();
            if let Some(process) = track.part(PROCESS) {
                let pid = process.number(PID).unwrap();
                trace.process = Some((uuid, pid, process.text(PROCESS_NAME).unwrap()));
            } else {
                let found = Track {
                    unit: track.part(COUNTER).unwrap().number(UNIT),
                    parent: track.number(PARENT_UUID),
                    values: Vec::new(),
                };
                assert!(trace.tracks.insert(name.clone(), found).is_none(), "{name}");
            }
            assert!(names.insert(uuid, name).is_none(), "{uuid} is there twice");
        } else {
            let event = packet.part(TRACK_EVENT).unwrap();
            assert_eq!(packet.number(TIMESTAMP_CLOCK_ID), Some(REALTIME));
            let time = packet.number(TIMESTAMP).unwrap();
            let name = &names[&event.number(TRACK_UUID).unwrap()];
            match event.number(TYPE) {
                Some(TYPE_INSTANT) => trace.instants.push((time, event.text(EVENT_NAME).unwrap())),
                Some(TYPE_COUNTER) => {
                    let value = match event.number(COUNTER_VALUE) {
                        Some(value) => value as i64 as f64,
                        None => f64::from_bits(event.number(DOUBLE_COUNTER_VALUE).unwrap()),
                    };
                    trace
                        .tracks
                        .get_mut(name)
                        .unwrap()
                        .values
                        .push((time, value));
                }
                other => unreachable!("{other:?}"),
            }
        }
    }
    trace
}

/// The value that a track shows at a time.
fn shown(track: &Track, time: u64) -> Option<f64> {
    let mut before = track.values.iter().filter(|(at, _)| *at <= time);
    before.next_back().map(|(_, value)| *value)
}

/// 2026-11-27T00:26:03.288731024Z, when the service's capture began, ns since 1970.
const BEGAN: u64 = 1_795_739_163_288_731_024;

#[test]
fn each_track_shows_the_captures_figure_at_each_tick() {
    let trace = trace(SERVICE);
    let (process, pid, name) = trace.process.clone().unwrap();
    assert_eq!((pid, name.as_str()), (27336, "service"));
    let capture = value(SERVICE);
    let mut sums = BTreeMap::<String, i64>::new();
    for tick in ticks(&capture) {
        let time = BEGAN + tick["t_ns"].as_u64().unwrap();
        let lazyfree = &tick["lazyfree_bytes"];
        let held = lazyfree
            .as_i64()
            .map(|lazy| tick["rss_bytes"].as_i64().unwrap() - lazy);
        for (name, figure) in [
            ("RSS", &tick["rss_bytes"]),
            ("anon", &tick["anon_bytes"]),
            ("swap", &tick["swap_bytes"]),
            ("VM", &tick["vm_bytes"]),
            ("LazyFree", lazyfree),
            ("RSS - LazyFree", &json!(held)),
            ("AnonHugePages", &tick["anon_huge_bytes"]),
            ("Go HeapInuse", &tick["go"]["heap_inuse_bytes"]),
            ("Go HeapReleased", &tick["go"]["heap_released_bytes"]),
            ("Go NumGC", &tick["go"]["num_gc"]),
            ("cgroup working set", &tick["cgroup"]["working_set_bytes"]),
        ] {
            // A track keeps its value where the tick has none.
            if let Some(figure) = figure.as_f64() {
                assert_eq!(shown(&trace.tracks[name], time), Some(figure), "{name}");
            }
        }
        for cause in tick["causes"].as_array().unwrap() {
            let parts = ["cause", "advice"].map(|part| cause[part].as_str());
            let name = parts.into_iter().flatten().collect::<Vec<_>>().join("_");
            *sums.entry(name).or_default() += cause["rss_delta_bytes"].as_i64().unwrap();
        }
        for (name, sum) in &sums {
            let track = &trace.tracks[&format!("RSS by {name}")];
            assert_eq!(shown(track, time), Some(*sum as f64), "{name}");
        }
    }
    assert_eq!(sums.len(), 4);
    for (name, track) in &trace.tracks {
        let is_count = ["faults/s", "Go NumGC"].contains(&name.as_str())
            || ["pglazyfree", "OOM kills", "limit hits"]
                .iter()
                .any(|count| name.contains(count));
        let unit = if is_count {
            UNIT_COUNT
        } else {
            UNIT_SIZE_BYTES
        };
        assert_eq!(track.unit, Some(unit), "{name}");
        assert_eq!(track.parent, Some(process), "{name}");
        assert!(track.values.is_sorted_by_key(|(time, _)| *time), "{name}");
    }
    // 37153 faults in 0.998813838 s.
    let rate = shown(&trace.tracks["faults/s"], BEGAN + 2_007_990_307).unwrap();
    assert!((rate - 37_197.12).abs() < 0.01, "{rate}");
}

#[test]
fn what_is_given_back_at_once_and_an_exec_are_marked() {
    let of_service: Vec<_> = trace(SERVICE)
        .instants
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(of_service, ["madvise_MADV_FREE: 307.4M freed lazily"]);
    let instants: Vec<_> = trace(EXEC)
        .instants
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert!(
        instants.contains(&"exec of python3".to_owned()),
        "{instants:?}"
    );
    assert!(
        instants.contains(&"madvise_MADV_DONTNEED: -4096K".to_owned()),
        "{instants:?}"
    );
}

#[test]
fn a_causes_sum_begins_anew_with_each_program() {
    let trace = trace(EXEC);
    let capture = value(EXEC);
    let sums: Vec<f64> = epochs(&capture)
        .into_iter()
        .map(|epoch| {
            let rows = epoch["summary"]["causes"].as_array().unwrap();
            let row = rows.iter().find(|row| row["cause"] == "fault").unwrap();
            row["rss_delta_bytes"].as_f64().unwrap()
        })
        .collect();
    let values: Vec<f64> = trace.tracks["RSS by fault"]
        .values
        .iter()
        .map(|(_, value)| *value)
        .collect();
    assert_eq!(values, sums);
}

#[test]
fn what_is_not_known_is_not_shown() {
    let trace = trace(&approximate(SERVICE));
    assert!(trace.tracks["RSS by fault"].values.is_empty());
    assert!(!trace.tracks["RSS"].values.is_empty());
    let mut unread = value(LAZY_FREE);
    for tick in unread["timeline"].as_array_mut().unwrap() {
        tick["lazyfree_bytes"] = Value::Null;
        tick["faults"] = Value::Null;
    }
    let trace = self::trace(unread.to_string().as_bytes());
    for name in ["LazyFree", "RSS - LazyFree", "faults/s", "Go Sys"] {
        assert!(trace.tracks[name].values.is_empty(), "{name}");
    }
    // And no further than it is known: the last tick but one is the last that has it.
    let mut once = value(LAZY_FREE);
    let count = ticks(&once).len();
    for (number, tick) in once["timeline"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        tick["vm_bytes"] = if number < count - 1 {
            json!(4096)
        } else {
            Value::Null
        };
    }
    let known = ticks(&once)[count - 2]["t_ns"].as_u64().unwrap();
    let first = ticks(&once)[0]["t_ns"].as_u64().unwrap();
    let trace = self::trace(once.to_string().as_bytes());
    let values = &trace.tracks["VM"].values;
    assert_eq!(values.len(), 2);
    assert_eq!(values[1].0 - values[0].0, known - first);
}

#[test]
fn a_terminal_is_not_written_to() {
    let capture = super::captures::seed("lazy-free.json");
    // script(1) gives it a terminal.
    let line = format!(
        "{} export {} --to perfetto",
        env!("CARGO_BIN_EXE_memtrace"),
        capture.display()
    );
    let Ok(output) = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .output()
    else {
        super::captures::is_missing("false", "bsdutils");
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let said = text(&output.stdout);
    assert!(said.contains("perfetto is a binary format"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
}

#[test]
fn without_a_time_of_day_there_is_no_trace() {
    let mut timeless = value(LAZY_FREE);
    timeless["capture"]["started_at"] = json!("yesterday");
    let output = fed(
        command(&["-", "--to", "perfetto"]),
        timeless.to_string().as_bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("it does not say when it began"));
}
