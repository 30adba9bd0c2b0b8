//! Single calls, told one by one: each with what it moved.

use std::collections::BTreeMap;

use memtrace::probe::{
    Options,
    events::{CallEvents, RING_BYTES, Selection},
};
use memtrace_common::{
    cell::{BRK, MADVISE_BASE, MMAP, MREMAP, MUNMAP, call_slot},
    layout::CallEvent,
};

use super::{COLD, Case, DONTNEED, FREE, Outcome, POPULATE_WRITE, needs_advice};
use crate::harness::{Traced, Workload, kernel_release};

pub const CASES: &[Case] = &[
    ("events_know_what_each_call_moved", moved),
    ("events_add_up_to_the_ledgers_rows", sums),
    ("events_that_the_filter_leaves_out_are_counted", filtered),
    ("events_beyond_the_ring_buffer_are_counted", dropped),
    ("events_of_many_threads_know_their_thread", threads),
    ("events_go_on_with_the_next_program", next_program),
];

/// Bytes of a record in the ring buffer, with its header.
const RECORD: u64 = size_of::<CallEvent>() as u64 + 8;

fn start(selection: Selection) -> (Traced, CallEvents) {
    let options = Options {
        events: Some(selection),
        ..Options::new(0)
    };
    let mut traced = Traced::attach_with(Workload::start(), options);
    for hook in traced.tracer.session.hooks() {
        assert!(hook.kind.is_some(), "{hook:?}");
    }
    let events = traced.tracer.session.call_events().unwrap().unwrap();
    (traced, events)
}

/// What waits to be read.
fn told(events: &mut CallEvents) -> Vec<CallEvent> {
    std::iter::from_fn(|| events.next())
        .map(|event| event.expect("a record of the right size"))
        .collect()
}

fn advice(advice: i32) -> u32 {
    MADVISE_BASE + advice as u32
}

/// Pages that a call moved, by member.
#[track_caller]
fn pages(event: &CallEvent) -> [i64; 4] {
    if kernel_release() < (6, 2) {
        assert_eq!(event.has_moved, 0);
        return [0; 4];
    }
    assert_eq!(event.has_moved, 1, "{event:?}");
    event.moved
}

/// What is expected of a call, where this kernel allows it to be known.
fn known(pages: [i64; 4]) -> [i64; 4] {
    if kernel_release() < (6, 2) {
        [0; 4]
    } else {
        pages
    }
}

/// The events of one call.
fn of(events: &[CallEvent], cell: u32) -> Vec<&CallEvent> {
    events.iter().filter(|event| event.cell == cell).collect()
}

fn moved() -> Outcome {
    const ROUNDS: u64 = 100;
    let (mut traced, mut events) = start(Selection::default());
    told(&mut events);
    for round in 1..=ROUNDS {
        let touched = 3 * round;
        traced.ok(&format!("map a {}", touched + 7));
        traced.ok(&format!("write a 0 {touched}"));
        traced.ok(&format!("madvise a 0 {touched} {FREE}"));
        traced.ok(&format!("madvise a 0 {round} {DONTNEED}"));
        traced.ok(&format!("unmap a 0 {}", touched + 7));
    }
    let told = told(&mut events);
    let pid = traced.workload.pid();
    for event in &told {
        assert_eq!((event.thread, event.epoch), (pid, 0), "{event:?}");
        assert!(
            event.begin_ns > 0 && event.at_ns > event.begin_ns,
            "{event:?}"
        );
    }
    let of = |cell| of(&told, cell);
    let (maps, unmaps) = (of(MMAP), of(MUNMAP));
    let (frees, drops) = (of(advice(FREE)), of(advice(DONTNEED)));
    for calls in [&maps, &unmaps, &frees, &drops] {
        assert_eq!(calls.len() as u64, ROUNDS);
    }
    for round in 1..=ROUNDS {
        let index = round as usize - 1;
        let (touched, length) = (3 * round, traced.bytes(3 * round + 7));
        let (map, unmap) = (maps[index], unmaps[index]);
        assert_eq!((map.length, map.errno, pages(map)), (length, 0, [0; 4]));
        // MAP_PRIVATE | MAP_ANONYMOUS.
        assert_eq!(map.flags & 0x22, 0x22, "{map:?}");
        assert_eq!(map.prot, 3, "{map:?}");
        let at = map.result.cast_unsigned();
        let free = frees[index];
        assert_eq!((free.address, free.length), (at, traced.bytes(touched)));
        assert_eq!((free.advice, pages(free)), (FREE, [0; 4]));
        let drop = drops[index];
        assert_eq!((drop.address, drop.length), (at, traced.bytes(round)));
        let dropped = known([0, -(round as i64), 0, 0]);
        assert_eq!(
            (drop.advice, drop.result, pages(drop)),
            (DONTNEED, 0, dropped)
        );
        let left = known([0, -((touched - round) as i64), 0, 0]);
        assert_eq!((unmap.address, unmap.length), (at, length));
        assert_eq!((unmap.result, pages(unmap)), (0, left));
        // In the order in which they ended.
        assert!(map.at_ns < free.at_ns && free.at_ns < drop.at_ns && drop.at_ns < unmap.at_ns);
    }
    traced.verify();
    Ok(())
}

