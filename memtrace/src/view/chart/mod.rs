//! What every chart of a timeline needs, however it is drawn: axes with their ticks, and what is drawn at them.
//!
//! Pure. Where anything is on a page or a screen is the business of who draws it.

mod axis;
mod causes;
mod line;

pub use axis::{Axis, Scale, byte_label, byte_ticks, moment, time_label, time_ticks};
pub use causes::{Bar, Part, Ranked, asked, bars, ranked, releases};
pub use line::{Gap, Point, gaps, line};
