//! Captures to be shown, and what is seen of them.

use memtrace::{
    model::Capture,
    timeline::{Live, Own, read},
    view::screen::{Key, Look, Palette, Screen},
};
use ratatui_core::{backend::TestBackend, buffer::Buffer, terminal::Terminal};

pub const MANY: Look = Look {
    palette: Palette::Many,
    unicode: true,
};
pub const MONO: Look = Look {
    palette: Palette::Mono,
    unicode: true,
};
pub const ASCII: Look = Look {
    palette: Palette::Mono,
    unicode: false,
};

/// The case of the README.
pub fn capture() -> Capture {
    read(include_bytes!("../../../../docs/captures/go1.15-service.json").as_slice()).unwrap()
}

/// It, as it was looked at at its end.
pub fn service() -> Live {
    let mut live = Live::replay(&capture());
    live.own = Own {
        cpu_ns: Some(20_000_000),
        rss_bytes: Some(14 << 20),
        rss_peak_bytes: Some(15 << 20),
    };
    live.say("saved memtrace-27336-20261127T020000Z.json".to_owned());
    live
}

/// A picture after some keys.
pub fn picture(live: &Live, look: Look, size: (u16, u16), keys: &[Key]) -> Buffer {
    let mut screen = Screen::new(look);
    screen.look_at(live, size.0);
    for key in keys {
        screen.key(*key);
        screen.look_at(live, size.0);
    }
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| screen.draw(frame.buffer_mut()))
        .unwrap();
    terminal.backend().buffer().clone()
}

/// Its letters, row by row, without what is empty at the end.
pub fn rows(picture: &Buffer) -> Vec<String> {
    let width = usize::from(picture.area().width).max(1);
    let rows = picture.content().chunks(width);
    rows.map(|row| {
        let letters: String = row.iter().map(|cell| cell.symbol()).collect();
        letters.trim_end().to_owned()
    })
    .collect()
}

pub fn text(picture: &Buffer) -> String {
    rows(picture).join("\n") + "\n"
}