/// The rows' pages, and what the events of each row's calls say, in a process with one thread.
fn sums() -> Outcome {
    needs_advice(POPULATE_WRITE, "MADV_POPULATE_WRITE")?;
    let (mut traced, mut events) = start(Selection::default());
    told(&mut events);
    let moved = traced.measure_with(|traced| {
        traced.ok("map p 700 populate");
        traced.ok("map s 300 shared populate");
        traced.ok("map a 900");
        traced.ok(&format!("madvise a 0 600 {POPULATE_WRITE}"));
        traced.ok("write a 600 300");
        traced.ok(&format!("madvise a 100 50 {DONTNEED}"));
        traced.ok(&format!("madvise a 100 50 {COLD}"));
        traced.ok("fixed a 0 40");
        traced.ok("remap a 500");
        traced.ok("map m 100");
        traced.ok("write m 0 60");
        traced.ok("remap m 200 move");
        traced.ok("brk up 40");
        traced.ok("brk down 30");
        // Fails: what it moved before counts all the same.
        traced.workload.run("madvise a 0 4 99");
        traced.ok("unmap p 0 700");
        traced.ok("unmap s 0 300");
        traced.ok("unmap a 0 500");
        traced.ok("unmap m 0 200");
    });
    let told = told(&mut events);
    let mut sums: BTreeMap<u32, (u64, u64, [i64; 4])> = BTreeMap::new();
    for event in &told {
        let (calls, failed, sum) = sums.entry(event.cell).or_default();
        *calls += 1;
        *failed += u64::from(event.errno != 0);
        for (sum, pages) in sum.iter_mut().zip(pages(event)) {
            *sum += pages;
        }
    }
    for (row, cell) in [
        ("mmap", MMAP),
        ("munmap", MUNMAP),
        ("mremap", MREMAP),
        ("brk", BRK),
        ("madvise MADV_DONTNEED", advice(DONTNEED)),
        ("madvise MADV_COLD", advice(COLD)),
        ("madvise MADV_POPULATE_WRITE", advice(POPULATE_WRITE)),
    ] {
        let (calls, failed, sum) = sums.get(&cell).copied().unwrap_or_default();
        let counted = moved.calls(row);
        assert!(calls > 0, "{row}");
        assert_eq!((calls, failed), (counted.calls, counted.failed), "{row}");
        if kernel_release() >= (6, 2) {
            assert_eq!(sum, moved.pages(row), "{row}; {}", moved.list());
        }
    }
    let unknown = told.iter().find(|event| event.advice == 99).unwrap();
    assert_eq!(unknown.errno, libc::EINVAL.unsigned_abs());
    let remaps = of(&told, MREMAP);
    assert_eq!(
        (remaps[0].old, remaps[0].length),
        (traced.bytes(900), traced.bytes(500))
    );
    assert_eq!(remaps[1].flags & 1, 1, "{:?}", remaps[1]);
    let brks = of(&told, BRK);
    let grown = brks.iter().find(|brk| brk.length == traced.bytes(40));
    let grown = grown.expect("the break moves up");
    assert_eq!(grown.old + grown.length, grown.address);
    assert_eq!(grown.result.cast_unsigned(), grown.address);
    Ok(())
}

/// Calls of the ledger, over all rows.
fn calls(traced: &Traced) -> u64 {
    traced.read().calls.iter().map(|call| call.calls).sum()
}

fn slots(cells: &[u32]) -> [u32; 3] {
    let mut slots = [0; 3];
    for cell in cells {
        let slot = call_slot(*cell).unwrap();
        slots[slot as usize / 32] |= 1 << (slot % 32);
    }
    slots
}

