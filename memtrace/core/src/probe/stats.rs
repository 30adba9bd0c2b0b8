//! What memtrace's own programs take, by the kernel's own account.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::{
    Ebpf,
    sys::{Stats, enable_stats},
};

use super::{ProbeError, error::chain};

/// Turns the run-time statistics of all eBPF programs of the host on, for as long as the descriptor lives
/// (`BPF_ENABLE_STATS`, since 5.8).
pub(super) fn enable() -> Result<OwnedFd, ProbeError> {
    enable_stats(Stats::RunTime).map_err(|error| ProbeError::Statistics(chain(&error)))
}

/// One program, with all its attachments, since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// Its name in the object.
    pub name: String,
    /// Runs that the kernel counted, those while the statistics were on; `None` where it does not tell (before 5.1).
    pub runs: Option<u64>,
    /// Their time.
    pub time_ns: Option<u64>,
    /// Runs that the kernel skipped, whether or not the statistics were on; `None` where it does not tell (before 5.12).
    pub skipped: Option<u64>,
}

/// What the kernel says of each loaded program. The files are held open, since memtrace may not open them any more once it has
/// given up its privileges.
pub(super) struct Programs(Vec<(String, Option<File>)>);

impl Programs {
    /// The programs that are loaded, by name.
    pub fn of(ebpf: &Ebpf) -> Self {
        let mut programs: Vec<_> = ebpf
            .programs()
            .filter_map(|(name, program)| {
                // A program that is not loaded has no descriptor, and has not run.
                let fd = program.fd().ok()?;
                let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
                Some((name.to_owned(), File::open(path).ok()))
            })
            .collect();
        programs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(programs)
    }

    /// Their runs until now.
    pub fn runs(&self) -> Vec<ProgramRuns> {
        self.0
            .iter()
            .map(|(name, file)| {
                let text = file.as_ref().and_then(|file| anew(file).ok());
                parse(name, &text.unwrap_or_default())
            })
            .collect()
    }
}

/// From the beginning, the kernel writes it anew.
fn anew(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// `bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`.
fn parse(name: &str, fdinfo: &str) -> ProgramRuns {
    let field = |name: &str| {
        let value = fdinfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().parse::<u64>().ok()
    };
    ProgramRuns {
        name: name.to_owned(),
        runs: field("run_cnt"),
        time_ns: field("run_time_ns"),
        skipped: field("recursion_misses"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_tell_is_not_zero() {
        let new =
            "prog_type:\t26\nprog_id:\t9\nrun_time_ns:\t1200\nrun_cnt:\t10\nrecursion_misses:\t3\n";
        let old = "prog_type:\t26\nprog_id:\t9\nrun_time_ns:\t1200\nrun_cnt:\t10\n";
        assert_eq!(parse("rss_stat", new).skipped, Some(3));
        let runs = parse("rss_stat", old);
        assert_eq!((runs.runs, runs.time_ns), (Some(10), Some(1200)));
        assert_eq!(runs.skipped, None);
        assert_eq!(parse("rss_stat", "").runs, None);
    }
}
