//! Decides which real-kernel tests a guest runs, and whether it boots at all.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{
    cargo::read,
    record::{Key, Records},
    vm::{guest::Emulator, store::Stored},
};

/// Tests that the thin suite leaves out. Each differs from one that it runs in the user side, in numbers, or in kernel behaviour that is
/// the same in all versions. A new test runs everywhere until it is listed here. On the machine's own kernel, each change runs all
/// tests; `cargo xtask nightly` runs all on every kernel.
pub const LEFT_OUT: [&str; 65] = [
    "zero_page_reads_add_nothing",
    "a_zero_page_written_is_an_anonymous_page",
    "shared_memory_mapped_twice_counts_twice",
    "the_kernel_writing_into_fresh_memory",
    "mlock_faults_pages_in",
    "one_cpu_after_another",
    "free_moves_nothing_at_the_call",
    "free_then_rewritten_shows_no_event",
    "free_then_unmapped_drops_under_munmap",
    "remove_drops_shared_memory",
    "populate_read_maps_the_zero_page",
    "advice_that_moves_nothing_is_counted",
    "munmap_drops_what_was_touched",
    "partial_munmap_drops_its_part",
    "brk_goes_up_and_down",
    "populate_belongs_to_mmap",
    "a_fixed_mapping_drops_what_it_covers",
    "a_huge_page_that_nobody_asked_for",
    "a_huge_page_lazily_freed",
    "a_huge_page_unmapped_in_parts",
    "the_huge_zero_page_adds_nothing",
    "collapse_asked_for_by_another_process",
    "a_private_file_page_written_at_once_is_anonymous",
    "a_shared_file_page_written_stays_a_file_page",
    "swapped_pages_that_nobody_wants_back",
    "paged_out_by_another_process",
    "reclaimed_to_swap",
    "another_process_writes_into_fresh_memory",
    "a_parent_writes_while_its_child_lives",
    "a_vfork_child_writes_into_the_parent",
    "a_child_that_executes_is_not_followed",
    "exec_while_another_process_shares_the_memory",
    "execs_one_after_another",
    "more_execs_than_epochs_can_wait",
    "merged_epochs_end_when_the_last_one_does",
    "errnos_of_more_programs_than_there_is_room_for",
    "a_kill_takes_everything_down",
    "the_leader_leaves_while_traced",
    "the_leader_had_left_before",
    "attached_to_while_it_forks",
    "a_child_lives_at_the_attach",
    "two_sessions_are_independent",
    "advice_that_the_kernel_does_not_know",
    "advice_across_a_hole",
    "advice_that_is_put_off_half_way",
    "munmap_of_an_unaligned_address",
    "mremap_of_an_unaligned_address",
    "mmap_of_nothing",
    "events_add_up_to_the_ledgers_rows",
    "events_that_the_filter_leaves_out_are_counted",
    "events_beyond_the_ring_buffer_are_counted",
    "events_of_many_threads_know_their_thread",
    "events_go_on_with_the_next_program",
    "storm_of_small_pages",
    "storm_of_huge_pages",
    "attached_to_in_the_middle_of_a_storm",
    "approximate_brk_and_mremap_grow_and_shrink",
    "approximate_failed_calls_by_errno",
    "approximate_faults_are_counted",
    "approximate_children_are_counted_and_not_followed",
    "approximate_exec_begins_an_epoch",
    "approximate_execs_that_nobody_reads_are_merged",
    "approximate_moves_no_page_of_any_cause",
    "cgroup_limits_are_whose_they_are",
    "cgroup_that_the_process_left",
];

/// The sources that reach a guest, except the kernel side.
const SEEN: [&str; 15] = [
    "Cargo.lock",
    "Cargo.toml",
    "memtrace/Cargo.toml",
    "memtrace/core/Cargo.toml",
    "memtrace/core/src/ledger",
    "memtrace/core/src/lib.rs",
    "memtrace/core/src/model",
    "memtrace/core/src/privilege",
    "memtrace/core/src/proc",
    "memtrace/core/src/process",
    "memtrace/core/src/text",
    "memtrace/src/capture",
    "memtrace/src/observe",
    "memtrace/tests/kernel",
    "xtask/src/vm",
];
/// The kernel side and its loader.
const KERNEL_SIDE: [&str; 3] = [
    "memtrace-common",
    "memtrace/ebpf",
    "memtrace/core/src/probe",
];

