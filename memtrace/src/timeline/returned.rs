//! What the process gave back, and what became of it: from ticks and the final rows.

use crate::model::{Cause, CauseRow, HookInfo, Returned, TickCause};

const FREE: &str = "MADV_FREE";

/// Takes ticks, and in the end the rows of the whole epoch.
///
/// What it can tell, and what not:
///
/// - A tick has one sum for each cause. What one cause took and gave back within one tick is not seen: `mmap` that populates and
///   replaces, or faults that are undone by nothing but more faults.
/// - Within a tick the order of what fell and what rose is not known. It is taken that what fell, fell first.
/// - Swapped out is not given back: a call's rise of swap is taken off what it let fall. [`Cause::ProcessMadvise`] may be another
///   process's doing, which may only page out; what it discards then counts as the process's own.
/// - The kernel may drop anonymous pages without swapping them out for other reasons than `MADV_FREE`: where it splits a huge page that
///   is hardly used, it drops what is all zeros in it (since 6.12). That counts as discarded.
/// - `MADV_FREE` through io_uring is no call that memtrace sees.
#[derive(Clone, Debug)]
pub struct Returning {
    highest: i64,
    released: i64,
    reacquired: i64,
    is_ledger: bool,
}

impl Returning {
    /// Begins an epoch with its RSS, bytes.
    #[must_use]
    pub const fn new(rss_start_bytes: i64) -> Self {
        Self {
            highest: rss_start_bytes,
            released: 0,
            reacquired: 0,
            is_ledger: true,
        }
    }

    /// Takes a tick: what moved since the last one, and RSS at its end, bytes.
    pub fn tick(&mut self, causes: &[TickCause], rss_bytes: i64) {
        let mut risen: i64 = 0;
        for row in causes {
            let Some(delta) = row.rss_delta_bytes else {
                self.is_ledger = false;
                return;
            };
            risen = risen.saturating_add(delta.max(0));
            if is_own_call(row.cause) && delta < 0 {
                let swapped_out = row.swap_delta_bytes.max(0);
                let fallen = delta.saturating_neg().saturating_sub(swapped_out).max(0);
                self.released = self.released.saturating_add(fallen);
            }
        }
        let higher = rss_bytes.saturating_sub(self.highest).max(0);
        self.highest = self.highest.max(rss_bytes);
        // Where RSS is not what the causes make it, the difference is not theirs.
        let again = risen.saturating_sub(higher).max(0);
        self.reacquired = self.reacquired.saturating_add(again);
    }

    /// What it comes to, with the rows of the whole epoch and what was hooked.
    #[must_use]
    pub fn returned(&self, causes: &[CauseRow], hooks: &[HookInfo]) -> Returned {
        let known = |bytes| self.is_ledger.then_some(bytes);
        Returned {
            released_bytes: known(self.released),
            lazily_freed_bytes: lazily_freed(causes, hooks),
            discarded_bytes: discarded(causes).filter(|_| self.is_ledger),
            reacquired_bytes: known(self.reacquired),
        }
    }
}

/// Whether it is a call by which a process gives memory back. [`Cause::OtherSyscall`] has `shmdt`, and `fallocate` that punches holes.
fn is_own_call(cause: Cause) -> bool {
    cause.is_own() && cause != Cause::Fault
}

/// `None` where calls were not seen: without a call that moves RSS there is no row that would tell.
fn lazily_freed(causes: &[CauseRow], hooks: &[HookInfo]) -> Option<u64> {
    let mut sum: u64 = 0;
    for cause in [Cause::Madvise, Cause::ProcessMadvise] {
        let hook = hooks.iter().find(|hook| hook.name == cause.name())?;
        hook.kind?;
        for row in causes {
            if row.cause == cause && row.advice.as_ref().is_some_and(|it| *it == FREE) {
                sum = sum.saturating_add(row.requested_bytes?);
            }
        }
    }
    Some(sum)
}

