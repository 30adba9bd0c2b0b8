//! What is attached while the workloads run: memtrace, empty programs on its hooks, and the tools that people use today.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    names::{
        CONTROL, EQUIVALENT, FLOOR, MEMTRACE, NOTHING, PERF_RECORD, PERF_STAT, PERF_TRACE, STRACE,
        SUMS,
    },
    report::Condition,
};

/// Longer than any of them needs to attach, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// perf, strace and bpftrace do not say when they have attached.
const SETTLE: Duration = Duration::from_millis(1500);

/// What memtrace's columns need, as sums in the kernel: of each call the number, the bytes, the failures and the time.
const SAME_COLUMNS: &str = "\
tracepoint:exceptions:page_fault_user /pid == PID/ { @faults_user = count(); }
tracepoint:exceptions:page_fault_kernel /pid == PID/ { @faults_kernel = count(); }
tracepoint:syscalls:sys_enter_madvise /pid == PID/ { @t[tid] = nsecs; @len[tid] = args->len_in; @adv[tid] = args->behavior; }
tracepoint:syscalls:sys_exit_madvise /@t[tid]/ { @calls[@adv[tid]] = count(); if (args->ret < 0) { @failed[args->ret] = count(); } else { @bytes[@adv[tid]] = sum(@len[tid]); } @ns[@adv[tid]] = sum(nsecs - @t[tid]); delete(@t[tid]); }
tracepoint:syscalls:sys_enter_mmap /pid == PID/ { @t[tid] = nsecs; @len[tid] = args->len; }
tracepoint:syscalls:sys_exit_mmap /@t[tid]/ { @mmap = count(); if (args->ret < 0) { @failed[args->ret] = count(); } else { @mmap_bytes = sum(@len[tid]); } @mmap_ns = sum(nsecs - @t[tid]); delete(@t[tid]); }
tracepoint:syscalls:sys_enter_munmap /pid == PID/ { @t[tid] = nsecs; @len[tid] = args->len; }
tracepoint:syscalls:sys_exit_munmap /@t[tid]/ { @munmap = count(); if (args->ret < 0) { @failed[args->ret] = count(); } else { @munmap_bytes = sum(@len[tid]); } @munmap_ns = sum(nsecs - @t[tid]); delete(@t[tid]); }
tracepoint:syscalls:sys_enter_brk /pid == PID/ { @t[tid] = nsecs; @len[tid] = args->brk; }
tracepoint:syscalls:sys_exit_brk /@t[tid]/ { @brk = count(); @brk_ns = sum(nsecs - @t[tid]); delete(@t[tid]); }
tracepoint:syscalls:sys_enter_mremap /pid == PID/ { @t[tid] = nsecs; @len[tid] = args->new_len; }
tracepoint:syscalls:sys_exit_mremap /@t[tid]/ { @mremap = count(); @mremap_ns = sum(nsecs - @t[tid]); delete(@t[tid]); }
";

/// The least that is of use: bytes asked for by advice, by mmap and munmap, and the number of faults.
const ENTRIES: &str = "\
tracepoint:exceptions:page_fault_user /pid == PID/ { @faults = count(); }
tracepoint:syscalls:sys_enter_madvise /pid == PID/ { @bytes[args->behavior] = sum(args->len_in); }
tracepoint:syscalls:sys_enter_mmap /pid == PID/ { @mmap = sum(args->len); }
tracepoint:syscalls:sys_enter_munmap /pid == PID/ { @munmap = sum(args->len); }
tracepoint:syscalls:sys_enter_brk /pid == PID/ { @brk = count(); }
tracepoint:syscalls:sys_enter_mremap /pid == PID/ { @mremap = sum(args->new_len); }
";

/// The events of perf record and perf stat: what memtrace hooks.
const EVENTS: &str = "kmem:rss_stat,exceptions:page_fault_user,syscalls:sys_enter_madvise,syscalls:sys_enter_mmap,\
syscalls:sys_enter_munmap,syscalls:sys_enter_brk,syscalls:sys_enter_mremap,syscalls:sys_enter_process_madvise,\
syscalls:sys_exit_madvise,syscalls:sys_exit_mmap,syscalls:sys_exit_munmap,syscalls:sys_exit_brk,syscalls:sys_exit_mremap,\
syscalls:sys_exit_process_madvise";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Floor,
    Memtrace,
    Also,
    Bpftrace,
    PerfTrace,
    PerfRecord,
    PerfStat,
    Strace,
}

/// A condition, and how to bring it about.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: &'static str,
    kind: Kind,
    args: &'static [&'static str],
    note: &'static str,
}

