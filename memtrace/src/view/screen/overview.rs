//! The first page: the chart, the causes, the answer.

use ratatui_core::{style::Style, text::Span};

use super::{
    Series, State,
    chart::{chart, present, value},
    painted,
    pen::Pen,
    rows::{Still, rows},
    shot::Shot,
    table::table,
};
use crate::{
    model::Mode,
    text::{
        format::{change, count, signed_size, size, span},
        wrapped,
    },
    view::verdict,
};

/// From this width on, the whole answer stands beside the causes.
const WIDE: u16 = 140;
/// Most rows of causes below the chart.
const MOST_ROWS: u16 = 12;

/// Draws it.
pub fn overview(pen: &mut Pen<'_>, shot: &Shot, state: &State) {
    let (width, height) = (pen.width(), pen.height());
    let all = rows(shot, state.sort);
    let still = Still::of(shot);
    let causes = u16::try_from(all.len())
        .unwrap_or(u16::MAX)
        .clamp(1, MOST_ROWS);
    let beside = width >= WIDE;
    // The headline, the rows, and their sum.
    let most = height / if beside { 2 } else { 3 };
    let table_height = if beside {
        most
    } else {
        (causes + 2).min(most.max(3))
    };
    let answer_height = if beside { 0 } else { (height / 6).clamp(1, 3) };
    let chart_height = height.saturating_sub(2 + table_height + answer_height + u16::from(beside));
    figures(&mut pen.rows(0, 1), shot);
    legend(&mut pen.rows(1, 1), shot);
    chart(&mut pen.rows(2, chart_height), shot, state.from_zero);
    let below = 2 + chart_height;
    if beside {
        let left = width * 11 / 20;
        let below = below + 1;
        table(
            &mut pen.part(1, below, left - 2, table_height),
            &all,
            still,
            state.sort,
            0,
        );
        let mut right = pen.part(left + 2, below, width - left - 2, table_height);
        if let Some(answer) = &shot.account.verdict {
            let columns = usize::from(right.width().saturating_sub(1));
            let text = verdict(answer, columns);
            let lines = painted::lines(&text, right.look);
            let cut = lines.len() > usize::from(right.height());
            let room = right.height().saturating_sub(u16::from(cut));
            for (line, y) in lines.iter().zip(0..room) {
                right.line(0, y, line);
            }
            if cut {
                let more = if right.look.unicode { "…" } else { "~" };
                right.put(
                    0,
                    room,
                    &format!("{more} 6 has all of it"),
                    right.look.dim(),
                );
            }
        } else {
            right.put(0, 0, "no answer yet", right.look.dim());
        }
    } else {
        table(
            &mut pen.part(1, below, width.saturating_sub(1), table_height),
            &all,
            still,
            state.sort,
            0,
        );
        answer(
            &mut pen.part(
                1,
                below + table_height,
                width.saturating_sub(2),
                answer_height,
            ),
            shot,
        );
    }
}

/// The answer's title, and as much of its text as there is room for.
fn answer(pen: &mut Pen<'_>, shot: &Shot) {
    let look = pen.look;
    let Some(verdict) = &shot.account.verdict else {
        pen.put(0, 0, "no answer yet", look.dim());
        return;
    };
    let title = look.foreign(&verdict.title, 300);
    let level = match verdict.confidence.level {
        crate::model::Level::High => "",
        crate::model::Level::Medium => "perhaps: ",
        crate::model::Level::Low => "a guess: ",
    };
    let end = pen.put(0, 0, level, look.warn());
    pen.put(end, 0, &title, look.bold());
    if usize::from(end) + Span::raw(title.as_str()).width() > usize::from(pen.width()) {
        let more = if look.unicode { '…' } else { '~' };
        pen.letter(pen.width().saturating_sub(1), 0, more, look.dim());
    }
    let mut text = look.foreign(&verdict.text, 1500);
    if let Some(age) = shot.stale_lazyfree() {
        text.insert_str(0, &format!("(LazyFree as of {} ago.) ", span(age)));
    }
    let lines = wrapped(&text, usize::from(pen.width()).max(20));
    let room = pen.height().saturating_sub(1);
    let cut = lines.len() > usize::from(room);
    for (line, y) in lines.iter().zip(1..=room) {
        let end = pen.put(0, y, line, Style::new());
        if cut && y == room {
            let place = end.min(pen.width().saturating_sub(2));
            pen.put(place, y, if look.unicode { " …" } else { " ~" }, look.dim());
        }
    }
}

