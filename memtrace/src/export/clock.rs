//! When a tick was, for those who put it beside other things: memtrace knows the time of day when an epoch began, and counts from
//! there by the monotonic clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{model::CaptureInfo, text::time::rfc3339};

/// The time of day of an epoch's ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// When the epoch began; `None` where the file does not say it so that it can be read.
    began: Option<SystemTime>,
}

impl Clock {
    /// Of this epoch.
    #[must_use]
    pub fn of(epoch: &CaptureInfo) -> Self {
        Self {
            began: humantime::parse_rfc3339(epoch.started_at.raw()).ok(),
        }
    }

    fn at(self, t_ns: u64) -> Option<SystemTime> {
        self.began?.checked_add(Duration::from_nanos(t_ns))
    }

    /// RFC 3339 in UTC, with nine digits behind the point.
    #[must_use]
    pub fn text(self, t_ns: u64) -> Option<String> {
        rfc3339(self.at(t_ns)?)
    }

    /// ns since 1970.
    #[must_use]
    pub fn unix_ns(self, t_ns: u64) -> Option<u64> {
        let since = self.at(t_ns)?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(started_at: &str) -> Clock {
        Clock {
            began: humantime::parse_rfc3339(started_at).ok(),
        }
    }

    #[test]
    fn a_tick_is_so_long_after_the_beginning() {
        let clock = clock("2026-11-23T05:50:00.5Z");
        assert_eq!(
            clock.text(1_000_000_001).as_deref(),
            Some("2026-11-23T05:50:01.500000001Z")
        );
        assert_eq!(clock.unix_ns(1), Some(1_795_413_000_500_000_001));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for unreadable in [
            "",
            "yesterday",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
        ] {
            let clock = clock(unreadable);
            assert!(
                clock.text(u64::MAX).is_none() || clock.unix_ns(0).is_none(),
                "{unreadable}"
            );
        }
        assert_eq!(clock("9999-12-31T23:59:59Z").text(2_000_000_000), None);
    }
}
