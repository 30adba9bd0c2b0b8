//! `memtrace --pid N` and `memtrace -- CMD ARGS…`.

use std::{
    ffi::OsString,
    io::{self, BufWriter},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    args::{Options, TraceArgs, WantedMode},
    capture::{Capturing, Ended, Subject},
    events::Events,
    exit,
    extra::Extras,
    feed::Command,
    logging, memory,
    output::{self, Out},
    privileges, usage,
    views::{Shown, Views},
};
use crate::{
    export::{
        file::{FileError, Pending},
        journal::JournalFile,
    },
    model::End,
    observe::Gauges,
    observe::Sampler,
    privilege::{self, invoker},
    probe::{self, ProbeError, Session},
    process::{Held, Rights, Spawned, Target},
    timeline::assemble,
};

/// How long the kernel's own note of an exit may come after the process's end.
const GRACE: Duration = Duration::from_millis(500);

/// Traces what the command line names.
pub fn run(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let TraceArgs { pid, run, options } = args;
    usage::outputs(None, &options);
    match pid {
        Some(pid) => attach(pid, &options),
        None if run.is_empty() => usage::wrong(
            None,
            ErrorKind::MissingRequiredArgument,
            "nothing to trace: give --pid PID, or -- CMD, or try `memtrace demo`",
        ),
        None => {
            let shown = run.first().map(|word| word.to_string_lossy());
            privileges::check(&format!("memtrace -- {}", shown.unwrap_or_default()))?;
            start(&run, &options, false)
        }
    }
}

fn attach(pid: u32, options: &Options) -> anyhow::Result<ExitCode> {
    privilege::claim();
    let target = Target::find(pid)?;
    privileges::check(&format!("memtrace --pid {pid}"))?;
    let views = Views::open(options, true)?;
    let events = Events::open(options)?;
    let mut sink = Sink::open(options, &views)?;
    let mut out = Out::new(
        options.color,
        sink.is_stdout() || options.events.on_stdout(),
    );
    let mut session = Session::attach(&probe_options(pid, options, false))
        .map_err(|error| not_attached(&target, error))?;
    let sampler = Sampler::open(pid);
    // Had the process ended before both were done, another one might have got its id.
    if !target.is_alive() {
        return Err(ProbeError::TargetGone(pid).into());
    }
    let sampler = sampler.with_context(|| format!("cannot read process {pid} in /proc"))?;
    let mut gauges = Gauges::open(&target, options.no_runtime);
    let events = events.begin(&mut session)?;
    privileges::shed(&session, &sampler, &mut sink, None)?;
    gauges.start();
    let events = events.start(&session, &target, &mut gauges)?;
    let (mut ended, _) = runtime()?
        .block_on(async {
            let mut until = Until::new(false)?;
            capture(
                &mut session,
                Subject {
                    target,
                    sampler,
                    gauges,
                },
                &mut out,
                options,
                &mut sink,
                views,
                &mut until,
            )
            .await
        })
        .map_err(|error| sink.so_far(error))?;
    ended.complete &= events.finish();
    let code = report(&out, sink, ended).map(Outcome::code);
    // Last, since the kernel takes its time, up to 0.1 s for each tracepoint.
    drop(session);
    code
}

