//! `fold::step`, the very code that the kernel side runs, against a simulated `percpu_counter` and a naive ledger.
//!
//! An event on one CPU is cut at every access to shared state, and any other CPU may go on there. `step` itself is not
//! cut: it is run again from its beginning, with the answers that it got before, up to the first access that has no
//! answer yet. So a schedule is a plain list of numbers, and every interleaving can be reached. Memory is sequentially
//! consistent here; on real hardware the exchanges that matter are full barriers.

use std::{cell::RefCell, collections::HashSet, mem};

use memtrace_common::{
    advice::{self, MADV_DONTNEED},
    cell::{
        CELLS, FAULT, MADVISE_BASE, MEMBER_ANON, MEMBER_FILE, MMAP, MUNMAP, OTHER_SYSCALL, RECLAIM,
    },
    fold::{Limits, Member, Step, Who, cell_of, step},
};
use proptest::{collection::vec, prelude::*};

const DONTNEED: u32 = MADVISE_BASE + advice::slot_of_known(MADV_DONTNEED);

/// What all CPUs share: the kernel's `count`, and memtrace's own state beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Shared {
    count: i64,
    last_count: i64,
    suspense: i64,
    owed: Who,
    taker: Who,
}

impl Shared {
    /// Changes of `count` that no event has taken.
    fn untaken(&self) -> i64 {
        self.count - self.last_count
    }
}

/// A [`Member`] that answers from a log, then does as many accesses as it may, then does nothing any more.
struct Replay<'a>(RefCell<Inner<'a>>);

struct Inner<'a> {
    shared: &'a mut Shared,
    log: &'a mut Vec<i64>,
    at: usize,
    budget: u32,
    blocked: bool,
}

impl Replay<'_> {
    fn ask(&self, access: impl FnOnce(&mut Shared) -> i64) -> i64 {
        let mut inner = self.0.borrow_mut();
        let at = inner.at;
        inner.at += 1;
        if let Some(&answer) = inner.log.get(at) {
            return answer;
        }
        if inner.budget == 0 {
            // The rest of the step runs on nonsense and without effect, and its result is dropped.
            inner.blocked = true;
            return 0;
        }
        inner.budget -= 1;
        let answer = access(inner.shared);
        inner.log.push(answer);
        answer
    }
}

impl Member for Replay<'_> {
    fn count(&self) -> Option<i64> {
        Some(self.ask(|shared| shared.count))
    }

    fn last_count(&self) -> i64 {
        self.ask(|shared| shared.last_count)
    }

    fn swap_last_count(&self, count: i64) -> i64 {
        self.ask(|shared| mem::replace(&mut shared.last_count, count))
    }

    fn suspense(&self) -> i64 {
        self.ask(|shared| shared.suspense)
    }

    fn add_suspense(&self, pages: i64) {
        self.ask(|shared| {
            shared.suspense += pages;
            0
        });
    }

    fn take_suspense(&self) -> i64 {
        self.ask(|shared| mem::take(&mut shared.suspense))
    }

    fn swap_owed(&self, who_plus_1: Who) -> Who {
        self.ask(|shared| mem::replace(&mut shared.owed, who_plus_1).cast_signed())
            .cast_unsigned()
    }

    fn taker(&self) -> Who {
        self.ask(|shared| shared.taker.cast_signed())
            .cast_unsigned()
    }

    fn set_taker(&self, who: Who) {
        self.ask(|shared| {
            shared.taker = who;
            0
        });
    }
}

/// An update whose event is still to come, or has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Update {
    cell: u32,
    /// Number of the look at `count`, for [`World::looks`]; `None` where the local is not 0, so that there is none.
    look: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    update: Update,
    last_local: i64,
    local: i64,
    log: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Cpu {
    local: i64,
    last_local: i64,
    pending: Vec<Update>,
    running: Option<Running>,
}

/// An update that left its local at 0, so that its event looks at `count`, and those that overlapped it in time, each from
/// the update to the end of the event.
#[derive(Clone, Debug)]
struct Look {
    cell: u32,
    /// What it added to `count`; 0 where it brought its local to 0 without folding.
    folded: i64,
    /// More than one amount was possible for it.
    ambiguous: bool,
    overlapped: Vec<usize>,
}

