//! What memtrace itself takes: time, memory, and bytes of its captures.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    report::{CaptureSize, Own, PauseSample, Report, Startup},
    rounds::last_cpu,
    tools::{Place, interrupt},
    worker::Worker,
};

const GIB: u64 = 1 << 30;
const SIZES: [u64; 3] = [GIB, 10 * GIB, 20 * GIB];
const THREADS: [usize; 3] = [1, 8, 64];
/// How long a reading of smaps_rollup takes about, for each GiB of small pages.
const SMAPS_PER_GIB: Duration = Duration::from_micros(8_500);
/// What is left to everybody else.
const SPARE: u64 = GIB;

/// How thorough to be.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub starts: usize,
    pub second_ticks: u32,
    pub short_ticks: u32,
    pub pause_rounds: u32,
    pub pause_millis: u32,
    pub largest: u64,
}

impl Effort {
    pub const WHOLE: Self = Self {
        starts: 10,
        second_ticks: 20,
        short_ticks: 600,
        pause_rounds: 2,
        pause_millis: 15_000,
        largest: 20 * GIB,
    };
    /// Ticks of a second in which smaps_rollup is read once: it may take a thousandth of the time. Shorter ones would show none of it, or
    /// too much.
    fn period(self, interval: Duration, bytes: u64) -> u32 {
        if interval < Duration::from_secs(1) || self.largest == Self::QUICK.largest {
            return 0;
        }
        let seconds = (SMAPS_PER_GIB * gib(bytes) * 1001).as_secs();
        u32::try_from(seconds).unwrap_or(0)
    }

    pub const QUICK: Self = Self {
        starts: 2,
        second_ticks: 1,
        short_ticks: 50,
        pause_rounds: 1,
        pause_millis: 500,
        largest: GIB,
    };
}

fn gib(bytes: u64) -> u32 {
    u32::try_from(bytes / GIB).unwrap_or(0)
}

/// Times of starting and ending.
pub fn startup(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    let worker = Worker::start(&place.bench, None)?;
    for _ in 0..effort.starts {
        let begun = Instant::now();
        let mut memtrace = Memtrace::start(place, worker.pid(), &["-i", "1h"])?;
        let attached = begun.elapsed();
        let begun = Instant::now();
        let (reported, gone) = memtrace.stop(begun)?;
        report.startup.push(Startup {
            attached_ns: ns(attached),
            reported_ns: ns(reported),
            gone_ns: ns(gone),
        });
    }
    Ok(())
}

/// CPU time and memory while nothing but ticks happens to memtrace.
pub fn ticks(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    let mut targets: Vec<(u64, usize)> = THREADS.map(|threads| (0, threads)).to_vec();
    targets.extend(SIZES.map(|bytes| (bytes, 0)));
    let intervals = [
        ("1s", Duration::from_secs(1), effort.second_ticks),
        ("10ms", Duration::from_millis(10), effort.short_ticks),
    ];
    for (bytes, threads) in targets {
        if bytes > effort.largest {
            continue;
        }
        if bytes + SPARE > available()? {
            eprintln!(
                "\r\x1b[Kno target of {} GiB: this host has not the memory to spare",
                bytes / GIB
            );
            continue;
        }
        eprint!(
            "\r\x1b[Kmemtrace's own: {} GiB, {threads} busy threads",
            bytes / GIB
        );
        let mut worker = Worker::start(&place.bench, None)?;
        if bytes > 0 {
            worker.ask::<bool>(&format!("hold {bytes}"))?;
        }
        if threads > 0 {
            worker.ask::<bool>(&format!("storm {threads}"))?;
        }
        for (name, interval, ticks) in intervals {
            let mut memtrace = Memtrace::start(place, worker.pid(), &["-i", name])?;
            // What it does at its start is not a tick, nor is the first reading of smaps_rollup, which comes with the first one.
            thread::sleep(Duration::from_millis(300) + interval + SMAPS_PER_GIB * gib(bytes));
            let ticks = ticks.max(effort.period(interval, bytes));
            let begun = Instant::now();
            let before = memtrace.cpu_ns()?;
            thread::sleep(interval * ticks);
            let cpu_ns = memtrace.cpu_ns()?.saturating_sub(before);
            let wall_ns = ns(begun.elapsed());
            let (rss_bytes, rss_peak_bytes) = memtrace.resident()?;
            memtrace.stop(Instant::now())?;
            report.own.push(Own {
                target_rss_bytes: resident(worker.pid())?,
                target_threads: threads.max(1),
                busy: threads > 0,
                interval_ns: ns(interval),
                wall_ns,
                cpu_ns,
                rss_bytes,
                rss_peak_bytes,
            });
        }
    }
    eprint!("\r\x1b[K");
    Ok(())
}

