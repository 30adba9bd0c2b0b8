//! A chart of a capture as SVG: for READMEs and tickets. One file, without scripts, and nothing that is loaded from elsewhere.
//!
//! Above, the process's memory over time; below, on the same axis, what each cause moved. Light or dark as the reader has it.
//! Arguments of the command line are left out, since they may hold secrets, and a picture is made to be shown.

mod bars;
mod lines;
mod paper;

use paper::{Paper, px, width};

use crate::{
    model::{Capture, End, Level, Mode},
    text::{
        format::{size, span},
        wrapped,
    },
    timeline::History,
    view::chart::{Gap, Scale, gaps, time_label, time_ticks},
};

/// The whole picture, px.
const WIDTH: f64 = 800.0;
/// Left and right of the plots.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 784.0;
/// From the border to text.
const MARGIN: f64 = 16.0;
/// From line to line.
const ROW: f64 = 17.0;
/// Characters in a line of the answer.
const ANSWER: usize = 98;
/// Characters in a line of notes.
const NOTE: usize = 124;
/// Longest path of an executable, and longest title of an answer.
const EXE: usize = 60;
const TITLE: usize = 300;
const STYLE: &str = include_str!("svg/style.css");

/// The time axis that all plots share, and what is known of it.
struct Frame<'a> {
    capture: &'a Capture,
    history: &'a History,
    end_ns: u64,
    time: Scale,
    gaps: Vec<Gap>,
}

impl Frame<'_> {
    fn x(&self, t_ns: u64) -> f64 {
        self.time.at(i128::from(t_ns))
    }

    /// Before a figure that is sampled.
    fn mark(&self) -> &'static str {
        match self.capture.epoch.capture.mode {
            Mode::Exact => "",
            Mode::Approximate => "~",
        }
    }

    /// Where there is a gap, all the way down.
    fn draw_gaps(&self, paper: &mut Paper, top: f64, bottom: f64) {
        for gap in &self.gaps {
            let (from, to) = (self.x(gap.from_ns), self.x(gap.to_ns));
            let place = [
                ("x", px(from)),
                ("y", px(top)),
                ("width", px((to - from).max(1.0))),
                ("height", px(bottom - top)),
                ("class", "gap".to_owned()),
                ("data-from-ns", gap.from_ns.to_string()),
                ("data-to-ns", gap.to_ns.to_string()),
            ];
            let long = span(gap.to_ns.saturating_sub(gap.from_ns));
            paper.titled("rect", &place, &format!("nothing was read for {long}"));
        }
    }

    fn draw_times(&self, paper: &mut Paper, y: f64) {
        for tick in self.time.axis.ticks() {
            let text = time_label(u64::try_from(tick).unwrap_or(u64::MAX));
            paper.text(self.time.at(tick), y, "dim small mid", &text);
        }
    }

    fn draw_verticals(&self, paper: &mut Paper, top: f64, bottom: f64) {
        for tick in self.time.axis.ticks() {
            let x = self.time.at(tick);
            paper.line((x, top), (x, bottom), "grid");
        }
    }
}

/// Draws a capture. `history` is the timeline of all of its programs, as [`History::joined`] puts it together; of the ticks in
/// `capture` itself none is looked at.
#[must_use]
pub fn svg(capture: &Capture, history: &History) -> String {
    let epochs = || capture.earlier_epochs.iter().chain([&capture.epoch]);
    let lasted = epochs().fold(0_u64, |sum, epoch| {
        sum.saturating_add(epoch.capture.duration_ns)
    });
    let end_ns = history.last_ns().max(lasted);
    let interval_ns = epochs().map(|epoch| epoch.capture.interval_ns).max();
    let frame = Frame {
        capture,
        history,
        end_ns,
        time: Scale {
            axis: time_ticks(end_ns, 9),
            low: LEFT,
            high: RIGHT,
        },
        gaps: gaps(
            &history.spans(0, u64::MAX, usize::MAX),
            interval_ns.unwrap_or(0),
        ),
    };
    let mut paper = Paper::default();
    let mut y = head(&mut paper, capture, end_ns);
    y = lines::draw(&mut paper, &frame, y);
    y = bars::draw(&mut paper, &frame, y);
    y = foot(&mut paper, &frame, y);
    document(&paper.into_xml(), capture, y)
}

fn document(body: &str, capture: &Capture, height: f64) -> String {
    let mut paper = Paper::default();
    paper.raw(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"memtrace\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\">\n",
        px(WIDTH),
        px(height)
    ));
    paper.element("title", &[], &format!("memtrace: {}", subject(capture)));
    paper.element("desc", &[], &answer(capture));
    paper.raw("<style>\n");
    paper.raw(STYLE);
    paper.raw("</style>\n");
    paper.empty(
        "rect",
        &[
            ("x", px(0.5)),
            ("y", px(0.5)),
            ("width", px(WIDTH - 1.0)),
            ("height", px(height - 1.0)),
            ("rx", px(6.0)),
            ("class", "paper".to_owned()),
        ],
    );
    paper.raw(body);
    paper.raw("</svg>\n");
    paper.into_xml()
}

fn subject(capture: &Capture) -> String {
    let target = &capture.epoch.target;
    format!("{:.32} (pid {})", target.comm, target.pid)
}