/// Whose an event of a CPU is: the upper bits are for [`step`]'s caller.
fn who(cpu: usize, cell: u32) -> Who {
    (cpu as u64 + 1) << 32 | u64::from(cell)
}

#[derive(Clone, Debug)]
struct World {
    index: usize,
    limits: Limits,
    shared: Shared,
    cpus: Vec<Cpu>,
    start: i64,
    ledger: Vec<i64>,
    truth: Vec<i64>,
    looks: Vec<Look>,
}

impl World {
    fn new(index: usize, limits: Limits, locals: &[i64]) -> Self {
        Self {
            index,
            limits,
            shared: Shared::default(),
            cpus: locals
                .iter()
                .map(|&local| Cpu {
                    local,
                    last_local: local,
                    ..Cpu::default()
                })
                .collect(),
            start: locals.iter().sum(),
            ledger: vec![0; CELLS],
            truth: vec![0; CELLS],
            looks: Vec::new(),
        }
    }

    fn busy(&self, cpu: usize) -> bool {
        self.cpus[cpu].running.is_some() || !self.cpus[cpu].pending.is_empty()
    }

    /// `percpu_counter_add_batch`. To others it is one access: they see `count` only.
    fn update(&mut self, cpu: usize, cell: u32, pages: i64) {
        self.truth[cell as usize] += pages;
        let before = self.cpus[cpu].local;
        let sum = before + pages;
        let folds = sum.abs() >= self.limits.batch;
        let local = if folds { 0 } else { sum };
        self.cpus[cpu].local = local;
        let folded = if folds { sum } else { 0 };
        self.shared.count += folded;
        let look = (local == 0).then(|| self.note(cell, before, folded));
        self.cpus[cpu].pending.push(Update { cell, look });
    }

    fn note(&mut self, cell: u32, before: i64, folded: i64) -> usize {
        let number = self.looks.len();
        let overlapped: Vec<_> = self
            .cpus
            .iter()
            .flat_map(|cpu| {
                let running = cpu.running.iter().map(|running| &running.update);
                cpu.pending.iter().chain(running)
            })
            .filter_map(|update| update.look)
            .collect();
        for &other in &overlapped {
            self.looks[other].overlapped.push(number);
        }
        let possible = (0..10)
            .filter(|order| self.limits.anon_orders & (1 << order) != 0)
            .map(|order| before + (1 << order))
            .filter(|&folded| folded == 0 || folded >= self.limits.batch)
            .count();
        self.looks.push(Look {
            cell,
            folded,
            ambiguous: self.index != MEMBER_ANON || possible > 1,
            overlapped,
        });
        number
    }

    fn begin(&mut self, cpu: usize, update: Update) {
        let state = &mut self.cpus[cpu];
        assert!(state.running.is_none(), "events of one CPU do not nest");
        let last_local = mem::replace(&mut state.last_local, state.local);
        state.running = Some(Running {
            update,
            last_local,
            local: state.local,
            log: Vec::new(),
        });
        self.run(cpu, 0);
    }

    /// Does up to `budget` accesses of the event that the CPU is in.
    fn run(&mut self, cpu: usize, budget: u32) {
        let Some(mut running) = self.cpus[cpu].running.take() else {
            return;
        };
        let replay = Replay(RefCell::new(Inner {
            shared: &mut self.shared,
            log: &mut running.log,
            at: 0,
            budget,
            blocked: false,
        }));
        let Step {
            own,
            other,
            correction,
        } = step(
            &replay,
            self.index,
            self.limits,
            who(cpu, running.update.cell),
            running.last_local,
            running.local,
        );
        if replay.0.into_inner().blocked {
            self.cpus[cpu].running = Some(running);
            return;
        }
        self.ledger[running.update.cell as usize] += own;
        if correction != 0 {
            // Whom a correction is for comes back whole.
            let cell = cell_of(other);
            assert!(
                (0..self.cpus.len()).any(|cpu| other == who(cpu, cell)),
                "{other:#x}"
            );
            self.ledger[cell as usize] += correction;
        }
    }

