//! The chart as SVG: what an XML reader finds in it is what the capture holds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs::File};

use memtrace::{
    export::svg::svg,
    model::Capture,
    timeline::{History, Loaded, load, read},
};
use proptest::prelude::*;
use roxmltree::{Document, Node};
use serde_json::{Value, json};

const ARTICLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/captures/go1.15-service.json"
);
const SECOND: u64 = 1_000_000_000;
const MIB: i64 = 1 << 20;

/// As `memtrace report` makes it of a file's bytes.
fn drawn(file: &[u8]) -> String {
    let Loaded {
        capture, digests, ..
    } = load::<History>(file).unwrap();
    svg(&capture, &History::joined(&capture, digests))
}

fn tick(t_ns: u64, rss: i64) -> Value {
    json!({
        "t_ns": t_ns, "rss_bytes": rss, "anon_bytes": rss, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0,
        "vm_bytes": null, "lazyfree_bytes": null, "anon_huge_bytes": null, "unexplained_bytes": 0,
        "unexplained_bound_bytes": 0, "faults": null, "causes": [], "go": null,
    })
}

fn moved(cause: &str, bytes: i64) -> Value {
    json!({"cause": cause, "rss_delta_bytes": bytes})
}

/// An epoch with these ticks.
fn epoch(comm: &str, ticks: Vec<Value>) -> Value {
    let last = |field: &str| ticks.last().map_or(json!(0), |tick| tick[field].clone());
    let zero = json!({"anon_bytes": 0, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0});
    json!({
        "target": {"pid": 4242, "comm": comm, "exe": "/usr/bin/service", "cmdline": ["service", "--password=hunter2"],
                   "start_time": null, "runtime": null},
        "capture": {
            "started_at": "2026-09-21T12:00:00.5Z", "duration_ns": last("t_ns"), "interval_ns": SECOND,
            "mode": "exact", "mode_note": null, "hooks": [], "lost_events": 0,
            "losses": {"ring_buffer": 0, "calls": 0, "errnos": 0, "counter_reads": 0, "epochs": 0, "skipped_runs": 0},
            "children": null, "end": "duration",
        },
        "summary": {
            "rss_start_bytes": 0, "rss_start_settled": true, "rss_end_bytes": last("rss_bytes"),
            "rss_highest_seen_bytes": 0, "unexplained_bytes": 0, "unexplained_bound_bytes": 0,
            "compared_with": "statm", "start": zero, "end": zero, "lazyfree_bytes": null, "causes": [],
            "faults": {"user": null, "kernel": null, "user_read": null, "user_write": null, "user_exec": null,
                       "kernel_read": null, "kernel_write": null},
        },
        "timeline": ticks, "verdict": null,
    })
}

fn capture(ticks: Vec<Value>) -> Value {
    let mut capture = json!({
        "schema": "memtrace/1", "memtrace_version": "0.1.0",
        "host": {"kernel": "6.12.1-amd64", "arch": "x86_64", "page_size": 4096, "cpus": 8},
        "earlier_epochs": [],
    });
    let whole = capture.as_object_mut().unwrap();
    whole.extend(epoch("service", ticks).as_object().unwrap().clone());
    capture
}

fn picture(capture: &Value) -> String {
    drawn(capture.to_string().as_bytes())
}

fn elements<'a>(
    document: &'a Document<'_>,
    name: &'static str,
    attribute: &'static str,
) -> Vec<Node<'a, 'a>> {
    let all = document.descendants();
    all.filter(|node| node.has_tag_name(name) || node.tag_name().name() == name)
        .filter(|node| node.has_attribute(attribute))
        .collect()
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, attribute: &str) -> T {
    let value = node
        .attribute(attribute)
        .unwrap_or_else(|| panic!("no {attribute}"));
    let Ok(value) = value.parse() else {
        panic!("{attribute} is {value}")
    };
    value
}

/// The line of this name.
fn series<'a>(document: &'a Document<'_>, name: &str) -> Option<Node<'a, 'a>> {
    let found = elements(document, "path", "data-name");
    found
        .into_iter()
        .find(|path| path.attribute("data-name") == Some(name))
}

/// The places of a path: where each line begins, and all of them.
fn places(path: Node<'_, '_>) -> (usize, Vec<(f64, f64)>) {
    let d = path.attribute("d").unwrap();
    let places = d.split(['M', 'L']).skip(1).map(|place| {
        let (x, y) = place.split_once(' ').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    });
    (d.matches('M').count(), places.collect())
}

