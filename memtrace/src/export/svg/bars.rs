//! What each cause moved: upwards what RSS gained, downwards what it lost.

use super::{
    Frame, LEFT, RIGHT, SIGN, flow, levels,
    lines::AXIS,
    paper::{Paper, px},
};
use crate::text::Foreign;
use crate::{
    model::{Cause, Mode},
    text::format::change,
    timeline::CauseName,
    view::chart::{Bar, Ranked, Scale, asked, bars, byte_label, byte_ticks, moment, ranked},
};

const HEIGHT: f64 = 120.0;
/// Where nothing moved.
const FLAT: f64 = 26.0;
/// At most so many; 8 px each.
const BARS: usize = 90;
/// Colours. Where there are more causes, the last of them share one more.
const COLOURS: usize = 10;
/// Between the two plots.
const APART: f64 = 34.0;

/// The colour that a cause has in every picture, as long as no larger one has taken it.
fn wanted(name: &CauseName) -> Option<usize> {
    Some(match (name.cause, name.advice.as_ref().map(Foreign::raw)) {
        (Cause::Fault, _) => 0,
        (Cause::Munmap, _) => 1,
        (Cause::Madvise, Some("MADV_DONTNEED")) => 2,
        (Cause::Reclaim, _) => 3,
        (Cause::Brk, _) => 4,
        (Cause::Exec | Cause::Exit, _) => 5,
        (Cause::Mmap, _) => 6,
        (Cause::OtherSyscall, _) => 7,
        (Cause::Khugepaged, _) => 8,
        _ => return None,
    })
}

/// The colours of these causes, in their order; `None`: that of the rest.
fn colours(frame: &Frame<'_>, ranked: &[Ranked]) -> Vec<Option<usize>> {
    let own = if ranked.len() > COLOURS {
        COLOURS - 1
    } else {
        ranked.len()
    };
    let mut free = [true; COLOURS];
    let mut colours = vec![None; ranked.len()];
    for (colour, ranked) in colours.iter_mut().zip(ranked).take(own) {
        let name = frame.history.names().get(usize::from(ranked.name));
        if let Some(slot) = name.and_then(wanted)
            && let Some(free) = free.get_mut(slot)
            && std::mem::take(free)
        {
            *colour = Some(slot);
        }
    }
    for colour in colours
        .iter_mut()
        .take(own)
        .filter(|colour| colour.is_none())
    {
        let slot = free.iter().position(|&free| free);
        if let Some(free) = slot.and_then(|slot| free.get_mut(slot)) {
            *free = false;
        }
        *colour = slot;
    }
    colours
}

fn class(colour: Option<usize>) -> String {
    match colour {
        Some(colour) => format!("c{colour}"),
        None => "rest".to_owned(),
    }
}

/// Draws the plot below `top`, with the time axis under it, and says where it ends.
pub(super) fn draw(paper: &mut Paper, frame: &Frame<'_>, top: f64) -> f64 {
    if frame.capture.epoch.capture.mode == Mode::Approximate {
        frame.draw_times(paper, top + AXIS);
        return top + AXIS;
    }
    let bars = bars(frame.history, BARS);
    let ranked = ranked(&bars);
    let colours = colours(frame, &ranked);
    let ends = |bar: &Bar| {
        bar.parts
            .iter()
            .map(|part| part.from + part.bytes)
            .collect::<Vec<_>>()
    };
    let ends: Vec<i128> = bars.iter().flat_map(ends).collect();
    let highest = ends.iter().copied().max().unwrap_or(0).max(0);
    let lowest = ends.iter().copied().min().unwrap_or(0).min(0);
    let plot = top + APART;
    let height = if ranked.is_empty() { FLAT } else { HEIGHT };
    let bottom = plot + height;
    paper.text(
        LEFT,
        plot - 9.0,
        "",
        &format!("RSS change by cause{}", unexplained(frame)),
    );
    frame.draw_gaps(paper, plot, bottom);
    frame.draw_verticals(paper, plot, bottom);
    if ranked.is_empty() {
        let middle = plot.midpoint(bottom);
        paper.line((LEFT, middle), (RIGHT, middle), "zero");
        paper.text(LEFT - 6.0, middle + 4.0, "dim small end", "0");
    } else {
        let scale = Scale {
            axis: byte_ticks(lowest, highest, 4),
            low: bottom,
            high: plot,
        };
        paper.open(&[("class", "bars".to_owned())]);
        for bar in &bars {
            draw_bar(paper, frame, bar, scale, |name| {
                let place = ranked.iter().position(|ranked| ranked.name == name);
                class(place.and_then(|place| colours.get(place).copied().flatten()))
            });
        }
        paper.close();
        // Above the bars, so that 0 stays seen.
        levels(paper, scale, |bytes| match byte_label(bytes) {
            label if bytes > 0 => format!("+{label}"),
            label => label,
        });
    }
    frame.draw_times(paper, bottom + AXIS - 2.0);
    legend(paper, frame, &ranked, &colours, bottom + AXIS + 20.0)
}