    /// One access, or the beginning of an event.
    fn go(&mut self, cpu: usize) {
        if self.cpus[cpu].running.is_some() {
            self.run(cpu, 1);
        } else if let Some(update) = self.cpus[cpu].pending.pop() {
            self.begin(cpu, update);
        }
    }

    fn finish(&mut self, cpu: usize) {
        while self.busy(cpu) {
            self.go(cpu);
        }
    }

    /// An event without an update, as after one that was missed.
    fn look(&mut self, cpu: usize, cell: u32) {
        self.begin(cpu, Update { cell, look: None });
        self.finish(cpu);
    }

    fn explained(&self) -> i64 {
        self.start + self.ledger.iter().sum::<i64>() + self.shared.suspense
    }

    fn total(&self) -> i64 {
        self.start + self.truth.iter().sum::<i64>()
    }

    /// What no event has looked at yet, where no event is under way.
    fn unseen(&self) -> i64 {
        let locals = self.cpus.iter().map(|cpu| cpu.local - cpu.last_local);
        locals.sum::<i64>() + self.shared.untaken()
    }

    fn error(&self, cell: u32) -> i64 {
        self.ledger[cell as usize] - self.truth[cell as usize]
    }

    /// Pages that are in a wrong cell, without sign.
    fn misattributed(&self) -> i64 {
        (0..CELLS as u32).map(|cell| self.error(cell).abs()).sum()
    }

    /// How many looks overlapped another one, and what they folded, without sign.
    fn folded_in_overlap(&self) -> (i64, i64) {
        let overlapping = self.looks.iter().filter(|look| !look.overlapped.is_empty());
        overlapping.fold((0, 0), |(looks, folded), look| {
            (looks + 1, folded + look.folded.abs())
        })
    }
}

/// One entry of a random schedule: what a CPU does next. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
struct Act {
    cpu: usize,
    kind: usize,
    pages: i64,
    accesses: u32,
    fate: u32,
}

/// How far a schedule may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regime {
    /// One CPU after the other.
    Serial,
    /// CPUs overlap; each update is followed by its event on its CPU.
    Overlapping,
    /// Besides: events are missed, run on another CPU, or come in another order than their updates.
    Anything,
}

type Workload = fn(Act) -> (u32, i64);

/// Faults of 4 KiB, and everything else that there is.
fn small_faults(act: Act) -> (u32, i64) {
    match act.kind % 12 {
        0..6 => (FAULT, 1),
        6 => (MUNMAP, -act.pages),
        7 => (DONTNEED, -act.pages),
        8 => (MMAP, act.pages),
        9 => (MMAP, 1),
        10 => (RECLAIM, -1),
        _ => (OTHER_SYSCALL, act.pages.min(16)),
    }
}

/// Faults of any power of two that the host allows; here all.
fn folio_faults(act: Act) -> (u32, i64) {
    match small_faults(act) {
        (FAULT, _) => (FAULT, 1 << (act.pages % 10)),
        other => other,
    }
}

/// Faults of 4 KiB and 2 MiB.
fn huge_faults(act: Act) -> (u32, i64) {
    match small_faults(act) {
        (FAULT, _) if act.pages % 4 == 0 => (FAULT, 512),
        other => other,
    }
}

/// Fault-around, and copy-on-write of file pages.
fn file_faults(act: Act) -> (u32, i64) {
    match small_faults(act) {
        (FAULT, _) if act.pages % 4 == 0 => (FAULT, -1),
        (FAULT, _) => (FAULT, 1 + act.pages % 16),
        other => other,
    }
}