fn filtered() -> Outcome {
    let page = u64::try_from(
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
            .unwrap()
            .unwrap(),
    )
    .unwrap();
    let selection = Selection {
        slots: slots(&[MUNMAP, MREMAP, advice(FREE)]),
        min_bytes: 10 * page,
    };
    let (mut traced, mut events) = start(selection);
    for pages in [4, 9, 10, 11, 200] {
        traced.ok(&format!("map a {pages}"));
        traced.ok(&format!("write a 0 {pages}"));
        traced.ok(&format!("madvise a 0 {pages} {FREE}"));
        traced.ok(&format!("madvise a 0 {pages} {DONTNEED}"));
        traced.ok(&format!("unmap a 0 {pages}"));
    }
    // Of an mremap, the longer of the two lengths counts.
    traced.ok("map r 12");
    traced.ok("remap r 5");
    let told = told(&mut events);
    let seen: Vec<(u32, u64)> = told
        .iter()
        .map(|event| (event.cell, event.length / page))
        .collect();
    let expected = [10, 11, 200]
        .into_iter()
        .flat_map(|pages| [(advice(FREE), pages), (MUNMAP, pages)])
        .chain([(MREMAP, 5)]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let counts = events.counts().unwrap();
    assert_eq!(counts.dropped, 0);
    assert_eq!(counts.filtered + told.len() as u64, calls(&traced));
    assert_eq!(traced.read().losses.single, Some(0));
    Ok(())
}

/// A storm of calls that nobody reads of.
fn dropped() -> Outcome {
    let selection = Selection {
        slots: slots(&[MMAP, MUNMAP, advice(DONTNEED)]),
        min_bytes: 0,
    };
    let (mut traced, mut events) = start(selection);
    let room = u64::from(RING_BYTES) / RECORD;
    traced.ok("map a 1");
    traced.ok(&format!("advise_times a {} {DONTNEED}", room + room / 4));
    let told = told(&mut events).len() as u64;
    let counts = events.counts().unwrap();
    // All of the ring buffer was used.
    assert!(told > room - 2 && told <= room, "{told} of {room}");
    assert!(counts.dropped > 0);
    let skipped = traced.tracer.session.skipped_runs().unwrap_or(0);
    let counted = calls(&traced);
    eprintln!("{counted} calls: {told} told, {counts:?}, {skipped} skipped runs");
    assert_eq!(told + counts.filtered + counts.dropped, counted);
    assert_eq!(traced.read().losses.single, Some(counts.dropped));
    // The ledger does not suffer.
    assert_eq!(traced.read().losses.total(), 0);
    traced.verify();
    Ok(())
}

/// Threads at once, each with what it moved: together what the ledger has, but for what two folds that meet can misplace.
fn threads() -> Outcome {
    let (mut traced, mut events) = start(Selection {
        slots: slots(&[MUNMAP, advice(DONTNEED)]),
        min_bytes: 0,
    });
    let before = traced.read();
    traced.workload.tell("storm 4 2 small 4242");
    // Read as it goes, so that nothing is dropped.
    let mut told_all = Vec::new();
    // All that there were: one of the workload's own may end as these begin.
    let mut tids = std::collections::BTreeSet::new();
    let tasks = format!("/proc/{}/task", traced.workload.pid());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(3);
    while std::time::Instant::now() < end {
        told_all.extend(told(&mut events));
        for entry in std::fs::read_dir(&tasks).unwrap() {
            let name = entry.unwrap().file_name();
            tids.insert(name.to_string_lossy().parse::<u32>().unwrap());
        }
        events.wait();
    }
    assert!(traced.workload.answer().unwrap() >= 0);
    traced.workload.settle();
    told_all.extend(told(&mut events));
    traced.workload.known();
    assert_eq!(events.counts().unwrap().dropped, 0);
    let after = traced.read();
    let of_storm: std::collections::BTreeSet<u32> =
        told_all.iter().map(|event| event.thread).collect();
    assert!(of_storm.len() >= 4, "{of_storm:?}");
    assert!(of_storm.is_subset(&tids), "{of_storm:?} of {tids:?}");
    if kernel_release() < (6, 2) {
        return Ok(());
    }
    let (mut moved, mut off) = (0, 0);
    for cell in [MUNMAP, advice(DONTNEED)] {
        let row = after.cells[cell as usize][1] - before.cells[cell as usize][1];
        let sum: i64 = of(&told_all, cell)
            .iter()
            .map(|event| pages(event)[1])
            .sum();
        moved += row.unsigned_abs();
        off += row.abs_diff(sum);
        eprintln!("cell {cell}: the row has {row} pages, the calls {sum}");
    }
    // No call releases more than it asked for, but for what folds misplace.
    let misplaced = told_all
        .iter()
        .filter(|event| {
            let pages = pages(event)[1];
            pages > 0 || pages.unsigned_abs() * 4096 > event.length
        })
        .count();
    eprintln!(
        "{} calls, {moved} pages; {misplaced} calls moved more than they can have; rows and calls differ by {off} pages",
        told_all.len()
    );
    assert!(off * 1000 <= moved, "{off} of {moved} pages");
    Ok(())
}

fn next_program() -> Outcome {
    let (mut traced, mut events) = start(Selection::default());
    traced.ok("map a 33");
    traced.workload.tell("exec");
    traced.ok("nothing");
    traced.tracer.next_end();
    traced.ok("map a 44");
    let told = told(&mut events);
    let find = |pages: u64| {
        let length = traced.bytes(pages);
        let mut maps = told.iter().filter(|event| event.cell == MMAP);
        maps.find(|event| event.length == length).unwrap()
    };
    let (old, new) = (find(33), find(44));
    assert_eq!((old.epoch, new.epoch), (0, 1));
    assert!(new.begin_ns > old.at_ns && new.at_ns > new.begin_ns);
    Ok(())
}
