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
    ledger::{Names, Reading, Row, check, check_ended, rows},
    model::CallName,
    observe::{Sampler, Smaps},
    probe::{EpochEvent, Options, Session},
};
use memtrace_common::layout::EpochEnd;

use crate::storm::Known;

/// Set where the kernel tests must run: then what would be skipped fails.
pub const REQUIRE: &str = "MEMTRACE_REQUIRE_KERNEL";

pub const FILE: usize = 0;
pub const ANON: usize = 1;
pub const SWAP: usize = 2;
pub const SHMEM: usize = 3;

/// How long something that happens by itself (a kernel thread's round, the end of a process) is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let result = unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
        assert_eq!(result, 0);
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
    pub fn warm_up(&mut self) {
        for command in [
            "map z 8",
            "write z 0 8",
            "where z",
            "pin 1",
            "pin 0",
            "drain",
            "mlock z 0 2",
            "madvise z 0 4 24",
            "map_nothing",
            "unmap_unaligned z 0 1",
            "remap_unaligned z",
            "exec_missing",
            "read z 0 8",
            "madvise z 0 4 4",
            "process_madvise z 0 4 4",
            "zero_into z 0 4",
            "fixed z 0 4",
            "remap z 4",
            "remap z 8 move",
            "fork z 0 8",
            "reap",
            "share",
            "reap",
            "vfork_write z 0 1",
            "spawn",
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

    /// Waits for the answer to what it was told.
    pub fn answer(&mut self) -> Option<i64> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().ok()
    }

    /// Runs a command that must succeed; its result.
    pub fn ok(&mut self, command: &str) -> i64 {
        let result = self.run(command);
        assert!(result >= 0, "`{command}` failed with errno {}", -result);
        self.settle();
        result
    }

    /// Waits until the workload is back in `read`: the answer is written before the command's last page has come to rest.
    pub fn settle(&self) {
        let pid = self.pid();
        let end = Instant::now() + PATIENCE;
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

    /// Threads that it has now.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid()))
            .unwrap()
            .count()
    }

    /// Whether it has a child now.
    pub fn has_child(&self) -> bool {
        let pid = self.pid();
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .is_ok_and(|children| !children.is_empty())
    }

    /// What the workload wrote beside its answer: the totals of a storm.
    pub fn known(&mut self) -> Known {
        let mut bytes = [0; 32];
        self.side.read_exact(&mut bytes).unwrap();
        let word =
            |index: usize| u64::from_ne_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap());
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
    pub tracer: Tracer,
}

impl Traced {
    pub fn start() -> Self {
        Self::attach(Workload::start())
    }

    pub fn attach(workload: Workload) -> Self {
        Self::attach_with(workload, Options::new(0))
    }

    /// Attaches in the way that `options` say, to this workload.
    pub fn attach_with(workload: Workload, options: Options) -> Self {
        let options = Options {
            tgid: workload.pid(),
            ..options
        };
        Self {
            tracer: Tracer::attach_with(&options),
            workload,
        }
    }

    pub fn page(&self) -> i64 {
        self.tracer.page
    }

    /// Bytes of so many pages.
    pub fn bytes(&self, pages: u64) -> u64 {
        pages * self.tracer.page as u64
    }

    pub fn read(&self) -> Reading {
        self.tracer.read()
    }

    pub fn verify(&mut self) -> Smaps {
        self.tracer.verify()
    }

    /// Number of the current epoch.
    pub fn session_epoch(&self) -> u32 {
        self.tracer.session.epoch().unwrap()
    }

    /// Tells the workload something that is not part of the measurement.
    pub fn ok(&mut self, command: &str) -> i64 {
        self.workload.ok(command)
    }

    /// What a command moved.
    pub fn measure(&mut self, command: &str) -> Moved {
        self.measure_with(|traced| {
            traced.workload.ok(command);
        })
    }

    /// What a command moved that must fail with `errno`.
    pub fn measure_failing(&mut self, command: &str, errno: i32) -> Moved {
        self.measure_with(|traced| {
            let result = traced.workload.run(command);
            assert_eq!(result, -i64::from(errno), "`{command}`");
        })
    }

    /// What happened while `work` ran, with the ledger held against the kernel's own figures at the end.
    pub fn measure_with(&mut self, work: impl FnOnce(&mut Self)) -> Moved {
        let before = self.tracer.snapshot();
        work(self);
        self.workload.settle();
        self.tracer.moved_since(before)
    }

