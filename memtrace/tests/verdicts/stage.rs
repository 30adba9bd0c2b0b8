//! Where a case is played: memtrace, attached to the program, and the folder in which its capture stays.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use memtrace::model::{Capture, Cause, CauseRow};

use crate::{
    common::{check_capture, memtrace},
    interrupt,
    program::Program,
    tracing::{Ended, Tracing, wait_for},
};

/// What every capture is made with. Where the host is busy with other things, one reading of `smaps_rollup` may seem to take so long that
/// by default there would be no other.
const OPTIONS: [&str; 4] = ["--interval", "250ms", "--smaps-limit", "10s"];
pub const MIB: i64 = 1 << 20;

/// Where cargo puts what it builds: this binary lies two folders below it.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).expect("three folders").to_owned()
}

/// Where captures stay.
pub fn captures_dir() -> PathBuf {
    target_dir().join("verdicts")
}

/// Where programs are built.
pub fn build_dir() -> PathBuf {
    captures_dir().join("build")
}

/// Makes something, and gives it to who owns the target directory.
pub fn owned<T>(path: &Path, make: impl FnOnce(&Path) -> io::Result<T>) {
    let made = make(path);
    made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let owner = fs::metadata(target_dir()).unwrap();
    // With the folders above that were made on the way.
    for path in path.ancestors().take_while(|path| **path != target_dir()) {
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

/// A field of a process's `smaps_rollup`, in bytes: what a case waits for.
pub fn rollup(pid: u32, field: &str) -> i64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mut fields = smaps.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| *name == field).unwrap();
    value.trim().trim_end_matches(" kB").parse::<i64>().unwrap() << 10
}

/// The stage of one case.
pub struct Stage {
    pub name: &'static str,
}

impl Stage {
    /// Attaches memtrace to a program.
    pub fn trace(&self, program: &Program) -> Traced {
        self.trace_pid(program.pid(), &[])
    }

    /// Attaches memtrace to a process, with further options.
    pub fn trace_pid(&self, pid: u32, options: &[&str]) -> Traced {
        let options = [&OPTIONS, options].concat();
        Traced {
            name: self.name,
            tracing: Tracing::attach(pid, &options),
            code: 0,
        }
    }

    /// Has memtrace start this test binary with this argument.
    pub fn trace_own(&self, argument: &str) -> Traced {
        let exe = std::env::current_exe().unwrap();
        let mut line = memtrace();
        line.args(OPTIONS);
        let program = ["--".as_ref(), exe.as_os_str(), argument.as_ref()];
        let mut tracing = Tracing::run_with(line, &program);
        tracing.wait_attached();
        Traced {
            name: self.name,
            tracing,
            // The program's own: the signal that ends the capture ends it too.
            code: 128 + libc::SIGTERM,
        }
    }
}

/// A memtrace that is attached.
pub struct Traced {
    name: &'static str,
    tracing: Tracing,
    /// What memtrace's exit code is to be.
    code: i32,
}

impl Traced {
    /// Waits for so many further ticks.
    #[track_caller]
    pub fn ticks(&self, count: usize) {
        let goal = self.tracing.lines() + count;
        wait_for("ticks", || {
            // The case ends here, and puts everything back on its way out.
            assert!(!interrupt::came(), "interrupted");
            (self.tracing.lines() >= goal).then_some(())
        });
    }

    /// Ends the capture, and keeps it.
    #[track_caller]
    pub fn stop(self) -> Shown {
        Shown::keep(self.name, self.tracing.stop(), self.code)
    }

    /// Waits for the capture's end, and keeps it.
    #[track_caller]
    pub fn end(self) -> Shown {
        Shown::keep(self.name, self.tracing.end(), self.code)
    }
}

/// What memtrace showed.
pub struct Shown {
    pub capture: Capture,
}

impl Shown {
    #[track_caller]
    fn keep(name: &str, ended: Ended, code: i32) -> Self {
        owned(&captures_dir(), |dir| fs::create_dir_all(dir));
        let text = serde_json::to_string_pretty(&ended.capture).unwrap();
        let file = |suffix: &str| captures_dir().join(format!("{name}.{suffix}"));
        owned(&file("json"), |file| fs::write(file, &text));
        owned(&file("txt"), |file| fs::write(file, &ended.report));
        assert!(
            ended.capture.is_object(),
            "no capture: {}\n{}",
            ended.error,
            ended.report
        );
        assert!(!ended.error.contains("panicked"), "{}", ended.error);
        check_capture(&ended.capture);
        assert_eq!(ended.status.code(), Some(code), "{}", ended.error);
        let capture = memtrace::timeline::read(text.as_bytes());
        Self {
            capture: capture.expect("what memtrace wrote can be read"),
        }
    }

    /// Rows of one cause, and advice.
    fn rows<'a>(
        &'a self,
        cause: Cause,
        advice: Option<&'a str>,
    ) -> impl Iterator<Item = &'a CauseRow> {
        let rows = self.capture.epoch.summary.causes.iter();
        rows.filter(move |row| {
            row.cause == cause && row.advice.as_ref().map(|it| it.raw()) == advice
        })
    }

    /// What a cause did, all its tasks together.
    pub fn moved(&self, cause: Cause) -> Moved {
        Moved::sum(self.rows(cause, None))
    }

    /// What an advice did.
    pub fn advised(&self, advice: &str) -> Moved {
        Moved::sum(self.rows(Cause::Madvise, Some(advice)))
    }

    /// `LazyFree` at the end.
    #[track_caller]
    pub fn lazyfree(&self) -> i64 {
        let bytes = self.capture.epoch.summary.lazyfree_bytes;
        bytes.expect("LazyFree was read").cast_signed()
    }

    pub fn rss_start(&self) -> i64 {
        self.capture.epoch.summary.rss_start_bytes
    }

    pub fn rss_end(&self) -> i64 {
        self.capture.epoch.summary.rss_end_bytes
    }

    pub fn rss_highest(&self) -> i64 {
        self.capture.epoch.summary.rss_highest_seen_bytes
    }
}

/// What some rows of the ledger did, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    pub calls: i64,
    pub requested: i64,
    pub rss: i64,
    pub anon: i64,
    pub file: i64,
    pub shmem: i64,
    pub swap: i64,
}

impl Moved {
    fn sum<'a>(rows: impl Iterator<Item = &'a CauseRow>) -> Self {
        let mut sum = Self::default();
        for row in rows {
            sum.calls += row.calls.unwrap_or(0).cast_signed();
            sum.requested += row.requested_bytes.unwrap_or(0).cast_signed();
            let kind = row.by_kind.expect("exact");
            sum.rss += kind.rss_bytes();
            sum.anon += kind.anon_bytes;
            sum.file += kind.file_bytes;
            sum.shmem += kind.shmem_bytes;
            sum.swap += kind.swap_bytes;
        }
        sum
    }
}