/// Kinds of records.
const WHOLE: &str = "matrix-whole";
const THIN: &str = "matrix-thin";
const SIDE: &str = "kernel-side";

/// The tests that a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Whole,
    Thin,
}

/// Hashes of everything that a guest sees, and of the kernel side alone, both with the kernel.
pub struct Contents {
    all: String,
    side: String,
}

impl Contents {
    pub fn read(root: &Path, kernel: &Stored, emulator: &Emulator) -> Result<Self> {
        let mut side = Key::new(SIDE);
        // The very build, by the hashes of its packages.
        let packages = kernel.vmlinuz.with_file_name("packages");
        side.add("kernel", &fs::read(&packages)?);
        for path in KERNEL_SIDE {
            side.add_tree(root, path)?;
        }
        let side = side.finish();
        let mut all = Key::new(WHOLE);
        all.add("kernel side", side.as_bytes());
        all.add("emulator", emulator.version.as_bytes());
        let rustc = read(std::process::Command::new("rustc").arg("-vV"))?;
        all.add("rustc", rustc.as_bytes());
        for path in SEEN {
            all.add_tree(root, path)?;
        }
        Ok(Self {
            all: all.finish(),
            side,
        })
    }

    /// Returns the record of a green run with the same contents.
    pub fn green(&self, records: &Records) -> Option<String> {
        let whole = records.get(WHOLE, &self.all);
        let known = whole.or_else(|| records.get(THIN, &self.all))?;
        Some(known.trim_end().to_owned())
    }

    /// Returns the whole suite if the kernel side differs from every recorded one, and the thin one otherwise, also if there is no
    /// record at all.
    pub fn suite(&self, records: &Records) -> Suite {
        if records.any(SIDE) && records.get(SIDE, &self.side).is_none() {
            Suite::Whole
        } else {
            Suite::Thin
        }
    }

    /// Records a green run.
    pub fn put(&self, records: &Records, suite: Suite, row: &str) -> Result<()> {
        let (kind, name) = match suite {
            Suite::Whole => (WHOLE, "the whole suite"),
            Suite::Thin => (THIN, "the thin suite"),
        };
        records.put(kind, &self.all, &format!("{name}: {row}"))?;
        records.put(SIDE, &self.side, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_exists() {
        let root = crate::cargo::root().unwrap();
        let mut sources = String::new();
        for folder in ["cases", "."] {
            for entry in fs::read_dir(root.join("memtrace/tests/kernel").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    sources += &fs::read_to_string(path).unwrap();
                }
            }
        }
        for name in LEFT_OUT {
            assert!(sources.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn the_suite_is_whole_where_the_kernel_side_changed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path());
        let contents = |all: &str, side: &str| Contents {
            all: all.to_owned(),
            side: side.to_owned(),
        };
        let first = contents("1", "a");
        // Nothing is known yet.
        assert_eq!(first.suite(&records), Suite::Thin);
        assert_eq!(first.green(&records), None);
        first.put(&records, Suite::Thin, "6.1").unwrap();
        assert!(
            first
                .green(&records)
                .unwrap()
                .ends_with("the thin suite: 6.1")
        );
        let other = contents("2", "a");
        assert_eq!(other.green(&records), None);
        assert_eq!(other.suite(&records), Suite::Thin);
        let changed = contents("3", "b");
        assert_eq!(changed.suite(&records), Suite::Whole);
        changed.put(&records, Suite::Whole, "6.1").unwrap();
        assert_eq!(contents("4", "b").suite(&records), Suite::Thin);
        assert!(changed.green(&records).unwrap().contains("whole"));
    }
}
