//! Starting the workload, attaching to it, and comparing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use memtrace::{
    ledger::{Names, Reading, Row, check, rows},
    probe::{Options, Session},
    sample::{Sampler, Smaps},
};

use crate::storm::Known;

/// Set where the kernel tests must run: then what would be skipped fails.
pub const REQUIRE: &str = "MEMTRACE_REQUIRE_KERNEL";

pub const FILE: usize = 0;
pub const ANON: usize = 1;
pub const SWAP: usize = 2;
pub const SHMEM: usize = 3;

const CALLS: [&str; 6] = [
    "mmap",
    "munmap",
    "mremap",
    "brk",
    "madvise",
    "process_madvise",
];

/// A workload that stands still until it is told something.
pub struct Workload {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    side: File,
}

impl Workload {
    pub fn start() -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut pipe = [0; 2];
        // SAFETY: two descriptors into an array of two.
        assert_eq!(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: they were just made.
        let (side, writer) = unsafe { (File::from_raw_fd(pipe[0]), OwnedFd::from_raw_fd(pipe[1])) };
        let fd = writer.as_raw_fd();
        let mut command = Command::new(exe);
        command
            .arg("__workload")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // SAFETY: only dup2.
        unsafe {
            command.pre_exec(move || {
                if libc::dup2(fd, 3) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut workload = Self {
            child,
            input,
            output,
            side,
        };
        workload.warm_up();
        workload
    }

    /// Runs every command once, so that no page of code, stack or heap is missing later.
    fn warm_up(&mut self) {
        for command in [
            "map z 8",
            "write z 0 8",
            "read z 0 8",
            "madvise z 0 4 4",
            "process_madvise z 0 4 4",
            "zero_into z 0 4",
            "fixed z 0 4",
            "remap z 4",
            "remap z 8 move",
            "fork z 0 8",
            "reap",
            "vfork_write z 0 1",
            "uring_madvise z 0 1 4",
            "unmap z 0 8",
            "map z 1024 huge",
            "write z 0 1",
            "unmap z 0 1024",
            "map z 8 shared populate",
            "unmap z 0 8",
            "brk up 4",
            "brk down 4",
            "nothing",
        ] {
            self.run(command);
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command; its result.
    pub fn run(&mut self, command: &str) -> i64 {
        self.tell(command);
        self.answer()
            .unwrap_or_else(|| panic!("the workload ended at `{command}`"))
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    fn answer(&mut self) -> Option<i64> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().ok()
    }

    /// Runs a command that must succeed.
    pub fn ok(&mut self, command: &str) {
        let result = self.run(command);
        assert!(result >= 0, "`{command}` failed with errno {}", -result);
        self.settle();
    }

    /// Waits until the workload is back in `read`: the answer is written before the command's last page has come to rest.
    fn settle(&self) {
        let pid = self.pid();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let asleep = std::fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
                .all(|task| {
                    std::fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| {
                        stat.rsplit_once(") ")
                            .is_some_and(|(_, rest)| rest.starts_with(['S', 'Z']))
                    })
                });
            if asleep {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the workload does not come to rest");
    }

    /// What the workload wrote beside its answer: the totals of a storm.
    pub fn known(&mut self) -> Known {
        let mut bytes = [0; 32];
        self.side.read_exact(&mut bytes).unwrap();
        let word = |index: usize| {
            u64::from_ne_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap())
        };
        Known {
            faulted: word(0),
            dontneeded: word(1),
            unmapped: word(2),
            freed: word(3),
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A workload under memtrace.
pub struct Traced {
    pub workload: Workload,
    pub session: Session,
    pub sampler: Sampler,
    page: i64,
}

impl Traced {
    pub fn start() -> Self {
        Self::attach(Workload::start())
    }

    pub fn attach(workload: Workload) -> Self {
        let pid = workload.pid();
        let session = Session::attach(&Options::new(pid)).unwrap();
        Self {
            sampler: Sampler::open(pid).unwrap(),
            page: session.host().page_size as i64,
            workload,
            session,
        }
    }

    pub fn page(&self) -> i64 {
        self.page
    }

    pub fn read(&self) -> Reading {
        let epoch = self.session.epoch().unwrap();
        self.session.read(epoch).unwrap()
    }

    /// Tells the workload something that is not part of the measurement.
    pub fn ok(&mut self, command: &str) {
        self.workload.ok(command);
    }

    /// What a command moved.
    pub fn measure(&mut self, command: &str) -> Moved {
        self.measure_with(|traced| traced.workload.ok(command))
    }

    /// What happened while `work` ran, with the ledger held against the kernel's own figures at the end.
    pub fn measure_with(&mut self, work: impl FnOnce(&mut Self)) -> Moved {
        let before = self.read();
        work(self);
        self.workload.settle();
        let smaps = self.verify();
        let after = self.read();
        Moved {
            before: self.rows(&before),
            after: self.rows(&after),
            faults: after.faults.user_read + after.faults.user_write
                - before.faults.user_read
                - before.faults.user_write,
            kernel_faults: after.faults.kernel_write + after.faults.kernel_read
                - before.faults.kernel_write
                - before.faults.kernel_read,
            smaps,
        }
    }

    /// The ledger against `statm` and `smaps_rollup`, at rest: unexplained must be 0 pages, exactly.
    pub fn verify(&mut self) -> Smaps {
        let before = self.read();
        let statm = self.sampler.statm().expect("statm");
        let smaps = self.sampler.smaps().expect("smaps_rollup");
        let after = self.read();
        assert_eq!(before.events, after.events, "the workload does not stand still");
        let by_smaps = check(&before, smaps.rss as i64 / self.page, &after);
        assert_eq!(
            by_smaps.unexplained, 0,
            "pages unexplained against smaps_rollup; {before:?}"
        );
        if statm_is_exact() {
            let by_statm = check(&before, statm.resident as i64, &after);
            assert_eq!(by_statm.unexplained, 0, "pages unexplained against statm");
        }
        assert_eq!(after.losses.total(), 0, "{:?}", after.losses);
        smaps
    }

    pub fn rows(&self, reading: &Reading) -> BTreeMap<String, Row> {
        let tasks = self.session.tasks().unwrap();
        let errnos = self.session.errnos(reading.epoch).unwrap();
        let names = Names {
            tasks: &tasks,
            errnos: &errnos,
            hooked: &CALLS,
        };
        rows(reading, &names)
            .into_iter()
            .map(|row| (label(&row), row))
            .collect()
    }
}

/// Since 6.16 statm sums the per-CPU parts; before, it reads the shared part alone.
fn statm_is_exact() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0u32));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 16)
}

/// A row's name in these tests: `madvise MADV_FREE`, `reclaim kswapd0`, `fault`.
fn label(row: &Row) -> String {
    let mut label = row.cause.name().to_owned();
    for part in [&row.advice, &row.task].into_iter().flatten() {
        let _ = write!(label, " {part}");
    }
    label
}

/// What a command moved.
pub struct Moved {
    before: BTreeMap<String, Row>,
    after: BTreeMap<String, Row>,
    /// User faults, by reading and writing.
    pub faults: u64,
    /// Kernel faults.
    pub kernel_faults: u64,
    /// `smaps_rollup` afterwards.
    pub smaps: Smaps,
}

/// What a row's calls did.
#[derive(Debug, PartialEq, Eq)]
pub struct CallsMoved {
    pub calls: u64,
    pub failed: u64,
    pub requested: u64,
    pub shrunk: u64,
}

impl Moved {
    /// Pages of one row: file, anon, swap, shmem.
    pub fn pages(&self, row: &str) -> [i64; 4] {
        let of = |rows: &BTreeMap<String, Row>| rows.get(row).map_or([0; 4], |row| row.pages);
        let (before, after) = (of(&self.before), of(&self.after));
        std::array::from_fn(|member| after[member] - before[member])
    }

    /// Pages that all causes together moved.
    pub fn sum(&self) -> [i64; 4] {
        let mut sum = [0; 4];
        for row in self.after.keys() {
            for (sum, pages) in sum.iter_mut().zip(self.pages(row)) {
                *sum += pages;
            }
        }
        sum
    }

    /// Calls of one row.
    pub fn calls(&self, row: &str) -> CallsMoved {
        let of = |rows: &BTreeMap<String, Row>| {
            rows.get(row)
                .and_then(|row| row.calls.as_ref())
                .map(|calls| calls.stats)
                .unwrap_or_default()
        };
        let (before, after) = (of(&self.before), of(&self.after));
        CallsMoved {
            calls: after.calls - before.calls,
            failed: after.failed - before.failed,
            requested: after.requested - before.requested,
            shrunk: after.shrunk - before.shrunk,
        }
    }

    /// Failed calls of one row by errno, since the attach.
    pub fn errnos(&self, row: &str) -> Vec<(u32, u64)> {
        self.after
            .get(row)
            .and_then(|row| row.calls.as_ref())
            .map(|calls| calls.errnos.clone())
            .unwrap_or_default()
    }

    /// Asserts that these rows moved these pages, and that no other row moved any.
    #[track_caller]
    pub fn only(&self, expected: &[(&str, [i64; 4])]) {
        for (row, pages) in expected {
            assert_eq!(self.pages(row), *pages, "row {row}; {}", self.list());
        }
        for row in self.after.keys() {
            if !expected.iter().any(|(name, _)| name == row) {
                assert_eq!(self.pages(row), [0; 4], "row {row} must not move; {}", self.list());
            }
        }
    }

    /// Rows that moved, for a failure's message.
    pub fn list(&self) -> String {
        let mut list = String::from("moved:");
        for row in self.after.keys() {
            let pages = self.pages(row);
            if pages != [0; 4] {
                let _ = write!(list, " {row} {pages:?}");
            }
        }
        list
    }
}

/// Pages of one member.
pub fn one(member: usize, pages: i64) -> [i64; 4] {
    let mut all = [0; 4];
    all[member] = pages;
    all
}

pub fn anon(pages: i64) -> [i64; 4] {
    one(ANON, pages)
}
