//! `cargo xtask vm`: the tests against real kernels, each in a machine of its own.

pub mod archive;
mod cpio;
mod guest;
mod modules;
pub mod packages;
mod programs;
mod results;
pub mod store;
mod table;
mod thin;
mod verdict;
mod version;

use std::{
    env, fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    cargo::{read, root, target_dir},
    record::Records,
    vm::{
        archive::Archive,
        guest::{Emulator, Ended, Guest, Limits},
        packages::{Kernel, pick},
        programs::{Programs, is_static},
        results::{Results, test as result},
        store::{Store, Stored},
        table::{Row, table},
        thin::{Contents, LEFT_OUT, Suite},
        verdict::problems,
        version::{Pattern, compare},
    },
};

/// The kernels that memtrace is tested on: the newest of each.
const MATRIX: [&str; 5] = ["5.10", "6.1", "6.12", "6.16-6.19", "newest"];

/// It takes 3 to 20 s, and several times that beside everything else that a change is tested by.
const BOOT: Duration = Duration::from_secs(240);
/// A run of all tests takes 3 to 5 minutes, on a slow machine a few times that.
const TOTAL: Duration = Duration::from_mins(20);
/// No test waits for more than a minute.
const SILENCE: Duration = Duration::from_mins(5);

/// Lines of a console that are shown where a guest broke.
const TAIL: usize = 40;

#[derive(Args, Default)]
pub struct Options {
    /// Kernels: a version such as 6.1, a range such as 6.16-6.19, a release in full, or `newest`; of each pattern the newest
    /// that matches. Those that every change is tested on, where none is given.
    patterns: Vec<Pattern>,
    /// Lists the kernels that there are to choose from, and boots none.
    #[arg(long)]
    list: bool,
    /// Runs this shell command in each guest instead of the tests, with memtrace in its PATH; nothing but its output and how
    /// it ended is looked at.
    #[arg(long, value_name = "LINE")]
    command: Option<String>,
    /// Guests at a time [default: one per CPU]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Ends a guest that takes longer [default: 20 minutes]
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
    /// Shows each test's result as it comes.
    #[arg(long, short)]
    verbose: bool,
    /// Debian's archive [default: the one that this machine's apt uses]
    #[arg(long, value_name = "URI")]
    archive: Option<String>,
    /// For the test runner, such as a part of a test's name.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Boots the kernels of the matrix, except this machine's own, on which [`crate::test`] runs every test, and those with a record of a
/// green run with the same contents. `all` boots each of them, for the whole suite.
pub fn matrix(all: bool) -> Result<()> {
    let own = own_kernel()?;
    let (mut options, left_out) = but(&own)?;
    if all {
        options = Options::default();
    } else {
        for pattern in left_out {
            println!(
                "{pattern} is not booted: this machine's kernel is {own}, and cargo xtask test tests that one"
            );
        }
    }
    let root = root()?;
    let emulator = Emulator::find()?;
    let (kernels, missing) = choose(&root, &options)?;
    let records = Records::open(&root);
    let mut suite = if all { Suite::Whole } else { Suite::Thin };
    let mut left = Vec::new();
    for kernel in kernels {
        let contents = Contents::read(&root, &kernel, &emulator)?;
        match contents.green(&records) {
            Some(green) if !all => println!("cached: {} {green}", kernel.release),
            _ => {
                if contents.suite(&records) == Suite::Whole {
                    suite = Suite::Whole;
                }
                left.push((kernel, contents));
            }
        }
    }
    if left.is_empty() && missing.is_empty() {
        println!("no kernel is booted: no guest would see anything new");
        return Ok(());
    }
    if suite == Suite::Thin {
        println!(
            "the thin suite, since the kernel side is the same, or the first one here; not run, on these kernels:\n{}",
            table::paragraph(&LEFT_OUT).trim_end()
        );
        options.args = vec!["--exact".to_owned()];
        let skips = LEFT_OUT.iter();
        let skips = skips.flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]);
        options.args.extend(skips);
    }
    let (kernels, contents): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    let rows = test(&root, emulator, &kernels, missing, &options)?;
    for (kernel, contents) in kernels.iter().zip(contents) {
        let row = rows.iter().find(|row| row.release == kernel.release);
        if let Some(row) = row.filter(|row| row.problems.is_empty()) {
            contents.put(&records, suite, &row.line())?;
        }
    }
    ensure!(
        rows.iter().all(|row| row.problems.is_empty()),
        "not every kernel passes"
    );
    Ok(())
}

