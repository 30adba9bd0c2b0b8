//! The page: what it says is what the capture says, nothing that a process is called does it any harm, and in a real browser it is
//! drawn, and can be worked with.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memtrace::{
    export::html,
    model::{Account, Capture, Epoch},
    timeline::{Live, figures::LINES, load, read},
    verdict::judge_unjudged,
    view::page::{Block, Cell, State, Update, content_security_policy, document},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chromium::Chromium;

const LAZY_FREE: &[u8] = include_bytes!("../../../fuzz/seeds/capture/lazy-free.json");
/// Two epochs.
const EXEC: &[u8] = include_bytes!("../../../fuzz/seeds/capture/exec.json");
const GO: &[u8] = include_bytes!("../../../docs/captures/go1.15-service.json");

/// A name that would run as a script wherever it were not escaped.
const HOSTILE: &str =
    "</script><!--'\"><img src=x onerror=hurt=1><script>hurt=1</script>\u{2028}&lt;";

fn state(capture: &[u8]) -> State {
    let mut loaded = load::<(memtrace::verdict::Trend, html::Finer)>(capture).unwrap();
    let trends = loaded.digests.iter().map(|(trend, _)| trend);
    judge_unjudged(&mut loaded.capture, trends);
    html::state(
        &loaded.capture,
        loaded.digests.iter().map(|(_, finer)| finer),
    )
}

fn epochs(capture: &Capture) -> impl Iterator<Item = &Epoch> {
    capture.earlier_epochs.iter().chain([&capture.epoch])
}

/// A column as the script reads it.
fn column(state: &Value, name: &str) -> Vec<Option<i64>> {
    let mut last = 0;
    let mut numbers = Vec::new();
    let mut push = |step: &Value| {
        let number = step.as_i64().map(|step| {
            last += step;
            last
        });
        numbers.push(number);
    };
    for step in state[name].as_array().into_iter().flatten() {
        match step.as_array() {
            Some(run) => (0..run[1].as_u64().unwrap()).for_each(|_| push(&run[0])),
            None => push(step),
        }
    }
    numbers
}

#[test]
fn the_columns_are_the_ticks() {
    for capture in [LAZY_FREE, EXEC, GO] {
        let whole = read(capture).unwrap();
        let series = serde_json::to_value(state(capture)).unwrap()["series"].clone();
        let ticks: Vec<_> = epochs(&whole).flat_map(|epoch| &epoch.timeline).collect();
        let columns = &series["columns"];
        let rss: Vec<_> = ticks.iter().map(|tick| Some(tick.rss_bytes)).collect();
        assert_eq!(column(columns, "rss"), rss);
        for (name, part) in [
            ("vm", |tick| tick.vm_bytes),
            ("lazyfree", |tick| tick.lazyfree_bytes),
            ("anon_huge", |tick| tick.anon_huge_bytes),
            ("faults", |tick| tick.faults),
            ("go_heap_released", |tick| tick.go?.heap_released_bytes),
            ("go_num_gc", |tick| tick.go?.num_gc),
        ] as [(&str, fn(&memtrace::model::Tick) -> Option<u64>); 6]
        {
            let wanted: Vec<_> = ticks
                .iter()
                .map(|tick| part(tick).map(|bytes| i64::try_from(bytes).unwrap()))
                .collect();
            let found = column(columns, name);
            if wanted.iter().all(Option::is_none) {
                assert!(found.is_empty(), "{name}");
            } else {
                assert_eq!(found, wanted, "{name}");
            }
        }
        assert_eq!(column(&series, "t_us").len(), ticks.len());
    }
}

