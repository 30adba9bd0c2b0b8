//! Two captures side by side, as a page to send: one file, no script, nothing from anywhere else.
//!
//! Every text of a capture may be hostile. It goes through [`escaped`], and the page's policy allows no script at all.

use std::fmt::Write as _;

use super::{both, changed_text, group_title};
use crate::text::Foreign;
use crate::{
    diff::{CauseDiff, Diff, Figure, Judged, Quantity, RssPoint, Side, Unit},
    text::{
        format::{size, span},
        markup,
    },
    view::table::label,
};

const STYLE: &str = include_str!("page.css");
/// Its SHA-256, in base64. After a change of the style, the test below prints the new one.
const STYLE_HASH: &str = "s0by1Pm+rhlovYqgUTMPQ1rXDC0F2TMmnk7yQHy8ces=";
/// Most characters of a text of a capture.
const TEXT: usize = 1000;
/// The chart's size, and the room for its labels, in its own units.
const CHART: (f64, f64) = (800.0, 240.0);
const LEFT: f64 = 60.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 10.0;

/// The whole page.
#[must_use]
pub fn page(diff: &Diff) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // The style is this file's own, by its hash; nothing is fetched, and no script runs.
    let _ = writeln!(
        page,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'\">"
    );
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<meta name=\"referrer\" content=\"no-referrer\">\n");
    let _ = write!(
        page,
        "<title>memtrace diff</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        escaped(&diff.headline)
    );
    sides(&mut page, diff);
    conditions(&mut page, diff);
    chart(&mut page, diff);
    answers(&mut page, diff);
    causes(&mut page, diff);
    figures(&mut page, &diff.figures);
    let _ = write!(
        page,
        "<p class=\"dim\">=: no difference. ≈: one run each, and runs of one program differ by as much. -: not known on one side.<br>memtrace {}</p>\n</body>\n</html>\n",
        escaped(&diff.memtrace_version)
    );
    page
}

/// A text that may be hostile, as text: control characters are shown, and nothing in it is markup.
fn escaped(text: impl Into<Foreign>) -> String {
    markup::escaped(&text.into().shown(TEXT))
}

fn sides(page: &mut String, diff: &Diff) {
    page.push_str("<div class=\"wide\"><table class=\"text\">\n");
    for (name, class, side) in [("A", "a", &diff.a), ("B", "b", &diff.b)] {
        let state = if side.is_complete {
            ""
        } else {
            " <span class=\"bad\">incomplete</span>"
        };
        let _ = writeln!(
            page,
            "<tr><th class=\"{class}\">{name}</th><td>{}</td><td>{} ({}){state}</td><td>{} from {}</td></tr>",
            escaped(&side.file),
            escaped(&side.comm),
            side.pid,
            span(side.duration_ns),
            escaped(&side.started_at),
        );
    }
    page.push_str("</table></div>\n");
}

fn conditions(page: &mut String, diff: &Diff) {
    let conditions = &diff.conditions;
    page.push_str("<h2>Conditions</h2>\n");
    if !conditions.differ.is_empty() {
        page.push_str("<div class=\"wide\"><table class=\"text\">\n<tr><th></th><th class=\"a\">A</th><th class=\"b\">B</th></tr>\n");
        for condition in &conditions.differ {
            let value =
                |value: &Option<Foreign>| value.as_ref().map_or_else(|| "-".to_owned(), escaped);
            let _ = writeln!(
                page,
                "<tr><th>{}</th><td>{}</td><td>{}</td></tr>",
                escaped(&condition.title),
                value(&condition.a),
                value(&condition.b)
            );
        }
        page.push_str("</table></div>\n");
    }
    let _ = writeln!(
        page,
        "<p class=\"dim\">The same: {}</p>",
        escaped(conditions.same.join(", "))
    );
    for note in &conditions.notes {
        let _ = writeln!(page, "<p>{}</p>", escaped(note));
    }
}