/// Downloads the kernels that [`matrix`] boots, unless they are here, and boots none.
pub fn fetch_all() -> Result<()> {
    let (options, _) = but(&own_kernel()?)?;
    let (kernels, missing) = choose(&root()?, &options)?;
    for kernel in kernels {
        println!("{}", kernel.release);
    }
    let troubles: Vec<String> = missing.into_iter().flat_map(|row| row.problems).collect();
    ensure!(troubles.is_empty(), "{}", troubles.join("\n"));
    Ok(())
}

/// This machine's kernel, as `uname -r` prints it.
fn own_kernel() -> Result<String> {
    let uname = nix::sys::utsname::uname()?;
    Ok(uname.release().to_string_lossy().into_owned())
}

/// The matrix without the kernels such as `own`, and what that leaves out. The newest one is always booted: what it is changes.
fn but(own: &str) -> Result<(Options, Vec<Pattern>)> {
    let mut options = Options::default();
    let (left_out, booted) = patterns(&options)?
        .into_iter()
        .partition(|pattern| !matches!(pattern, Pattern::Newest) && pattern.matches(own));
    options.patterns = booted;
    Ok((options, left_out))
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let root = root()?;
    if options.list {
        list(&root, options)?;
        return Ok(ExitCode::SUCCESS);
    }
    let emulator = Emulator::find()?;
    let (kernels, missing) = choose(&root, options)?;
    let rows = test(&root, emulator, &kernels, missing, options)?;
    Ok(code(rows.iter().all(|row| row.problems.is_empty())))
}

/// Boots kernels and prints the table. Returns the rows, those of missing kernels first.
fn test(
    root: &Path,
    emulator: Emulator,
    kernels: &[Stored],
    missing: Vec<Row>,
    options: &Options,
) -> Result<Vec<Row>> {
    busybox()?;
    let dir = target_dir(root).join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Two runs would write the same consoles.
    let _lock = lock(&dir)?;

    let programs = programs::build(root, &dir)?;
    let job = Job::new(options, emulator, programs)?;
    let mut rows = missing;
    rows.append(&mut boot_all(kernels, &job, &dir, options)?);
    if options.command.is_some() {
        for row in &rows {
            for problem in &row.problems {
                eprintln!("{}: {problem}", row.release);
            }
        }
    } else {
        println!("\n{}", table(&rows));
        println!("\nconsoles and results: {}", dir.display());
    }
    Ok(rows)
}

