//! Text from outside, in every field of a capture that takes any text: no view shows a control character of it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which may panic as tests do"
)]

use memtrace::{
    diff::{Subject, compare},
    export::{openmetrics, svg::svg},
    model::Capture,
    text::format::is_harmless,
    timeline::{History, load},
    verdict::Trend,
    view,
};
use serde_json::Value;

const HOSTILE: &str = "\x1b[2J\u{202e}\u{9b}";

/// The pointers of all strings.
fn strings(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                strings(item, &format!("{at}/{number}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                strings(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// The capture with as much hostile text as it can hold, and in how many fields.
fn hostile() -> (Capture, usize) {
    let mut file = serde_json::to_value(super::screen::shown::capture()).unwrap();
    let mut places = Vec::new();
    strings(&file, "", &mut places);
    let mut taken = 0;
    for place in places.iter().filter(|place| *place != "/schema") {
        let field = file.pointer_mut(place).unwrap();
        let before = field.clone();
        *field = format!("{HOSTILE}{}", before.as_str().unwrap()).into();
        if serde_json::from_value::<Capture>(file.clone()).is_ok() {
            taken += 1;
        } else {
            *file.pointer_mut(place).unwrap() = before;
        }
    }
    (serde_json::from_value(file).unwrap(), taken)
}

#[track_caller]
fn is_harmless_text(name: &str, text: &str, styled: bool) {
    let plain = if styled {
        anstream::adapter::strip_str(text).to_string()
    } else {
        text.to_owned()
    };
    // What was stripped is memtrace's own style: an escape sequence that is not SGR would be foreign.
    let sequences = text.matches('\x1b').count();
    let styles = text.split('\x1b').skip(1).filter(|rest| {
        rest.strip_prefix('[')
            .and_then(|rest| rest.split_once('m'))
            .is_some_and(|(codes, _)| {
                codes
                    .chars()
                    .all(|code| code.is_ascii_digit() || code == ';')
            })
    });
    assert_eq!(styles.count(), sequences, "{name}");
    let found = plain
        .chars()
        .find(|letter| *letter != '\n' && !is_harmless(*letter));
    assert_eq!(found, None, "{name}");
}

#[test]
fn no_field_moves_the_cursor_in_any_view() {
    let (capture, taken) = hostile();
    assert!(taken > 40, "{taken}");
    let file = serde_json::to_vec(&capture).unwrap();
    let trend = load::<Trend>(&file[..]).unwrap().digests.pop().unwrap();
    let history = load::<History>(&file[..]).unwrap().digests;
    let subject = Subject {
        file: HOSTILE,
        capture: &capture,
        trend: &trend,
    };
    let compared = compare(&subject, &subject);
    let mut metrics = Vec::new();
    openmetrics::write(&capture, &mut metrics).unwrap();
    for width in [80, 160] {
        for epoch in capture.epochs() {
            is_harmless_text("table", &view::whole(&capture.host, epoch, width), true);
        }
        is_harmless_text("diff", &view::diff(&compared, width), true);
    }
    is_harmless_text("diff's page", &view::diff_page(&compared), false);
    is_harmless_text(
        "svg",
        &svg(&capture, &History::joined(&capture, history)),
        false,
    );
    is_harmless_text("openmetrics", std::str::from_utf8(&metrics).unwrap(), false);
    let comm = &capture.epoch.target.comm;
    is_harmless_text("exec", &view::replaced(1, comm), true);
}
