//! Numbers and names as people read them.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// Headlines.
pub const BOLD: Style = Style::new().bold();
/// What does not matter.
pub const DIM: Style = Style::new().dimmed();
/// What is right.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is not quite.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What is not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// `PATH_MAX`, `include/uapi/linux/limits.h`: no path is longer.
const PATH_MAX: usize = 4096;
const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];

/// A size in at most six characters: `0`, `512`, `4K`, `9876K`, `12.34M`, `200.0M`. Units are powers of 1024.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    // Pages are multiples of 4 KiB: whole KiB up to four digits are exact.
    if bytes.is_multiple_of(1024) && bytes < 10_000 * 1024 {
        return format!("{}K", bytes / 1024);
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    loop {
        value /= 1024.0;
        // 999.95 would be shown as 1000.0.
        if value < 999.95 || unit == UNITS.len() - 1 {
            break;
        }
        unit += 1;
    }
    let decimals = if value < 99.995 { 2 } else { 1 };
    format!("{value:.decimals$}{}", UNITS[unit])
}

/// A size without decimals where it has none: `0`, `512K`, `50M`, `1.50G`. For axes.
#[must_use]
pub fn round_size(bytes: u64) -> String {
    let mut value = bytes;
    let mut unit = "";
    for next in UNITS {
        if value < 1024 || !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        unit = next;
    }
    if value < 1024 {
        format!("{value}{unit}")
    } else {
        size(bytes)
    }
}

/// A moment since the start: `0:05`, `12:34`, `1:02:03`, `2 d 1:02:03`.
#[must_use]
pub fn clock(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    let (days, hours, minutes) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    let s = s % 60;
    match (days, hours) {
        (0, 0) => format!("{minutes}:{s:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{s:02}"),
        _ => format!("{days} d {hours}:{minutes:02}:{s:02}"),
    }
}

/// A change in at most seven characters, with its sign: `0`, `+4K`, `-200.0M`.
#[must_use]
pub fn change(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ => format!(
            "{}{}",
            if bytes < 0 { '-' } else { '+' },
            size(bytes.unsigned_abs())
        ),
    }
}

/// A signed size without a plus.
#[must_use]
pub fn signed_size(bytes: i64) -> String {
    format!(
        "{}{}",
        if bytes < 0 { "-" } else { "" },
        size(bytes.unsigned_abs())
    )
}

/// A count in at most six characters: `123456`, `1.234m`, `12.34m`; m, g, t, p and e are powers of 1000.
#[must_use]
pub fn count(count: u64) -> String {
    if count < 1_000_000 {
        return count.to_string();
    }
    let mut value = count as f64 / 1e6;
    let mut unit = "m";
    for next in ["g", "t", "p", "e"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value < 99.995 { 2 } else { 1 };
    format!("{value:.decimals$}{unit}")
}

/// A time span: `950 ms`, `30.0 s`, `5 min 10 s`, `2 h 3 min`.
#[must_use]
pub fn span(ns: u64) -> String {
    let ms = ns / 1_000_000;
    let s = ms / 1000;
    if ms < 1000 {
        format!("{ms} ms")
    } else if s < 120 {
        format!("{:.1} s", ms as f64 / 1000.0)
    } else if s < 7200 {
        format!("{} min {} s", s / 60, s % 60)
    } else {
        format!("{} h {} min", s / 3600, s / 60 % 60)
    }
}

/// A text that another program chose, made harmless for a terminal: control characters, and those that turn the direction of
/// writing, are shown as `\u{…}`; at most `width` characters.
#[must_use]
pub fn sanitized(text: &str, width: usize) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        if is_harmless(letter) {
            safe.push(letter);
        } else {
            let _ = write!(safe, "\\u{{{:x}}}", letter as u32);
        }
    }
    if safe.chars().count() > width {
        let mut cut: String = safe.chars().take(width.saturating_sub(1)).collect();
        cut.push('…');
        return cut;
    }
    safe
}

/// The end of a path or a name, as [`sanitized`], in at most `room` characters: it says more than the beginning.
#[must_use]
pub fn tail(text: &str, room: usize) -> String {
    let shown = sanitized(text, PATH_MAX);
    let length = shown.chars().count();
    if length <= room {
        return shown;
    }
    let skipped = shown.chars().skip(length - room.saturating_sub(1));
    std::iter::once('…').chain(skipped).collect()
}

/// Returns if a terminal shows a character, and does nothing else: it is no control character, and none that changes how others
/// are shown.
#[must_use]
pub fn is_harmless(letter: char) -> bool {
    !letter.is_control() && !is_format(letter)
}

/// Invisible characters that change how others are shown.
const fn is_format(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Paints `text`.
#[must_use]
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fit_into_six_characters() {
        for (bytes, text) in [
            (0, "0"),
            (512, "512"),
            (4096, "4K"),
            (10_235_904, "9996K"),
            (209_715_200, "200.0M"),
            (10 << 20, "10.00M"),
            (1_500_000, "1.43M"),
            ((1 << 30) - 1, "1.00G"),
            (1 << 40, "1.00T"),
            (u64::MAX, "16.00E"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        for shift in 0..64 {
            for bytes in [1u64 << shift, (1 << shift) - 1, (1u64 << shift) / 3 * 2] {
                assert!(size(bytes).len() <= 6, "{} for {bytes}", size(bytes));
            }
        }
    }

    #[test]
    fn figures_of_an_axis_have_no_needless_decimals() {
        for (bytes, text) in [
            (0, "0"),
            (512, "512"),
            (4096, "4K"),
            (50 << 20, "50M"),
            (500 << 20, "500M"),
            (2000 << 20, "1.95G"),
            (3 << 29, "1.50G"),
        ] {
            assert_eq!(round_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn moments_are_read_as_a_clock() {
        assert_eq!(clock(5_000_000_000), "0:05");
        assert_eq!(clock(754_000_000_000), "12:34");
        assert_eq!(clock(3_723_900_000_000), "1:02:03");
        assert_eq!(clock(176_523_000_000_000), "2 d 1:02:03");
    }

    #[test]
    fn changes_carry_their_sign() {
        assert_eq!(change(0), "0");
        assert_eq!(change(4096), "+4K");
        assert_eq!(change(-209_715_200), "-200.0M");
        assert_eq!(change(i64::MIN), "-8.00E");
    }

    #[test]
    fn counts_fit_into_six_characters() {
        assert_eq!(count(999_999), "999999");
        assert_eq!(count(1_000_000), "1.00m");
        assert_eq!(count(123_456_789), "123.5m");
        assert_eq!(count(u64::MAX), "18.45e");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(950_000_000), "950 ms");
        assert_eq!(span(30_000_000_000), "30.0 s");
        assert_eq!(span(310_000_000_000), "5 min 10 s");
        assert_eq!(span(7_380_000_000_000), "2 h 3 min");
    }

    #[test]
    fn a_hostile_name_cannot_move_the_cursor() {
        assert_eq!(sanitized("a\x1b[2Jb\n", 40), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(sanitized("x\u{202e}y", 40), "x\\u{202e}y");
        assert_eq!(sanitized("x\u{61c}\u{9b}y", 40), "x\\u{61c}\\u{9b}y");
        assert_eq!(sanitized("abcdef", 4), "abc…");
        assert_eq!(sanitized("größe", 5), "größe");
    }
}
