//! `memtrace --pid N` and `memtrace -- CMD ARGS…`.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
};

use super::{
    args::{Options, TraceArgs, WantedMode},
    events::Events,
    exit,
    fail_on::Failing,
    feed::Command,
    journal::Writing,
    lines::Lines,
    logging, memory,
    observers::Observers,
    output::{self, Out},
    privileges,
    sink::{Ended, Outcome, Sink, report},
    usage,
    views::Views,
    watched::Watched,
};
use crate::{
    capture::{self, CaptureError, Capturing, Finished, Order, Plan, Subject},
    model::End,
    observe::{Gauges, Sampler},
    privilege::{self, invoker},
    probe::{self, ProbeError, Session},
    process::{Held, Rights, Spawned, Target},
};

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
    let outputs = Outputs::open(options, views)?;
    let mut session = Session::attach(&probe_options(pid, options, false))
        .map_err(|error| not_attached(&target, error))?;
    let sampler = Sampler::open(pid);
    // Had the process ended before both were done, another one might have got its id.
    if !target.is_alive() {
        return Err(ProbeError::TargetGone(pid).into());
    }
    let sampler = sampler.with_context(|| format!("cannot read process {pid} in /proc"))?;
    let subject = Subject {
        gauges: Gauges::open(&target, options.no_runtime),
        target,
        sampler,
    };
    let code = runtime()?.block_on(async {
        let mut until = Until::new(false)?;
        let traced = trace(&mut session, subject, options, outputs, None, &mut until).await?;
        traced.outcome.map(Outcome::code)
    });
    // Last, since the kernel takes its time, up to 0.1 s for each tracepoint.
    drop(session);
    code
}

/// Starts a program, and traces it from its first instruction. A `demo` ends once its workload stops itself.
pub fn start(command: &[OsString], options: &Options, demo: bool) -> anyhow::Result<ExitCode> {
    privileges::check_start()?;
    // Any other program has the terminal for itself.
    let mut views = Views::open(options, demo)?;
    let standard_error = views.standard_error()?;
    let outputs = Outputs::open(options, views)?;
    let rights = if demo { Rights::Bare } else { Rights::Users };
    let held = Held::start(command, rights(invoker()), standard_error)?;
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
        let subject = Subject {
            gauges: Gauges::open(&target, options.no_runtime),
            target,
            sampler,
        };
        let spawn = Some(&spawned);
        let Traced { outcome, signalled } =
            trace(&mut session, subject, options, outputs, spawn, &mut until).await?;
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

/// Everything that a capture is written and shown on, opened before anything is attached.
struct Outputs {
    views: Views,
    events: Events,
    sink: Sink,
    out: Out,
}

impl Outputs {
    fn open(options: &Options, views: Views) -> anyhow::Result<Self> {
        let events = Events::open(&options.events)?;
        let sink = Sink::open(options, &views)?;
        let is_taken = sink.is_stdout() || options.events.on_stdout();
        Ok(Self {
            views,
            events,
            sink,
            out: Out::new(options.color, is_taken),
        })
    }
}

/// A capture that was written.
struct Traced {
    outcome: anyhow::Result<Outcome>,
    /// The signal that ended it.
    signalled: Option<i32>,
}

/// Gives up what is needed no more, captures, and writes the results.
async fn trace(
    session: &mut Session,
    mut subject: Subject,
    options: &Options,
    outputs: Outputs,
    spawned: Option<&Spawned>,
    until: &mut Until,
) -> anyhow::Result<Traced> {
    let Outputs {
        views,
        events,
        mut sink,
        mut out,
    } = outputs;
    let events = events.begin(session)?;
    let mut names = || sink.can_finish();
    let Subject {
        sampler, gauges, ..
    } = &mut subject;
    privileges::drop_privileges(session, sampler, &mut names, spawned, &mut || {
        gauges.start();
    })?;
    let events = events.start(session, &mut subject)?;
    let captured = capture(session, subject, &mut out, options, &mut sink, views, until);
    let (mut ended, signalled) = captured.await.map_err(|error| sink.so_far(error))?;
    ended.complete &= events.finish();
    Ok(Traced {
        outcome: report(&out, sink, ended),
        signalled,
    })
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

/// Runs until something ends the capture. Also returns the signal that did, if one did.
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
    let mut log = if options.bpf_log {
        Some(capture::watched(session.logger()?)?)
    } else {
        None
    };
    if views.takes_terminal() {
        out.hold();
    }
    let observers = Observers {
        spare: sink.is_spare(),
        journal: sink.journal().map(Writing::new),
        lines: Lines::new(out, !options.quiet && !views.takes_terminal()),
        watched: views.wanted().then(Watched::default),
        failing: Failing::new(&options.fail_on),
    };
    let plan = plan(options, until.target_stops);
    let mut capturing = Capturing::begin(session, subject, plan, observers)?;
    let watched = capturing.observer().watched.as_mut();
    let (mut shown, mut asked) = match watched.and_then(Watched::show) {
        Some((viewer, asked)) => (Some(views.show(&viewer)?), Some(asked)),
        None => (None, None),
    };
    let mut signalled = None;
    let mut by_hand = false;
    let orders = async || {
        loop {
            tokio::select! {
                biased;
                signal = until.stop.next() => {
                    signalled = Some(signal);
                    by_hand = true;
                    return Order::End(End::Signal);
                }
                () = flush(&mut log) => {}
                command = command(&mut asked) => match command {
                    Command::Quit => {
                        by_hand = true;
                        return Order::End(End::Signal);
                    }
                    Command::Interval(interval) => return Order::Interval(interval),
                    Command::Save(path) => {
                        let save = |observers: &mut Observers<'_>| observers.save(path);
                        return Order::Fresh(Box::new(save));
                    }
                },
            }
        }
    };
    let end = capturing.run(orders).await.map_err(of_the_probe)?;
    // The terminal is as it was before a second signal may end the program, and before anything is printed.
    if let Some(shown) = &mut shown {
        shown.free_terminal();
    }
    if by_hand {
        until.stop.over();
    }
    let Finished {
        last,
        complete,
        observer,
    } = capturing.finish(end)?;
    let Observers {
        journal, failing, ..
    } = observer;
    let ended = Ended {
        last,
        complete,
        found: failing.found,
        stopped: journal.and_then(Writing::into_stopped),
    };
    drop(shown);
    out.release();
    Ok((ended, signalled))
}

fn plan(options: &Options, ends_when_stopped: bool) -> Plan {
    Plan {
        interval: options.interval,
        duration: options.duration,
        smaps_limit: (!options.no_smaps).then_some(options.smaps_limit),
        self_stats: options.self_stats,
        ends_when_stopped,
    }
}

/// Keeps errors of the kernel side what they are, for the hint at `memtrace doctor`.
fn of_the_probe(error: CaptureError) -> anyhow::Error {
    match error {
        CaptureError::Probe(error) => error.into(),
        error => error.into(),
    }
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
