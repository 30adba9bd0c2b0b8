//! The timelines of a capture's programs as one.

use super::{Capture, History};

impl History {
    /// Of a capture's epochs, oldest first, each with a timeline that begins with it. An epoch begins where the one before it has
    /// ended.
    #[must_use]
    pub fn joined(capture: &Capture, histories: impl IntoIterator<Item = Self>) -> Self {
        let epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
        let mut joined: Option<Self> = None;
        let mut at_ns: u64 = 0;
        for (epoch, history) in epochs.zip(histories) {
            let later_ns = at_ns.saturating_add(epoch.capture.duration_ns);
            match &mut joined {
                Some(joined) => joined.append(&history, at_ns, &epoch.target.comm),
                none @ None => *none = Some(history),
            }
            at_ns = later_ns;
        }
        joined.unwrap_or_default()
    }
}