/// The bytes that a height in the upper plot stands for, and how many a tenth of a px is.
fn bytes_at(document: &Document<'_>, y: f64) -> (f64, f64) {
    let plot = elements(document, "g", "data-low-bytes")[0];
    let value = |name: &str| number::<f64>(plot, name);
    let per_px = (value("data-high-bytes") - value("data-low-bytes"))
        / (value("data-high-y") - value("data-low-y"));
    let bytes = value("data-low-bytes") + (y - value("data-low-y")) * per_px;
    (bytes, per_px.abs() / 10.0)
}

/// What all bars together say of each cause.
fn sums(document: &Document<'_>) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for part in elements(document, "rect", "data-cause") {
        let name = part.attribute("data-cause").unwrap().to_owned();
        *sums.entry(name).or_insert(0) += number::<i128>(part, "data-bytes");
    }
    sums
}

fn text(document: &Document<'_>) -> String {
    let texts = document
        .descendants()
        .filter(|node| node.tag_name().name() == "text");
    texts
        .filter_map(|node| node.text())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Everything is inside of the picture.
fn inside(document: &Document<'_>) {
    let root = document.root_element();
    let (width, height) = (number::<f64>(root, "width"), number::<f64>(root, "height"));
    assert!(width > 0.0 && height > 0.0 && height < 2000.0, "{height}");
    let side = |value: f64, most: f64| assert!((0.0..=most).contains(&value), "{value} of {most}");
    for node in document.descendants() {
        for (name, most) in [("x", width), ("x1", width), ("x2", width), ("cx", width)]
            .into_iter()
            .chain([
                ("y", height),
                ("y1", height),
                ("y2", height),
                ("cy", height),
            ])
        {
            if node.has_attribute(name) {
                side(number(node, name), most);
            }
        }
        if node.tag_name().name() == "path" && node.has_attribute("data-name") {
            for (x, y) in places(node).1 {
                side(x, width);
                side(y, height);
            }
        }
    }
}

#[test]
fn the_articles_picture_holds_its_numbers() {
    let file = std::fs::read(ARTICLE).unwrap();
    let capture: Capture = read(file.as_slice()).unwrap();
    let svg = drawn(&file);
    let document = Document::parse(&svg).unwrap();
    inside(&document);
    let ticks = &capture.epoch.timeline;
    let rss = series(&document, "RSS").unwrap();
    let highest = ticks.iter().map(|tick| tick.rss_bytes).max().unwrap();
    assert_eq!(number::<i64>(rss, "data-highest-bytes"), highest);
    assert_eq!(
        number::<i64>(rss, "data-last-bytes"),
        capture.epoch.summary.rss_end_bytes
    );
    let (lines, places) = places(rss);
    assert_eq!((lines, places.len()), (1, ticks.len() + 1));
    for ((_, y), tick) in places.iter().skip(1).zip(ticks) {
        let (bytes, tenth) = bytes_at(&document, *y);
        let off = (bytes - tick.rss_bytes as f64).abs();
        assert!(off <= tenth, "{bytes} for {}", tick.rss_bytes);
    }
    let circles = elements(&document, "circle", "data-bytes");
    let dots = |class: &str| -> Vec<(u64, i64)> {
        let dots = circles
            .iter()
            .filter(|dot| dot.attribute("class") == Some(class));
        dots.map(|&dot| (number(dot, "data-t-ns"), number(dot, "data-bytes")))
            .collect()
    };
    let read = || {
        ticks
            .iter()
            .filter_map(|tick| Some((tick, tick.lazyfree_bytes?)))
    };
    let lazy: Vec<(u64, i64)> = read()
        .map(|(tick, lazy)| (tick.t_ns, lazy as i64))
        .collect();
    let held = read().map(|(tick, lazy)| (tick.t_ns, tick.rss_bytes - lazy as i64));
    assert_eq!(dots("lazy"), lazy);
    assert_eq!(dots("held"), held.collect::<Vec<_>>());
    let go = ticks.last().unwrap().go.unwrap();
    let released = series(&document, "HeapReleased").unwrap();
    let inuse = series(&document, "HeapInuse").unwrap();
    assert_eq!(
        Some(number(released, "data-last-bytes")),
        go.heap_released_bytes
    );
    assert_eq!(Some(number(inuse, "data-last-bytes")), go.heap_inuse_bytes);
    assert!(series(&document, "swap").is_none());
    let rows = capture.epoch.summary.causes.iter();
    let moved: BTreeMap<String, i128> = rows
        .filter_map(|row| Some((row.cause.name().to_owned(), row.rss_delta_bytes?.into())))
        .filter(|(_, bytes)| *bytes != 0)
        .collect();
    assert_eq!(sums(&document), moved);
    let said = text(&document);
    for part in [
        "service (pid 27336)",
        "/usr/local/bin/service, go1.15.15",
        "Linux 6.18.44",
        "2026-11-27 00:26:03 UTC",
        "Not a leak: 320.3M of 333.5M RSS has been given back already (confidence high)",
        "unexplained: 0",
        "MADV_FREE of 307.4M",
        "madvise FREE 0, asked for 320.3M",
    ] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn nothing_in_it_runs_or_is_loaded() {
    let svg = drawn(&std::fs::read(ARTICLE).unwrap());
    for part in [
        "<script",
        "href",
        "url(",
        "@import",
        "<image",
        "foreignObject",
        " on",
    ] {
        let found = svg.find(part).map(|at| &svg[at..(at + 60).min(svg.len())]);
        // Words of a text may begin with `on`; attributes do not.
        let is_attribute =
            found.is_some_and(|found| !part.starts_with(' ') || found[..12].contains('='));
        assert!(!is_attribute, "{found:?}");
    }
    assert_eq!(
        svg.matches("http").count(),
        1,
        "only the name of SVG itself"
    );
    assert!(svg.contains("prefers-color-scheme: dark"));
}

#[test]
fn arguments_stay_out_of_it() {
    let svg = picture(&capture(vec![tick(SECOND, MIB)]));
    assert!(!svg.contains("hunter2"));
}

#[test]
fn names_that_want_to_be_markup_are_text() {
    let hostile = "</text><script>alert(1)</script>&\u{0}\u{1b}[2J\u{202e}\u{ffff}\"'";
    let mut ticks = vec![tick(SECOND, MIB), tick(2 * SECOND, 100 * MIB)];
    ticks[1]["causes"] = json!([
        {"cause": "other_process", "task": hostile, "rss_delta_bytes": 99 * MIB},
        {"cause": "madvise", "advice": hostile, "rss_delta_bytes": -50 * MIB},
    ]);
    let mut capture = capture(ticks);
    let earlier = epoch(hostile, vec![tick(SECOND, MIB)]);
    capture["earlier_epochs"] = json!([earlier]);
    capture["target"]["comm"] = json!(hostile);
    capture["target"]["exe"] = json!(hostile);
    capture["capture"]["started_at"] = json!(hostile);
    capture["host"]["kernel"] = json!(hostile);
    capture["host"]["arch"] = json!(hostile);
    capture["memtrace_version"] = json!(hostile);
    capture["target"]["runtime"] =
        json!({"name": hostile, "version": hostile, "allocator": hostile, "settings": {}});
    capture["verdict"] = json!({
        "id": hostile, "title": hostile, "text": hostile, "evidence": [], "suggestions": [],
        "confidence": {"level": "low", "because": [hostile]},
    });
    let svg = picture(&capture);
    let document = Document::parse(&svg).unwrap();
    inside(&document);
    let scripts = document
        .descendants()
        .filter(|node| node.tag_name().name() == "script");
    assert_eq!(scripts.count(), 0);
    assert!(!svg.contains(['\u{0}', '\u{1b}', '\u{202e}', '\u{ffff}']));
    assert!(
        text(&document).contains("</text><script>alert(1)<"),
        "{svg}"
    );
}

#[test]
fn a_capture_of_nothing_is_a_picture_that_says_so() {
    let svg = picture(&capture(Vec::new()));
    let document = Document::parse(&svg).unwrap();
    inside(&document);
    assert!(text(&document).contains("nothing was read"));
    assert!(series(&document, "RSS").is_none());
    assert!(text(&document).contains("No answer"));
}

#[test]
fn a_peak_stays_and_sums_are_exact_however_many_ticks() {
    let ticks: Vec<Value> = (1..=20_000)
        .map(|second| {
            let peak = second == 12_345;
            let mut tick = tick(second * SECOND, if peak { 900 * MIB } else { 10 * MIB });
            tick["causes"] = json!([moved("fault", 4096 * second as i64), moved("munmap", -4096)]);
            tick
        })
        .collect();
    let svg = picture(&capture(ticks));
    assert!(svg.len() < 150_000, "{}", svg.len());
    let document = Document::parse(&svg).unwrap();
    let rss = series(&document, "RSS").unwrap();
    assert_eq!(number::<i64>(rss, "data-highest-bytes"), 900 * MIB);
    let (lines, places) = places(rss);
    assert_eq!(lines, 1);
    let top = places.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let (bytes, tenth) = bytes_at(&document, top);
    assert!((bytes - (900 * MIB) as f64).abs() <= tenth, "{bytes}");
    let sums = sums(&document);
    assert_eq!(sums["fault"], 4096 * 20_000 * 20_001 / 2);
    assert_eq!(sums["munmap"], -4096 * 20_000);
    let bars = elements(&document, "rect", "data-cause").len();
    assert!((100..=200).contains(&bars), "{bars}");
}

#[test]
fn a_gap_stays_a_gap() {
    let mut times: Vec<u64> = (1..=10).collect();
    times.extend(31..=40);
    let ticks = times.iter().map(|&second| tick(second * SECOND, 10 * MIB));
    let svg = picture(&capture(ticks.collect()));
    let document = Document::parse(&svg).unwrap();
    let found: Vec<(u64, u64)> = elements(&document, "rect", "data-from-ns")
        .into_iter()
        .filter(|rect| rect.attribute("class") == Some("gap"))
        .map(|rect| (number(rect, "data-from-ns"), number(rect, "data-to-ns")))
        .collect();
    // Once in each of the two plots.
    assert_eq!(found, [(10 * SECOND, 31 * SECOND); 2]);
    let (lines, places) = places(series(&document, "RSS").unwrap());
    assert_eq!((lines, places.len()), (2, 21));
    assert!(text(&document).contains("nothing was read, once, for 21.0 s"));
    let late = picture(&capture(vec![
        tick(SECOND, MIB),
        tick(SECOND * 29 / 10, MIB),
    ]));
    assert!(!late.contains("nothing was read"));
}

#[test]
fn an_exec_breaks_the_line_and_is_marked() {
    let mut capture = capture(vec![tick(SECOND, MIB), tick(2 * SECOND, 2 * MIB)]);
    let earlier = epoch("sh", vec![tick(SECOND, 5 * MIB), tick(3 * SECOND / 2, 0)]);
    capture["earlier_epochs"] = json!([earlier]);
    let svg = picture(&capture);
    let document = Document::parse(&svg).unwrap();
    let marks = elements(&document, "line", "data-mark");
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].attribute("data-mark"), Some("exec"));
    assert_eq!(number::<u64>(marks[0], "data-t-ns"), 3 * SECOND / 2);
    let rss = series(&document, "RSS").unwrap();
    assert_eq!(places(rss).0, 2);
    assert_eq!(number::<i64>(rss, "data-highest-bytes"), 5 * MIB);
    assert!(text(&document).contains("exec service"));
}

