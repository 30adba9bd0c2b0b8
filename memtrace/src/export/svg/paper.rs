//! The XML of a picture: every text in it is escaped here, and every number is finite.

use std::fmt::Write as _;

use crate::text::{format::sanitized, markup};

/// About how wide a character of 12 px is, in px. Fonts differ; nothing depends on it but where things are put.
const LETTER: f64 = 6.6;

/// An attribute.
pub(super) type Attribute<'a> = (&'a str, String);

/// A picture in the making.
#[derive(Default)]
pub(super) struct Paper {
    xml: String,
}

impl Paper {
    pub(super) fn into_xml(self) -> String {
        self.xml
    }

    /// Puts XML as it is, which this program wrote.
    pub(super) fn raw(&mut self, xml: &str) {
        self.xml.push_str(xml);
    }

    fn begin(&mut self, name: &str, attributes: &[Attribute<'_>]) {
        let _ = write!(self.xml, "<{name}");
        for (name, value) in attributes {
            let _ = write!(self.xml, " {name}=\"{}\"", escaped(value));
        }
    }

    /// An element of nothing.
    pub(super) fn empty(&mut self, name: &str, attributes: &[Attribute<'_>]) {
        self.begin(name, attributes);
        self.xml.push_str("/>\n");
    }

    /// An element with what a reader is told who points at it.
    pub(super) fn titled(&mut self, name: &str, attributes: &[Attribute<'_>], title: &str) {
        self.begin(name, attributes);
        let _ = writeln!(self.xml, "><title>{}</title></{name}>", escaped(title));
    }

    /// An element with text in it.
    pub(super) fn element(&mut self, name: &str, attributes: &[Attribute<'_>], text: &str) {
        self.begin(name, attributes);
        let _ = writeln!(self.xml, ">{}</{name}>", escaped(text));
    }

    /// Text, with its baseline at `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let place = [("x", px(x)), ("y", px(y)), ("class", class.to_owned())];
        self.element("text", &place, text);
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.empty(
            "line",
            &[
                ("x1", px(from.0)),
                ("y1", px(from.1)),
                ("x2", px(to.0)),
                ("y2", px(to.1)),
                ("class", class.to_owned()),
            ],
        );
    }

    pub(super) fn open(&mut self, attributes: &[Attribute<'_>]) {
        self.begin("g", attributes);
        self.xml.push_str(">\n");
    }

    pub(super) fn close(&mut self) {
        self.xml.push_str("</g>\n");
    }
}

/// A place, in tenths of a px.
pub(super) fn px(value: f64) -> String {
    let tenths = if value.is_finite() {
        (value * 10.0).round() / 10.0
    } else {
        0.0
    };
    // No -0.
    (tenths + 0.0).to_string()
}

/// About how wide a text of 12 px is.
pub(super) fn width(text: &str) -> f64 {
    let letters = text.chars().map(|letter| match letter {
        '\u{1100}'.. => 2.0,
        _ => 1.0,
    });
    LETTER * letters.sum::<f64>()
}

/// Harmless, and what XML 1.0 allows.
pub(super) fn escaped(text: &str) -> String {
    markup::escaped(&sanitized(text, usize::MAX))
}
