//! memtrace's own chores: building the eBPF object, checking, testing.

mod bench;
mod cargo;
mod ci;
mod debian;
mod demo;
mod documents;
mod fetch;
mod fuzz;
mod golang;
mod lanes;
mod nightly;
mod object;
mod provenance;
mod record;
mod soak;
mod strip;
mod summary;
mod test;
mod toolchain;
mod verdicts;
mod vm;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use object::Rebuild;

/// memtrace's own chores.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds memtrace-ebpf, and writes memtrace/ebpf/memtrace.bpf.o with its provenance beside it.
    BuildEbpf {
        /// `system` for /usr/bin/rustc, or a rustup toolchain such as `nightly`; the first that can, where not given.
        #[arg(long, value_name = "NAME")]
        toolchain: Option<String>,
    },
    /// Fails where memtrace.bpf.o does not belong to the sources; rebuilds it where its toolchain is at hand.
    CheckObject {
        /// Rebuilds it only where it is not known to be what its toolchain makes of its sources.
        #[arg(long)]
        if_due: bool,
        /// Only says whether it would be rebuilt: `due` or `not due`, and why.
        #[arg(long, conflicts_with = "if_due")]
        is_due: bool,
    },
    /// Formatting, lints, the eBPF object, the documentation, the kernel matrix, and every test; stops at the first that fails.
    Ci {
        /// Runs everything anew, also what was green with the same contents.
        #[arg(long)]
        all: bool,
    },
    /// What takes too long for each change: long fuzzing, the whole matrix, the object's bytes, a long soak.
    Nightly {
        /// How long each fuzz target runs.
        #[arg(long, value_name = "N", default_value_t = 120)]
        fuzz_seconds: u64,
        /// How long the soak takes.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        soak: Duration,
    },
    /// One of the steps of `ci`, by its name.
    #[command(hide = true)]
    Step { name: ci::Name },
    /// Runs every test: most as the present user, those that need root as root.
    Test {
        /// What would be skipped for want of a kernel feature or of privileges fails; so it does where CI is set.
        #[arg(long)]
        require_kernel: bool,
        /// Runs one part alone.
        #[arg(long, value_name = "PART")]
        part: Option<test::Part>,
        /// For the test runners, such as a part of a test's name.
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Runs the fuzz targets of fuzz/, each for a bounded time; needs cargo-fuzz, and stable Rust is enough.
    Fuzz {
        /// Which; all, where none is given.
        targets: Vec<String>,
        /// How long each of them runs.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Real programs in the situations that people ask about, each traced and judged: is the verdict the expected one?
    Verdicts(verdicts::Options),
    /// Storms, execs, forks and deaths, again and again, with memtrace attached: nothing unexplained, nothing lost, no growth.
    Soak {
        /// How long, such as 10m.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        time: Duration,
        /// The order in which things happen, as an earlier soak printed it; another one each time, where not given.
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
    },
    /// Measures what memtrace costs a process and its neighbours, beside empty programs, bpftrace, perf and strace, and what it takes
    /// itself; a quarter of an hour on a machine that does nothing else. `--help` is answered by the benchmark.
    #[command(disable_help_flag = true)]
    Bench {
        /// For the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Boots real kernels under QEMU, and runs the real-kernel tests in each; needs no root.
    Vm(vm::Options),
    /// Fetches Go toolchains from Debian's archive for the tests, and prints where they are; needs no root.
    Golang(golang::Options),
    /// Fetches what the tests need of Debian's archive, Go toolchains and kernels, and runs nothing; needs no root.
    Fetch,
    /// Writes the manual pages, docs/man/, from what `--help` says.
    Man,
    /// Writes the completion scripts, docs/completions/.
    Completions,
    /// Writes the README's pictures, docs/pictures/: the terminal, the chart, and with Chromium the page.
    Pictures,
    /// Builds memtrace, and runs `memtrace demo` as root.
    Demo {
        /// For `memtrace demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // Not by Debug, which adds a backtrace of this program where one is asked of the tests.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().chore {
        Chore::BuildEbpf { toolchain } => object::build(toolchain.as_deref())?,
        Chore::CheckObject { if_due, is_due } => {
            if is_due {
                object::say_whether_due()?;
            } else if if_due {
                object::check(Rebuild::IfDue)?;
            } else {
                object::check(Rebuild::Always)?;
            }
        }
        Chore::Ci { all } => return ci::run(all),
        Chore::Nightly { fuzz_seconds, soak } => return nightly::run(fuzz_seconds, soak),
        Chore::Step { name } => ci::step(name)?,
        Chore::Test {
            require_kernel,
            part: None,
            args,
        } => return test::run(require_kernel, &args),
        Chore::Test {
            require_kernel,
            part: Some(part),
            args,
        } => test::run_part(part, require_kernel, &args)?,
        Chore::Fuzz { targets, seconds } => fuzz::run(&targets, seconds)?,
        Chore::Verdicts(options) => return verdicts::run(&options),
        Chore::Soak { time, seed } => return soak::run(time, seed),
        Chore::Bench { args } => return bench::run(&args),
        Chore::Vm(options) => return vm::run(&options),
        Chore::Golang(options) => golang::run(&options)?,
        Chore::Fetch => fetch::run()?,
        Chore::Man => documents::write("man_pages_are_current")?,
        Chore::Completions => documents::write("completions_are_current")?,
        Chore::Pictures => documents::pictures()?,
        Chore::Demo { args } => demo::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