#[test]
fn what_is_sampled_is_marked_and_has_no_causes() {
    let mut ticks = vec![tick(SECOND, MIB)];
    ticks[0]["causes"] = json!([{"cause": "madvise", "advice": "MADV_FREE", "calls": 1, "requested_bytes": 4096, "rss_delta_bytes": null}]);
    let mut capture = capture(ticks);
    capture["capture"]["mode"] = json!("approximate");
    capture["summary"]["rss_sampling_bound_bytes"] = json!(2 * MIB);
    let svg = picture(&capture);
    let document = Document::parse(&svg).unwrap();
    inside(&document);
    let said = text(&document);
    assert!(said.contains("~RSS ~1024K"), "{said}");
    assert!(said.contains("may be off by 2048K"), "{said}");
    assert!(sums(&document).is_empty());
    assert!(!said.contains("RSS change by cause"), "{said}");
}

#[test]
fn more_causes_than_colours_are_summed_under_one() {
    let causes: Vec<Value> = (1..=30)
        .map(|number| json!({"cause": "other_process", "task": format!("t{number}"), "rss_delta_bytes": number * 4096}))
        .collect();
    let mut ticks = vec![tick(SECOND, MIB)];
    ticks[0]["causes"] = json!(causes);
    let svg = picture(&capture(ticks));
    let document = Document::parse(&svg).unwrap();
    inside(&document);
    // t1 to t21.
    assert!(
        text(&document).contains("21 others +924K"),
        "{}",
        text(&document)
    );
    assert_eq!(sums(&document).values().sum::<i128>(), 4096 * 30 * 31 / 2);
}