    /// What a command counted, without a ledger to be held against anything.
    pub fn count(&mut self, command: &str) -> Moved {
        self.count_with(|traced| {
            traced.workload.ok(command);
        })
    }

    /// What was counted while `work` ran.
    pub fn count_with(&mut self, work: impl FnOnce(&mut Self)) -> Moved {
        let before = self.tracer.snapshot();
        work(self);
        self.workload.settle();
        let after = self.tracer.snapshot();
        assert_eq!(
            after.reading.losses.total(),
            0,
            "{:?}",
            after.reading.losses
        );
        Moved::between(before, after, None)
    }

    /// Waits until the ledger shows what a kernel thread does in its own time.
    pub fn wait_until(&self, what: &str, done: impl Fn(&BTreeMap<String, Row>) -> bool) {
        wait_for(what, || {
            let rows = self.tracer.rows(&self.read());
            done(&rows).then_some(())
        });
    }
}

/// Waits until `look` finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One session, and what it is held against.
pub struct Tracer {
    pub session: Session,
    pub sampler: Sampler,
    page: i64,
}

/// The ledger at one moment.
pub struct Snapshot {
    pub reading: Reading,
    rows: BTreeMap<String, Row>,
}

impl Tracer {
    pub fn attach(pid: u32) -> Self {
        Self::attach_with(&Options::new(pid))
    }

    pub fn attach_with(options: &Options) -> Self {
        let session = Session::attach(options).unwrap();
        Self {
            sampler: Sampler::open(options.tgid).unwrap(),
            page: session.host().page_size as i64,
            session,
        }
    }

    /// Reads the current epoch.
    pub fn read(&self) -> Reading {
        let epoch = self.session.epoch().unwrap();
        self.session.read(epoch).unwrap()
    }

    pub fn snapshot(&self) -> Snapshot {
        let reading = self.read();
        Snapshot {
            rows: self.rows(&reading),
            reading,
        }
    }

    /// What moved since then, with the ledger held against the kernel's own figures.
    pub fn moved_since(&mut self, before: Snapshot) -> Moved {
        let smaps = self.verify();
        let after = self.snapshot();
        assert_eq!(
            before.reading.epoch, after.reading.epoch,
            "the epoch has changed"
        );
        Moved::between(before, after, Some(smaps))
    }

    /// The ledger against `statm` and `smaps_rollup`, at rest: unexplained must be 0 pages, exactly.
    pub fn verify(&mut self) -> Smaps {
        let before = self.read();
        let statm = self.sampler.statm().expect("statm");
        let smaps = self.sampler.smaps().expect("smaps_rollup");
        let after = self.read();
        assert_eq!(
            before.events, after.events,
            "the workload does not stand still"
        );
        let by_smaps = check(&before, smaps.rss as i64 / self.page, &after);
        assert_eq!(
            by_smaps.unexplained, 0,
            "pages unexplained against smaps_rollup; {before:?}"
        );
        assert_eq!(
            before.now()[SWAP],
            smaps.swap as i64 / self.page,
            "swap entries against smaps_rollup"
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
            hooked: &CallName::ALL.map(CallName::name),
        };
        rows(reading, &names)
            .into_iter()
            .map(|row| (label(&row), row))
            .collect()
    }

    /// Waits for the end of an epoch.
    pub fn next_end(&mut self) -> EpochEvent {
        let event = wait_for("the end of an epoch", || self.session.next_event());
        if event.end == EpochEnd::Exec {
            // What was opened of the old program still tells of its memory.
            self.sampler.renew();
        }
        event
    }

    /// What moved since then in an epoch that has ended, with the ledger held against the kernel's counters at its end.
    pub fn moved_until_end(&mut self, before: Snapshot) -> (Moved, Reading) {
        let reading = self.session.read(before.reading.epoch).unwrap();
        let checked = check_ended(&reading).expect("an epoch that has ended");
        assert_eq!(
            checked.unexplained, 0,
            "pages unexplained at the end; {reading:?}"
        );
        assert_eq!(reading.losses.total(), 0, "{:?}", reading.losses);
        let after = Snapshot {
            rows: self.rows(&reading),
            reading: reading.clone(),
        };
        (Moved::between(before, after, None), reading)
    }
}

