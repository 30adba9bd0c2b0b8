//! Rows: cells with their names.

use memtrace_common::{
    advice::{self, OVERFLOW_SLOT, UNKNOWN_BASE},
    cell::{
        self, CELLS, MADVISE_BASE, MEMBERS, PROCESS_MADVISE_BASE, TASK_BASE, TaskCause, call_slot,
    },
    layout::{CallStats, Pages},
};

use super::{Errno, Reading, TaskName};
use crate::model::Cause;

/// The system calls behind a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// The counts. Bytes are as the caller passed them, not rounded to pages.
    pub stats: CallStats,
    /// Failed calls by errno.
    pub errnos: Vec<(u32, u64)>,
}

/// One cause, with what it moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of the cell that it is made of: rows stand in this order.
    pub cell: u32,
    /// The cause.
    pub cause: Cause,
    /// The advice, by the kernel's name, or by its number where it has none.
    pub advice: Option<String>,
    /// The other task that did it.
    pub task: Option<String>,
    /// The system calls; `None` where the cause is none, or its hook is not attached.
    pub calls: Option<Calls>,
    /// Pages by member.
    pub pages: Pages,
}

/// The names that rows need and cells do not carry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Tasks with a cell of their own.
    pub tasks: &'a [TaskName],
    /// Failed calls.
    pub errnos: &'a [Errno],
    /// System calls whose hooks are attached.
    pub hooked: &'a [&'a str],
}

/// The rows of a reading, in the order of their cells; those in which nothing happened are left out.
#[must_use]
pub fn rows(reading: &Reading, names: &Names<'_>) -> Vec<Row> {
    let cells = (0..CELLS as u32).filter_map(|cell| {
        let moved = Moved::of(reading, cell)?;
        Some(moved.row(cell, identify(reading, names, cell)?, names))
    });
    cells.collect()
}

/// Returns the rows of a reading, and those of what was counted `since` an earlier one ([`Reading::since`]), in one pass.
#[must_use]
pub fn rows_since(reading: &Reading, since: &Reading, names: &Names<'_>) -> (Vec<Row>, Vec<Row>) {
    let (mut whole, mut recent) = (Vec::new(), Vec::new());
    for cell in 0..CELLS as u32 {
        let (all, moved) = (Moved::of(reading, cell), Moved::of(since, cell));
        if all.is_none() && moved.is_none() {
            continue;
        }
        let Some(identity) = identify(reading, names, cell) else {
            continue;
        };
        if let Some(moved) = moved {
            recent.push(moved.row(cell, identity.clone(), names));
        }
        if let Some(all) = all {
            whole.push(all.row(cell, identity, names));
        }
    }
    (whole, recent)
}

/// The figures of a cell in which something happened.
struct Moved {
    pages: Pages,
    stats: Option<CallStats>,
}

impl Moved {
    fn of(reading: &Reading, index: u32) -> Option<Self> {
        let pages = *reading.cells.get(index as usize)?;
        let stats = call_slot(index).and_then(|slot| reading.calls.get(slot as usize));
        let quiet = pages == [0; MEMBERS] && stats.is_none_or(|stats| stats.calls == 0);
        (!quiet).then_some(Self {
            pages,
            stats: stats.copied(),
        })
    }

    fn row(self, cell: u32, identity: Identity, names: &Names<'_>) -> Row {
        let (cause, advice, task) = identity;
        let calls = self
            .stats
            .filter(|_| names.hooked.contains(&cause.name()))
            .map(|stats| Calls {
                stats,
                errnos: names
                    .errnos
                    .iter()
                    .filter(|errno| errno.cell == cell)
                    .map(|errno| (errno.errno, errno.count))
                    .collect(),
            });
        Row {
            cell,
            cause,
            advice,
            task,
            calls,
            pages: self.pages,
        }
    }
}

type Identity = (Cause, Option<String>, Option<String>);