/// Starts a program, and traces it from its first instruction. A `demo` ends once its workload stops itself.
pub fn start(command: &[OsString], options: &Options, demo: bool) -> anyhow::Result<ExitCode> {
    privileges::check_start()?;
    // Any other program has the terminal for itself.
    let mut views = Views::open(options, demo)?;
    let events = Events::open(options)?;
    let mut sink = Sink::open(options, &views)?;
    let mut out = Out::new(
        options.color,
        sink.is_stdout() || options.events.on_stdout(),
    );
    let rights = if demo { Rights::Bare } else { Rights::Users };
    let held = Held::start(command, rights(invoker()), views.standard_error()?)?;
    let pid = held.pid;
    let mut target = Target::find(pid)?;
    let mut session = Session::attach(&probe_options(pid, options, true))
        .map_err(|error| not_attached(&target, error))?;
    runtime()?.block_on(async {
        let mut until = Until::new(demo)?;
        let mut spawned = held.release()?;
        if !session.started()? {
            let missing = session
                .hooks()
                .iter()
                .find(|hook| matches!(hook.name, "exec" | "exit") && hook.kind.is_none());
            if let Some(hook) = missing {
                bail!(
                    "the hook {} could not be attached, so the start of the program was not seen: {}; start it yourself and give --pid",
                    hook.name,
                    hook.error.as_deref().unwrap_or("no reason given")
                );
            }
            bail!(
                "process {pid} runs, and its exec was not seen; memtrace cannot say what it holds"
            );
        }
        // What was read before is memtrace's own.
        target.renew();
        let sampler = Sampler::open(pid).with_context(|| {
            if target.is_alive() {
                format!("cannot read process {pid} in /proc")
            } else {
                "the program ended before memtrace could look at it".to_owned()
            }
        })?;
        let mut gauges = Gauges::open(&target, options.no_runtime);
        let events = events.begin(&mut session)?;
        privileges::shed(&session, &sampler, &mut sink, Some(&spawned))?;
        gauges.start();
        let events = events.start(&session, &target, &mut gauges)?;
        let (mut ended, signalled) = capture(
            &mut session,
            Subject {
                target,
                sampler,
                gauges,
            },
            &mut out,
            options,
            &mut sink,
            views,
            &mut until,
        )
        .await
        .map_err(|error| sink.so_far(error))?;
        ended.complete &= events.finish();
        let outcome = report(&out, sink, ended);
        // Nothing stays attached while the program goes on. After the report, since the kernel takes its time.
        drop(session);
        if demo {
            if spawned.signal(libc::SIGKILL).is_ok() {
                let _ = spawned.wait();
            }
            return outcome.map(Outcome::code);
        }
        let outcome = outcome?;
        if !outcome.complete {
            output::say("memtrace: the capture, or its events file, is incomplete; the exit code is the command's own");
        }
        let status = wait(&mut spawned, pid, signalled, &mut until.stop).await?;
        Ok(match shell_code(status) {
            0 if outcome.complete => outcome.code(),
            code => ExitCode::from(code),
        })
    })
}

/// Returns why a trace could not begin. That the kernel side does not find the target need not mean that it has ended.
fn not_attached(target: &Target, error: ProbeError) -> anyhow::Error {
    match error {
        ProbeError::TargetGone(_) => target
            .unseen()
            .map_or_else(|| error.into(), anyhow::Error::from),
        _ => error.into(),
    }
}

fn probe_options(pid: u32, options: &Options, wait_for_exec: bool) -> probe::Options {
    if options.bpf_log {
        logging::to_stderr();
    }
    probe::Options {
        mode: match options.mode {
            WantedMode::Best => probe::Wanted::Best,
            WantedMode::Exact => probe::Wanted::Exact,
            WantedMode::Approximate => probe::Wanted::Approximate,
        },
        wait_for_exec,
        syscalls: !options.no_syscalls,
        faults: !options.no_faults,
        bpf_log: options.bpf_log,
        self_stats: options.self_stats,
        events: options.events.selection(),
        ..probe::Options::new(pid)
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

/// What is written of the capture.
pub(super) struct Sink {
    place: Place,
    extras: Extras,
}

/// Where the capture file goes, if anywhere, and its journal.
enum Place {
    None,
    /// For what the user of a view might want to save.
    Spare(JournalFile),
    /// For files in other formats.
    Extras(JournalFile),
    Stdout(JournalFile),
    File(Pending, JournalFile),
}

impl Sink {
    fn open(options: &Options, views: &Views) -> anyhow::Result<Self> {
        let extras = Extras::open(options)?;
        let place = Place::open(options, views, !extras.is_empty())?;
        Ok(Self { place, extras })
    }

    const fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout(_))
    }

    const fn journal(&mut self) -> Option<&mut JournalFile> {
        self.place.journal()
    }

    /// An error in mid-trace, with where everything up to it is.
    fn so_far(&mut self, error: anyhow::Error) -> anyhow::Error {
        let journal = self.journal().filter(|journal| journal.has_ticks());
        match journal.and_then(|journal| journal.path()) {
            Some(path) => error.context(format!(
                "the capture ends too early; `memtrace report {}` shows it up to here",
                path.display()
            )),
            None => error,
        }
    }

    /// Whether the capture could be written with the privileges of this moment.
    pub(super) fn can_finish(&mut self) -> bool {
        self.extras.can_finish() && self.place.can_finish()
    }
}

impl Place {
    fn open(options: &Options, views: &Views, extras: bool) -> anyhow::Result<Self> {
        Ok(match options.json.as_deref() {
            None if extras => Self::Extras(JournalFile::unnamed(invoker().as_ref())?),
            None if views.takes_terminal() => {
                JournalFile::unnamed(invoker().as_ref()).map_or(Self::None, Self::Spare)
            }
            None => Self::None,
            Some(path) if usage::is_stdout(path) => {
                Self::Stdout(JournalFile::unnamed(invoker().as_ref())?)
            }
            Some(path) => {
                let (pending, journal) = Pending::create(path, invoker())?;
                Self::File(pending, journal)
            }
        })
    }

