//! What a capture says of the host, the process and itself.

use std::time::{Duration, SystemTime};

use crate::{
    ledger::Reading,
    model::{
        CaptureInfo, Children, End, HookInfo, HostInfo, LossInfo, ProgramStats, SelfStats,
        TargetInfo,
    },
    observe::{Gauges, own},
    probe::Session,
    proc::Class,
    process::Target,
    text::time::rfc3339,
};

/// Why a 32-bit process has no calls. The kernel's tracepoints leave them out, and `fentry` is on the native calls' functions.
const COMPAT: &str =
    "32-bit process: its system calls cannot be hooked, so calls and requested bytes are not known";
/// The same of one that ended, or went on to its next program, before memtrace could look.
const UNSEEN: &str = "no call was seen, and it is not known whether this was a 32-bit process, whose system calls cannot be hooked";

/// Returns the host.
#[must_use]
pub fn host_info(session: &Session) -> HostInfo {
    let host = session.host();
    HostInfo {
        kernel: host.kernel.as_str().into(),
        arch: host.arch.as_str().into(),
        page_size: host.page_size,
        cpus: host.online_cpus,
    }
}

/// Returns the process, with what runs in it.
#[must_use]
pub fn target_info(target: &Target, gauges: &Gauges) -> TargetInfo {
    let exe = target.exe.as_ref();
    TargetInfo {
        pid: target.pid,
        comm: target.comm.as_str().into(),
        exe: exe.map(|exe| exe.to_string_lossy().into()),
        cmdline: target
            .cmdline
            .iter()
            .map(|word| word.as_str().into())
            .collect(),
        start_time: target.start_time,
        runtime: gauges.runtime(),
    }
}

/// Returns how an epoch is captured, at its beginning.
pub(super) fn capture_info(
    session: &Session,
    interval: Duration,
    blind: Option<&str>,
    first: &Reading,
) -> CaptureInfo {
    let losses = losses(first);
    CaptureInfo {
        started_at: rfc3339(SystemTime::now()).unwrap_or_default().into(),
        duration_ns: 0,
        interval_ns: nanos(interval),
        mode: session.mode(),
        mode_note: mode_note(session).map(Into::into),
        hooks: hook_info(session, blind),
        lost_events: losses.total(),
        losses,
        self_stats: None,
        children: children(session, first),
        end: End::Interrupted,
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn is_attached(session: &Session, name: &str) -> bool {
    let mut hooks = session.hooks().iter();
    hooks.any(|hook| hook.name == name && hook.kind.is_some())
}

/// Returns what was not counted. The kernel is asked for skipped runs once, at the end: that reads a file per program.
pub(super) const fn losses(reading: &Reading) -> LossInfo {
    let losses = reading.losses;
    LossInfo {
        ring_buffer: losses.events,
        calls: losses.calls,
        errnos: losses.errnos,
        counter_reads: losses.reads,
        epochs: losses.epochs,
        skipped_runs: None,
        single_events: losses.single,
    }
}

pub(super) fn children(session: &Session, reading: &Reading) -> Option<Children> {
    is_attached(session, "fork").then_some(Children {
        forked: reading.forks,
        last_pid: (reading.last_child > 0).then_some(reading.last_child),
    })
}

/// Returns why no call can have been seen; `None` if calls are seen.
pub(super) fn blind(class: Option<Class>, reading: &Reading) -> Option<&'static str> {
    if reading.calls.iter().any(|call| call.calls > 0) {
        return None;
    }
    match class {
        Some(Class::Bits64) => None,
        Some(Class::Bits32) => Some(COMPAT),
        None => Some(UNSEEN),
    }
}

pub(super) fn hook_info(session: &Session, blind: Option<&str>) -> Vec<HookInfo> {
    let hooks = session.hooks().iter();
    hooks
        .map(|hook| match blind {
            Some(why) if hook.kind.is_some() && hook.is_call() => HookInfo {
                name: hook.name.into(),
                kind: None,
                error: Some(why.into()),
                fallback: None,
            },
            _ => HookInfo::from(hook),
        })
        .collect()
}

/// Returns the hooks that count what the epoch's program does.
pub(super) fn hooked(session: &Session, blind: Option<&str>) -> Vec<&'static str> {
    let hooks = session.hooks().iter();
    hooks
        .filter(|hook| hook.kind.is_some() && !(blind.is_some() && hook.is_call()))
        .map(|hook| hook.name)
        .collect()
}

fn mode_note(session: &Session) -> Option<String> {
    if let Some(reason) = session.no_ledger() {
        return Some(format!("RSS is sampled, there is no ledger: {reason}"));
    }
    session.threads_keep_pages().then(|| {
        "within the pages of 65 faults per thread, which this kernel lets each thread keep to itself".to_owned()
    })
}

pub(super) fn self_stats(session: &Session) -> SelfStats {
    let own = own();
    let programs = session.program_runs().into_iter();
    SelfStats {
        programs: programs
            .map(|program| ProgramStats {
                name: program.name.into(),
                runs: program.runs,
                time_ns: program.time_ns,
                ns_per_run: program
                    .time_ns
                    .zip(program.runs)
                    .and_then(|(ns, runs)| ns.checked_div(runs)),
                skipped_runs: program.skipped,
            })
            .collect(),
        cpu_user_ns: own.user_ns,
        cpu_system_ns: own.system_ns,
        rss_bytes: own.rss,
        rss_peak_bytes: own.rss_peak,
    }
}