/// By cause, what all its parts of the timeline add up to, which is what the tables say.
#[test]
fn the_causes_add_up_to_the_ledger() {
    for capture in [LAZY_FREE, EXEC, GO] {
        let whole = read(capture).unwrap();
        let state = state(capture);
        let mut ledger: BTreeMap<String, i64> = BTreeMap::new();
        for part in &state.epochs {
            let panel = part.panels.iter().find(|panel| panel.id == "ledger");
            for (name, bytes) in table(&panel.unwrap().blocks[0], "RSS") {
                *ledger.entry(name).or_default() += bytes;
            }
        }
        let sum = ledger.remove("sum").unwrap();
        let wanted: i64 = epochs(&whole)
            .flat_map(|epoch| &epoch.summary.causes)
            .map(|row| row.rss_delta_bytes.unwrap())
            .sum();
        assert_eq!(sum, wanted);
        let mut timeline: BTreeMap<String, i64> =
            ledger.keys().map(|name| (name.clone(), 0)).collect();
        for cause in &state.series.causes {
            let moved: i64 = cause.rss.0.iter().map(|bytes| bytes.unwrap()).sum();
            *timeline.get_mut(&cause.name).unwrap() += moved;
        }
        assert_eq!(timeline, ledger);
    }
}

/// What stands in a column of numbers, by the name of its row.
fn table(block: &Block, wanted: &str) -> Vec<(String, i64)> {
    let Block::Table { columns, rows, .. } = block else {
        panic!("no table: {block:?}")
    };
    let place = columns.iter().position(|column| column.name == wanted);
    let number = |cells: &[Cell]| cells[place.unwrap()].value.unwrap();
    rows.iter()
        .map(|row| (row.cells[0].text.clone(), number(&row.cells)))
        .collect()
}

#[test]
fn updates_tell_what_a_late_visitor_is_told_at_once() {
    let whole = read(GO).unwrap();
    let account: Account = whole.epoch.clone().into_account();
    let interval = account.capture.interval_ns;
    let mut live = Live::new(whole.host.clone(), interval, account);
    let first = State::of_live(&live);
    let (mut t_ns, mut rss, mut moved) = (first.t_ns, Vec::new(), 0);
    assert_eq!(first.series.rows, 0);
    for tick in &whole.epoch.timeline {
        live.tick(tick);
        let update = Update::since(&live, t_ns);
        t_ns = update.t_ns;
        let told = serde_json::to_value(&update).unwrap();
        rss.extend(column(&told["series"]["columns"], "rss"));
        let causes = update.series.causes.iter();
        moved += causes.flat_map(|cause| &cause.rss.0).flatten().sum::<i64>();
        assert!(Update::since(&live, t_ns).series.rows == 0);
    }
    let late = State::of_live(&live);
    let told = serde_json::to_value(&late).unwrap();
    assert_eq!(rss, column(&told["series"]["columns"], "rss"));
    let causes = late.series.causes.iter();
    let at_once: i64 = causes.flat_map(|cause| &cause.rss.0).flatten().sum();
    assert_eq!(moved, at_once);
}

#[test]
fn a_live_history_of_two_tiers_is_told_whole_and_once() {
    let whole = read(GO).unwrap();
    let mut history = memtrace::timeline::History::with_spans(4);
    for tick in &whole.epoch.timeline {
        history.note(tick);
    }
    let spans = memtrace::view::page::whole(&history);
    let ticks: u64 = spans.iter().map(|span| span.ticks).sum();
    assert_eq!(ticks, whole.epoch.timeline.len() as u64);
    for pair in spans.windows(2) {
        assert_eq!(pair[0].t_ns, pair[1].from_ns);
    }
    assert!(spans.len() > 4);
}

/// The names of all tags, and the texts of scripts and styles. Strict: what is not as [`document`] writes it is a failure.
fn tags(page: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut names, mut raw) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = &comment[comment.find("-->").unwrap() + 3..];
            continue;
        }
        let mut quoted = false;
        let end = rest
            .find(|letter| {
                quoted ^= letter == '"';
                letter == '>' && !quoted
            })
            .unwrap();
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let name = tag.split([' ', '\n']).next().unwrap().to_owned();
        if name == "script" || name == "style" {
            let end = rest.find(&format!("</{name}")).unwrap();
            raw.push((tag.to_owned(), rest[..end].to_owned()));
            rest = &rest[end..];
        }
        names.push(name);
    }
    (names, raw)
}

