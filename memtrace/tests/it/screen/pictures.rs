//! Each page as it is to look, and what colours it may use.

use std::{fs, path::Path};

use memtrace::{
    model::{Mode, Tick},
    timeline::{
        Live,
        figures::{LINES, Shown},
    },
    view::screen::{Key, Look, Palette, Series},
};
use ratatui_core::{
    buffer::Buffer,
    style::{Color, Modifier},
};

use super::shown::{ASCII, MANY, MONO, capture, picture, rows, service, text};

#[track_caller]
fn is_current(name: &str, picture: &Buffer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/screen/pictures");
    let path = path.join(format!("{name}.txt"));
    let current = text(picture);
    if std::env::var_os("MEMTRACE_BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == current,
        "{name} has changed:\n{current}\nwas:\n{stored}\nif it is right, type: MEMTRACE_BLESS=1 cargo test --test it screen"
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
    // Rows of the chart below the first, which is above 2 GiB; the peak alone reaches into them.
    let dotted = |row: &String| {
        row.chars()
            .filter(|letter| ('⠁'..='⣿').contains(letter))
            .count()
    };
    let top: Vec<usize> = drawn[5..7].iter().map(dotted).collect();
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
    earlier.target.comm = "before".into();
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
        Color::Indexed(196)
    );
}

#[test]
fn no_dots_lead_from_one_program_to_the_next() {
    let mut capture = capture();
    // One reading, far from all other lines.
    let one_reading = |ticks: &mut [Tick], read: usize| {
        for (number, tick) in ticks.iter_mut().enumerate() {
            tick.rss_bytes = 400 << 20;
            tick.go = None;
            tick.lazyfree_bytes = (number == read).then_some(200 << 20);
        }
    };
    let last = capture.epoch.timeline.len() - 1;
    let mut earlier = capture.epoch.clone();
    one_reading(&mut earlier.timeline, 0);
    one_reading(&mut capture.epoch.timeline, last);
    let cells = |live: &Live| {
        let drawn = picture(live, MANY, (80, 40), &[Key::Char('0')]);
        let held = MANY.series(Series::Held).fg.unwrap();
        (4..30)
            .flat_map(|y| (10..80).map(move |x| (x, y)))
            .filter(|place| drawn[*place].fg == held && drawn[*place].symbol() != " ")
            .count()
    };
    let alone = cells(&Live::replay(&capture));
    capture.earlier_epochs.push(earlier);
    let both = cells(&Live::replay(&capture));
    // One reading in each.
    assert_eq!((alone, both), (1, 2));
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

#[test]
fn a_narrow_one_keeps_what_matters() {
    for (width, title, pages) in [
        (
            40,
            " service (27336)           live 0:14  20 s",
            " 1 overview  2  3  4  5  6  7",
        ),
        (
            60,
            " memtrace  service (27336)  go1.15.15        live 0:14  20 s",
            " overview  causes  advice  runtime  cgroup  answer  help",
        ),
        (
            72,
            " memtrace  service (27336)  go1.15.15                 live 0:14  20 s",
            " 1 overview  2 causes  3 advice  4 runtime  5 cgroup  6 answer  7 help",
        ),
    ] {
        let drawn = rows(&picture(&service(), MANY, (width, 16), &[]));
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(words(&drawn[0]), words(title));
        assert_eq!(drawn[1], pages);
        let shown = drawn.join("\n");
        let fault = drawn.iter().find(|row| row.starts_with(" fault")).unwrap();
        assert!(fault.contains("+290.1M"), "{shown}");
        let head = drawn.iter().find(|row| row.starts_with(" cause")).unwrap();
        assert!(
            head.contains("interval") && head.contains("total"),
            "{shown}"
        );
        assert_eq!(head.contains("calls"), width > 50, "{shown}");
        assert_eq!(head.contains("requested"), width > 50, "{shown}");
    }
}

#[test]
fn a_name_that_is_cut_says_so() {
    for (look, width, name) in [
        (MANY, 60, "madvise NOHUGEPA… "),
        (ASCII, 60, "madvise NOHUGEPA~ "),
        (MANY, 80, "madvise NOHUGEPAGE "),
    ] {
        let drawn = rows(&picture(&service(), look, (width, 24), &[Key::Char('2')]));
        let found = drawn.iter().any(|row| row.trim_start().starts_with(name));
        assert!(found, "{}", drawn.join("\n"));
    }
}

#[test]
fn figures_of_the_axis_are_equally_far_apart() {
    for height in 16..80 {
        for keys in [&[][..], &[Key::Char('y')]] {
            let drawn = rows(&picture(&service(), MANY, (100, height), keys));
            let figures: Vec<usize> = (0..drawn.len())
                .filter(|&row| drawn[row].chars().nth(7) == Some('┤'))
                .collect();
            let shown = drawn.join("\n");
            assert!(figures.len() > 1, "{shown}");
            let apart: Vec<usize> = figures.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(
                apart.iter().all(|rows| *rows == apart[0]),
                "{apart:?}\n{shown}"
            );
        }
    }
}

#[test]
fn a_line_has_its_own_colour_also_where_another_is_near() {
    let capture = capture();
    let mut live = service();
    let mut tick = capture.epoch.timeline.last().unwrap().clone();
    // Less than a row apart: 200 MiB, and 190 MiB, of a chart of more than 400 MiB.
    for second in 15..1000_u64 {
        tick.t_ns = second * 1_000_000_000;
        tick.rss_bytes = 200 << 20;
        tick.lazyfree_bytes = None;
        tick.go.as_mut().unwrap().heap_inuse_bytes = Some(198 << 20);
        tick.go.as_mut().unwrap().heap_released_bytes = Some(400 << 20);
        live.tick(&tick);
    }
    for look in [MANY, MONO] {
        let drawn = picture(&live, look, (100, 24), &[]);
        let wanted = [Series::Rss, Series::HeapInuse];
        let of = |series: Series| {
            let cells = drawn.content().iter().skip(4 * 100).take(8 * 100);
            cells
                .filter(|cell| match look.dots() {
                    true => Some(cell.fg) == look.series(series).fg && cell.symbol() > "\u{2800}",
                    false => cell.symbol() == look.letter(series).to_string(),
                })
                .count()
        };
        let [rss, heap] = wanted.map(of);
        let shown = text(&drawn);
        assert!(rss.abs_diff(heap) < 10 && rss > 40, "{rss} {heap}\n{shown}");
    }
}

/// As WCAG 2 measures it.
fn luminance(colour: Color) -> f64 {
    let of_the_cube = match colour {
        Color::Indexed(number @ 16..=231) => Some(number - 16),
        _ => None,
    };
    let number = of_the_cube.unwrap();
    let part = |value: u8| {
        let value = if value == 0 {
            0.0
        } else {
            (55.0 + 40.0 * f64::from(value)) / 255.0
        };
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055_f64).powf(2.4)
        }
    };
    0.2126 * part(number / 36) + 0.7152 * part(number / 6 % 6) + 0.0722 * part(number % 6)
}