    const fn journal(&mut self) -> Option<&mut JournalFile> {
        match self {
            Self::None => None,
            Self::Spare(journal)
            | Self::Extras(journal)
            | Self::Stdout(journal)
            | Self::File(_, journal) => Some(journal),
        }
    }

    fn can_finish(&mut self) -> bool {
        match self {
            Self::None | Self::Spare(_) | Self::Extras(_) | Self::Stdout(_) => true,
            // Who may give a file its name there may also remove its own journal.
            Self::File(pending, _) => pending.can_finish(),
        }
    }
}

/// Ctrl-C and SIGTERM. The first one ends the capture; after it the second one ends the program, whatever it is doing.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

/// What ends a capture, beside its target and its time.
struct Until {
    stop: Stop,
    /// The target has been stopped: a demo.
    target_stops: bool,
}

impl Until {
    fn new(target_stops: bool) -> anyhow::Result<Self> {
        let stop = Stop::new()?;
        Ok(Self { stop, target_stops })
    }
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => libc::SIGINT,
            _ = self.terminate.recv() => libc::SIGTERM,
        }
    }

    /// From now on, they end the program.
    fn over(&self) {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: back to the default action, which touches no memory of this program.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Registers a descriptor that the value owns, for as long as it lives.
fn watched<T: AsFd + AsRawFd>(value: T) -> anyhow::Result<AsyncFd<T>> {
    // SAFETY: every type that comes here owns its descriptor, and always names the same one.
    unsafe { AsyncFd::register(value) }.map_err(|error| {
        anyhow::anyhow!("cannot watch a file descriptor: {}", error.into_parts().1)
    })
}

/// Runs until something ends the capture; also says which signal it was.
async fn capture(
    session: &mut Session,
    subject: Subject,
    out: &mut Out,
    options: &Options,
    sink: &mut Sink,
    views: Views,
    until: &mut Until,
) -> anyhow::Result<(Ended, Option<i32>)> {
    memory::give_back();
    let watch = "cannot watch a file descriptor";
    let events = watched(session.events_fd().context(watch)?)?;
    let pidfd: OwnedFd = subject.target.as_fd().try_clone_to_owned().context(watch)?;
    let ended = watched(pidfd)?;
    let mut log = if options.bpf_log {
        Some(watched(session.logger()?)?)
    } else {
        None
    };
    let begun = Instant::now();
    let deadline = options.duration.map(|duration| begun + duration);
    let mut ticks = interval_at(begun + options.interval, options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut grace = None;
    let mut signalled = None;
    let mut by_hand = false;
    let spare = matches!(sink.place, Place::Spare(_));
    let lines = !options.quiet && !views.takes_terminal();
    if views.takes_terminal() {
        out.hold();
    }
    let mut capturing = Capturing::begin(session, subject, out, options, lines, sink.journal())?;
    let mut asked = None;
    let mut shown: Option<Shown> = None;
    if views.wanted() {
        let (viewer, commands) = capturing.watched()?;
        asked = Some(commands);
        shown = Some(views.show(&viewer)?);
    }
    let end = loop {
        if capturing.journal_stopped() {
            if !spare {
                break End::Interrupted;
            }
            capturing.drop_journal();
        }
        tokio::select! {
            biased;
            signal = until.stop.next() => {
                signalled = Some(signal);
                by_hand = true;
                break End::Signal;
            }
            ready = events.readable() => {
                ready.context(watch)?.clear_ready();
                if capturing.epochs()? {
                    break End::TargetExited;
                }
            }
            () = at(grace) => break End::TargetExited,
            ready = ended.readable(), if grace.is_none() => {
                ready.context(watch)?.retain_ready();
                if capturing.epochs()? {
                    break End::TargetExited;
                }
                grace = Some(Instant::now() + GRACE);
            }
            () = at(deadline) => break End::Duration,
            () = flush(&mut log) => {}
            command = command(&mut asked) => match command {
                Command::Quit => {
                    by_hand = true;
                    break End::Signal;
                }
                Command::Interval(interval) => {
                    capturing.set_interval(interval);
                    ticks = interval_at(Instant::now() + interval, interval);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                }
                Command::Save(path) => {
                    if capturing.epochs()? {
                        break End::TargetExited;
                    }
                    capturing.save(path)?;
                }
            },
            _ = ticks.tick() => {
                if capturing.epochs()? {
                    break End::TargetExited;
                }
                capturing.tick()?;
                if until.target_stops && capturing.is_stopped() {
                    break End::Duration;
                }
                if capturing.reader_gone() {
                    break End::Signal;
                }
            }
        }
    };
    // The terminal is as it was before a second signal may end the program, and before anything is printed.
    if let Some(shown) = &mut shown {
        shown.free_terminal();
    }
    if by_hand {
        until.stop.over();
    }
    let ended = capturing.finish(end)?;
    drop(shown);
    out.release();
    Ok((ended, signalled))
}

/// What a view asks for; without views, nothing ever is.
async fn command(asked: &mut Option<UnboundedReceiver<Command>>) -> Command {
    let next = match asked {
        Some(asked) => asked.recv().await,
        None => None,
    };
    match next {
        Some(command) => command,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn flush(log: &mut Option<AsyncFd<probe::KernelLog>>) {
    match log {
        Some(log) => {
            if let Ok(mut ready) = log.readable_mut().await {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        }
        None => std::future::pending().await,
    }
}

/// What a capture came to.
struct Outcome {
    complete: bool,
    /// The rule of `--fail-on` that was found.
    found: Option<String>,
}

impl Outcome {
    fn code(self) -> ExitCode {
        match self {
            Self {
                complete: false, ..
            } => ExitCode::from(exit::INCOMPLETE),
            Self {
                found: Some(id), ..
            } => {
                output::say(&format!(
                    "memtrace: --fail-on {id}: it was found, so the exit code is {}",
                    exit::FOUND
                ));
                ExitCode::from(exit::FOUND)
            }
            Self { .. } => ExitCode::SUCCESS,
        }
    }
}

/// Writes the capture file.
fn report(out: &Out, sink: Sink, ended: Ended) -> anyhow::Result<Outcome> {
    let Ended {
        last,
        complete,
        found,
        stopped,
    } = ended;
    let Sink { mut place, extras } = sink;
    // Of a capture that was cut short, there is the journal. Whatever becomes of these, the capture itself is written.
    let extras = match place.journal().filter(|_| stopped.is_none()) {
        Some(journal) => extras.write(journal.contents()),
        None => Ok(()),
    };
    match (place, stopped) {
        (Place::None | Place::Spare(_) | Place::Extras(_), None)
        | (Place::None | Place::Spare(_), Some(_)) => {}
        (Place::Extras(_), Some(stopped)) => return Err(stopped.into()),
        (Place::Stdout(journal), stopped) => {
            // Of a journal that could be written no further, nothing is left but what is written now.
            assemble(
                journal.contents(),
                &last,
                BufWriter::new(io::stdout().lock()),
            )
            .context("cannot write the capture to standard output")?;
            stopped.map_or(Ok(()), Err)?;
        }
        (Place::File(pending, journal), Some(stopped)) => {
            if journal.path().is_none() {
                pending.write(|file| assemble(journal.contents(), &last, file))?;
            }
            return Err(stopped.into());
        }
        (Place::File(pending, journal), None) => {
            let written = pending.write(|file| assemble(journal.contents(), &last, file));
            match (&written, journal.path()) {
                (Ok(()) | Err(FileError::NotNamed { .. }), _) => {
                    if let Err(error) = journal.remove() {
                        output::say(&format!("memtrace: {error}"));
                    }
                    written?;
                }
                (Err(_), Some(path)) => {
                    let kept = format!(
                        "the capture is kept whole as {0}; to see it, type: memtrace report {0}",
                        path.display()
                    );
                    written.map_err(|error| anyhow::anyhow!("{error}; {kept}"))?;
                }
                (Err(_), None) => written?,
            }
        }
    }
    extras?;
    if let Some(failure) = out.failure() {
        bail!("{failure}");
    }
    Ok(Outcome { complete, found })
}

/// Waits for the program, whose exit code is ours.
async fn wait(
    spawned: &mut Spawned,
    pid: u32,
    signalled: Option<i32>,
    stop: &mut Stop,
) -> anyhow::Result<ExitStatus> {
    // A terminal sends Ctrl-C to the program too; a SIGTERM came to memtrace alone.
    if signalled == Some(libc::SIGTERM)
        && let Err(error) = spawned.signal(libc::SIGTERM)
    {
        output::say(&format!(
            "memtrace: cannot pass SIGTERM on to process {pid}, which runs as another user now: {error}"
        ));
    }
    let mut said = false;
    loop {
        if let Some(status) = spawned.try_wait()? {
            return Ok(status);
        }
        tokio::select! {
            _ = stop.next() => stop.over(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        if !said && spawned.try_wait()?.is_none() {
            said = true;
            output::say(&format!(
                "memtrace: the capture has ended, the command goes on as process {pid}; waiting for its exit code"
            ));
        }
    }
}

fn shell_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(exit::ERROR)
}
