//! What memtrace costs, beside what others cost that see the same: `cargo xtask bench`. Needs root.

mod figures;
mod names;
mod own;
mod report;
mod rounds;
mod table;
mod tools;
mod work;
mod worker;

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use memtrace::probe::{Floor, OBJECT, Options, privately};

use crate::{
    own::Effort,
    report::{Host, Report, SCHEMA},
    tools::Place,
};

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// Rounds in which all conditions take turns
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Two rounds, and little of everything else: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Only conditions with this in their name, and those that all are compared with
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only rows with this in their name
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
    /// Another memtrace program, to compare this one with
    #[arg(long, value_name = "FILE")]
    also: Option<PathBuf>,
    /// How long each operation is repeated in each visit, in ms
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    millis: u32,
    /// Leave out what memtrace itself takes, and the pauses
    #[arg(long)]
    no_own: bool,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "bench.json")]
    json: PathBuf,
    /// Print the tables of earlier figures, and with two of them the rows in which another one wins
    #[arg(long, value_name = "FILE", num_args = 1..=2)]
    from: Vec<PathBuf>,
    /// As cargo calls benchmarks
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// The workload
    #[command(hide = true)]
    Work {
        #[arg(long)]
        cpu: Option<usize>,
    },
    /// Empty programs on memtrace's hooks
    #[command(hide = true)]
    Floor {
        pid: u32,
        #[arg(long)]
        no_syscalls: bool,
        #[arg(long)]
        raw: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Arguments) -> Result<()> {
    match args.mode {
        Some(Mode::Work { cpu }) => {
            cpu.map_or(Ok(()), work::pin)?;
            work::run()
        }
        Some(Mode::Floor {
            pid,
            no_syscalls,
            raw,
        }) => floor(pid, no_syscalls, raw),
        None if !args.from.is_empty() => again(&args.from),
        None => bench(&args),
    }
}

/// Attaches empty programs, says so, and waits for a signal.
fn floor(pid: u32, no_syscalls: bool, raw: bool) -> Result<()> {
    let options = Options {
        syscalls: !no_syscalls,
        ..Options::new(pid)
    };
    let floor = if raw {
        Floor::attach_raw(&options)?
    } else {
        Floor::attach(&options)?
    };
    for hook in floor.hooks() {
        if let Some(error) = &hook.error {
            bail!("{}: {error}", hook.name);
        }
    }
    println!("attached");
    nix::unistd::pause();
    Ok(())
}

fn again(files: &[PathBuf]) -> Result<()> {
    let reports: Vec<Report> = files.iter().map(|file| read(file)).collect::<Result<_>>()?;
    let mut text: String = reports.iter().map(table::all).collect();
    if let [first, second] = reports.as_slice() {
        text += &table::agreement(first, second);
    }
    show(&text)
}

fn read(file: &Path) -> Result<Report> {
    let name = file.display();
    let text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let report: Report = serde_json::from_slice(&text)
        .with_context(|| format!("{name} holds no figures of a benchmark"))?;
    if report.schema != SCHEMA {
        bail!("{name} is of {}, and this is {SCHEMA}", report.schema);
    }
    Ok(report)
}

fn bench(args: &Arguments) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("it attaches to processes, and needs root; type: cargo xtask bench");
    }
    // The tools look for tracefs where it is on most hosts. Where nobody has mounted it, it is mounted for this run alone.
    if fs::read_dir("/sys/kernel/tracing").is_ok_and(|mut entries| entries.next().is_none()) {
        return privately("tracefs", "/sys/kernel/tracing", || measure(args))
            .map_err(anyhow::Error::msg)?;
    }
    measure(args)
}

fn measure(args: &Arguments) -> Result<()> {
    let folder = Folder::new()?;
    let place = Place {
        memtrace: PathBuf::from(env!("CARGO_BIN_EXE_memtrace")),
        also: args.also.clone(),
        bench: env::current_exe()?,
        folder: folder.0.clone(),
    };
    let (rounds, millis, effort) = if args.quick {
        (1, 10, Effort::QUICK)
    } else {
        (args.rounds, args.millis, Effort::WHOLE)
    };
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        memtrace_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host()?,
        debug_build: cfg!(debug_assertions),
        binary_bytes: rounds::bytes_of(&place.memtrace)?,
        object_bytes: OBJECT.len() as u64,
        rounds,
        millis,
        ..Report::default()
    };
    rounds::run(
        &place,
        args.only.as_deref(),
        args.row.as_deref(),
        &mut report,
    )?;
    if !args.no_own {
        own::startup(&place, effort, &mut report)?;
        own::sizes(&place, effort, &mut report)?;
        own::ticks(&place, effort, &mut report)?;
        own::pauses(&place, effort, &mut report)?;
    }
    fs::write(&args.json, serde_json::to_vec(&report)?)
        .with_context(|| format!("cannot write {}", args.json.display()))?;
    show(&format!(
        "{}\nAll figures: {}\n",
        table::all(&report),
        args.json.display()
    ))
}

fn show(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// A folder that ends with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let path = env::temp_dir().join(format!(
            "memtrace-bench-{}-{}",
            std::process::id(),
            now.as_nanos()
        ));
        nix::unistd::mkdir(&path, nix::sys::stat::Mode::S_IRWXU)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn host() -> Result<Host> {
    let name = nix::sys::utsname::uname()?;
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, name)| name.to_owned())
        })
        .unwrap_or_default();
    Ok(Host {
        kernel: name.release().to_string_lossy().into_owned(),
        arch: name.machine().to_string_lossy().into_owned(),
        cpu,
        cpus: std::thread::available_parallelism()?.get(),
        memory_bytes: own::kib(&read("/proc/meminfo"), "MemTotal:")?,
        thp: read("/sys/kernel/mm/transparent_hugepage/enabled")
            .trim()
            .to_owned(),
        load: read("/proc/loadavg").trim().to_owned(),
    })
}
