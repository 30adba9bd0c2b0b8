//! Names that want something of the terminal.

use memtrace::{
    model::{Capture, Cause, CauseRow},
    timeline::{Live, MarkKind},
    view::screen::Key,
};

use super::shown::{ASCII, MANY, capture, picture, rows, text};

const NAMES: [&str; 6] = [
    "\x1b[2J\x1b]0;mine\x07",
    "a\u{202e}b\u{200b}c",
    "\r\n\t\u{9b}31m",
    "漢字漢字漢字漢字漢字漢字漢字漢字",
    "👨‍👩‍👧‍👦🏳️‍🌈e\u{301}\u{301}\u{301}",
    "very-long-very-long-very-long-very-long-very-long-very-long-very-long-very-long-very-long-very-long-very-long",
];

fn hostile(name: &str) -> Capture {
    let mut capture = capture();
    let epoch = &mut capture.epoch;
    epoch.target.comm = name.into();
    epoch.target.exe = Some(name.into());
    epoch.target.cmdline = vec![name.into(), name.repeat(100).into()];
    let runtime = epoch.target.runtime.as_mut().unwrap();
    runtime.version = Some(name.into());
    runtime.settings.insert(name.into(), name.into());
    runtime.evidence.push(name.into());
    let cgroup = epoch.summary.cgroup.as_mut().unwrap();
    cgroup.path = name.into();
    cgroup.limit_path = Some(format!("/{name}").into());
    epoch.summary.causes.insert(
        0,
        CauseRow {
            cause: Cause::OtherProcess,
            task: Some(name.into()),
            rss_delta_bytes: Some(-(1 << 30)),
            ..epoch.summary.causes[0].clone()
        },
    );
    let verdict = epoch.verdict.as_mut().unwrap();
    verdict.title = format!("{name} {}", verdict.title.raw()).into();
    verdict.text = format!("{name} {}", verdict.text.raw()).into();
    capture
}

#[test]
fn they_do_no_harm_on_any_page() {
    for name in NAMES {
        let mut live = Live::replay(&hostile(name));
        live.say(name.to_owned());
        live.history.exec(live.history.last_ns(), &name.into());
        let (marks, _) = live.history.marks();
        assert!(matches!(&marks.last().unwrap().kind, MarkKind::Exec(comm) if comm == name));
        for look in [MANY, ASCII] {
            for size in [(80, 24), (160, 45), (41, 11)] {
                for page in '1'..='7' {
                    let drawn = picture(&live, look, size, &[Key::Char(page)]);
                    for cell in drawn.content() {
                        let harmless = cell.symbol().chars().all(|letter| {
                            !letter.is_control() && !('\u{202a}'..='\u{202e}').contains(&letter)
                        });
                        assert!(harmless, "{:?} on page {page}", cell.symbol());
                    }
                    if !look.unicode {
                        assert!(text(&drawn).is_ascii());
                    }
                }
            }
        }
    }
}

#[test]
fn columns_stay_where_they_are() {
    let place = |name: &str| {
        let drawn = picture(
            &Live::replay(&hostile(name)),
            MANY,
            (80, 24),
            &[Key::Char('2')],
        );
        // The middle of the last column's bars, in cells.
        (0..80).rfind(|x| drawn[(*x, 4)].symbol() == "│").unwrap()
    };
    let plain = place("plain");
    for name in NAMES {
        assert_eq!(place(name), plain, "{name}");
    }
    let drawn = rows(&picture(
        &Live::replay(&hostile(NAMES[3])),
        MANY,
        (80, 24),
        &[],
    ));
    assert!(drawn[0].contains("live"), "{}", drawn[0]);
}