/// Columns of `LazyFree` with its age: `1023.9M (59.9 s ago)`.
const AGED: usize = 19;

/// The figures of the last tick.
fn figures(pen: &mut Pen<'_>, shot: &Shot) {
    let look = pen.look;
    let Some(last) = &shot.last else {
        pen.put(1, 0, "waiting for the first figures", look.dim());
        return;
    };
    let total = shot.total.as_ref();
    let time_ns = last.t_ns.saturating_sub(last.from_ns).max(1);
    let mut parts: Vec<(&str, String)> = Vec::new();
    let mut moved = last.causes.iter().map(|moved| moved.rss_delta_bytes);
    let none = Still::of(shot).interval.filter(|_| last.causes.is_empty());
    let moved = if last.causes.is_empty() {
        none
    } else {
        moved.try_fold(0_i64, |sum, moved| Some(sum.saturating_add(moved?)))
    };
    parts.push(("change", moved.map_or_else(|| "-".to_owned(), change)));
    let rate = last.faults.map(|faults| {
        let rate = u128::from(faults) * 1_000_000_000 / u128::from(time_ns);
        u64::try_from(rate).unwrap_or(u64::MAX)
    });
    parts.push(("faults/s", rate.map_or_else(|| "-".to_owned(), count)));
    parts.push(("swap", signed_size(last.swap_bytes)));
    let read = total.and_then(|total| total.lazyfree_bytes.zip(total.lazyfree_t_ns));
    parts.push((
        "LazyFree",
        match read {
            Some((bytes, t_ns)) if t_ns >= shot.last_ns => size(bytes),
            Some((bytes, t_ns)) => {
                format!(
                    "{} ({} ago)",
                    size(bytes),
                    span(shot.last_ns.saturating_sub(t_ns))
                )
            }
            None => "-".to_owned(),
        },
    ));
    let address_space = last.vm_bytes.or(total.and_then(|total| total.vm_bytes));
    parts.push(("VM", address_space.map_or_else(|| "-".to_owned(), size)));
    parts.push(("anon", signed_size(last.anon_bytes)));
    parts.push(("file", signed_size(last.file_bytes)));
    parts.push(("shmem", signed_size(last.shmem_bytes)));
    let mut x: u16 = 1;
    for (name, value) in parts {
        let least = if name == "LazyFree" { AGED } else { 7 };
        let length = name.chars().count() + 1 + value.chars().count().max(least);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if x.saturating_add(length) > pen.width() {
            break;
        }
        let end = pen.put(x, 0, name, look.dim()) + 1;
        pen.put(end, 0, &value, Style::new());
        // What follows stays where it is.
        x += length + 2;
    }
}

/// The chart's lines by name, with their last values.
fn legend(pen: &mut Pen<'_>, shot: &Shot) {
    let look = pen.look;
    let sampled = shot.account.capture.mode == Mode::Approximate;
    let mut x: u16 = 1;
    let mut series = present(shot);
    // RSS is what people look for first.
    series.sort_by_key(|series| *series != Series::Rss);
    for series in series {
        let now = shot.last.as_ref().and_then(|last| value(last, series));
        let known = now.or_else(|| match (&shot.total, series) {
            (Some(total), series) => value(total, series),
            (None, Series::Rss) => Some(shot.account.summary.rss_start_bytes),
            (None, _) => None,
        });
        let mut text = known.map_or_else(|| "-".to_owned(), signed_size);
        if sampled && matches!(series, Series::Rss | Series::Held) {
            text.insert(0, '~');
        }
        // What is drawn from an old reading is no figure of now.
        let is_old = series == Series::Held && shot.stale_lazyfree().is_some();
        let figure = if is_old { look.dim() } else { look.bold() };
        let mark = if look.dots() {
            '━'
        } else {
            look.letter(series)
        };
        let name = series.name(look);
        let length = u16::try_from(name.chars().count() + 3 + text.chars().count().max(6));
        let length = length.unwrap_or(u16::MAX);
        if x.saturating_add(length) > pen.width() {
            break;
        }
        pen.letter(x, 0, mark, look.series(series));
        let end = pen.put(x + 2, 0, &name, look.name(series)) + 1;
        pen.put(end, 0, &text, figure);
        x += length + 2;
    }
}
