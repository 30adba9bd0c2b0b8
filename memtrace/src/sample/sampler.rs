//! Reading the target's figures.

use std::time::{Duration, Instant};

use procfs::{ProcResult, process::Process};

use crate::proc::{self, Resident, Rollup, Statm};

/// `/proc/PID/smaps_rollup`, bytes. Exact, and dear: it walks the page tables, holding the target's mmap_lock for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smaps {
    /// Resident bytes. Hugetlb pages are not in it.
    pub rss: u64,
    /// Bytes that were given to `MADV_FREE` and neither reclaimed nor written again.
    pub lazy_free: u64,
    /// Bytes in anonymous huge pages.
    pub anon_huge: u64,
    /// Bytes in swap.
    pub swap: u64,
    /// How long the reading took.
    pub took: Duration,
}

/// Reads one process's figures, through whichever of its threads is alive.
#[derive(Debug)]
pub struct Sampler {
    pid: i32,
    process: Process,
}

impl Sampler {
    /// Opens the process `pid`.
    ///
    /// # Errors
    ///
    /// Where there is no such process.
    pub fn open(pid: u32) -> ProcResult<Self> {
        let pid = i32::try_from(pid).unwrap_or(i32::MAX);
        Ok(Self {
            pid,
            process: Process::new(pid)?,
        })
    }

    /// Reads `statm`; `None` once the process has no memory any more.
    pub fn statm(&mut self) -> Option<Statm> {
        if let Some(statm) = read_statm(&self.process) {
            return Some(statm);
        }
        // The leading thread may have exited while others go on; they show the same memory.
        self.switch_thread()?;
        read_statm(&self.process)
    }

    /// Reads RSS by kind from `status`; `None` once the process has no memory any more.
    pub fn resident(&mut self) -> Option<Resident> {
        if let Some(resident) = read_resident(&self.process) {
            return Some(resident);
        }
        self.switch_thread()?;
        read_resident(&self.process)
    }

    /// Reads `smaps_rollup`; `None` where it cannot be read.
    pub fn smaps(&mut self) -> Option<Smaps> {
        if let Some(smaps) = read_smaps(&self.process) {
            return Some(smaps);
        }
        self.switch_thread()?;
        read_smaps(&self.process)
    }

    fn switch_thread(&mut self) -> Option<()> {
        let tasks = Process::new(self.pid).ok()?.tasks().ok()?;
        self.process = tasks
            .flatten()
            .filter_map(|task| Process::new(task.tid).ok())
            .find(|process| read_statm(process).is_some())?;
        Some(())
    }
}

fn read_statm(process: &Process) -> Option<Statm> {
    let statm = proc::read(process, "statm", proc::statm).ok()?;
    // All zero: no mm.
    (statm.size > 0).then_some(statm)
}

fn read_resident(process: &Process) -> Option<Resident> {
    proc::read(process, "status", proc::resident).ok()
}

fn read_smaps(process: &Process) -> Option<Smaps> {
    let begun = Instant::now();
    let rollup = proc::read(process, "smaps_rollup", proc::smaps_rollup).ok()?;
    let took = begun.elapsed();
    let Rollup {
        rss,
        lazy_free,
        anon_huge,
        swap,
    } = rollup;
    Some(Smaps {
        rss,
        lazy_free,
        anon_huge,
        swap,
        took,
    })
}
