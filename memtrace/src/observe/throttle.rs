//! When `smaps_rollup` may be read.
//!
//! Measured on 6.18: 83 ms for 10 GiB of 4 KiB pages, and a loop of readings pushed a target's mmap+munmap p99.9 from 52 µs
//! to 8.1 ms. So a reading may begin only once a thousand times the last one's duration has gone by, and a target whose
//! reading would take longer than a limit is not read at all.

use std::time::Duration;

/// Wall time per time spent reading: 0.1 %, which leaves as much for all the rest of what memtrace does.
const SHARE: u32 = 1000;
/// Reading time per GiB of 4 KiB pages, for a target that has not been read yet. Measured: 8.3 ms.
const PER_GIB: Duration = Duration::from_micros(8_500);

/// A reading of less says more of how busy the host is than of the walk, and is not carried over to a larger one.
const TELLING: u64 = 256 << 20;

/// Decides about readings. Times are since any fixed moment, such as the start of the capture.
#[derive(Clone, Debug)]
pub struct Throttle {
    limit: Option<Duration>,
    enabled: bool,
    next: Duration,
    last: Option<(Duration, u64)>,
}

impl Throttle {
    /// Readings that are expected to take at most `limit`; `None` is no limit.
    #[must_use]
    pub const fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            enabled: true,
            next: Duration::ZERO,
            last: None,
        }
    }

    /// No readings at all.
    #[must_use]
    pub const fn off() -> Self {
        let mut throttle = Self::new(None);
        throttle.enabled = false;
        throttle
    }

    /// How long a reading of this many resident bytes is expected to take.
    #[must_use]
    pub fn estimate(&self, rss_bytes: u64) -> Duration {
        let (took, per_bytes) = match self.last {
            Some((took, bytes)) if bytes >= TELLING => (took, bytes),
            _ => (PER_GIB, 1 << 30),
        };
        took.mul_f64(rss_bytes as f64 / per_bytes as f64)
    }

    /// Whether a reading may be made at `now`: in between.
    #[must_use]
    pub fn allows(&self, now: Duration, rss_bytes: u64) -> bool {
        self.enabled && now >= self.next && self.within_limit(rss_bytes)
    }

    /// Whether a reading may be made at the start or the end, where the share of time does not count.
    #[must_use]
    pub fn allows_once(&self, rss_bytes: u64) -> bool {
        self.enabled && self.within_limit(rss_bytes)
    }

    /// Why nothing is read, for the reader of the report; `None` where readings are made.
    #[must_use]
    pub fn refusal(&self, rss_bytes: u64) -> Option<String> {
        if !self.enabled {
            return Some("turned off by --no-smaps".to_owned());
        }
        let limit = self.limit?;
        let estimate = self.estimate(rss_bytes);
        (estimate > limit).then(|| {
            format!(
                "reading smaps_rollup would take about {} ms of the target's mmap_lock, above the limit of {} ms; --smaps-limit raises it",
                estimate.as_millis(),
                limit.as_millis()
            )
        })
    }

    fn within_limit(&self, rss_bytes: u64) -> bool {
        self.limit
            .is_none_or(|limit| self.estimate(rss_bytes) <= limit)
    }

    /// Notes a reading that began at `now`.
    pub fn spent(&mut self, now: Duration, took: Duration, rss_bytes: u64) {
        self.next = now + took + took * SHARE;
        self.last = Some((took, rss_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_first_reading_is_allowed_at_once() {
        assert!(Throttle::new(None).allows(Duration::ZERO, 10 * GIB));
    }

    #[test]
    fn readings_take_at_most_a_thousandth_of_the_time() {
        let mut throttle = Throttle::new(None);
        throttle.spent(Duration::ZERO, Duration::from_millis(83), 10 * GIB);
        assert!(!throttle.allows(Duration::from_secs(83), 10 * GIB));
        assert!(throttle.allows(Duration::from_millis(83_083), 10 * GIB));
    }

    #[test]
    fn a_large_target_is_not_read_beyond_the_limit() {
        let throttle = Throttle::new(Some(Duration::from_millis(250)));
        assert!(throttle.allows_once(20 * GIB));
        assert!(!throttle.allows_once(200 * GIB));
        assert!(throttle.refusal(200 * GIB).unwrap().contains("1700 ms"));
        assert_eq!(throttle.refusal(GIB), None);
    }

    #[test]
    fn the_estimate_learns_from_the_last_reading() {
        let mut throttle = Throttle::new(Some(Duration::from_millis(250)));
        // Huge pages: a thousandth of the entries.
        throttle.spent(Duration::ZERO, Duration::from_micros(100), 10 * GIB);
        assert!(throttle.allows_once(200 * GIB));
    }

    #[test]
    fn a_slow_reading_of_a_small_target_does_not_forbid_the_next_one() {
        let mut throttle = Throttle::new(Some(Duration::from_millis(250)));
        throttle.spent(Duration::ZERO, Duration::from_millis(9), 6 << 20);
        assert!(throttle.allows_once(10 * GIB));
        assert!(!throttle.allows_once(200 * GIB));
    }

    #[test]
    fn turned_off_is_off() {
        let throttle = Throttle::off();
        assert!(!throttle.allows(Duration::from_secs(99), 0));
        assert!(!throttle.allows_once(0));
        assert!(throttle.refusal(0).unwrap().contains("--no-smaps"));
    }
}
