//! The page: the timeline as a chart, the answer, and the tables, in one HTML document that loads nothing.
//!
//! The same document is a file to send, which holds a finished capture, and the live view, which is told of one. What it says
//! stands in [`Panel`]s, in words and numbers as people read them: they are made here once, written as HTML by [`document`], so that they can
//! be read without a script, and as JSON for the script, which puts them in their place while a capture goes on.

mod assets;
mod html;
mod panel;
mod panels;
mod series;
mod state;

pub use assets::content_security_policy;
pub use html::document;
pub use panel::{Block, Cell, Column, Item, Panel, Row};
pub use series::{CauseSeries, Series, whole};
pub use state::{EpochPart, ExecMark, Head, State, Update};
