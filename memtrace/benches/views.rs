//! What views cost memtrace itself: CPU time and RSS with lines, with the screen, and with the live page and its visitors, of an
//! idle target.
//!
//! `cargo bench -p memtrace --bench views`, as root; `-- 30` measures each for 30 s, where it is 10 otherwise. It judges nothing.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    pty::{Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

/// Until attaching and the first pictures are over.
const SETTLE: Duration = Duration::from_secs(4);

/// How it is looked at.
#[derive(Clone, Copy)]
enum View {
    /// A line per interval.
    Lines,
    /// Columns and rows.
    Screen(u16, u16),
    /// Visitors.
    Page(usize),
}

const VIEWS: [View; 6] = [
    View::Lines,
    View::Screen(80, 24),
    View::Screen(200, 50),
    View::Page(0),
    View::Page(1),
    View::Page(8),
];

/// Ended where it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// memtrace while it is looked at.
struct Looked {
    memtrace: Running,
    /// Bytes that went to the terminal, or to all visitors together.
    sent: Arc<AtomicU64>,
}

impl Looked {
    fn start(view: View, pid: u32, interval: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memtrace"));
        command.args(["--pid", &pid.to_string(), "--interval", interval]);
        let sent = Arc::new(AtomicU64::new(0));
        let memtrace = match view {
            View::Lines => on_terminal(command.arg("--plain"), (80, 24), &sent)?,
            View::Screen(columns, rows) => on_terminal(&mut command, (columns, rows), &sent)?,
            View::Page(visitors) => {
                command.args(["--plain", "--web", "127.0.0.1:0"]);
                command.stdin(Stdio::null()).stdout(Stdio::null());
                let mut child = Running(command.stderr(Stdio::piped()).spawn()?);
                let errors = child.0.stderr.take().context("a pipe that was asked for")?;
                let mut lines = BufReader::new(errors);
                let mut line = String::new();
                lines.read_line(&mut line)?;
                let (_, url) = line
                    .trim()
                    .split_once("http://")
                    .with_context(|| format!("no URL in {line:?}"))?;
                let (host, query) = url.split_once("/?").context("a URL without a token")?;
                for _ in 0..visitors {
                    visit(host, query, &sent)?;
                }
                child
            }
        };
        Ok(Self { memtrace, sent })
    }

    /// CPU time of all its threads so far.
    fn cpu(&self) -> Result<Duration> {
        let mut ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.memtrace.0.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split_whitespace().next();
            ns += first.context("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(ns))
    }

    fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.memtrace.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(number.parse()?)
    }

    fn end(mut self) -> Result<()> {
        kill(
            Pid::from_raw(self.memtrace.0.id().cast_signed()),
            Signal::SIGINT,
        )?;
        let status = self.memtrace.0.wait()?;
        ensure!(status.success(), "memtrace ended with {status}");
        Ok(())
    }
}

fn on_terminal(
    command: &mut Command,
    (columns, rows): (u16, u16),
    sent: &Arc<AtomicU64>,
) -> Result<Running> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None)?;
    let stdio = || pty.slave.try_clone().map(Stdio::from);
    command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
    command
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR");
    // SAFETY: two system calls, which touch no memory.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    let child = Running(command.spawn()?);
    count(File::from(pty.master), sent);
    Ok(child)
}

fn visit(host: &str, query: &str, sent: &Arc<AtomicU64>) -> Result<()> {
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /events?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    ensure!(first.ends_with(b" 200"), "the page refuses a visitor");
    count(stream, sent);
    Ok(())
}

/// Reads to the end, in a thread of its own.
fn count(mut from: impl std::io::Read + Send + 'static, sent: &Arc<AtomicU64>) {
    let sent = Arc::clone(sent);
    thread::spawn(move || {
        let mut part = [0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut part) {
            sent.fetch_add(read as u64, Relaxed);
        }
    });
}

fn main() -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("memtrace attaches as root; type: sudo -E cargo bench -p memtrace --bench views");
    }
    let seconds = env::args().skip(1).find_map(|word| word.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(10));
    let target = Running(Command::new("sleep").arg("1000000").spawn()?);
    println!("interval  view               CPU, % of one  RSS, KiB  KiB/s sent");
    for interval in ["1s", "100ms"] {
        for view in VIEWS {
            let looked = Looked::start(view, target.0.id(), interval)?;
            thread::sleep(SETTLE);
            let (cpu, sent, begun) = (looked.cpu()?, looked.sent.load(Relaxed), Instant::now());
            thread::sleep(time);
            let cpu = looked.cpu()?.saturating_sub(cpu).as_secs_f64();
            let sent = looked.sent.load(Relaxed).saturating_sub(sent) as f64 / 1024.0;
            let passed = begun.elapsed().as_secs_f64();
            let name = match view {
                View::Lines => "lines".to_owned(),
                View::Screen(columns, rows) => format!("screen {columns}x{rows}"),
                View::Page(1) => "page, 1 visitor".to_owned(),
                View::Page(visitors) => format!("page, {visitors} visitors"),
            };
            println!(
                "{interval:<8}  {name:<17}  {:>13.2}  {:>8}  {:>10.1}",
                cpu / passed * 100.0,
                looked.rss_kib()?,
                sent / passed
            );
            looked.end()?;
        }
    }
    Ok(())
}