/// Who, where, when.
fn head(paper: &mut Paper, capture: &Capture, end_ns: u64) -> f64 {
    let target = &capture.epoch.target;
    let host = &capture.host;
    let mut y = MARGIN + 14.0;
    paper.text(MARGIN, y, "title", &subject(capture));
    let mut what: Vec<String> = Vec::new();
    what.extend(target.exe.as_ref().map(|exe| exe.shown(EXE)));
    if let Some(runtime) = &target.runtime {
        let known = runtime.version.as_ref().or(runtime.name.as_ref());
        what.extend(known.map(|known| known.shown(30)));
        if runtime.allocator != runtime.name {
            what.extend(runtime.allocator.as_ref().map(|name| name.shown(30)));
        }
    }
    if !what.is_empty() {
        y += ROW;
        paper.text(MARGIN, y, "dim", &what.join(", "));
    }
    y += ROW;
    let first = capture.earlier_epochs.first().unwrap_or(&capture.epoch);
    let started = first.capture.started_at.shown(40);
    let text = format!(
        "Linux {} {}, {} CPUs; {}, {}; {}",
        host.kernel.shown(40),
        host.arch.shown(16),
        host.cpus,
        date(&started),
        span(end_ns),
        capture.epoch.capture.mode.name(),
    );
    paper.text(MARGIN, y, "dim", &text);
    y + ROW + 6.0
}

/// To the second.
fn date(started: &str) -> String {
    match started.split_once('.') {
        Some((seconds, _)) if seconds.len() == 19 && seconds.is_ascii() => {
            format!("{} UTC", seconds.replace('T', " "))
        }
        _ => started.to_owned(),
    }
}

/// The answer in a line.
fn answer(capture: &Capture) -> String {
    let Some(verdict) = &capture.epoch.verdict else {
        return "No answer: the capture did not come to its end".to_owned();
    };
    let level = match verdict.confidence.level {
        Level::High => "high",
        Level::Medium => "medium",
        Level::Low => "low",
    };
    let title = verdict.title.shown(TITLE);
    format!("{title} (confidence {level})")
}

/// The answer, and what is to be known of the figures.
fn foot(paper: &mut Paper, frame: &Frame<'_>, top: f64) -> f64 {
    let capture = frame.capture;
    let mut y = top + 10.0;
    for row in wrapped(&answer(capture), ANSWER) {
        y += 18.0;
        paper.text(MARGIN, y, "answer", &row);
    }
    for note in notes(frame) {
        for row in wrapped(&note, NOTE) {
            y += 16.0;
            paper.text(MARGIN, y, "warn small", &row);
        }
    }
    let version = format!("memtrace {:.20}", capture.memtrace_version);
    y += 16.0;
    paper.text(RIGHT, y, "dim small end", &version);
    y + 12.0
}

fn notes(frame: &Frame<'_>) -> Vec<String> {
    let capture = frame.capture;
    let mut notes = Vec::new();
    if let Some(bound) = capture.epoch.summary.rss_sampling_bound_bytes {
        notes.push(format!(
            "~ RSS is sampled, and may be off by {}",
            size(bound)
        ));
    }
    if !frame.gaps.is_empty() {
        let times = match frame.gaps.len() {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let long = frame.gaps.iter().fold(0_u64, |sum, gap| {
            sum.saturating_add(gap.to_ns.saturating_sub(gap.from_ns))
        });
        notes.push(format!(
            "Grey: nothing was read, {times}, for {} in all",
            span(long)
        ));
    }
    let epochs = || capture.earlier_epochs.iter().chain([&capture.epoch]);
    let lost = epochs().fold(0_u64, |sum, epoch| {
        sum.saturating_add(epoch.capture.lost_events)
    });
    if lost > 0 {
        notes.push(format!("Incomplete: {lost} events were not counted"));
    }
    if epochs().any(|epoch| epoch.capture.end == End::Interrupted) {
        notes.push("Incomplete: memtrace did not end this capture itself".to_owned());
    }
    let (_, left_out) = frame.history.marks();
    if left_out > 0 {
        notes.push(format!("{left_out} earlier programs have no mark"));
    }
    notes
}

/// An item of a legend: how wide its sign and text are.
const SIGN: f64 = 26.0;
const APART: f64 = 14.0;

/// Puts items side by side, as many in a row as fit, and says where each begins; then where the next row would be.
fn flow<'a>(items: impl IntoIterator<Item = &'a str>, top: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut x, mut y) = (LEFT, top);
    let mut places = Vec::new();
    for item in items {
        let wide = SIGN + width(item) + APART;
        if x > LEFT && x + wide - APART > RIGHT {
            x = LEFT;
            y += ROW;
        }
        places.push((x, y));
        x += wide;
    }
    let next = if places.is_empty() { top } else { y + ROW };
    (places, next)
}

/// Lines across, with a label for each.
fn levels(paper: &mut Paper, scale: Scale, label: impl Fn(i128) -> String) {
    for tick in scale.axis.ticks() {
        let y = scale.at(tick);
        let class = if tick == 0 { "zero" } else { "grid" };
        paper.line((LEFT, y), (RIGHT, y), class);
        paper.text(LEFT - 6.0, y + 4.0, "dim small end", &label(tick));
    }
}