#[test]
fn lines_are_those_that_are_always_shown() {
    let shown = LINES.iter().filter(|line| line.shown == Shown::Always);
    let mut shown: Vec<_> = shown.map(|line| line.name).collect();
    let mut drawn = Series::ALL.map(|series| series.figure().name);
    shown.sort_unstable();
    drawn.sort_unstable();
    assert_eq!(shown, drawn);
    let named = |look: Look| Series::ALL.map(|series| series.name(look));
    let names = ["RSS−LazyFree", "RSS", "HeapInuse", "HeapReleased"];
    assert_eq!(named(MANY), names);
    let ascii = Look {
        unicode: false,
        ..MANY
    };
    assert_eq!(named(ascii)[0], "RSS-LazyFree");
}

#[test]
fn colours_are_seen_on_white_and_on_black() {
    let styles = Series::ALL.map(|series| MANY.series(series));
    let others = [
        MANY.rise(),
        MANY.fall(),
        MANY.good(),
        MANY.warn(),
        MANY.bad(),
    ];
    for style in styles.into_iter().chain(others) {
        let colour = style.fg.unwrap();
        let light = luminance(colour);
        assert!(1.05 / (light + 0.05) >= 3.3, "{colour:?} on white");
        assert!((light + 0.05) / 0.05 >= 3.3, "{colour:?} on black");
    }
}
