//! The arguments: a contract, see `docs/`.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::{
    FailOn,
    event_options::EventOptions,
    shared::{HOW, ITSELF, SHOW, WHAT, WRITE},
    tasks, web,
};

const EXAMPLES: &str = "\
Examples:
  Trace a running process until Ctrl-C:
      sudo memtrace --pid $(pgrep -o redis-server)
  For 30 seconds, with a capture file:
      sudo memtrace --pid 4242 --duration 30s --json capture.json
  Start a program and trace it from its first instruction:
      sudo memtrace -- python3 script.py
  See what it does, on a workload of its own:
      sudo memtrace demo lazy-free
  Fail a test that leaks:
      sudo memtrace --fail-on growing,cgroup-limit -- ./soak-test
  What does the answer mean?
      memtrace explain lazy-free

Sizes are in bytes; K, M and G are powers of 1024.
Exit codes: 0; 1 an error; 2 wrong usage; 3 the capture is incomplete; 4 found by --fail-on;
after --, the command's own, where that is not 0.";

const REPORT_CODES: &str = "\
Exit codes: 0; 1 a file could not be read; 2 wrong usage; 3 a capture is incomplete; 4 found by --fail-on.";
const EXPORT_EXAMPLES: &str = "\
Examples:
  A table for a spreadsheet, pandas or DuckDB:
      memtrace export capture.json -o capture.csv
  The highest RSS, with jq:
      memtrace export capture.json --to jsonl | jq -s 'map(.rss_bytes // 0) | max'
  Into Prometheus, as a backfill:
      memtrace export capture.json --timeline -o capture.om
      promtool tsdb create-blocks-from openmetrics capture.om data/
  As tracks, for https://ui.perfetto.dev:
      memtrace export capture.json -o capture.pftrace

docs/export.md names every column, with its unit and its source.
Exit codes: 0; 1 an error; 2 wrong usage; 3 the capture is incomplete, and was written.";
const DIFF_EXAMPLES: &str = "\
What differs in the conditions comes first: kernel, program, runtime, settings, how the captures were
made. Captures that do not last equally long are compared per second. A difference that two runs of
the same program show anyway is marked with \u{2248}, and is no change.

Examples:
  Before and after a setting:
      sudo memtrace --pid 4242 --duration 5m --json before.json
      sudo memtrace --pid 4711 --duration 5m --json after.json
      memtrace diff before.json after.json
  A page to send:
      memtrace diff before.json after.json --html diff.html
  For a tool:
      memtrace diff --json before.json after.json | jq .headline
  Against what another host sends:
      ssh HOST cat after.json | memtrace diff before.json -

Exit codes: 0; 1 a file could not be read; 2 wrong usage; 3 a capture is incomplete.";
const DOCTOR_EXITS: &str = "\
Each hook is attached for real, to memtrace itself, and detached at once; nothing stays behind.
Without privileges it says what it could not try.
Exit codes: 0 where a trace works; 1 where it does not; 2 wrong usage.";

/// Where did the memory go? Accounts for every byte of a process's RSS change, by cause, from outside.
///
/// memtrace hooks mmap, munmap, mremap, brk, madvise and page faults of one running process, and every change of its RSS
/// counters. It prints a line per interval, and at the end a table in which every byte has a cause.
#[derive(Debug, Parser)]
#[command(
    name = "memtrace",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    override_usage = "memtrace [OPTIONS] --pid <PID>\n       memtrace [OPTIONS] -- <CMD> [ARGS]...\n       memtrace demo [SCENARIO]\n       memtrace doctor [--json]\n       memtrace report <FILE>...\n       memtrace diff <A> <B>\n       memtrace export <FILE> --to <FORMAT>\n       memtrace explain [ID]",
    after_help = EXAMPLES,
    after_long_help = tasks::TRACE
)]
pub struct Cli {
    /// Tracing, the default.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Anything else.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to trace.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Trace this running process
    #[arg(help_heading = WHAT, short, long, value_name = "PID", conflicts_with = "run", allow_negative_numbers = true, value_parser = pid)]
    pub pid: Option<u32>,
    /// After --: start this program, and trace it from its first instruction
    #[arg(help_heading = WHAT, last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub run: Vec<OsString>,
    /// How to trace and report.
    #[command(flatten)]
    pub options: Options,
}