/// Keeps a directory to this run alone, for as long as the file is open.
fn lock(dir: &Path) -> Result<fs::File> {
    let path = dir.join("lock");
    let lock =
        fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if lock.try_lock().is_err() {
        println!("waiting for another cargo xtask vm to end");
        lock.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(lock)
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A busybox that runs where there is nothing else.
fn busybox() -> Result<PathBuf> {
    const ADVICE: &str =
        "guests have busybox, linked statically; type: apt-get install busybox-static";
    let path = env::var_os("PATH").unwrap_or_default();
    let busybox = env::split_paths(&path)
        .chain(["/bin".into()])
        .map(|dir| dir.join("busybox"))
        .find(|file| file.is_file())
        .context("there is no busybox")
        .context(ADVICE)?;
    ensure!(
        is_static(&fs::read(&busybox)?)?,
        "{} needs shared libraries: {ADVICE}",
        busybox.display()
    );
    Ok(busybox)
}

fn patterns(options: &Options) -> Result<Vec<Pattern>> {
    if options.patterns.is_empty() {
        MATRIX.iter().map(|pattern| pattern.parse()).collect()
    } else {
        Ok(options.patterns.clone())
    }
}

/// What the archive has. Without it those kernels serve that are there.
fn offered(store: &Store, options: &Options) -> Option<(Archive, Vec<Kernel>)> {
    let archive = Archive::open(store.lists(), options.archive.as_deref());
    match archive.and_then(|archive| Ok((archive.kernels()?, archive))) {
        Ok(((kernels, missing), archive)) => {
            for suite in missing {
                println!("the archive does not have {suite}");
            }
            Some((archive, kernels))
        }
        Err(error) => {
            println!("{error:#}");
            None
        }
    }
}

fn list(root: &Path, options: &Options) -> Result<()> {
    let store = Store::open(root)?;
    let offered = offered(&store, options).map(|(_, kernels)| kernels);
    let kernels = offered.unwrap_or_default();
    let wanted = patterns(options)?;
    for kernel in &kernels {
        let of = wanted
            .iter()
            .filter(|pattern| pick(&kernels, pattern) == Some(kernel));
        println!(
            "{:<32} {:<18} {:>4.0} MB  {:<6}  {}",
            kernel.release,
            kernel.suite,
            kernel.size() as f64 / 1e6,
            if store.has(kernel) { "cached" } else { "" },
            of.map(Pattern::to_string).collect::<Vec<_>>().join(" ")
        );
    }
    for release in store.releases()? {
        if !kernels.iter().any(|kernel| kernel.release == release) {
            println!("{release:<32} {:<18} {:>7}  cached", "-", "-");
        }
    }
    Ok(())
}

/// The wanted kernels, downloaded where they were not, and a row for each that cannot be had.
fn choose(root: &Path, options: &Options) -> Result<(Vec<Stored>, Vec<Row>)> {
    let store = Store::open(root)?;
    let offered = offered(&store, options);
    let mut kernels: Vec<Stored> = Vec::new();
    let mut rows = Vec::new();
    for pattern in patterns(options)? {
        match fetch(&store, offered.as_ref(), &pattern) {
            Ok(kernel) => {
                // Two patterns may mean the same one.
                if kernels.iter().all(|other| other.release != kernel.release) {
                    kernels.push(kernel);
                }
            }
            Err(error) => rows.push(Row {
                release: pattern.to_string(),
                results: Results::default(),
                seconds: 0.0,
                problems: vec![format!("{error:#}")],
            }),
        }
    }
    Ok((kernels, rows))
}

fn fetch(
    store: &Store,
    offered: Option<&(Archive, Vec<Kernel>)>,
    pattern: &Pattern,
) -> Result<Stored> {
    if let Some((archive, kernels)) = offered
        && let Some(kernel) = pick(kernels, pattern)
    {
        return store.fetch(kernel, archive);
    }
    let mut stored = store.releases()?;
    stored.retain(|release| pattern.matches(release));
    stored.sort_by(|left, right| compare(left, right));
    match stored.pop() {
        Some(release) => store.open_kernel(&release),
        None => bail!("no such kernel can be had; cargo xtask vm --list shows those that can"),
    }
}

/// What every guest does.
struct Job {
    emulator: Emulator,
    script: String,
    programs: Vec<(String, PathBuf)>,
    libraries: Vec<PathBuf>,
    /// The tests that must have a result.
    expected: Vec<String>,
}

impl Job {
    fn new(options: &Options, emulator: Emulator, programs: Programs) -> Result<Self> {
        // What a test's length and the like are set by.
        let variables: String = env::vars()
            .filter(|(name, _)| name.starts_with("MEMTRACE_"))
            .map(|(name, value)| format!("export {name}={}\n", quoted(&value)))
            .collect();
        let memtrace = ("memtrace".to_owned(), programs.memtrace);
        if let Some(line) = &options.command {
            return Ok(Self {
                emulator,
                script: format!("{variables}exec sh -c {} >&3 2>&3\n", quoted(line)),
                programs: vec![memtrace],
                libraries: programs.libraries,
                expected: Vec::new(),
            });
        }
        let args: Vec<String> = options.args.iter().map(|arg| quoted(arg)).collect();
        let listed = read(
            Command::new(&programs.tests)
                .args(&options.args)
                .arg("--list"),
        )?;
        let expected: Vec<String> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect();
        ensure!(!expected.is_empty(), "no test matches {:?}", options.args);
        Ok(Self {
            emulator,
            script: suite(&variables, &args.join(" ")),
            programs: vec![memtrace, ("kernel-tests".to_owned(), programs.tests)],
            libraries: programs.libraries,
            expected,
        })
    }
}

/// A capture first, for the mode and the hooks, then the tests.
fn suite(variables: &str, args: &str) -> String {
    format!(
        "\
{variables}\
export MEMTRACE_REQUIRE_KERNEL=1 RUST_BACKTRACE=0
echo \"@memtrace-vm thp $(cat /sys/kernel/mm/transparent_hugepage/enabled)\" >&3
memtrace --quiet --json /tmp/capture.json -- true ||
    echo \"@memtrace-vm trouble memtrace ends with $?; the console says why\" >&3
echo \"@memtrace-vm capture $(tr -d '\\n' </tmp/capture.json)\" >&3
rm -f /tmp/capture.json
exec kernel-tests --logfile /dev/ttyS1 {args}
"
    )
}

/// As one word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Boots the kernels, as many at a time as there may be; their rows in the same order.
fn boot_all(kernels: &[Stored], job: &Job, dir: &Path, options: &Options) -> Result<Vec<Row>> {
    let cpus = thread::available_parallelism()?;
    let jobs = options.jobs.unwrap_or(cpus).get().min(kernels.len());
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                // The newer ones take longer: the last one then runs alone for the shortest time.
                let left = kernels.len().checked_sub(next.fetch_add(1, Relaxed) + 1);
                let Some((index, kernel)) =
                    left.and_then(|index| Some((index, kernels.get(index)?)))
                else {
                    return Ok(());
                };
                let row = boot(kernel, job, dir, options)
                    .with_context(|| format!("cannot boot {}", kernel.release))?;
                let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                rows.push((index, row));
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a guest's thread ended early"),
            }
        }
        Ok(())
    })?;
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(index, _)| *index);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn boot(kernel: &Stored, job: &Job, dir: &Path, options: &Options) -> Result<Row> {
    let release = &kernel.release;
    let total = options.limit.map_or(TOTAL, Duration::from_secs);
    let limits = Limits {
        boot: BOOT,
        total,
        // A command may be as quiet as it likes.
        silence: if options.command.is_some() {
            total
        } else {
            SILENCE
        },
    };
    let guest = Guest {
        emulator: &job.emulator,
        vmlinuz: &kernel.vmlinuz,
        modules: &kernel.modules,
        programs: &job.programs,
        libraries: &job.libraries,
        job: &job.script,
        dir: &dir.join(release),
    };
    let mut shown = 0;
    let ended = guest.run(limits, |text| {
        if options.verbose {
            show_tests(release, text, &mut shown);
        }
    })?;
    let results = Results::parse(&ended.results);
    let problems = match (&ended.broken, &options.command) {
        (Some(broken), _) => [broken]
            .into_iter()
            .chain(&results.trouble)
            .cloned()
            .collect(),
        (None, None) => problems(&results, release, &job.expected),
        (None, Some(_)) => command_problems(&results),
    };
    report(release, options, &ended, &results, &problems);
    Ok(Row {
        release: release.clone(),
        results,
        seconds: ended.seconds,
        problems,
    })
}