const fn tool(
    name: &'static str,
    kind: Kind,
    args: &'static [&'static str],
    note: &'static str,
) -> Tool {
    Tool {
        name,
        kind,
        args,
        note,
    }
}

/// All of them, in the order in which they take turns.
pub const TOOLS: [Tool; 17] = [
    tool(
        NOTHING,
        Kind::Nothing,
        &[],
        "what all others are compared with",
    ),
    tool(
        FLOOR,
        Kind::Floor,
        &[],
        "on the same hooks as memtrace: no tool can cost less there",
    ),
    tool(MEMTRACE, Kind::Memtrace, &[], "as it comes"),
    tool(
        "empty, no syscalls",
        Kind::Floor,
        &["--no-syscalls"],
        "as above, without the hooks of system calls",
    ),
    tool(
        "memtrace, the other one",
        Kind::Also,
        &[],
        "another program, as it comes",
    ),
    tool(
        "memtrace --no-syscalls",
        Kind::Memtrace,
        &["--no-syscalls"],
        "without calls and requested bytes",
    ),
    tool(
        "memtrace --no-faults",
        Kind::Memtrace,
        &["--no-faults"],
        "without counts of faults",
    ),
    tool(
        "memtrace, ledger alone",
        Kind::Memtrace,
        &["--no-syscalls", "--no-faults"],
        "nothing but bytes by cause",
    ),
    tool(
        "memtrace, approximate",
        Kind::Memtrace,
        &["--mode", "approximate"],
        "as on kernels that allow no ledger",
    ),
    tool(
        CONTROL,
        Kind::Nothing,
        &[],
        "how far two equal conditions differ",
    ),
    tool(
        EQUIVALENT,
        Kind::Bpftrace,
        &[SAME_COLUMNS],
        "calls, bytes, failures and time of each call, and faults; no ledger",
    ),
    tool(
        SUMS,
        Kind::Bpftrace,
        &[ENTRIES],
        "bytes by call and advice at entry, and faults; no ledger",
    ),
    tool(
        "empty, raw tracepoints",
        Kind::Floor,
        &["--raw"],
        "a way that memtrace does not take: sys_enter and sys_exit of all system calls",
    ),
    tool(
        PERF_STAT,
        Kind::PerfStat,
        &[],
        "numbers of events; no bytes",
    ),
    tool(PERF_RECORD, Kind::PerfRecord, &[], "each event into a file"),
    tool(
        PERF_TRACE,
        Kind::PerfTrace,
        &[],
        "a line per call and fault",
    ),
    tool(
        STRACE,
        Kind::Strace,
        &[],
        "numbers and times of memory calls; no faults",
    ),
];

impl Tool {
    /// Whether it is asked for: the other memtrace only where there is one.
    pub fn is_there(&self, place: &Place) -> bool {
        self.kind != Kind::Also || place.also.is_some()
    }

    /// What is told of it in the report.
    pub fn condition(&self, place: &Place) -> Condition {
        let command = match self.kind {
            Kind::Nothing => String::new(),
            Kind::Floor => "(empty eBPF programs)".to_owned(),
            _ => {
                let command = self.command(place, 0);
                let words: Vec<_> = std::iter::once(
                    Path::new(command.get_program())
                        .file_name()
                        .unwrap_or_default(),
                )
                .chain(command.get_args())
                .map(|word| word.to_string_lossy().into_owned())
                .filter(|word| !word.contains(&*place.folder.to_string_lossy()))
                .collect();
                words.join(" ").replace(" -o", "").replace(" 0 ", " PID ")
            }
        };
        Condition {
            name: self.name.to_owned(),
            command,
            note: self.note.to_owned(),
            missing: self.missing(),
        }
    }

