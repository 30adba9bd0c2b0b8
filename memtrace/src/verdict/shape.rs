//! How RSS went: did it rise, does it still, has it levelled off?

use super::{
    case::Case,
    limits::{LEVEL, NOISE, NOISE_PART, SLOWING, TICKS},
};

/// Most points between which slopes are taken.
const SLOPES: usize = 96;

/// How RSS went over the time of the capture, from its start to the last tick at which the process was there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// The smallest change that counts, bytes.
    pub noise: i64,
    /// RSS at the last tick less that at the start.
    pub rise: i64,
    /// Of it in the last third of the time.
    pub late: i64,
    /// The lowest RSS in each third of the time.
    pub floors: [Option<i64>; 3],
    /// The highest RSS in each third of the time.
    pub ceilings: [Option<i64>; 3],
    /// The lowest `HeapAlloc` in each third of the time.
    pub heap_floors: [Option<i64>; 3],
    /// The median of all slopes between two points (Theil–Sen), bytes per second.
    pub slope: f64,
    /// Enough ticks for all of this.
    pub is_known: bool,
}

/// A moment: time in ns, RSS, Go's `HeapAlloc`.
type Moment = (u64, i64, Option<i64>);

impl Shape {
    /// Works it out.
    #[must_use]
    pub fn of(case: &Case<'_>) -> Self {
        let start = case.summary.rss_start_bytes;
        let trend = case.trend;
        let highest = trend.highest().map_or(start, |point| point.rss.max(start));
        let noise = NOISE.value.max(NOISE_PART.of(highest));
        let Some(last) = trend.last() else {
            return Self {
                noise,
                ..Self::default()
            };
        };
        let mut moments: Vec<Moment> = vec![(0, start, None)];
        let heap = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let points = trend.history().iter().chain([&last]);
        moments.extend(points.map(|point| (point.t_ns, point.rss, point.heap_alloc.map(heap))));
        let third = (last.t_ns / 3).max(1);
        let mut floors = [None; 3];
        let mut ceilings = [None; 3];
        let mut heap_floors = [None; 3];
        for &(t_ns, rss, heap) in &moments {
            let place = usize::try_from(t_ns / third).unwrap_or(2).min(2);
            if let Some(floor) = floors.get_mut(place) {
                *floor = Some(floor.map_or(rss, |low: i64| low.min(rss)));
            }
            if let Some(ceiling) = ceilings.get_mut(place) {
                *ceiling = Some(ceiling.map_or(rss, |high: i64| high.max(rss)));
            }
            if let (Some(floor), Some(heap)) = (heap_floors.get_mut(place), heap) {
                *floor = Some(floor.map_or(heap, |low: i64| low.min(heap)));
            }
        }
        let two_thirds = third.saturating_mul(2);
        let before_late = moments
            .iter()
            .rev()
            .find(|moment| moment.0 <= two_thirds)
            .map_or(start, |moment| moment.1);
        Self {
            noise,
            rise: last.rss.saturating_sub(start),
            late: last.rss.saturating_sub(before_late),
            floors,
            ceilings,
            heap_floors,
            slope: slope(&moments),
            is_known: trend.ticks() >= TICKS.value.unsigned_abs(),
        }
    }

    /// It rose, by more than noise.
    #[must_use]
    pub const fn has_risen(&self) -> bool {
        self.rise >= self.noise
    }

    /// It rose in each third of the time, at its lowest and at its highest: no peak that went, no single step.
    #[must_use]
    pub fn rises_throughout(&self) -> bool {
        let [Some(first), Some(second), Some(third)] = self.floors else {
            return false;
        };
        if !self.ceilings.is_sorted() {
            return false;
        }
        let step = self.noise / 3;
        self.has_risen()
            && second.saturating_sub(first) >= step
            && third.saturating_sub(second) >= step
            && self.slope > 0.0
    }

    /// It rose, and hardly any of it in the last third of the time.
    #[must_use]
    pub fn has_levelled_off(&self) -> bool {
        self.has_risen() && self.late <= LEVEL.of(self.rise).max(self.noise / 2)
    }

    /// It rises less and less.
    #[must_use]
    pub fn is_slowing(&self) -> bool {
        self.has_risen() && self.late < SLOWING.of(self.rise)
    }

    /// The lowest `HeapAlloc` rose from the first third of the time to the last; `None` where Go's figures are not there.
    #[must_use]
    pub fn heap_rises(&self) -> Option<bool> {
        let [Some(first), _, Some(last)] = self.heap_floors else {
            return None;
        };
        Some(last.saturating_sub(first) >= (self.rise / 4).max(self.noise / 2))
    }
}

/// The median of the slopes between all pairs of points.
fn slope(moments: &[Moment]) -> f64 {
    let every = moments.len().div_ceil(SLOPES).max(1);
    let points: Vec<&Moment> = moments.iter().step_by(every).collect();
    let mut slopes = Vec::new();
    for (place, from) in points.iter().enumerate() {
        for to in points.iter().skip(place + 1) {
            if to.0 > from.0 {
                let seconds = (to.0 - from.0) as f64 / 1e9;
                slopes.push((to.1 as f64 - from.1 as f64) / seconds);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}