#[test]
fn the_policy_names_every_script_and_style_and_nothing_else() {
    for (page, live) in [(document(Some(&state(GO))), false), (document(None), true)] {
        let (_, raw) = tags(&page);
        let mut wanted = Vec::new();
        for (tag, text) in raw {
            if tag.contains("application/json") {
                continue;
            }
            wanted.push(format!(
                "'sha256-{}'",
                STANDARD.encode(Sha256::digest(&text))
            ));
        }
        let policy = content_security_policy(live);
        let named: Vec<_> = policy
            .split([' ', ';'])
            .filter(|word| word.starts_with("'sha256-"))
            .collect();
        wanted.sort();
        let mut sorted: Vec<String> = named.iter().map(|&word| word.to_owned()).collect();
        sorted.sort();
        assert_eq!(sorted, wanted);
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(policy.ends_with("frame-ancestors 'none'"));
        assert_eq!(policy.contains("connect-src 'self'"), live);
        assert!(!policy.contains("unsafe"));
        // The document says the same of itself, but for what only a header may say.
        let (own, _) = policy.rsplit_once("; ").unwrap();
        assert!(page.contains(&format!("content=\"{}\"", own.replace('\'', "&#39;"))));
        assert!(page.contains("Permission is hereby granted, free of charge"));
    }
}

/// The chart's lines in the catalogue's order, each with a colour in the light style, the dark one, and the dark one by choice.
#[test]
fn the_script_is_told_of_every_line() {
    for page in [document(Some(&state(GO))), document(None)] {
        let (_, raw) = tags(&page);
        let (_, text) = raw.iter().find(|(tag, _)| tag.contains("figures")).unwrap();
        let lines: Vec<Value> = serde_json::from_str(text).unwrap();
        let of = |key: &str| -> Vec<&str> {
            let keys = lines.iter().filter(|line| line[key] == true);
            keys.map(|line| line["key"].as_str().unwrap()).collect()
        };
        let keys: Vec<_> = lines.iter().map(|line| line["key"].clone()).collect();
        assert_eq!(
            keys,
            LINES.iter().map(|line| line.key()).collect::<Vec<_>>()
        );
        let shown = [
            "rss",
            "rss_less_lazyfree",
            "go_heap_inuse",
            "go_heap_released",
        ];
        assert_eq!((of("on"), of("whereSeen")), (shown.to_vec(), vec!["swap"]));
        let label = |place: usize| lines[place]["label"].as_str().unwrap();
        assert_eq!(label(1), "RSS − LazyFree");
        assert_eq!(label(3), "VMS");
        for line in LINES {
            let colour = format!("--line-{}: #", line.key().replace('_', "-"));
            assert_eq!(page.matches(&colour).count(), 3, "{colour}");
        }
    }
}

#[test]
fn nothing_is_loaded() {
    let page = document(Some(&state(GO)));
    let (names, _) = tags(&page);
    for name in ["link", "img", "iframe", "object", "embed", "base", "form"] {
        assert!(!names.contains(&name.to_owned()), "{name}");
    }
    assert!(!page.contains(" src=") && !page.contains("@import"));
}