/// How large captures get.
pub fn sizes(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    for busy in [false, true] {
        let mut worker = Worker::start(&place.bench, None)?;
        if busy {
            worker.ask::<bool>("storm 4")?;
        }
        let file = place.folder.join("capture.json");
        let path = file.to_string_lossy();
        let mut memtrace = Memtrace::start(place, worker.pid(), &["-i", "10ms", "--json", &path])?;
        thread::sleep(Duration::from_millis(10) * effort.short_ticks);
        memtrace.stop(Instant::now())?;
        let text = fs::read(&file).context("memtrace wrote no capture")?;
        let capture: Value = serde_json::from_slice(&text)?;
        let timeline = capture["timeline"]
            .as_array()
            .context("a capture without a timeline")?;
        report.size.push(CaptureSize {
            busy,
            ticks: timeline.len() as u64,
            timeline_bytes: serde_json::to_vec(timeline)?.len() as u64,
            file_bytes: text.len() as u64,
        });
        fs::remove_file(&file)?;
    }
    Ok(())
}

/// The conditions under which pauses are measured.
const PAUSES: [(&str, Option<&[&str]>); 4] = [
    ("nothing", None),
    ("memtrace", Some(&[])),
    ("memtrace, every 10ms", Some(&["-i", "10ms"])),
    ("memtrace --no-smaps", Some(&["--no-smaps"])),
];

/// What a large target notices of the reading of LazyFree.
pub fn pauses(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    let room = available()?.saturating_sub(SPARE);
    let bytes = effort.largest.min(10 * GIB).min(room / GIB * GIB);
    ensure!(bytes >= GIB, "no memory to spare for a target of 1 GiB");
    let mut worker = Worker::start(&place.bench, Some(last_cpu()))?;
    worker.ask::<bool>(&format!("hold {bytes}"))?;
    report.pauses_rss_bytes = resident(worker.pid())?;
    for round in 0..effort.pause_rounds {
        for (name, args) in PAUSES {
            eprint!("\r\x1b[Kpauses, round {}: {name}", round + 1);
            let memtrace = args
                .map(|args| Memtrace::start(place, worker.pid(), args))
                .transpose()?;
            let pauses = worker.ask(&format!("pauses {}", effort.pause_millis))?;
            if let Some(mut memtrace) = memtrace {
                memtrace.stop(Instant::now())?;
            }
            report.pauses.push(PauseSample {
                round,
                condition: name.to_owned(),
                pauses,
            });
        }
    }
    eprint!("\r\x1b[K");
    Ok(())
}

/// A memtrace that traces.
struct Memtrace {
    child: Child,
    lines: Option<BufReader<std::process::ChildStdout>>,
}

impl Memtrace {
    /// Comes back with its first line, which it prints once all is attached and read.
    fn start(place: &Place, pid: u32, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(&place.memtrace)
            .args(["--pid", &pid.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start memtrace")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe that was asked for")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let memtrace = Self {
            child,
            lines: Some(lines),
        };
        ensure!(!line.is_empty(), "memtrace could not attach");
        Ok(memtrace)
    }

    /// Ends it; how long after `begun` it had reported, and was gone.
    fn stop(&mut self, begun: Instant) -> Result<(Duration, Duration)> {
        let mut lines = self
            .lines
            .take()
            .context("memtrace has been stopped before")?;
        interrupt(&self.child)?;
        // The table's last line; the pipe closes with the process, which may be later.
        let mut text = String::new();
        let mut reported = Duration::ZERO;
        while lines.read_line(&mut text)? > 0 {
            reported = begun.elapsed();
        }
        lines.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "memtrace ended with {status}");
        Ok((reported, begun.elapsed()))
    }

    /// CPU time of all its threads so far.
    fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text
                .split_whitespace()
                .next()
                .context("schedstat is empty")?;
            sum += first.parse::<u64>()?;
        }
        Ok(sum)
    }

    fn resident(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok((kib(&status, "VmRSS:")?, kib(&status, "VmHWM:")?))
    }
}

impl Drop for Memtrace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident(pid: u32) -> Result<u64> {
    kib(
        &fs::read_to_string(format!("/proc/{pid}/status"))?,
        "VmRSS:",
    )
}

fn available() -> Result<u64> {
    kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:")
}

/// A line of `/proc` such as `VmRSS:  123 kB`, in bytes.
pub fn kib(text: &str, name: &str) -> Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no line {name}"))?;
    let number = line.trim().trim_end_matches(" kB").parse::<u64>()?;
    Ok(number * 1024)
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