/// Since 6.16 statm sums the per-CPU parts; from 6.2 on it reads the shared part alone; before, there was nothing else.
fn statm_is_exact() -> bool {
    let release = kernel_release();
    !((6, 2)..(6, 16)).contains(&release)
}

/// The running kernel's version.
pub fn kernel_release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0u32));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// A row's name in these tests: `madvise MADV_FREE`, `reclaim kswapd0`, `fault`.
fn label(row: &Row) -> String {
    let mut label = row.cause.name().to_owned();
    for part in [&row.advice, &row.task].into_iter().flatten() {
        let _ = write!(label, " {part}");
    }
    label
}

/// Whether a row goes by this name, or is one of those that `CAUSE *` stands for.
fn matches(name: &str, row: &str) -> bool {
    match name.strip_suffix(" *") {
        Some(cause) => row.split(' ').next() == Some(cause),
        None => row == name,
    }
}

/// What moved between two moments.
pub struct Moved {
    before: BTreeMap<String, Row>,
    after: BTreeMap<String, Row>,
    /// User faults, by reading and writing.
    pub faults: u64,
    /// Kernel faults.
    pub kernel_faults: u64,
    /// RSS events that were counted.
    pub events: u64,
    /// Child processes forked.
    pub forks: u64,
    smaps: Option<Smaps>,
}

/// What a row's calls did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CallsMoved {
    pub calls: u64,
    pub failed: u64,
    pub requested: u64,
    pub failed_requested: u64,
    pub shrunk: u64,
}

impl CallsMoved {
    /// Calls that all succeeded.
    pub fn done(calls: u64, requested: u64) -> Self {
        Self {
            calls,
            requested,
            ..Self::default()
        }
    }

    /// Calls that all failed.
    pub fn failed(calls: u64, requested: u64) -> Self {
        Self {
            calls,
            failed: calls,
            failed_requested: requested,
            ..Self::default()
        }
    }
}

impl Moved {
    fn between(before: Snapshot, after: Snapshot, smaps: Option<Smaps>) -> Self {
        let user = |reading: &Reading| reading.faults.user_read + reading.faults.user_write;
        let kernel = |reading: &Reading| reading.faults.kernel_read + reading.faults.kernel_write;
        Self {
            faults: user(&after.reading) - user(&before.reading),
            kernel_faults: kernel(&after.reading) - kernel(&before.reading),
            events: after.reading.events - before.reading.events,
            forks: after.reading.forks - before.reading.forks,
            before: before.rows,
            after: after.rows,
            smaps,
        }
    }

    /// `smaps_rollup` afterwards.
    #[track_caller]
    pub fn smaps(&self) -> Smaps {
        self.smaps.expect("a process that has not ended")
    }

    /// Pages of one row: file, anon, swap, shmem. `reclaim *` stands for every row of that cause, whatever the task.
    pub fn pages(&self, row: &str) -> [i64; 4] {
        let mut sum = [0; 4];
        for name in self.after.keys().filter(|name| matches(row, name)) {
            let before = self.before.get(name).map_or([0; 4], |row| row.pages);
            for (member, sum) in sum.iter_mut().enumerate() {
                *sum += self.after[name].pages[member] - before[member];
            }
        }
        sum
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
            failed_requested: after.failed_requested - before.failed_requested,
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
            if !expected.iter().any(|(name, _)| matches(name, row)) {
                assert_eq!(
                    self.pages(row),
                    [0; 4],
                    "row {row} must not move; {}",
                    self.list()
                );
            }
        }
    }

    /// Asserts that one row brought these pages, without a fault of the process's own code. Before 6.2 a thread keeps the
    /// pages of up to 65 faults to itself, and what a call leaves there goes by the name of `fault` later.
    #[track_caller]
    pub fn only_brought(&self, row: &str, pages: [i64; 4]) {
        if kernel_release() >= (6, 2) {
            self.only(&[(row, pages)]);
            return;
        }
        let late = self.pages("fault");
        assert!(
            late.iter().all(|pages| (0..=65).contains(pages)),
            "{}",
            self.list()
        );
        let own = std::array::from_fn(|member| pages[member] - late[member]);
        self.only(&[(row, own), ("fault", late)]);
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
