//! Reading the target's figures.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use crate::proc::{self, ProcDir, Resident, Rollup, Statm};

/// More than the kernel writes into `smaps_rollup`, which is about 700 bytes.
const ROLLUP_BYTES: usize = 4096;
/// More than the kernel writes into `statm`: seven numbers of at most 20 digits.
const STATM_BYTES: usize = 256;

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
    pid: u32,
    process: ProcDir,
    /// `statm` of the same. The kernel looks for the memory at each reading, so it stays right over an exec.
    statm: Option<File>,
    rollup: io::Result<File>,
}

impl Sampler {
    /// Opens the process `pid`.
    ///
    /// # Errors
    ///
    /// Where there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let process = ProcDir::open(pid)?;
        let rollup = open_rollup(&process);
        let mut sampler = Self {
            pid,
            process,
            statm: None,
            rollup,
        };
        // Now is when it may be opened.
        if read_statm(&sampler.process).is_none() && sampler.switch_thread().is_some() {
            sampler.renew();
        }
        Ok(sampler)
    }

    /// To be called where an exec has replaced the process's memory: nothing of the old one is shown any more.
    pub fn renew(&mut self) {
        self.rollup = open_rollup(&self.process);
    }

    /// Whether the process and the path of its executable can be seen with the privileges of this moment: of another user's
    /// process, and with `hidepid`, that needs `CAP_SYS_PTRACE`.
    #[must_use]
    pub fn can_see(&self) -> bool {
        ProcDir::open(self.pid).is_ok()
            && self.process.link("exe").is_ok()
            && read_statm(&self.process).is_some()
    }

    /// Whether `smaps_rollup` could be opened again, as an exec makes necessary, with the privileges of this moment. Of another
    /// user's process that needs `CAP_SYS_PTRACE`; since about 6.15 `CAP_PERFMON` is enough.
    #[must_use]
    pub fn can_open(&self) -> bool {
        open_rollup(&self.process).is_ok()
    }

    /// Why `smaps_rollup` cannot be read; `None` where it can be opened.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let error = self.rollup.as_ref().err()?;
        match error.kind() {
            io::ErrorKind::PermissionDenied => Some(
                "smaps_rollup of another user's process, or of one that protects itself, needs CAP_SYS_PTRACE, or root".to_owned(),
            ),
            _ if proc::is_gone(error) => {
                Some("there is no smaps_rollup: the kernel is without it, or the process ended".to_owned())
            }
            _ => Some(format!("smaps_rollup cannot be opened: {error}")),
        }
    }

    /// Reads `statm`; `None` once the process has no memory any more.
    pub fn statm(&mut self) -> Option<Statm> {
        if let Some(statm) = self.statm.as_ref().and_then(read_open_statm) {
            return Some(statm);
        }
        // The leading thread may have exited while others go on; they show the same memory.
        if read_statm(&self.process).is_none() {
            self.switch_thread()?;
        }
        let file = self.process.open_relative("statm").ok()?;
        read_open_statm(self.statm.insert(file))
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
    ///
    /// The kernel asks for privileges when the file is opened. Where it refuses that by now, because the process has begun to protect
    /// itself, the one that was opened before still shows the memory of that moment's program.
    pub fn smaps(&mut self) -> Option<Smaps> {
        if let Some(smaps) = self.read_anew() {
            return Some(smaps);
        }
        if read_statm(&self.process).is_none() {
            self.switch_thread()?;
            if let Some(smaps) = self.read_anew() {
                return Some(smaps);
            }
        }
        read_smaps(self.rollup.as_ref().ok()?)
    }

    fn read_anew(&mut self) -> Option<Smaps> {
        let file = open_rollup(&self.process).ok()?;
        let smaps = read_smaps(&file)?;
        self.rollup = Ok(file);
        Some(smaps)
    }

    fn switch_thread(&mut self) -> Option<()> {
        let leader = ProcDir::open(self.pid).ok()?;
        self.process = leader
            .threads()
            .ok()?
            .filter_map(|tid| ProcDir::open(tid).ok())
            .find(|process| read_statm(process).is_some())?;
        self.statm = None;
        Some(())
    }
}

fn read_statm(process: &ProcDir) -> Option<Statm> {
    with_memory(proc::read(process, "statm", proc::statm).ok()?)
}

/// One reading of the whole file: the kernel writes it into the buffer at once.
fn read_open_statm(file: &File) -> Option<Statm> {
    let mut bytes = [0; STATM_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let line = bytes.get(..length)?;
    with_memory(line.ends_with(b"\n").then(|| proc::statm(line))??)
}

/// All zero: no mm.
fn with_memory(statm: Statm) -> Option<Statm> {
    (statm.size > 0).then_some(statm)
}

fn read_resident(process: &ProcDir) -> Option<Resident> {
    proc::read(process, "status", proc::resident).ok()
}

fn open_rollup(process: &ProcDir) -> io::Result<File> {
    process.open_relative("smaps_rollup")
}

fn read_smaps(file: &File) -> Option<Smaps> {
    let begun = Instant::now();
    let mut bytes = [0; ROLLUP_BYTES];
    let length = read_from_start(file, &mut bytes).ok()?;
    let rollup = proc::smaps_rollup(&bytes[..length])?;
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

/// Reading at 0 lets the kernel look again; what comes behind it is the rest of the same look.
fn read_from_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn statm_is_that_of_the_programs_that_follow_until_the_process_ends() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec sleep 1000"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sampler = Sampler::open(child.id()).unwrap();
        assert!(sampler.statm().unwrap().resident > 0);
        assert!(sampler.statm.is_some());
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let process = ProcDir::open(child.id()).unwrap();
        while proc::read(&process, "stat", proc::stat).unwrap().comm != "sleep" {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Until it has come to rest, no two readings need be the same.
        while sampler.statm().unwrap() != read_statm(&process).unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(sampler.statm.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(sampler.statm(), None);
    }
}