/// Anonymous pages that reclaim took, less those that went to swap. A page that was swapped out, and whose copy in swap was there
/// already, has a new swap entry all the same.
fn discarded(causes: &[CauseRow]) -> Option<i64> {
    let mut sum: i64 = 0;
    for row in causes.iter().filter(|row| row.cause == Cause::Reclaim) {
        let kind = row.by_kind?;
        sum = sum
            .saturating_add(kind.anon_bytes)
            .saturating_add(kind.swap_bytes);
    }
    Some(sum.saturating_neg().max(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Bytes4, HookKind};

    fn moved(cause: Cause, rss: i64, swap: i64) -> TickCause {
        TickCause {
            cause,
            advice: None,
            task: None,
            calls: None,
            requested_bytes: None,
            rss_delta_bytes: Some(rss),
            swap_delta_bytes: swap,
        }
    }

    fn row(
        cause: Cause,
        advice: Option<&str>,
        requested: Option<u64>,
        anon: i64,
        swap: i64,
    ) -> CauseRow {
        CauseRow {
            cause,
            advice: advice.map(str::to_owned).map(Into::into),
            task: None,
            calls: requested.map(|_| 1),
            failed_calls: None,
            errnos: Vec::new(),
            requested_bytes: requested,
            failed_requested_bytes: None,
            shrunk_bytes: None,
            time_ns: None,
            rss_delta_bytes: Some(anon),
            by_kind: Some(Bytes4 {
                anon_bytes: anon,
                swap_bytes: swap,
                ..Bytes4::default()
            }),
        }
    }

    fn hook(name: &str, kind: Option<HookKind>) -> HookInfo {
        HookInfo {
            name: name.into(),
            kind,
            error: None,
            fallback: None,
        }
    }

    fn hooks() -> [HookInfo; 2] {
        ["madvise", "process_madvise"].map(|name| hook(name, Some(HookKind::Fentry)))
    }

    fn ticks(start: i64, ticks: &[(&[TickCause], i64)]) -> Returned {
        let mut returning = Returning::new(start);
        for (causes, rss) in ticks {
            returning.tick(causes, *rss);
        }
        returning.returned(&[], &hooks())
    }

    #[test]
    fn growth_is_not_taken_again_and_what_comes_back_is() {
        let grow = [moved(Cause::Fault, 100, 0)];
        let fall = [moved(Cause::Munmap, -60, 0)];
        let back = [moved(Cause::Fault, 80, 0)];
        let found = ticks(10, &[(&grow, 110), (&fall, 50), (&back, 130)]);
        assert_eq!(found.released_bytes, Some(60));
        // Of 80, 20 are new.
        assert_eq!(found.reacquired_bytes, Some(60));
    }

    #[test]
    fn what_fell_and_rose_within_a_tick_counts() {
        let churn = [moved(Cause::Fault, 50, 0), moved(Cause::Madvise, -50, 0)];
        let found = ticks(100, &[(&churn, 100), (&churn, 100)]);
        assert_eq!(
            (found.released_bytes, found.reacquired_bytes),
            (Some(100), Some(100))
        );
    }

    #[test]
    fn what_others_take_is_not_given_back_and_may_be_needed_again() {
        let taken = [moved(Cause::Reclaim, -40, 40)];
        let back = [moved(Cause::Fault, 40, -40)];
        let found = ticks(100, &[(&taken, 60), (&back, 100)]);
        assert_eq!(
            (found.released_bytes, found.reacquired_bytes),
            (Some(0), Some(40))
        );
    }

    #[test]
    fn swapped_out_is_not_given_back() {
        let paged_out = [moved(Cause::Madvise, -100, 70)];
        let found = ticks(100, &[(&paged_out, 0)]);
        assert_eq!(found.released_bytes, Some(30));
    }

    #[test]
    fn without_a_ledger_it_is_not_known() {
        let mut sampled = moved(Cause::Fault, 0, 0);
        sampled.rss_delta_bytes = None;
        let rows = [row(Cause::Madvise, Some(FREE), Some(7), 0, 0)];
        let mut returning = Returning::new(0);
        returning.tick(&[sampled], 5);
        let found = returning.returned(&rows, &hooks());
        let expected = Returned {
            lazily_freed_bytes: Some(7),
            ..Returned::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn lazily_freed_is_what_calls_asked_for_where_they_are_seen() {
        let rows = [
            row(Cause::Madvise, Some(FREE), Some(100), 0, 0),
            row(Cause::Madvise, Some("MADV_DONTNEED"), Some(1000), -1000, 0),
            row(Cause::ProcessMadvise, Some(FREE), Some(10), 0, 0),
        ];
        let returning = Returning::new(0);
        let lazily = |rows: &[CauseRow], hooks: &[HookInfo]| {
            returning.returned(rows, hooks).lazily_freed_bytes
        };
        assert_eq!(lazily(&rows, &hooks()), Some(110));
        assert_eq!(lazily(&[], &hooks()), Some(0));
        assert_eq!(lazily(&rows, &[]), None);
        let refused = [
            hook("madvise", None),
            hook("process_madvise", Some(HookKind::Fentry)),
        ];
        assert_eq!(lazily(&[], &refused), None);
    }

    #[test]
    fn discarded_is_what_reclaim_took_without_swapping() {
        let returning = Returning::new(0);
        let discarded = |rows: &[CauseRow]| returning.returned(rows, &hooks()).discarded_bytes;
        let rows = [
            row(Cause::Reclaim, None, None, -100, 30),
            row(Cause::Reclaim, None, None, -50, 0),
            row(Cause::Madvise, Some("MADV_DONTNEED"), None, -1000, 0),
        ];
        assert_eq!(discarded(&rows), Some(120));
        assert_eq!(discarded(&[]), Some(0));
        // Swapping in is not reclaim's, but whatever it is, nothing is discarded by less than 0.
        assert_eq!(
            discarded(&[row(Cause::Reclaim, None, None, 10, 0)]),
            Some(0)
        );
        let mut unknown = row(Cause::Reclaim, None, None, -1, 0);
        unknown.by_kind = None;
        assert_eq!(discarded(&[unknown]), None);
    }

    /// One thing that happens to some pages of a small memory.
    #[derive(Clone, Debug)]
    enum Event {
        Touch(usize, usize),
        Release(usize, usize),
        Take(usize, usize),
        Tick,
    }

    fn event() -> impl Strategy<Value = Event> {
        let range = || (0..PAGES, 0..PAGES / 4);
        prop_oneof![
            3 => range().prop_map(|(at, count)| Event::Touch(at, count)),
            2 => range().prop_map(|(at, count)| Event::Release(at, count)),
            1 => range().prop_map(|(at, count)| Event::Take(at, count)),
            2 => Just(Event::Tick),
        ]
    }

    const PAGES: usize = 64;

    proptest! {
        /// Pages that are touched, released and taken one by one, with a tick after each event: there the sums are exact.
        #[test]
        fn with_a_tick_after_each_event_it_is_as_counted_page_by_page(events in prop::collection::vec(event(), 0..60)) {
            let mut resident = [false; PAGES];
            let mut returning = Returning::new(0);
            let (mut released, mut again, mut highest) = (0_i64, 0_i64, 0_i64);
            for event in events {
                let (at, count, value, cause) = match event {
                    Event::Touch(at, count) => (at, count, true, Cause::Fault),
                    Event::Release(at, count) => (at, count, false, Cause::Munmap),
                    Event::Take(at, count) => (at, count, false, Cause::Reclaim),
                    Event::Tick => continue,
                };
                let mut now = rss(&resident);
                let before = now;
                for page in resident.iter_mut().skip(at).take(count) {
                    if *page == value {
                        continue;
                    }
                    *page = value;
                    if value {
                        // The naive model: below the highest so far, there had been a page before.
                        again += i64::from(now < highest);
                        now += 1;
                        highest = highest.max(now);
                    } else {
                        released += i64::from(cause == Cause::Munmap);
                        now -= 1;
                    }
                }
                let delta = now - before;
                returning.tick(&[moved(cause, delta, 0)], rss(&resident));
            }
            let found = returning.returned(&[], &hooks());
            prop_assert_eq!(found.released_bytes, Some(released));
            prop_assert_eq!(found.reacquired_bytes, Some(again));
        }

        /// With several events in a tick: never less than nothing, never more than all that rose, and RSS adds up:
        /// start + taken for the first time + taken again - all that fell = end.
        #[test]
        fn with_many_events_in_a_tick_it_stays_within_its_bounds(events in prop::collection::vec(event(), 0..80)) {
            let mut resident = [false; PAGES];
            let mut returning = Returning::new(0);
            let mut deltas = [0_i64; 3];
            let (mut risen, mut fallen, mut highest) = (0, 0, 0);
            for event in events.into_iter().chain([Event::Tick]) {
                let (at, count, value, index) = match event {
                    Event::Touch(at, count) => (at, count, true, 0),
                    Event::Release(at, count) => (at, count, false, 1),
                    Event::Take(at, count) => (at, count, false, 2),
                    Event::Tick => {
                        let rows = [Cause::Fault, Cause::Munmap, Cause::Reclaim]
                            .into_iter()
                            .zip(deltas)
                            .map(|(cause, delta)| moved(cause, delta, 0))
                            .collect::<Vec<_>>();
                        risen += deltas[0];
                        fallen -= deltas[1] + deltas[2];
                        deltas = [0; 3];
                        highest = highest.max(rss(&resident));
                        returning.tick(&rows, rss(&resident));
                        continue;
                    }
                };
                for page in resident.iter_mut().skip(at).take(count).filter(|page| **page != value) {
                    *page = value;
                    deltas[index] += if value { 1 } else { -1 };
                }
            }
            let found = returning.returned(&[], &hooks());
            let again = found.reacquired_bytes.unwrap();
            prop_assert!((0..=risen).contains(&again));
            prop_assert!(found.released_bytes.unwrap() <= fallen);
            prop_assert_eq!(highest + again - fallen, rss(&resident));
        }

        #[test]
        fn no_number_overflows(deltas in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..20)) {
            let mut returning = Returning::new(i64::MIN);
            let mut rows = Vec::new();
            for (rss, swap, end) in deltas {
                returning.tick(&[moved(Cause::Munmap, rss, swap), moved(Cause::Fault, swap, rss)], end);
                rows.push(row(Cause::Reclaim, None, None, rss, swap));
                rows.push(row(Cause::Madvise, Some(FREE), Some(u64::MAX), 0, 0));
            }
            let found = returning.returned(&rows, &hooks());
            prop_assert!(found.released_bytes.unwrap() >= 0);
            prop_assert!(found.reacquired_bytes.unwrap() >= 0);
            prop_assert!(found.discarded_bytes.unwrap() >= 0);
        }
    }

    fn rss(resident: &[bool]) -> i64 {
        resident.iter().filter(|page| **page).count() as i64
    }
}
