//! What keys do.

use std::time::Duration;

use memtrace::{
    timeline::Live,
    view::screen::{Action, Extent, Key, Look, Page, Palette, Screen, Sort, State, Zoom},
};
use proptest::{collection::vec, prelude::*};
use ratatui_core::{buffer::Buffer, layout::Rect};

use super::shown::{MANY, capture, picture, rows, service};

const SECOND: u64 = 1_000_000_000;

fn extent(last_s: u64) -> Extent {
    Extent {
        last_ns: last_s * SECOND,
        interval_ns: SECOND,
        most_scroll: 5,
        lines: 20,
    }
}

fn after(keys: &[Key], last_s: u64) -> State {
    let mut state = State::default();
    for key in keys {
        state.key(*key, extent(last_s));
    }
    state
}

#[test]
fn the_window_grows_with_the_capture_up_to_five_minutes() {
    let state = State::default();
    for (last, window) in [
        (0, (0, 10)),
        (10, (0, 10)),
        (11, (0, 20)),
        (100, (0, 120)),
        (300, (0, 300)),
        (1000, (700, 1000)),
    ] {
        let (from, to) = window;
        assert_eq!(
            state.window(last * SECOND),
            (from * SECOND, to * SECOND),
            "{last}"
        );
    }
}

#[test]
fn zoom_scroll_and_end() {
    let state = after(&[Key::Char('-')], 1000);
    assert_eq!(state.window(1000 * SECOND), (400 * SECOND, 1000 * SECOND));
    let state = after(&[Key::Char('+'), Key::Left], 1000);
    assert_eq!(state.window(1000 * SECOND), (850 * SECOND, 970 * SECOND));
    let state = after(&[Key::Left, Key::Right], 1000);
    assert_eq!(state.until_ns, None);
    let state = after(&[Key::Home], 1000);
    assert_eq!(state.window(1000 * SECOND), (0, 300 * SECOND));
    assert_eq!(after(&[Key::Home, Key::End], 1000).until_ns, None);
    let state = after(&[Key::Char('0')], 100_000);
    assert_eq!(state.window(100_000 * SECOND), (0, 100_000 * SECOND));
    // There is nothing before the start.
    let mut keys = vec![Key::Left; 100];
    keys.push(Key::Char('+'));
    assert!(after(&keys, 1000).window(1000 * SECOND).0 < 300 * SECOND);
}

#[test]
fn keys_ask_the_capture() {
    let mut state = State::default();
    let mut ask = |key| state.key(key, extent(10));
    assert_eq!(ask(Key::Char('q')), Action::Quit);
    assert_eq!(ask(Key::Interrupt), Action::Quit);
    assert_eq!(ask(Key::Suspend), Action::Suspend);
    assert_eq!(ask(Key::Char('w')), Action::Save);
    assert_eq!(
        ask(Key::Char('<')),
        Action::Interval(Duration::from_millis(500))
    );
    assert_eq!(
        ask(Key::Char('>')),
        Action::Interval(Duration::from_secs(2))
    );
    assert_eq!(ask(Key::Char('\u{7}')), Action::None);
}

#[test]
fn pages_and_help_and_back() {
    assert_eq!(after(&[Key::Char('3')], 10).page, Page::Advice);
    assert_eq!(after(&[Key::Tab], 10).page, Page::Causes);
    assert_eq!(after(&[Key::BackTab], 10).page, Page::Help);
    assert_eq!(
        after(&[Key::Char('5'), Key::Char('?')], 10).page,
        Page::Help
    );
    assert_eq!(
        after(&[Key::Char('5'), Key::Char('?'), Key::Char('?')], 10).page,
        Page::Cgroup
    );
    assert_eq!(
        after(&[Key::Char('5'), Key::Escape], 10).page,
        Page::Overview
    );
    assert_eq!(after(&[Key::Char('s')], 10).sort, Sort::Interval);
    assert_eq!(after(&[Key::Char('+')], 1000).zoom, Zoom::Level(4));
}