fn command_problems(results: &Results) -> Vec<String> {
    let ended = match results.code {
        Some(0) => None,
        Some(code) => Some(format!("the command ended with {code}")),
        None => Some("the command did not end".to_owned()),
    };
    results.trouble.iter().cloned().chain(ended).collect()
}

/// Shows the results that came since the last time.
fn show_tests(release: &str, text: &str, shown: &mut usize) {
    // The last line may not be whole.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    for line in text[..whole].lines().skip(*shown) {
        *shown += 1;
        if let Some((name, outcome)) = result(line.trim_end_matches('\r')) {
            println!("{release}: {name}: {outcome:?}");
        }
    }
}

/// What is to be said as soon as a guest has ended.
fn report(release: &str, options: &Options, ended: &Ended, results: &Results, problems: &[String]) {
    let state = match problems.len() {
        0 => "all is well".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    println!("== {release}: {state} after {:.0} s", ended.seconds);
    if options.command.is_some() {
        for line in &results.lines {
            println!("{line}");
        }
    }
    if ended.broken.is_some() {
        let lines: Vec<&str> = ended.console.lines().collect();
        println!("the console's last lines:");
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            println!("    {}", line.trim_end_matches('\r'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_made_of_patterns() {
        for pattern in MATRIX {
            assert_eq!(pattern.parse::<Pattern>().unwrap().to_string(), pattern);
        }
    }

    #[test]
    fn the_machines_own_kernel_is_not_booted() {
        let booted = |own| {
            let (options, _) = but(own).unwrap();
            options
                .patterns
                .iter()
                .map(Pattern::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(booted("6.18.44-1-cloud"), "5.10 6.1 6.12 newest");
        assert_eq!(booted("6.1.0-50-amd64"), "5.10 6.12 6.16-6.19 newest");
        assert_eq!(booted("6.10.3"), "5.10 6.1 6.12 6.16-6.19 newest");
        assert_eq!(booted("7.3.4"), "5.10 6.1 6.12 6.16-6.19 newest");
    }

    #[test]
    fn words_survive_a_shell() {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("printf %s {}", quoted("it's $HOME; `x` \"y\"")))
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"it's $HOME; `x` \"y\"");
    }
}