/// The line that is never hidden.
fn unexplained(frame: &Frame<'_>) -> String {
    let capture = frame.capture;
    let mut epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
    let sum = epochs.try_fold(0_i64, |sum, epoch| {
        Some(sum.saturating_add(epoch.summary.unexplained_bytes?))
    });
    match sum {
        Some(bytes) => format!("; unexplained: {}", change(bytes)),
        None => "; it is not known whether they explain all of it".to_owned(),
    }
}

fn label(frame: &Frame<'_>, name: u16) -> String {
    let name = frame.history.names().get(usize::from(name));
    name.map(CauseName::label).unwrap_or_default()
}

/// A change that may be a sum of many.
fn moved(bytes: i128) -> String {
    change(i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX }))
}

fn draw_bar(
    paper: &mut Paper,
    frame: &Frame<'_>,
    bar: &Bar,
    scale: Scale,
    class: impl Fn(u16) -> String,
) {
    let (from, to) = (frame.x(bar.from_ns), frame.x(bar.to_ns));
    // Between two bars there is a little room, where they are wide enough.
    let room = if to - from > 3.0 { 1.0 } else { 0.0 };
    let wide = (to - from - room).max(0.5);
    for part in &bar.parts {
        let (begin, end) = (scale.at(part.from), scale.at(part.from + part.bytes));
        let label = label(frame, part.name);
        let attributes = [
            ("x", px(from)),
            ("y", px(begin.min(end))),
            ("width", px(wide)),
            ("height", px((begin - end).abs())),
            ("class", class(part.name)),
            ("data-cause", label.clone()),
            ("data-bytes", part.bytes.to_string()),
            ("data-from-ns", bar.from_ns.to_string()),
            ("data-to-ns", bar.to_ns.to_string()),
        ];
        let title = format!(
            "{} to {}: {label} {}",
            moment(bar.from_ns),
            moment(bar.to_ns),
            moved(part.bytes)
        );
        paper.titled("rect", &attributes, &title);
    }
}

fn legend(
    paper: &mut Paper,
    frame: &Frame<'_>,
    ranked: &[Ranked],
    colours: &[Option<usize>],
    top: f64,
) -> f64 {
    let (own, rest): (Vec<_>, Vec<_>) = ranked
        .iter()
        .zip(colours)
        .partition(|(_, colour)| colour.is_some());
    let text = |name: String, gained: i128, lost: i128| match (gained, lost) {
        (0, lost) => format!("{name} {}", moved(lost)),
        (gained, 0) => format!("{name} {}", moved(gained)),
        (gained, lost) => format!("{name} {} {}", moved(gained), moved(lost)),
    };
    let mut items: Vec<(String, String)> = own
        .iter()
        .map(|(ranked, colour)| {
            let name = label(frame, ranked.name);
            (class(**colour), text(name, ranked.gained, ranked.lost))
        })
        .collect();
    if !rest.is_empty() {
        let gained = rest.iter().map(|(ranked, _)| ranked.gained).sum();
        let lost = rest.iter().map(|(ranked, _)| ranked.lost).sum();
        let name = format!("{} others", rest.len());
        items.push((class(None), text(name, gained, lost)));
    }
    items.extend(asked(frame.history).map(|(name, bytes)| {
        let text = format!(
            "{} 0, asked for {}",
            label(frame, name),
            moved(bytes).trim_start_matches('+')
        );
        ("none".to_owned(), text)
    }));
    let (places, next) = flow(items.iter().map(|(_, text)| text.as_str()), top);
    for ((class, text), (x, y)) in items.iter().zip(places) {
        let sign = [
            ("x", px(x + 6.0)),
            ("y", px(y - 10.0)),
            ("width", px(12.0)),
            ("height", px(12.0)),
            ("class", class.clone()),
        ];
        paper.empty("rect", &sign);
        paper.text(x + SIGN - 3.0, y, "", text);
    }
    if items.is_empty() {
        next - 14.0
    } else {
        next - 6.0
    }
}