#[test]
fn what_is_paused_stands_still_and_the_capture_goes_on() {
    let mut live = service();
    let mut screen = Screen::new(MANY);
    let drawn = |screen: &mut Screen, live: &Live| {
        screen.look_at(live, 80);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        screen.draw(&mut buffer);
        rows(&buffer)
    };
    drawn(&mut screen, &live);
    screen.key(Key::Char(' '));
    let before = drawn(&mut screen, &live);
    assert!(before[0].contains("PAUSED"), "{}", before[0]);
    let mut tick = capture().epoch.timeline.last().unwrap().clone();
    for second in 15..40 {
        tick.t_ns = second * SECOND;
        tick.rss_bytes = 5 << 30;
        live.tick(&tick);
    }
    let mut account = live.account.as_ref().clone();
    account.verdict = None;
    live.know(account, live.own);
    let after = drawn(&mut screen, &live);
    assert_eq!(before[..21], after[..21]);
    screen.key(Key::Char(' '));
    let after = drawn(&mut screen, &live);
    assert!(after[0].contains("live"), "{}", after[0]);
    assert!(after.join("\n").contains("RSS 5.00G"));
}

#[test]
fn what_is_sorted_by_calls_has_most_calls_first() {
    // By total, by interval, by window, by requested, by calls.
    let keys = [[Key::Char('2')].as_slice(), &[Key::Char('s'); 4]].concat();
    let drawn = rows(&picture(&service(), MANY, (80, 24), &keys));
    let first = &drawn[4];
    assert!(first.starts_with(" madvise FREE "), "{}", drawn.join("\n"));
    assert!(first.contains(" 216 "), "{first}");
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        3 => prop_oneof![
            Just(Key::Left), Just(Key::Right), Just(Key::Up), Just(Key::Down), Just(Key::PageUp),
            Just(Key::PageDown), Just(Key::Home), Just(Key::End), Just(Key::Tab), Just(Key::BackTab),
            Just(Key::Escape), Just(Key::Interrupt), Just(Key::Suspend), Just(Key::Redraw),
        ],
        3 => proptest::sample::select("1234567+-0ays<>wq? hpjk".chars().collect::<Vec<_>>()).prop_map(Key::Char),
        1 => any::<char>().prop_map(Key::Char),
    ]
}

fn look() -> impl Strategy<Value = Look> {
    let palette = prop_oneof![
        Just(Palette::Mono),
        Just(Palette::Eight),
        Just(Palette::Many)
    ];
    (palette, any::<bool>()).prop_map(|(palette, unicode)| Look { palette, unicode })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_key_and_no_size_breaks_it(
        look in look(),
        steps in vec((key(), 0..260u16, 0..90u16, 0..3u64), 1..20),
    ) {
        let mut live = service();
        let mut screen = Screen::new(look);
        let tick = capture().epoch.timeline.last().unwrap().clone();
        let mut now = 14;
        for (key, width, height, ticks) in steps {
            for _ in 0..ticks {
                now += 1;
                let mut tick = tick.clone();
                tick.t_ns = now * SECOND;
                live.tick(&tick);
            }
            screen.look_at(&live, width);
            screen.key(key);
            screen.look_at(&live, width);
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            screen.draw(&mut buffer);
            let state = screen.state();
            let (from, to) = state.window(live.history.last_ns());
            prop_assert!(from < to);
            prop_assert!(state.until_ns.is_none_or(|until| until <= live.history.last_ns()));
        }
    }

    #[test]
    fn the_window_is_never_empty_and_never_in_the_future(keys in vec(key(), 0..50), last in 0..100_000u64) {
        let state = after(&keys, last);
        let (from, to) = state.window(last * SECOND);
        prop_assert!(from < to);
        prop_assert!(from <= last * SECOND);
        prop_assert!(state.scroll <= 5);
    }
}

#[test]
fn the_web_pages_address_is_there_when_nothing_else_was_said_lately() {
    const URL: &str = "http://127.0.0.1:6680/?token=0123456789abcdefghijkl";
    let mut live = service();
    let mut screen = Screen::new(MANY).with_address(Some(URL.to_owned()));
    let drawn = |screen: &mut Screen, live: &Live| {
        screen.look_at(live, 80);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        screen.draw(&mut buffer);
        rows(&buffer)
    };
    live.say("saved a file".to_owned());
    let news = drawn(&mut screen, &live);
    assert!(news[21].contains("saved a file"), "{news:#?}");
    let mut tick = capture().epoch.timeline.last().unwrap().clone();
    tick.t_ns += 19 * SECOND;
    live.tick(&tick);
    assert!(drawn(&mut screen, &live)[21].contains("saved a file"));
    tick.t_ns += SECOND;
    live.tick(&tick);
    assert_eq!(drawn(&mut screen, &live)[21], format!(" page {URL}"));
    screen.key(Key::Char('?'));
    let help = drawn(&mut screen, &live);
    assert!(help[..21].iter().any(|row| row.contains(URL)), "{help:#?}");
}