/// How to trace and report.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// End after this time, such as 30s, 5m, 1h [default: until Ctrl-C]
    #[arg(help_heading = WHAT, short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Write the capture as JSON to FILE, or to standard output with -
    ///
    /// While it lasts, the capture is in FILE.partial, which stays should memtrace be killed: `memtrace report FILE.partial`
    /// prints it. With -, it is in a file without a name, in TMPDIR, /var/tmp or /tmp.
    #[arg(help_heading = WRITE, short = 'o', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub json: Option<PathBuf>,
    /// Write the page to FILE at the end: chart, answer and tables in one file that loads nothing
    ///
    /// While it lasts, the capture is in a file without a name, in TMPDIR, /var/tmp or /tmp, or with --json in FILE.partial.
    /// `memtrace report FILE --html OUT` makes the same page of a capture file.
    #[arg(help_heading = WRITE, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Write a chart to FILE at the end, as SVG, for a README or a ticket; it leaves the arguments of the command line out
    #[arg(help_heading = WRITE, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
    /// Single calls.
    #[command(flatten)]
    pub events: EventOptions,
    /// Print no line per interval, only the table at the end
    #[arg(help_heading = SHOW, short, long)]
    pub quiet: bool,
    /// Print lines, also on a terminal: no screen with a chart and keys
    #[arg(help_heading = SHOW, long)]
    pub plain: bool,
    /// Show the capture in a browser while it goes on, at ADDR:PORT
    ///
    /// At 127.0.0.1:6680 where nothing is given: for this host alone, and for another by `ssh -L 6680:127.0.0.1:6680 HOST`. Port 0 is any
    /// free one. The URL is printed, with a token that is needed to see anything.
    #[arg(help_heading = SHOW, long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = web::DEFAULT, value_parser = web::address)]
    pub web: Option<SocketAddr>,
    /// Use colours
    #[arg(help_heading = SHOW, long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Time between lines, from 10ms to 1h
    #[arg(help_heading = HOW, short, long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// How exact: the best that this kernel allows, or only exact, or approximate (RSS is sampled)
    #[arg(help_heading = HOW, long, value_name = "MODE", default_value = "best")]
    pub mode: WantedMode,
    /// Do not read smaps_rollup: LazyFree is then not known
    #[arg(help_heading = HOW, long)]
    pub no_smaps: bool,
    /// Read smaps_rollup only where that is expected to take less than this; it holds locks of the target
    #[arg(help_heading = HOW, long, value_name = "TIME", default_value = "250ms", value_parser = duration)]
    pub smaps_limit: Duration,
    /// Do not hook system calls: no calls and requested bytes
    #[arg(help_heading = HOW, long)]
    pub no_syscalls: bool,
    /// Do not count page faults
    #[arg(help_heading = HOW, long)]
    pub no_faults: bool,
    /// Do not look at what runs in the process: no runtime, no figures of Go's heap, less of an answer
    #[arg(help_heading = HOW, long)]
    pub no_runtime: bool,
    /// An exit code for continuous integration.
    #[command(flatten)]
    pub fail_on: FailOn,
    /// Report what memtrace itself takes: runs and ns of its programs, CPU time, RSS
    ///
    /// Turns the kernel's eBPF statistics on for the time of the capture: each run of each eBPF program on the host, not
    /// only memtrace's, then takes some tens of ns longer. Needs CAP_SYS_ADMIN.
    #[arg(help_heading = ITSELF, long)]
    pub self_stats: bool,
    /// Let the kernel side log to standard error, to find faults in memtrace itself
    #[arg(help_heading = ITSELF, long)]
    pub bpf_log: bool,
}

/// How exact to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WantedMode {
    /// Exact where this kernel allows it, else approximate
    Best,
    /// Exact, or an error
    Exact,
    /// RSS is sampled, and there is no ledger
    Approximate,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, and not where NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What memtrace can do beside tracing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace a built-in workload: the first thing to try
    #[command(after_long_help = tasks::DEMO)]
    Demo(DemoArgs),
    /// Show what this kernel and these privileges allow, what that costs, and what to type
    #[command(after_help = DOCTOR_EXITS, after_long_help = tasks::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print the table of a capture file again; needs no root
    Report(ReportArgs),
    /// Write a capture file in the format of another tool; needs no root
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Compare two captures, such as before and after an upgrade or a setting; needs no root
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Say what an answer means, how it is told, and what to do about it
    #[command(after_long_help = tasks::EXPLAIN)]
    Explain(ExplainArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = tasks::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The workload of a demo.
    #[command(name = "__workload", hide = true)]
    Workload {
        /// The scenario.
        scenario: Scenario,
    },
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON, as a bug report wants it
    #[arg(long)]
    pub json: bool,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What the workload does
    #[arg(default_value = "lazy-free")]
    pub scenario: Scenario,
    /// Time between lines, from 10ms to 1h
    #[arg(short, long, value_name = "TIME", default_value = "500ms", value_parser = interval)]
    pub interval: Duration,
    /// Write the capture as JSON to FILE, or to standard output with -
    #[arg(short = 'o', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub json: Option<PathBuf>,
    /// Write the page to FILE at the end: chart, answer and tables in one file that loads nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Write a chart to FILE at the end, as SVG, for a README or a ticket
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
    /// Print lines, also on a terminal: no screen with a chart and keys
    #[arg(long)]
    pub plain: bool,
    /// Show the capture in a browser while it goes on, at ADDR:PORT
    ///
    /// At 127.0.0.1:6680 where nothing is given: for this host alone, and for another by `ssh -L 6680:127.0.0.1:6680 HOST`. Port 0 is any
    /// free one. The URL is printed, with a token that is needed to see anything.
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = web::DEFAULT, value_parser = web::address)]
    pub web: Option<SocketAddr>,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_CODES, after_long_help = tasks::REPORT)]