/// RSS of both on one axis.
fn chart(page: &mut String, diff: &Diff) {
    let sides = [("a", &diff.a), ("b", &diff.b)];
    let points = || sides.iter().flat_map(|(_, side)| &side.rss);
    let last = points().map(|point| point.t_ns).max().unwrap_or(0);
    let highest = points().map(|point| point.rss_bytes).max().unwrap_or(0);
    if last == 0 || highest <= 0 {
        return;
    }
    let (width, height) = CHART;
    let x = |t_ns: u64| LEFT + (t_ns as f64 / last as f64) * (width - LEFT - 10.0);
    let y = |bytes: i64| {
        height - BELOW - (bytes.max(0) as f64 / highest as f64) * (height - BELOW - ABOVE)
    };
    let _ = writeln!(
        page,
        "<h2>RSS</h2>\n<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"RSS of A and of B over time\">"
    );
    for bytes in [0, highest] {
        let at = y(bytes);
        let _ = writeln!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            size(bytes.unsigned_abs())
        );
    }
    for (at, anchor) in [(0, "start"), (last, "end")] {
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            x(at),
            height - 6.0,
            span(at)
        );
    }
    for (class, side) in sides {
        line(page, class, side, x, y);
    }
    page.push_str(
        "</svg>\n<p><span class=\"a\">━ A</span> &nbsp; <span class=\"b\">━ B</span></p>\n",
    );
}

fn line(
    page: &mut String,
    class: &str,
    side: &Side,
    x: impl Fn(u64) -> f64,
    y: impl Fn(i64) -> f64,
) {
    let _ = write!(page, "<polyline class=\"{class}\" points=\"");
    for RssPoint { t_ns, rss_bytes } in &side.rss {
        let _ = write!(page, "{:.1},{:.1} ", x(*t_ns), y(*rss_bytes));
    }
    page.push_str("\"/>\n");
}

fn answers(page: &mut String, diff: &Diff) {
    page.push_str("<h2>Answers</h2>\n<div class=\"wide\"><table class=\"text\">\n");
    for (name, class, answer) in [("A", "a", &diff.answers.a), ("B", "b", &diff.answers.b)] {
        let (id, title) = match answer {
            Some(answer) => (answer.id.raw(), answer.title.raw()),
            None => ("-", "no answer"),
        };
        let _ = writeln!(
            page,
            "<tr><th class=\"{class}\">{name}</th><td>{}</td><td>{}</td></tr>",
            escaped(id),
            escaped(title)
        );
    }
    let _ = writeln!(
        page,
        "</table></div>\n<p>{}</p>",
        escaped(&diff.answers.text)
    );
}

fn causes(page: &mut String, diff: &Diff) {
    let rate = if diff.conditions.by_rate { "/s" } else { "" };
    page.push_str("<h2>Causes</h2>\n<div class=\"wide\"><table>\n<tr><th></th>");
    for name in ["calls", "requested", "RSS"] {
        let _ = write!(page, "<th colspan=\"3\">{name}{rate}</th>");
    }
    page.push_str("</tr>\n<tr><th>cause</th>");
    for _ in 0..3 {
        page.push_str("<th class=\"a\">A</th><th class=\"b\">B</th><th>change</th>");
    }
    page.push_str("</tr>\n");
    for row in &diff.causes {
        let CauseDiff {
            cause,
            advice,
            task,
            calls,
            requested_bytes,
            rss_delta_bytes,
        } = row;
        let name = match advice {
            Some(advice) => format!("{} {advice}", cause.name()),
            None => label(*cause, None, task.as_ref()),
        };
        let _ = write!(page, "<tr><td>{}</td>", escaped(&name));
        cells(page, calls, Unit::Count, false);
        cells(page, requested_bytes, Unit::Bytes, false);
        cells(page, rss_delta_bytes, Unit::Bytes, true);
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

fn cells(page: &mut String, quantity: &Quantity, unit: Unit, is_change: bool) {
    for value in both(quantity, unit, is_change) {
        let _ = write!(page, "<td>{value}</td>");
    }
    let class = match quantity.judged {
        Judged::Changed => "changed",
        Judged::Equal | Judged::Small | Judged::NotComparable => "dim",
    };
    let _ = write!(
        page,
        "<td class=\"{class}\">{}</td>",
        changed_text(quantity, unit)
    );
}

fn figures(page: &mut String, figures: &[Figure]) {
    page.push_str("<h2>Figures</h2>\n<div class=\"wide\"><table>\n");
    let mut group = None;
    for figure in figures {
        if figure.quantity.is_nothing() {
            continue;
        }
        if group != Some(figure.group) {
            group = Some(figure.group);
            let _ = writeln!(
                page,
                "<tr><th>{}</th><th class=\"a\">A</th><th class=\"b\">B</th><th>change</th></tr>",
                group_title(figure.group)
            );
        }
        let rate = if figure.quantity.per_second.is_some() {
            "/s"
        } else {
            ""
        };
        let _ = write!(page, "<tr><td>{}{rate}</td>", escaped(&figure.title));
        cells(page, &figure.quantity, figure.unit, false);
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_style() {
        assert_eq!(STYLE_HASH, STANDARD.encode(Sha256::digest(STYLE)));
    }
}