/// A capture in which everything that comes from outside is called so.
fn called(name: &str) -> Vec<u8> {
    let mut capture: Value = serde_json::from_slice(EXEC).unwrap();
    let mut epochs = vec![capture.clone()];
    epochs.extend(capture["earlier_epochs"].as_array().unwrap().clone());
    for epoch in &mut epochs {
        epoch["target"]["comm"] = json!(name);
        epoch["target"]["exe"] = json!(name);
        epoch["target"]["cmdline"] = json!([name, name]);
        epoch["capture"]["started_at"] = json!(name);
        epoch["capture"]["mode_note"] = json!(name);
        epoch["capture"]["hooks"][0]["name"] = json!(name);
        epoch["capture"]["hooks"][0]["error"] = json!(name);
        epoch["summary"]["mappings_missing"] = json!(name);
        epoch["summary"]["cgroup_missing"] = json!(name);
        let row = json!({"cause": "other_process", "task": name, "calls": null, "failed_calls": null,
            "errnos": [{"errno": name, "calls": 1}], "requested_bytes": null, "failed_requested_bytes": null,
            "shrunk_bytes": null, "time_ns": null, "rss_delta_bytes": 4096,
            "by_kind": {"anon_bytes": 4096, "file_bytes": 0, "shmem_bytes": 0, "swap_bytes": 0}});
        epoch["summary"]["causes"].as_array_mut().unwrap().push(row);
        for tick in epoch["timeline"].as_array_mut().unwrap() {
            let cause = json!({"cause": "other_process", "task": name, "rss_delta_bytes": 4096});
            tick["causes"].as_array_mut().unwrap().push(cause);
        }
        epoch["verdict"] = json!({"id": name, "title": name, "text": name,
            "confidence": {"level": "low", "because": [name]},
            "evidence": [{"what": name, "value": 1, "unit": "count", "formula": "sum", "from": []}],
            "suggestions": [{"text": name, "setting": name}],
            "also": [{"id": name, "title": name, "text": name, "evidence": [], "suggestions": []}],
            "missing": [{"what": name, "why": name}]});
    }
    let last = epochs.remove(0);
    for (key, value) in last.as_object().unwrap() {
        capture[key] = value.clone();
    }
    capture["memtrace_version"] = json!(name);
    capture["host"]["kernel"] = json!(name);
    capture["host"]["arch"] = json!(name);
    for epoch in &mut epochs {
        epoch.as_object_mut().unwrap().remove("earlier_epochs");
    }
    capture["earlier_epochs"] = json!(epochs);
    serde_json::to_vec(&capture).unwrap()
}

fn embedded(page: &str) -> Value {
    let (_, raw) = tags(page);
    let (_, text) = raw
        .iter()
        .find(|(tag, _)| tag.contains("application/json"))
        .unwrap();
    serde_json::from_str(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_name_makes_a_tag(name in "[ -~\u{2028}\u{2029}\u{0}\u{202e}é]{0,24}|(<|>|/|script|!--|--|\"|'|&|x){0,12}") {
        let harmless = tags(&document(Some(&state(&called("x"))))).0;
        let page = document(Some(&state(&called(&name))));
        let (names, raw) = tags(&page);
        // An empty setting has no element of its own.
        if !name.is_empty() {
            prop_assert_eq!(names, harmless);
        }
        let (_, text) = raw.iter().find(|(tag, _)| tag.contains("application/json")).unwrap();
        let is_raw = text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
        prop_assert!(!is_raw, "something is not escaped");
        let state: Value = serde_json::from_str(text).unwrap();
        prop_assert!(state["series"]["rows"].as_u64().unwrap() > 0);
    }
}

/// How many pixels of a chart have the colour that a name of the style stands for.
const PIXELS: &str = "(chart, name) => {
    const canvas = document.querySelector(`#chart-${chart} canvas`);
    const probe = document.createElement('canvas').getContext('2d');
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
        if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12 && data[i + 3] > 200) count++;
    return count;
}";

fn pixels(page: &mut Chromium, chart: &str, name: &str) -> i64 {
    page.eval(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
    );
    let count = page.eval(&format!("({PIXELS})('{chart}', '{name}')"));
    count.as_i64().unwrap()
}

/// What the read-out says of a line or a cause.
fn said(page: &mut Chromium, key: &str) -> i64 {
    let value = page.eval(&format!(
        "document.querySelector('#readout tr[data-key=\"{key}\"] [data-value]').dataset.value"
    ));
    value.as_str().unwrap().parse().unwrap()
}

fn written(folder: &Path, name: &str, capture: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, document(Some(&state(capture)))).unwrap();
    format!("file://{}", path.display())
}

