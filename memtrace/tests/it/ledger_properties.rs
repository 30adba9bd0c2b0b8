//! The user side's ledger against naive sums, over random readings.

use memtrace::ledger::{Check, Names, Reading, TaskName, check, check_ended, rows, rss_of};
use memtrace_common::{
    cell::{
        CELLS, FAULT, MADVISE_BASE, MEMBER_ANON, MEMBER_FILE, MEMBER_SHMEM, MEMBER_SWAP, MEMBERS,
        MUNMAP, OTHER_PROCESS, RECLAIM, TASK_SLOTS,
    },
    layout::Pages,
};
use proptest::{collection::vec, prelude::*};

const RSS: [usize; 3] = [MEMBER_FILE, MEMBER_ANON, MEMBER_SHMEM];

/// One event: pages of one member, booked into one cell.
type Event = (usize, usize, i64);

fn pages() -> impl Strategy<Value = i64> {
    prop_oneof![
        -512..=512i64,
        Just(1),
        Just(-1),
        -1_000_000_000..1_000_000_000i64
    ]
}

/// Any cell that the kernel side books into: there are two spare ones between the fixed causes and the advice.
fn cell() -> impl Strategy<Value = usize> {
    prop_oneof![0..=OTHER_PROCESS as usize, MADVISE_BASE as usize..CELLS]
}

fn event() -> impl Strategy<Value = Event> {
    (cell(), 0..MEMBERS, pages())
}

/// What one cell does to one member never changes its sign, as with faults and `munmap`.
fn one_way_event() -> impl Strategy<Value = Event> {
    let cells = prop_oneof![
        (Just(FAULT as usize), Just(MEMBER_ANON), 1..=512i64),
        (Just(FAULT as usize), Just(MEMBER_SWAP), -512..0i64),
        (Just(MUNMAP as usize), 0..MEMBERS, -512..0i64),
        (Just(MADVISE_BASE as usize + 4), 0..MEMBERS, -512..0i64),
        (Just(RECLAIM as usize), Just(MEMBER_ANON), -512..0i64),
    ];
    cells.prop_filter("an event moves something", |event| event.2 != 0)
}

fn start() -> impl Strategy<Value = Pages> {
    [
        0..1_000_000i64,
        0..1_000_000i64,
        0..1_000_000i64,
        0..1_000_000i64,
    ]
}

/// Names for some of the tasks' cells, so that the others have to do without.
fn tasks() -> impl Strategy<Value = Vec<TaskName>> {
    vec((0..TASK_SLOTS, 0..4u32, "[ -~]{0,15}"), 0..20).prop_map(|tasks| {
        tasks
            .into_iter()
            .map(|(slot, cause, comm)| TaskName { slot, cause, comm })
            .collect()
    })
}

fn apply(reading: &mut Reading, &(cell, member, pages): &Event) {
    reading.cells[cell][member] += pages;
    reading.events += 1;
}

fn reading(start: Pages, events: &[Event]) -> Reading {
    let mut reading = Reading {
        start,
        ..Reading::default()
    };
    for event in events {
        apply(&mut reading, event);
    }
    reading
}

fn naive(events: &[Event], member: usize) -> i64 {
    let of_member = events.iter().filter(|event| event.1 == member);
    of_member.map(|event| event.2).sum()
}

fn naive_rss(start: &Pages, events: &[Event]) -> i64 {
    let moved = |&member| start[member] + naive(events, member);
    RSS.iter().map(moved).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_start_add_up_to_what_is_explained(
        start in start(),
        events in vec(event(), 0..200),
        tasks in tasks(),
    ) {
        let reading = reading(start, &events);
        let names = Names { tasks: &tasks, ..Names::default() };
        let rows = rows(&reading, &names);
        for (member, start) in start.into_iter().enumerate() {
            let moved = naive(&events, member);
            prop_assert_eq!(rows.iter().map(|row| row.pages[member]).sum::<i64>(), moved);
            prop_assert_eq!(reading.moved()[member], moved);
            prop_assert_eq!(reading.explained()[member], start + moved);
        }
        prop_assert!(rows.iter().all(|row| row.pages != [0; MEMBERS]));
    }

    #[test]
    fn what_came_since_an_earlier_reading_is_what_was_applied_since(
        start in start(),
        before in vec(event(), 0..100),
        after in vec(event(), 0..100),
    ) {
        let earlier = reading(start, &before);
        let mut later = earlier.clone();
        for event in &after {
            apply(&mut later, event);
        }
        let since = later.since(&earlier);
        prop_assert_eq!(since.events, after.len() as u64);
        for member in 0..MEMBERS {
            prop_assert_eq!(since.moved()[member], naive(&after, member));
        }
    }

    #[test]
    fn swap_is_no_part_of_rss(start in start(), events in vec(event(), 0..100)) {
        let explained = reading(start, &events).explained();
        prop_assert_eq!(rss_of(&explained), naive_rss(&start, &events));
    }

    /// Whatever is off shows to the page: never rounded, never covered by a bound.
    #[test]
    fn at_rest_the_check_is_exact(
        start in start(),
        events in vec(event(), 0..100),
        off in -5000..5000i64,
    ) {
        let still = reading(start, &events);
        let observed = naive_rss(&start, &events) + off;
        let exact = Check { unexplained: off, bound: 0 };
        prop_assert_eq!(check(&still, observed, &still), exact);
    }

    /// A figure that the process really had between the two readings is never held against the ledger.
    #[test]
    fn a_figure_from_between_two_readings_is_explained(
        start in start(),
        before in vec(event(), 0..50),
        between in vec(one_way_event(), 0..200),
        moment in 0..=200usize,
    ) {
        let first = reading(start, &before);
        let mut then = first.clone();
        let moment = moment.min(between.len());
        for event in &between[..moment] {
            apply(&mut then, event);
        }
        let mut last = then.clone();
        for event in &between[moment..] {
            apply(&mut last, event);
        }
        let observed = rss_of(&then.explained());
        prop_assert_eq!(check(&first, observed, &last).unexplained, 0);
    }

    /// The true figure may lie anywhere within the bound, so what is off shows up to twice the bound.
    #[test]
    fn what_is_off_shows_up_to_the_bound(
        start in start(),
        between in vec(one_way_event(), 0..50),
        moment in 0..=50usize,
        off in -60_000..60_000i64,
    ) {
        let first = reading(start, &[]);
        let last = reading(start, &between);
        let then = reading(start, &between[..moment.min(between.len())]);
        let observed = rss_of(&then.explained()) + off;
        let Check { unexplained, bound } = check(&first, observed, &last);
        prop_assert!(unexplained == 0 || unexplained.signum() == off.signum());
        prop_assert!(unexplained.unsigned_abs() <= off.unsigned_abs() + bound);
        prop_assert!(off.abs_diff(unexplained) <= 2 * bound);
    }

    #[test]
    fn an_epoch_that_ended_is_held_against_its_own_end(
        start in start(),
        events in vec(event(), 0..100),
        off in [-100..100i64, -100..100i64, -100..100i64, -100..100i64],
    ) {
        let mut ended = reading(start, &events);
        prop_assert_eq!(check_ended(&ended), None);
        ended.end = Some(std::array::from_fn(|member| {
            start[member] + naive(&events, member) + off[member]
        }));
        let unexplained = RSS.iter().map(|&member| off[member]).sum();
        prop_assert_eq!(check_ended(&ended), Some(Check { unexplained, bound: 0 }));
    }
}