    /// What to do where it is not installed.
    fn missing(&self) -> Option<String> {
        let (program, package) = match self.kind {
            Kind::Bpftrace => ("bpftrace", "bpftrace"),
            Kind::PerfStat | Kind::PerfRecord | Kind::PerfTrace => ("perf", "linux-perf"),
            Kind::Strace => ("strace", "strace"),
            Kind::Nothing | Kind::Floor | Kind::Memtrace | Kind::Also => return None,
        };
        let there = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        });
        (!there)
            .then(|| format!("{program} is not installed; type: sudo apt-get install {package}"))
    }

    fn command(&self, place: &Place, pid: u32) -> Command {
        let pid = pid.to_string();
        let out = place.folder.join("out");
        let program = match self.kind {
            Kind::Floor => place.bench.as_path(),
            Kind::Memtrace | Kind::Nothing => place.memtrace.as_path(),
            Kind::Also => place.also.as_deref().unwrap_or(&place.memtrace),
            Kind::Bpftrace => Path::new("bpftrace"),
            Kind::PerfStat | Kind::PerfRecord | Kind::PerfTrace => Path::new("perf"),
            Kind::Strace => Path::new("strace"),
        };
        let mut command = Command::new(program);
        match self.kind {
            Kind::Nothing => {}
            Kind::Floor => {
                command.args(["floor", &pid]).args(self.args);
            }
            Kind::Memtrace | Kind::Also => {
                command.args(["--pid", &pid]).args(self.args);
            }
            Kind::Bpftrace => {
                let script = self.args.concat().replace("PID", &pid);
                command
                    .args(["-B", "none", "-e", &script])
                    .arg("-o")
                    .arg(out);
            }
            Kind::PerfStat => {
                command
                    .args(["stat", "-e", EVENTS, "-p", &pid])
                    .arg("-o")
                    .arg(out);
            }
            Kind::PerfRecord => {
                command
                    .args(["record", "-e", EVENTS, "-p", &pid])
                    .arg("-o")
                    .arg(out);
            }
            Kind::PerfTrace => {
                command
                    .args([
                        "trace",
                        "-F",
                        "all",
                        "-e",
                        "mmap,munmap,mremap,brk,madvise,process_madvise",
                        "-p",
                        &pid,
                    ])
                    .arg("-o")
                    .arg(out);
            }
            Kind::Strace => {
                command
                    .args([
                        "-c",
                        "-f",
                        "-e",
                        "trace=mmap,munmap,mremap,brk,madvise,process_madvise",
                        "-p",
                        &pid,
                    ])
                    .arg("-o")
                    .arg(out);
            }
        }
        command
    }

    /// Attaches it to a process, and comes back once it is attached.
    pub fn attach(&self, place: &Place, pid: u32) -> Result<Running> {
        let mut running = Running {
            child: None,
            reader: None,
            out: None,
        };
        let lines = match self.kind {
            Kind::Nothing => return Ok(running),
            Kind::Floor | Kind::Memtrace | Kind::Also => Stdio::piped(),
            _ => {
                running.out = Some(place.folder.join("out"));
                Stdio::null()
            }
        };
        let child = self
            .command(place, pid)
            .stdin(Stdio::null())
            .stdout(lines)
            .stderr(File::create(place.folder.join("errors"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let child = running.child.insert(child);
        let mut is_running = || match child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}: {}", place.errors()),
        };
        if self.kind == Kind::Bpftrace {
            // It has compiled its script, and begins to attach.
            until("bpftrace attaches", || {
                is_running()?;
                let text = std::fs::read_to_string(place.folder.join("out"));
                Ok(text.is_ok_and(|text| text.contains("Attaching")))
            })?;
        }
        if running.out.is_some() {
            thread::sleep(SETTLE);
            is_running()?;
            return Ok(running);
        }
        let mut reader = BufReader::new(child.stdout.take().context("a pipe that was asked for")?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        ensure!(!line.is_empty(), "it ended: {}", place.errors());
        running.reader = Some(reader);
        Ok(running)
    }
}

/// The programs, and a folder for what the tools write.
#[derive(Debug)]
pub struct Place {
    pub memtrace: PathBuf,
    /// Another one to compare with.
    pub also: Option<PathBuf>,
    pub bench: PathBuf,
    pub folder: PathBuf,
}

impl Place {
    fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("errors")).unwrap_or_default();
        text.trim()
            .lines()
            .last()
            .unwrap_or("it says nothing")
            .to_owned()
    }
}

/// A tool that is attached.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    reader: Option<BufReader<std::process::ChildStdout>>,
    out: Option<PathBuf>,
}

impl Running {
    /// Ends it as Ctrl-C would, and waits for that.
    pub fn detach(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let reader = self.reader.take();
        // What it prints must not fill the pipe while it ends.
        let drained = thread::spawn(move || {
            if let Some(mut reader) = reader {
                let _ = reader.read_to_end(&mut Vec::new());
            }
        });
        interrupt(&child)?;
        let ended = until("the tool ends", || Ok(child.try_wait()?.is_some()));
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = drained.join();
        ended?;
        if let Some(out) = &self.out {
            let bytes = std::fs::metadata(out).map_or(0, |file| file.len());
            let _ = std::fs::remove_file(out);
            // More than the headline of bpftrace.
            ensure!(bytes > 50, "the tool has written nothing");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends SIGINT.
pub fn interrupt(child: &Child) -> Result<()> {
    let pid = i32::try_from(child.id()).context("a process id out of range")?;
    kill(Pid::from_raw(pid), Signal::SIGINT).context("cannot end a tool")
}

fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !done()? {
        ensure!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