/// One browser for all of it: starting one takes longer than everything else.
#[test]
fn in_a_browser_it_is_drawn_and_can_be_worked_with() {
    let Some(mut page) = Chromium::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let url = written(folder.path(), "go.html", GO);
    drawn(&mut page, &url);
    worked_with(&mut page, &url);
    a_hostile_name_does_no_harm(&mut page, folder.path());
    several_programs(&mut page, folder.path());
}

#[track_caller]
fn at_peace(page: &mut Chromium) {
    // What was said until now.
    page.eval("1");
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    let away: Vec<_> = page
        .requests
        .iter()
        .filter(|url| !url.starts_with("file:"))
        .collect();
    assert!(away.is_empty(), "{away:?}");
    assert_eq!(page.requests.len(), 1, "{:?}", page.requests);
}

fn drawn(page: &mut Chromium, url: &str) {
    page.open(url);
    let capture = read(GO).unwrap();
    let summary = &capture.epoch.summary;
    for name in ["line-rss", "line-go-heap-released", "release"] {
        assert!(pixels(page, "lines", name) > 20, "{name} is not drawn");
    }
    assert!(pixels(page, "bars", "cause-0") > 1000);
    assert_eq!(pixels(page, "lines", "line-vm"), 0);
    // The last tick, under no cursor.
    assert_eq!(said(page, "rss"), summary.rss_end_bytes);
    let lazyfree = i64::try_from(summary.lazyfree_bytes.unwrap()).unwrap();
    assert_eq!(
        said(page, "rss_less_lazyfree"),
        summary.rss_end_bytes - lazyfree
    );
    for row in &summary.causes {
        let moved = row.rss_delta_bytes.unwrap();
        if moved == 0 {
            continue;
        }
        let name = row.cause.name();
        let sum = page.eval(&format!(
            "document.querySelector('#causes tr[data-cause=\"{name}\"]').lastChild.dataset.value"
        ));
        assert_eq!(sum.as_str().unwrap(), moved.to_string());
        let cell = page.eval(&format!(
            "[...document.querySelectorAll('[data-panel=ledger] table.sortable tbody tr')].find(row => row.cells[0].textContent === '{name}').cells[4].dataset.value"
        ));
        assert_eq!(cell.as_str().unwrap(), moved.to_string());
    }
    at_peace(page);
}

fn worked_with(page: &mut Chromium, url: &str) {
    let capture = read(GO).unwrap();
    // A line more, and one less.
    page.eval("document.querySelector('#lines [data-key=vm]').click()");
    assert!(pixels(page, "lines", "line-vm") > 20);
    page.eval("document.querySelector('#lines [data-key=go_heap_released]').click()");
    assert_eq!(pixels(page, "lines", "line-go-heap-released"), 0);
    // Zoom by dragging.
    let rect = page.eval(
        "(r => [r.left, r.top, r.width, r.height])(document.querySelector('#chart-lines .u-over').getBoundingClientRect())",
    );
    let [left, top, width, height] = [0, 1, 2, 3].map(|i| rect[i].as_f64().unwrap());
    let at = |part: f64| (left + part * width, top + height / 2.0);
    page.drag(at(0.25), at(0.75));
    let range = "(d => [Number(d.from), Number(d.to)])(document.querySelector('#charts').dataset)";
    let zoomed = page.eval(range);
    let whole = capture.epoch.timeline.last().unwrap().t_ns as f64 / 1e9;
    for (edge, part) in [(0, 0.25), (1, 0.75)] {
        let found = zoomed[edge].as_f64().unwrap();
        assert!((found - part * whole).abs() < 0.05, "{zoomed}");
    }
    // The URL says so, and brings all of it back.
    let hash = page.eval("location.hash");
    let hash = hash.as_str().unwrap();
    assert!(hash.contains("t=") && hash.contains("vm"), "{hash}");
    assert!(!hash.contains("go_heap_released"), "{hash}");
    page.open(&format!("{url}{hash}"));
    let again = page.eval(range);
    for edge in [0, 1] {
        let apart = again[edge].as_f64().unwrap() - zoomed[edge].as_f64().unwrap();
        assert!(apart.abs() < 0.01, "{again} {zoomed}");
    }
    assert!(pixels(page, "lines", "line-vm") > 20);
    for clicks in [1, 2] {
        page.mouse("mousePressed", at(0.5), "left", clicks);
        page.mouse("mouseReleased", at(0.5), "left", clicks);
    }
    assert_eq!(page.eval(range)[0], 0);
    assert!(!page.eval("location.hash").as_str().unwrap().contains("t="));
    // Without a mouse.
    page.mouse("mouseMoved", (2.0, 2.0), "none", 0);
    page.eval("document.querySelector('#charts').focus()");
    for _ in 0..40 {
        page.key("ArrowLeft");
    }
    for number in 0..3 {
        let tick = &capture.epoch.timeline[number];
        let row = page.eval("document.querySelector('#readout p').dataset.row");
        assert_eq!(row.as_str().unwrap(), number.to_string());
        assert_eq!(said(page, "rss"), tick.rss_bytes);
        page.key("ArrowRight");
    }
    page.key("+");
    assert!(page.eval(range)[0].as_f64().unwrap() > 0.0);
    page.key("Escape");
    assert_eq!(page.eval(range)[0], 0);
    // Into another order, and dark.
    let first = "document.querySelector('[data-panel=ledger] tbody tr').cells[0].textContent";
    page.eval("document.querySelectorAll('[data-panel=ledger] thead button')[1].click()");
    assert_eq!(page.eval(first), "madvise FREE");
    page.eval("document.querySelector('#theme').click()");
    assert_eq!(page.eval("document.documentElement.dataset.theme"), "dark");
    assert!(pixels(page, "lines", "line-rss") > 20);
    at_peace(page);
}