fn any_tick() -> impl Strategy<Value = Value> {
    let size = || prop_oneof![Just(0), -5 * MIB..500 * MIB, any::<i64>()];
    let count = || proptest::option::of(prop_oneof![0..500 * MIB as u64, any::<u64>()]);
    let time = prop_oneof![0..100 * SECOND, any::<u64>()];
    let causes = proptest::collection::vec(
        (
            prop_oneof![
                Just("fault"),
                Just("munmap"),
                Just("reclaim"),
                Just("madvise")
            ],
            proptest::option::of(prop_oneof![Just("MADV_FREE".to_owned()), ".{0,40}"]),
            proptest::option::of(".{0,40}"),
            proptest::option::of(size()),
            count(),
        ),
        0..6,
    );
    (time, size(), size(), count(), count(), count(), causes).prop_map(
        |(t_ns, rss, swap, lazyfree, inuse, released, causes)| {
            let mut tick = tick(t_ns, rss);
            tick["swap_bytes"] = json!(swap);
            tick["lazyfree_bytes"] = json!(lazyfree);
            tick["go"] = json!({"heap_inuse_bytes": inuse, "heap_released_bytes": released});
            let causes = causes
                .into_iter()
                .map(|(cause, advice, task, bytes, asked)| {
                    let mut row =
                        json!({"cause": cause, "rss_delta_bytes": bytes, "requested_bytes": asked});
                    if let Some(advice) = advice {
                        row["advice"] = json!(advice);
                    }
                    if let Some(task) = task {
                        row["task"] = json!(task);
                    }
                    row
                });
            tick["causes"] = causes.collect();
            tick
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_a_file_claims_it_is_drawn_within_the_picture(
        ticks in proptest::collection::vec(any_tick(), 0..30),
        earlier in proptest::collection::vec(any_tick(), 0..4),
        comm in ".{0,40}",
        duration in any::<u64>(),
        interval in any::<u64>(),
        approximate in any::<bool>(),
    ) {
        let mut capture = capture(ticks);
        if !earlier.is_empty() {
            capture["earlier_epochs"] = json!([epoch(&comm, earlier)]);
        }
        capture["target"]["comm"] = json!(comm);
        capture["capture"]["duration_ns"] = json!(duration);
        capture["capture"]["interval_ns"] = json!(interval);
        if approximate {
            capture["capture"]["mode"] = json!("approximate");
        }
        let svg = picture(&capture);
        let document = Document::parse(&svg).map_err(|error| TestCaseError::fail(format!("{error}: {svg}")))?;
        inside(&document);
    }
}

#[test]
fn the_captures_of_the_documentation_can_be_drawn() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/captures");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut drawn = 0;
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let Loaded {
            capture, digests, ..
        } = load::<History>(File::open(&path).unwrap()).unwrap();
        let svg = svg(&capture, &History::joined(&capture, digests));
        inside(&Document::parse(&svg).unwrap());
        drawn += 1;
    }
    assert!(drawn > 0);
}

