//! Each page as it is to look, and what colours it may use.

use std::{fs, path::Path};

use memtrace::{
    timeline::{Live, Mode},
    view::screen::{Key, Look, Palette},
};
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier},
};

use crate::shown::{ASCII, MANY, MONO, capture, picture, rows, service, text};

#[track_caller]
fn is_current(name: &str, picture: &Buffer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screen/pictures");
    let path = path.join(format!("{name}.txt"));
    let current = text(picture);
    if std::env::var_os("MEMTRACE_BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == current,
        "{name} has changed:\n{current}\nwas:\n{stored}\nif it is right, type: MEMTRACE_BLESS=1 cargo test --test screen"
    );
}

#[test]
fn each_page_at_80_columns() {
    let live = service();
    for (page, name) in [
        ('1', "overview"),
        ('2', "causes"),
        ('3', "advice"),
        ('4', "runtime"),
        ('5', "cgroup"),
        ('6', "answer"),
        ('7', "help"),
    ] {
        let drawn = picture(&live, MANY, (80, 24), &[Key::Char(page)]);
        is_current(&format!("{name}-80x24"), &drawn);
    }
}

#[test]
fn a_wide_one() {
    is_current(
        "overview-160x45",
        &picture(&service(), MANY, (160, 45), &[]),
    );
}

#[test]
fn one_without_colours_and_one_in_ascii() {
    is_current(
        "overview-mono-80x24",
        &picture(&service(), MONO, (80, 24), &[]),
    );
    let ascii = picture(&service(), ASCII, (80, 24), &[]);
    is_current("overview-ascii-80x24", &ascii);
    assert!(text(&ascii).is_ascii(), "{}", text(&ascii));
}

#[test]
fn no_picture_has_a_background_of_its_own() {
    let eight = Look {
        palette: Palette::Eight,
        unicode: true,
    };
    for look in [MANY, eight, MONO, ASCII] {
        for page in '1'..='7' {
            let drawn = picture(&service(), look, (120, 40), &[Key::Char(page)]);
            for cell in drawn.content() {
                assert_eq!(cell.bg, Color::Reset);
                match look.palette {
                    Palette::Mono => assert_eq!(cell.fg, Color::Reset),
                    Palette::Eight => {
                        assert!(!matches!(cell.fg, Color::Indexed(_) | Color::Rgb(..)))
                    }
                    Palette::Many => assert!(matches!(cell.fg, Color::Reset | Color::Indexed(_))),
                }
            }
        }
    }
}

#[test]
fn the_open_page_is_underlined() {
    let drawn = picture(&service(), MONO, (80, 24), &[Key::Char('2')]);
    let underlined: String = drawn
        .content()
        .iter()
        .take(160)
        .filter(|cell| cell.modifier.contains(Modifier::UNDERLINED))
        .map(|cell| cell.symbol())
        .collect();
    assert_eq!(underlined, "2 causes");
}

#[test]
fn the_figures_are_those_of_the_capture() {
    let shown = text(&picture(&service(), MANY, (80, 24), &[]));
    for figure in [
        "RSS 333.5M",
        "RSS−LazyFree 13.18M",
        "HeapInuse 272K",
        "HeapReleased 383.4M",
    ] {
        assert!(shown.contains(figure), "{figure} is missing in\n{shown}");
    }
    assert!(shown.contains("Not a leak: 320.3M of 333.5M RSS has been given back already"));
}

#[test]
fn a_peak_of_one_tick_in_a_day_is_seen() {
    let mut live = service();
    let capture = capture();
    let mut tick = capture.epoch.timeline.last().unwrap().clone();
    tick.causes.clear();
    for second in 15..86_400_u64 {
        tick.t_ns = second * 1_000_000_000;
        tick.rss_bytes = if second == 40_000 { 2 << 30 } else { 300 << 20 };
        live.tick(&tick);
    }
    let drawn = rows(&picture(&live, MANY, (80, 24), &[Key::Char('0')]));
    // Rows of the chart; the peak alone reaches into the upper half of it.
    let dotted = |row: &String| {
        row.chars()
            .filter(|letter| ('⠁'..='⣿').contains(letter))
            .count()
    };
    let top: Vec<usize> = drawn[4..7].iter().map(dotted).collect();
    assert!(
        top.iter().all(|&dots| (1..=2).contains(&dots)),
        "{top:?}\n{}",
        drawn.join("\n")
    );
}

#[test]
fn a_gap_is_seen_as_one() {
    let mut live = service();
    let mut tick = capture().epoch.timeline.last().unwrap().clone();
    // 14 s to 24 s: nobody looked.
    for second in 24..30_u64 {
        tick.t_ns = second * 1_000_000_000;
        live.tick(&tick);
    }
    let drawn = rows(&picture(&live, MANY, (80, 24), &[]));
    let shown = drawn.join("\n");
    assert!(shown.contains("gaps 1 (10.0 s)"), "{shown}");
    let axis = drawn.iter().find(|row| row.contains('└')).unwrap();
    let broken = axis.chars().filter(|letter| *letter == '╌').count();
    // A third of 72 columns.
    assert!((22..=26).contains(&broken), "{broken}: {shown}");
    let line = drawn
        .iter()
        .find(|row| row.contains("⠉⠉⠉") || row.contains("⠤⠤⠤"))
        .unwrap();
    assert!(line.contains("          "), "{line}");
}

#[test]
fn sampled_figures_are_marked_with_their_bound() {
    let mut capture = capture();
    capture.epoch.capture.mode = Mode::Approximate;
    let summary = &mut capture.epoch.summary;
    summary.rss_sampling_bound_bytes = Some(256 << 10);
    for row in &mut summary.causes {
        row.rss_delta_bytes = None;
    }
    for tick in &mut capture.epoch.timeline {
        for cause in &mut tick.causes {
            cause.rss_delta_bytes = None;
        }
    }
    let drawn = picture(&Live::replay(&capture), MANY, (80, 24), &[]);
    let shown = text(&drawn);
    assert!(shown.contains("RSS ~333.5M"), "{shown}");
    assert!(shown.contains("approximate ±256K"), "{shown}");
    assert!(!shown.contains("unexplained"), "{shown}");
    let fault = rows(&drawn)
        .into_iter()
        .find(|row| row.starts_with(" fault"))
        .unwrap();
    assert_eq!(
        fault.split_whitespace().collect::<Vec<_>>(),
        ["fault", "-", "-", "-", "-"]
    );
}

#[test]
fn an_exec_is_marked_and_a_loss_is_red() {
    let mut capture = capture();
    let mut earlier = capture.epoch.clone();
    earlier.target.comm = "before".to_owned();
    capture.earlier_epochs.push(earlier);
    capture.epoch.capture.lost_events = 7;
    let drawn = picture(&Live::replay(&capture), MANY, (80, 24), &[]);
    let shown = text(&drawn);
    assert!(shown.contains('▲'), "{shown}");
    assert!(shown.contains("lost 7"), "{shown}");
    let place = rows(&drawn)[22]
        .chars()
        .position(|letter| letter == '7')
        .unwrap();
    assert_eq!(
        drawn[(u16::try_from(place).unwrap(), 22)].fg,
        Color::Indexed(160)
    );
}

#[test]
fn a_small_terminal_is_told_so() {
    let shown = text(&picture(&service(), MANY, (39, 10), &[]));
    assert!(
        shown.contains("39x10 is too small: 40x10 please"),
        "{shown}"
    );
    let shown = text(&picture(&service(), MANY, (40, 10), &[]));
    assert!(shown.contains("memtrace"), "{shown}");
    assert!(!shown.contains("too small"), "{shown}");
}