fn a_hostile_name_does_no_harm(page: &mut Chromium, folder: &Path) {
    let url = written(folder, "hostile.html", &called(HOSTILE));
    page.open(&url);
    assert_eq!(page.eval("typeof hurt"), "undefined");
    assert_eq!(page.eval("document.querySelectorAll('img').length"), 0);
    let title = page.eval("document.title");
    assert!(
        title.as_str().unwrap().contains("</script><!--'\"><img"),
        "{title}"
    );
    let named = page.eval("document.querySelector('[data-panel=answer] h2').textContent");
    assert!(
        named.as_str().unwrap().starts_with("</script><!--'\"><img"),
        "{named}"
    );
    let cause = page.eval("document.querySelector('#causes').textContent");
    assert!(
        cause.as_str().unwrap().contains("other: </script><!--"),
        "{cause}"
    );
    at_peace(page);
}

fn several_programs(page: &mut Chromium, folder: &Path) {
    let url = written(folder, "exec.html", EXEC);
    page.open(&url);
    assert!(pixels(page, "lines", "exec") > 5);
    let shown = "[...document.querySelectorAll('#above .epoch')].map(box => !box.hidden)";
    assert_eq!(page.eval(shown), json!([false, true]));
    page.open(&format!("{url}#epoch=0"));
    assert_eq!(page.eval(shown), json!([true, false]));
    assert_eq!(embedded(&document(Some(&state(EXEC))))["head"]["epoch"], 1);
    // A figure of the program before is none of the next one's, and no line leads from one to the other.
    let asked = "(() => {
        const made = new Data.Timeline();
        Object.assign(made, { t: [1, 2, 3, 4, 5, 6], from: [0, 1, 2, 3, 4, 5], marks: [{ t: 3, name: 'next' }] });
        const column = [10, null, null, null, null, 20];
        made.columns = { lazyfree: column, cgroup_usage: column, rss: [1, 2, 3, 4, 5, 6] };
        const readings = (name) => made.t.map((_, row) => made.reading(name, row));
        return [readings('lazyfree'), readings('cgroup_usage'), ...Object.keys(made.columns).map((name) => made.breaks(name, 0, 5))];
    })()";
    assert_eq!(
        page.eval(asked),
        json!([[0, 0, 0, -1, -1, 5], [0, 0, 0, 0, 0, 5], [[0, 5]], [], []])
    );
    at_peace(page);
}