#[test]
fn report_and_export_write_the_picture() {
    let file = std::fs::read(ARTICLE).unwrap();
    let expected = drawn(&file);
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("a.svg"), folder.path().join("b.svg"));
    let [one, other] = [&one, &other].map(|path| path.to_str().unwrap());
    for arguments in [
        ["report", ARTICLE, "--svg", one].as_slice(),
        &["export", ARTICLE, "-o", other],
    ] {
        let output = crate::common::run(arguments);
        assert!(
            output.status.success(),
            "{}",
            crate::common::text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
    for path in [one, other] {
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
    }
    let printed = crate::common::run(&["report", ARTICLE, "--svg", "-"]);
    assert_eq!(crate::common::text(&printed.stdout), expected);
    let two = crate::common::run(&["report", ARTICLE, ARTICLE, "--svg", "-"]);
    assert_eq!(two.status.code(), Some(2));
    let error = crate::common::text(&two.stderr);
    assert!(
        error.contains("--svg draws one capture, and 2 were given"),
        "{error}"
    );
}

#[test]
fn a_capture_that_has_been_traced_is_drawn_at_its_end() {
    if crate::common::needs_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chart.svg");
    let json = folder.path().join("capture.json");
    let sleeper = crate::common::sleeper();
    let pid = sleeper.0.id().to_string();
    let output = crate::common::memtrace()
        .args([
            "--pid",
            &pid,
            "--duration",
            "1s",
            "--interval",
            "200ms",
            "--quiet",
            "--svg",
        ])
        .arg(&path)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        crate::common::text(&output.stderr)
    );
    let svg = std::fs::read_to_string(&path).unwrap();
    assert_eq!(svg, drawn(&std::fs::read(&json).unwrap()));
    assert!(svg.contains(&format!("sleep (pid {pid})")));
}
