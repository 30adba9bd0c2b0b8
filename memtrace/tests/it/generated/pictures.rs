//! The pictures of the README that are text: the terminal, and the chart.

use std::{collections::BTreeMap, fs::File};

use memtrace::{
    export::svg::svg,
    timeline::{History, Live, Loaded, load, read},
    view::screen::{Look, Palette, Screen},
};
use ratatui_core::{buffer::Buffer, layout::Rect};

use super::cells;

/// Columns and rows.
const SIZE: (u16, u16) = (110, 36);

fn article() -> File {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/captures/go1.15-service.json"
    );
    File::open(path).unwrap()
}

fn terminal() -> String {
    let live = Live::replay(&read(article()).unwrap());
    let mut screen = Screen::new(Look {
        palette: Palette::Many,
        unicode: true,
    });
    screen.look_at(&live, SIZE.0);
    let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    screen.draw(&mut buffer);
    cells::svg(&buffer, "memtrace in a terminal, tracing a Go service")
}

fn chart() -> String {
    let Loaded {
        capture, digests, ..
    } = load::<History>(article()).unwrap();
    svg(&capture, &History::joined(&capture, digests))
}

#[test]
fn pictures_are_current() {
    let files = BTreeMap::from([
        ("terminal.svg".to_owned(), terminal()),
        ("chart.svg".to_owned(), chart()),
    ]);
    for text in files.values() {
        roxmltree::Document::parse(text).unwrap();
    }
    super::current("pictures", ".svg", "pictures", &files);
}