fn identify(reading: &Reading, names: &Names<'_>, index: u32) -> Option<Identity> {
    let plain = |cause| Some((cause, None, None));
    match index {
        cell::FAULT => plain(Cause::Fault),
        cell::MMAP => plain(Cause::Mmap),
        cell::MUNMAP => plain(Cause::Munmap),
        cell::MREMAP => plain(Cause::Mremap),
        cell::BRK => plain(Cause::Brk),
        cell::EXEC => plain(Cause::Exec),
        cell::EXIT => plain(Cause::Exit),
        cell::IO_URING => plain(Cause::IoUring),
        cell::OTHER_SYSCALL => plain(Cause::OtherSyscall),
        cell::RECLAIM => plain(Cause::Reclaim),
        cell::KHUGEPAGED => plain(Cause::Khugepaged),
        cell::KSM => plain(Cause::Ksm),
        cell::OOM_REAPER => plain(Cause::OomReaper),
        cell::OTHER_PROCESS => plain(Cause::OtherProcess),
        MADVISE_BASE..PROCESS_MADVISE_BASE => {
            let advice = advice_name(reading, index - MADVISE_BASE);
            Some((Cause::Madvise, Some(advice), None))
        }
        PROCESS_MADVISE_BASE..TASK_BASE => {
            let advice = advice_name(reading, index - PROCESS_MADVISE_BASE);
            Some((Cause::ProcessMadvise, Some(advice), None))
        }
        _ => {
            let slot = index.checked_sub(TASK_BASE)?;
            let task = names.tasks.iter().find(|task| task.slot == slot);
            let cause = match task {
                Some(task) if task.cause == TaskCause::Reclaim as u32 => Cause::Reclaim,
                _ => Cause::OtherProcess,
            };
            let name = task.map_or_else(|| "?".to_owned(), |task| task.comm.clone());
            Some((cause, None, Some(name)))
        }
    }
}

/// The kernel's name of an advice; its number where this version does not know it.
fn advice_name(reading: &Reading, slot: u32) -> String {
    if let Some(value) = advice::of_slot(slot) {
        return advice::name(value).map_or_else(|| value.to_string(), str::to_owned);
    }
    if slot == OVERFLOW_SLOT {
        return "other".to_owned();
    }
    reading
        .unknown_advice
        .get((slot - UNKNOWN_BASE) as usize)
        .map_or_else(|| "other".to_owned(), i32::to_string)
}

#[cfg(test)]
mod tests {
    use memtrace_common::{
        advice::{MADV_FREE, slot_of_known},
        cell::{FAULT, MEMBER_ANON},
    };

    use super::*;

    const HOOKED: &[&str] = &["madvise", "munmap"];

    #[test]
    fn a_quiet_reading_has_no_rows() {
        assert!(rows(&Reading::default(), &Names::default()).is_empty());
    }

    #[test]
    fn a_call_that_moved_nothing_still_has_a_row() {
        let mut reading = Reading::default();
        let cell = MADVISE_BASE + slot_of_known(MADV_FREE);
        let slot = call_slot(cell).unwrap() as usize;
        reading.calls[slot].calls = 3;
        reading.calls[slot].requested = 4096;
        let names = Names {
            hooked: HOOKED,
            ..Names::default()
        };
        let rows = rows(&reading, &names);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].cause, Cause::Madvise);
        assert_eq!(rows[0].advice.as_deref(), Some("MADV_FREE"));
        assert_eq!(rows[0].calls.as_ref().unwrap().stats.calls, 3);
    }

    #[test]
    fn a_missing_hook_leaves_calls_out_and_keeps_the_pages() {
        let mut reading = Reading::default();
        reading.cells[MADVISE_BASE as usize + 4][MEMBER_ANON] = -5;
        let rows = rows(&reading, &Names::default());
        assert_eq!(rows[0].calls, None);
        assert_eq!(rows[0].pages[MEMBER_ANON], -5);
    }

    #[test]
    fn unknown_advice_is_shown_by_its_number() {
        let mut reading = Reading {
            unknown_advice: vec![57, -1],
            ..Reading::default()
        };
        for slot in [26, UNKNOWN_BASE, UNKNOWN_BASE + 1, OVERFLOW_SLOT] {
            reading.cells[(MADVISE_BASE + slot) as usize][MEMBER_ANON] = 1;
        }
        let advice: Vec<_> = rows(&reading, &Names::default())
            .into_iter()
            .filter_map(|row| row.advice)
            .collect();
        assert_eq!(advice, ["26", "57", "-1", "other"]);
    }

    #[test]
    fn tasks_are_named_by_their_slot() {
        let mut reading = Reading::default();
        reading.cells[TASK_BASE as usize][MEMBER_ANON] = -7;
        reading.cells[TASK_BASE as usize + 1][MEMBER_ANON] = -8;
        reading.cells[FAULT as usize][MEMBER_ANON] = 1;
        let tasks = [
            TaskName {
                slot: 0,
                cause: TaskCause::Reclaim as u32,
                comm: "kswapd0".into(),
            },
            TaskName {
                slot: 1,
                cause: TaskCause::OtherProcess as u32,
                comm: "gdb".into(),
            },
        ];
        let names = Names {
            tasks: &tasks,
            ..Names::default()
        };
        let rows = rows(&reading, &names);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1].cause, Cause::Reclaim);
        assert_eq!(rows[1].task.as_deref(), Some("kswapd0"));
        assert_eq!(rows[2].cause, Cause::OtherProcess);
        assert_eq!(rows[2].task.as_deref(), Some("gdb"));
    }
}