pub struct ReportArgs {
    /// Capture files, as --json writes them, and what a killed memtrace left of one (FILE.partial); or dumps of
    /// pprofplus; - is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Print the answer alone, without the table
    #[arg(long)]
    pub answer: bool,
    /// Write the page to OUT in place of the table: chart, answer and tables in one file that loads nothing; - is standard
    /// output
    #[arg(long, value_name = "OUT", value_hint = ValueHint::FilePath, conflicts_with = "answer")]
    pub html: Option<PathBuf>,
    /// Write a chart to OUT as SVG, in place of the table; it leaves the arguments of the command line out; - is standard output
    #[arg(long, value_name = "OUT", value_hint = ValueHint::FilePath, conflicts_with_all = ["answer", "html"])]
    pub svg: Option<PathBuf>,
    /// An exit code for continuous integration.
    #[command(flatten)]
    pub fail_on: FailOn,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A capture file, as --json writes it, or what a killed memtrace left of one (FILE.partial); - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The format [default: by the name of OUT]
    #[arg(short, long, value_name = "FORMAT")]
    pub to: Option<Format>,
    /// Write to OUT instead of standard output
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Of openmetrics: every tick with its timestamp, for a backfill, instead of the state at the end
    #[arg(long)]
    pub timeline: bool,
}

/// What a capture can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table: a row per tick, a column per figure and cause (.csv)
    Csv,
    /// A chart, as SVG (.svg)
    Svg,
    /// JSON Lines: an object per tick, then the summary and the answer (.jsonl)
    Jsonl,
    /// Metrics for Prometheus: the state at the end, or with --timeline every tick (.om, .prom)
    Openmetrics,
    /// A trace for ui.perfetto.dev: a track per figure and cause (.pftrace, .perfetto-trace)
    Perfetto,
}

impl Format {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Svg => "svg",
            Self::Jsonl => "jsonl",
            Self::Openmetrics => "openmetrics",
            Self::Perfetto => "perfetto",
        }
    }

    /// That of a file with this name.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "svg" => Some(Self::Svg),
            "jsonl" => Some(Self::Jsonl),
            "om" | "prom" => Some(Self::Openmetrics),
            "pftrace" | "perfetto-trace" => Some(Self::Perfetto),
            _ => None,
        }
    }

    /// Whether it is nothing that a terminal can show.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        match self {
            Self::Csv | Self::Svg | Self::Jsonl | Self::Openmetrics => false,
            Self::Perfetto => true,
        }
    }
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A capture file, as --json writes it, or what a killed memtrace left of one; - is standard input
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub a: PathBuf,
    /// The capture to compare it with
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub b: PathBuf,
    /// Print JSON, as docs/schema.md documents it
    #[arg(long)]
    pub json: bool,
    /// Also write a page to FILE, to be sent: one file, without script; to standard output with -, in place of the text
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The rule; without it, all of them are listed
    #[arg(value_name = "ID", value_parser = super::fail_on::rule_id(), hide_possible_values = true)]
    pub id: Option<String>,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// The demo's workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Memory given back with MADV_FREE: RSS stays flat, LazyFree is high
    LazyFree,
    /// Memory given back with MADV_DONTNEED: RSS falls at once, and comes back with the next touch
    Dontneed,
    /// Memory that is never given back
    Leak,
    /// Memory brought in by MAP_POPULATE and MADV_POPULATE_WRITE: RSS rises without page faults
    Populate,
    /// All of them, one after the other
    All,
}

impl Scenario {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LazyFree => "lazy-free",
            Self::Dontneed => "dontneed",
            Self::Leak => "leak",
            Self::Populate => "populate",
            Self::All => "all",
        }
    }
}

fn pid(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "a PID is a number, as `pgrep -f NAME` prints it".to_owned())
}

/// Shortest and longest interval.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_hours(1));

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse(text)?;
    if interval < INTERVALS.0 || interval > INTERVALS.1 {
        return Err("an interval is from 10ms to 1h; try 1s".to_owned());
    }
    Ok(interval)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration.is_zero() {
        return Err("a time of 0 leaves nothing to see; try 30s".to_owned());
    }
    Ok(duration)
}

fn parse(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| {
        format!("{error}; a time is a number with its unit, such as 500ms, 30s, 5m or 1h")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn intervals_have_a_range() {
        assert_eq!(interval("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(interval("1h"), Ok(Duration::from_hours(1)));
        for wrong in ["0", "0s", "9ms", "61m", "1", "-1s", "soon", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn everything_after_the_dashes_is_the_command() {
        let cli = Cli::parse_from(["memtrace", "-d", "1s", "--", "ls", "-l", "--pid"]);
        assert_eq!(cli.trace.run, ["ls", "-l", "--pid"]);
        assert_eq!(cli.trace.options.duration, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_process_and_a_command_exclude_each_other() {
        assert!(Cli::try_parse_from(["memtrace", "-p", "1", "--", "ls"]).is_err());
    }
}