/// A day of ticks of 1 s of a Go program, whose memory goes up and down.
fn day() -> Vec<u8> {
    const TICKS: usize = 86_400;
    let mut capture: Value = serde_json::from_slice(GO).unwrap();
    let first = capture["timeline"][0].clone();
    let mut rss = 400_i64 << 20;
    let mut random = 1_u64;
    let mut ticks = Vec::with_capacity(TICKS);
    for number in 0..TICKS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let pages = (random >> 33) as i64 % 4000;
        let wave = (number as f64 / 3600.0).sin() * 2000.0;
        let (up, down) = (pages * 4096, (pages + wave as i64).clamp(0, 8000) * 4096);
        let down = down.min(rss + up - (50 << 20)).max(0);
        rss += up - down;
        let mut tick = first.clone();
        tick["t_ns"] = json!(1_000_000_000 * (number as u64 + 1) + random % 900_000);
        tick["rss_bytes"] = json!(rss);
        tick["anon_bytes"] = json!(rss - (1 << 20));
        tick["faults"] = json!(pages);
        tick["causes"] = json!([{"cause": "fault", "rss_delta_bytes": up},
            {"cause": "madvise", "advice": "MADV_DONTNEED", "calls": 3, "requested_bytes": down, "rss_delta_bytes": -down}]);
        for name in [
            "heap_alloc_bytes",
            "heap_inuse_bytes",
            "heap_released_bytes",
        ] {
            tick["go"][name] = json!(random % (300 << 20));
        }
        tick["go"]["num_gc"] = json!(number / 7);
        if number % 20 != 0 {
            tick["lazyfree_bytes"] = Value::Null;
            tick["anon_huge_bytes"] = Value::Null;
        }
        ticks.push(tick);
    }
    capture["timeline"] = json!(ticks);
    serde_json::to_vec(&capture).unwrap()
}

/// What `docs/performance.md` says of the page, measured again: `cargo test --profile dist -p memtrace --test it page:: -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and takes some seconds"]
fn a_day_stays_fluent() {
    let Some(mut page) = Chromium::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let capture = day();
    let begun = std::time::Instant::now();
    let url = written(folder.path(), "day.html", &capture);
    let made = begun.elapsed();
    let bytes = fs::metadata(folder.path().join("day.html")).unwrap().len();
    page.open(&url);
    let loaded = page
        .eval("(n => n.domComplete - n.startTime)(performance.getEntriesByType('navigation')[0])");
    let rows = page.eval("document.querySelector('#charts').dataset.rows");
    let click = |label: &str| {
        format!(
            "[...document.querySelectorAll('.zoom button')].find(button => button.textContent === '{label}').click()"
        )
    };
    let mut redraws = Vec::new();
    for label in ["+", "+", "last 10 min", "all", "+", "all"] {
        page.eval(&click(label));
        let ms = page.eval("document.querySelector('#charts').dataset.redrawMs");
        redraws.push(ms.as_str().unwrap().parse::<f64>().unwrap());
    }
    let frames = page.eval(
        "new Promise(done => { const seen = []; let before = performance.now(); const step = now => { seen.push(now - before); before = now; if (seen.length < 20) { document.querySelectorAll('.zoom button')[seen.length % 2 ? 0 : 3].click(); requestAnimationFrame(step); } else done(Math.max(...seen.slice(1))); }; requestAnimationFrame(step); })",
    );
    page.call("HeapProfiler.collectGarbage", &json!({}));
    let heap = page.call("Runtime.getHeapUsage", &json!({}));
    println!(
        "capture {} bytes, page {bytes} bytes in {made:?}, {rows} rows; loaded in {loaded} ms; redrawn in {redraws:?} ms; longest frame while zooming {frames} ms; heap {} bytes",
        capture.len(),
        heap["usedSize"]
    );
    assert!(bytes < 4 << 20);
    assert!(redraws.iter().all(|ms| *ms < 200.0), "{redraws:?}");
}