fn play(world: &mut World, regime: Regime, workload: Workload, acts: &[Act]) {
    let cpus = world.cpus.len();
    for &act in acts {
        let cpu = act.cpu % cpus;
        if regime == Regime::Anything && act.fate < 4 && !world.cpus[cpu].pending.is_empty() {
            match act.fate {
                // Missed: the program was running on this CPU already.
                0 => drop(world.cpus[cpu].pending.pop()),
                // The thread moves between its update and its event.
                1 => {
                    let other = act.kind % cpus;
                    if world.cpus[other].running.is_none() {
                        let update = world.cpus[cpu].pending.remove(0);
                        world.begin(other, update);
                    }
                }
                // Another thread gets the CPU between the update and the event.
                _ => {
                    let (cell, pages) = workload(act);
                    world.update(cpu, cell, pages);
                }
            }
        } else if world.busy(cpu) {
            for _ in 0..act.accesses {
                world.go(cpu);
            }
        } else {
            let (cell, pages) = workload(act);
            world.update(cpu, cell, pages);
            if regime == Regime::Serial {
                world.finish(cpu);
            }
        }
    }
    // Access by access, so that the last events overlap too.
    while (0..cpus).any(|cpu| world.busy(cpu)) {
        for cpu in 0..cpus {
            world.go(cpu);
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let pages = prop_oneof![1..=4i64, 1..=512i64, Just(512), 31..=33i64];
    (0..8usize, 0..840usize, pages, 1..6u32, 0..16u32).prop_map(
        |(cpu, kind, pages, accesses, fate)| Act {
            cpu,
            kind,
            pages,
            accesses,
            fate,
        },
    )
}

/// A world at rest. Locals are often about to fold, else nearly no two folds would overlap.
fn world(index: usize, anon_orders: u32) -> impl Strategy<Value = World> {
    prop_oneof![Just(32i64), Just(64)].prop_flat_map(move |batch| {
        let local = prop_oneof![
            3 => Just(batch - 1),
            1 => Just(1 - batch),
            1 => Just(0),
            1 => Just(-1),
            2 => 1 - batch..batch
        ];
        let limits = Limits { batch, anon_orders };
        vec(local, 1..=8).prop_map(move |locals| World::new(index, limits, &locals))
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    vec(act(), 0..120)
}

/// A member, the orders of its host, and what goes on.
fn any_workload() -> impl Strategy<Value = (usize, u32, Workload)> {
    prop_oneof![
        Just((MEMBER_ANON, 1, small_faults as Workload)),
        Just((MEMBER_ANON, 1 | 1 << 9, huge_faults as Workload)),
        Just((MEMBER_ANON, 0x3ff, folio_faults as Workload)),
        Just((MEMBER_FILE, 1, file_faults as Workload)),
    ]
}

fn any_world() -> impl Strategy<Value = (World, Workload)> {
    any_workload().prop_flat_map(|(index, orders, workload)| {
        world(index, orders).prop_map(move |world| (world, workload))
    })
}

const CASES: u32 = 1500;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// The identity on which everything rests. What `unseen` counts is state that is still there to be looked at.
    #[test]
    fn the_sum_and_what_no_event_has_seen_are_exact_whatever_happens(
        (mut world, workload) in any_world(),
        acts in acts(),
    ) {
        play(&mut world, Regime::Anything, workload, &acts);
        prop_assert_eq!(world.explained() + world.unseen(), world.total());
    }

    /// A CPU whose event was missed heals at its next event, a missed fold at the next event that finds its local at 0.
    #[test]
    fn missed_and_moved_events_heal_at_the_next_event(
        (mut world, workload) in any_world(),
        acts in acts(),
        cell in prop_oneof![Just(FAULT), Just(MUNMAP)],
    ) {
        play(&mut world, Regime::Anything, workload, &acts);
        for cpu in 0..world.cpus.len() {
            world.look(cpu, cell);
        }
        prop_assert_eq!(world.explained() + world.shared.untaken(), world.total());
        if cell != FAULT && world.cpus.iter().any(|cpu| cpu.local == 0) {
            prop_assert_eq!(world.explained(), world.total());
        }
    }

    #[test]
    fn without_overlap_every_cell_is_exact((mut world, workload) in any_world(), acts in acts()) {
        play(&mut world, Regime::Serial, workload, &acts);
        prop_assert_eq!(&world.ledger, &world.truth);
        prop_assert_eq!(world.shared.suspense, 0);
    }

    #[test]
    fn at_rest_nothing_of_count_is_untaken((mut world, workload) in any_world(), acts in acts()) {
        play(&mut world, Regime::Overlapping, workload, &acts);
        prop_assert_eq!(world.unseen(), 0);
        prop_assert_eq!(world.explained(), world.total());
    }

    /// Not only nearly: a fault of 4 KiB has one possible amount.
    /// Two that overlap put at most what both folded into two wrong cells; where more do, one may be blamed for another again.
    #[test]
    fn only_what_overlapping_events_folded_is_misattributed(
        mut world in world(MEMBER_ANON, 1),
        acts in acts(),
    ) {
        play(&mut world, Regime::Overlapping, small_faults, &acts);
        let off = world.misattributed() + world.shared.suspense.abs();
        let (looks, folded) = world.folded_in_overlap();
        prop_assert!(off <= looks * folded, "{} pages off, {} folded by {}", off, folded, looks);
    }

    /// A fault that has one possible amount only is exact on hosts with huge pages too.
    #[test]
    fn folio_faults_are_off_by_a_folio_for_each_overlap_with_a_choice(
        mut world in prop_oneof![world(MEMBER_ANON, 1 | 1 << 9), world(MEMBER_ANON, 0x3ff)],
        acts in acts(),
    ) {
        let workload = if world.limits.anon_orders == 0x3ff { folio_faults } else { huge_faults };
        play(&mut world, Regime::Overlapping, workload, &acts);
        let choices = world
            .looks
            .iter()
            .filter(|look| look.cell == FAULT && look.ambiguous && !look.overlapped.is_empty())
            .count() as i64;
        prop_assert!(world.error(FAULT).abs() <= 511 * choices);
    }

    #[test]
    fn small_faults_are_exact_under_any_overlap(mut world in world(MEMBER_ANON, 1), acts in acts()) {
        play(&mut world, Regime::Overlapping, small_faults, &acts);
        prop_assert_eq!(world.error(FAULT), 0);
    }
}

/// Runs every interleaving of the CPUs' programs, and gives each end to `check`, with the CPUs in the order of their turns.
fn explore(world: &World, programs: &[&[(u32, i64)]], check: &mut dyn FnMut(&World, &[usize])) {
    let next = vec![0; programs.len()];
    visit(
        world,
        programs,
        &next,
        &mut Vec::new(),
        &mut HashSet::new(),
        check,
    );
}

type State = (Shared, Vec<Cpu>, Vec<i64>, Vec<usize>);

fn visit(
    world: &World,
    programs: &[&[(u32, i64)]],
    next: &[usize],
    path: &mut Vec<usize>,
    seen: &mut HashSet<State>,
    check: &mut dyn FnMut(&World, &[usize]),
) {
    let state = (
        world.shared.clone(),
        world.cpus.clone(),
        world.ledger.clone(),
        next.to_vec(),
    );
    if !seen.insert(state) {
        return;
    }
    let mut ended = true;
    for (cpu, program) in programs.iter().enumerate() {
        let mut world = world.clone();
        let mut next = next.to_vec();
        if world.busy(cpu) {
            world.go(cpu);
        } else if let Some(&(cell, pages)) = program.get(next[cpu]) {
            next[cpu] += 1;
            world.update(cpu, cell, pages);
        } else {
            continue;
        }
        ended = false;
        path.push(cpu);
        visit(&world, programs, &next, path, seen, check);
        path.pop();
    }
    if ended {
        check(world, path);
    }
}

fn small(locals: &[i64], taker: u32) -> World {
    let limits = Limits {
        batch: 32,
        anon_orders: 1,
    };
    let mut world = World::new(MEMBER_ANON, limits, locals);
    world.shared.taker = who(1, taker);
    world
}

/// Different ends of all interleavings: pages off in each cell that is off, and the suspense.
fn ends(world: &World, programs: &[&[(u32, i64)]]) -> HashSet<(Vec<(u32, i64)>, i64)> {
    let mut ends = HashSet::new();
    explore(world, programs, &mut |world, path| {
        assert_eq!(world.explained(), world.total(), "{path:?}");
        assert_eq!(world.shared.untaken(), 0, "{path:?}");
        let off = (0..CELLS as u32)
            .map(|cell| (cell, world.error(cell)))
            .filter(|(_, pages)| *pages != 0)
            .collect();
        ends.insert((off, world.shared.suspense));
    });
    ends
}

#[test]
fn two_faults_end_exact_in_every_interleaving_after_a_fault() {
    let fault: &[_] = &[(FAULT, 1)];
    let ends = ends(&small(&[31, 31], FAULT), &[fault, fault]);
    assert_eq!(ends, HashSet::from([(vec![], 0)]));
}

#[test]
fn two_calls_of_one_cause_end_exact_in_every_interleaving() {
    let (one, two): (&[_], &[_]) = (&[(MUNMAP, -512)], &[(MUNMAP, -300)]);
    let ends = ends(&small(&[0, 0], FAULT), &[one, two]);
    assert_eq!(ends, HashSet::from([(vec![], 0)]));
}

/// The bound that `fold` states, and no more: one of the two took what both folded.
#[test]
fn two_causes_are_off_by_what_one_of_them_folded() {
    let (munmap, dontneed): (&[_], &[_]) = (&[(MUNMAP, -512)], &[(DONTNEED, -300)]);
    let ends = ends(&small(&[0, 0], FAULT), &[munmap, dontneed]);
    let expected = HashSet::from([
        (vec![], 0),
        (vec![(MUNMAP, 512), (DONTNEED, -512)], 0),
        (vec![(MUNMAP, -300), (DONTNEED, 300)], 0),
    ]);
    assert_eq!(ends, expected);
}

/// The fault takes both, the call finds nothing and looks at the suspense before the fault has filled it.
#[test]
fn a_fault_that_fills_the_suspense_too_late_leaves_it_filled() {
    let (fault, munmap): (&[_], &[_]) = (&[(FAULT, 1)], &[(MUNMAP, -512)]);
    let ends = ends(&small(&[31, 0], MUNMAP), &[fault, munmap]);
    let expected = HashSet::from([(vec![], 0), (vec![(MUNMAP, 512)], -512)]);
    assert_eq!(ends, expected);
}

/// The call takes both, and the fault asks who took its pages before the call has said so.
#[test]
fn a_call_that_names_itself_too_late_leaves_the_suspense_filled() {
    let (fault, munmap): (&[_], &[_]) = (&[(FAULT, 1)], &[(MUNMAP, -512)]);
    let ends = ends(&small(&[31, 31], FAULT), &[fault, munmap]);
    assert!(ends.contains(&(vec![(MUNMAP, 32)], -32)));
}

/// One fault takes both, and the other blames the call that took before.
#[test]
fn a_fault_may_blame_the_cause_that_took_before() {
    let fault: &[_] = &[(FAULT, 1)];
    let ends = ends(&small(&[31, 31], MUNMAP), &[fault, fault]);
    let expected = HashSet::from([(vec![], 0), (vec![(MUNMAP, -32)], 32)]);
    assert_eq!(ends, expected);
}

/// Whether the call comes before the fault has filled the suspense or after, it gets its own pages from there. What is left
/// is the call that names itself too late.
#[test]
fn a_call_whose_pages_a_fault_took_gets_them_back() {
    let (fault, munmap): (&[_], &[_]) = (&[(FAULT, 1)], &[(MUNMAP, -512)]);
    let ends = ends(&small(&[31, 0], FAULT), &[fault, munmap]);
    let expected = HashSet::from([(vec![], 0), (vec![(MUNMAP, 32)], -32)]);
    assert_eq!(ends, expected);
}

#[test]
fn what_a_fault_left_in_suspense_goes_to_the_next_call_that_looks() {
    let mut world = small(&[31], FAULT);
    world.start -= 7;
    world.shared.suspense = 7;
    world.update(0, FAULT, 1);
    world.finish(0);
    assert_eq!((world.error(FAULT), world.shared.suspense), (0, 7));
    world.update(0, MUNMAP, -100);
    world.finish(0);
    assert_eq!((world.error(MUNMAP), world.shared.suspense), (7, 0));
}
