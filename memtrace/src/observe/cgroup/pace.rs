//! When the cgroup's figures may be read: pure.

use std::time::Duration;

/// Wall time per time spent reading: 0.1 %, as for `smaps_rollup`.
const SHARE: u32 = 1000;

/// Readings at most once in a while, and that only a small part of the time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    least: Duration,
    next: Duration,
}

impl Pace {
    /// At most one reading in `least`.
    #[must_use]
    pub const fn new(least: Duration) -> Self {
        Self {
            least,
            next: Duration::ZERO,
        }
    }

    /// Whether a reading may begin at `now`, which is since any fixed moment.
    #[must_use]
    pub fn allows(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// Notes a reading that began at `now`.
    pub fn spent(&mut self, now: Duration, took: Duration) {
        let pause = took.saturating_mul(SHARE).saturating_add(took);
        self.next = now.saturating_add(pause.max(self.least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_allowed_at_once_and_cheap_ones_by_the_clock() {
        let mut pace = Pace::new(Duration::from_millis(900));
        assert!(pace.allows(Duration::ZERO));
        pace.spent(Duration::ZERO, Duration::from_micros(50));
        assert!(!pace.allows(Duration::from_millis(899)));
        assert!(pace.allows(Duration::from_millis(900)));
    }

    #[test]
    fn dear_ones_take_at_most_a_thousandth_of_the_time() {
        let mut pace = Pace::new(Duration::from_millis(900));
        pace.spent(Duration::from_secs(1), Duration::from_millis(10));
        assert!(!pace.allows(Duration::from_secs(11)));
        assert!(pace.allows(Duration::from_millis(11_010)));
        pace.spent(Duration::MAX, Duration::MAX);
        assert!(pace.allows(Duration::MAX));
    }
}
