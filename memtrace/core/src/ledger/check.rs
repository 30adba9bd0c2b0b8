//! Holding the ledger against what the kernel says of itself.

use super::{Reading, reading::rss_of};

/// Most pages that one event moves: one page table's worth.
const MAX_EVENT_PAGES: u64 = memtrace_common::fold::MAX_FAULT_PAGES as u64;

/// What is left unexplained, in pages of RSS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Pages of RSS that no cause explains.
    pub unexplained: i64,
    /// Pages that moved while the figures were read: `unexplained` is exact where this is 0, and otherwise not known
    /// better than this.
    pub bound: u64,
}

/// Compares the ledger with an RSS figure that was read between two readings of it.
///
/// Where nothing moved between the two, the comparison is exact. Where the target was busy, the figure is from some moment
/// in between: then what moved in the meantime, added up without regard to sign, bounds what the figure may differ by.
#[must_use]
pub fn check(before: &Reading, rss_pages: i64, after: &Reading) -> Check {
    if before.events == after.events {
        let still = rss_of(&after.clone().at_rest().explained());
        return Check {
            unexplained: rss_pages - still,
            bound: 0,
        };
    }
    let first = rss_of(&before.explained());
    let second = rss_of(&after.explained());
    let bound: u64 = before
        .cells
        .iter()
        .zip(after.cells.iter())
        .flat_map(|(before, after)| before.iter().zip(after))
        .map(|(before, after)| after.abs_diff(*before))
        .sum();
    let (low, high) = (first.min(second), first.max(second));
    let distance = if rss_pages < low {
        rss_pages - low
    } else if rss_pages > high {
        rss_pages - high
    } else {
        0
    };
    // What went both ways within one cell does not show in the sum of differences. So before anything is called unexplained,
    // each event gets the most that one can move.
    let possible = (after.events.wrapping_sub(before.events)).saturating_mul(MAX_EVENT_PAGES);
    if distance.unsigned_abs() <= bound.max(possible) {
        return Check {
            unexplained: 0,
            bound: bound.max(distance.unsigned_abs()),
        };
    }
    Check {
        unexplained: distance,
        bound,
    }
}

/// Compares the ledger of an epoch that has ended with the kernel's counters at that moment. `None` while it goes on.
#[must_use]
pub fn check_ended(reading: &Reading) -> Option<Check> {
    let end = reading.end.as_ref()?;
    Some(Check {
        unexplained: rss_of(end) - rss_of(&reading.clone().at_rest().explained()),
        bound: 0,
    })
}

#[cfg(test)]
mod tests {
    use memtrace_common::cell::{FAULT, MEMBER_ANON, MUNMAP};

    use super::*;

    fn reading(events: u64, faults: i64, munmap: i64) -> Reading {
        let mut reading = Reading {
            events,
            start: [10, 100, 0, 0],
            ..Reading::default()
        };
        reading.cells[FAULT as usize][MEMBER_ANON] = faults;
        reading.cells[MUNMAP as usize][MEMBER_ANON] = munmap;
        reading
    }

    #[test]
    fn at_rest_the_difference_is_exact() {
        let still = reading(5, 7, 0);
        assert_eq!(
            check(&still, 117, &still),
            Check {
                unexplained: 0,
                bound: 0
            }
        );
        assert_eq!(check(&still, 120, &still).unexplained, 3);
    }

    #[test]
    fn a_busy_target_gets_the_benefit_of_what_moved() {
        let before = reading(5, 7, 0);
        let after = reading(9, 17, -10);
        // Ten came and ten went: a figure up to twenty off is no finding.
        let checked = check(&before, 125, &after);
        assert_eq!(checked.unexplained, 0);
        assert_eq!(checked.bound, 20);
    }

    #[test]
    fn what_no_movement_covers_is_shown() {
        let before = reading(5, 7, 0);
        let after = reading(6, 8, 0);
        let checked = check(&before, 118 + 600, &after);
        assert_eq!(checked.unexplained, 600);
        assert_eq!(checked.bound, 1);
    }

    #[test]
    fn what_came_and_went_in_one_cell_accuses_nobody() {
        let before = reading(5, 7, 0);
        let after = reading(7, 7, 0);
        let checked = check(&before, 217, &after);
        assert_eq!((checked.unexplained, checked.bound), (0, 100));
    }

    #[test]
    fn pages_in_suspense_are_unexplained_until_their_call_is_known() {
        let mut still = reading(5, 7, 0);
        still.suspense = [0, -32, 0, 0];
        assert_eq!(check(&still, 85, &still).unexplained, -32);
        still.last_call = [None, Some(MUNMAP), None, None];
        assert_eq!(check(&still, 85, &still).unexplained, 0);
        let settled = still.at_rest();
        assert_eq!(settled.cells[MUNMAP as usize][MEMBER_ANON], -32);
        assert_eq!(settled.suspense, [0; 4]);
    }

    #[test]
    fn an_ended_epoch_is_held_against_its_own_end() {
        let mut ended = reading(5, 7, -117);
        assert_eq!(check_ended(&ended), None);
        ended.end = Some([10, -10, 0, 0]);
        assert_eq!(check_ended(&ended).unwrap().unexplained, 0);
        ended.end = Some([0; 4]);
        assert_eq!(check_ended(&ended).unwrap().unexplained, 0);
        ended.end = Some([0, 4, 0, 0]);
        assert_eq!(check_ended(&ended).unwrap().unexplained, 4);
    }
}
