//! The hooks, as trying them came out, and the verdict.

use super::{AttemptInfo, Check, Section, TraceMode, Trials, Tried, Verdict};
use crate::{
    model::{HookInfo, HookKind},
    probe::{Attempt, Hook, OwnLedger, Way},
    text::format::size,
};

/// The system calls whose calls and bytes are counted, in the order in which they were tried.
fn calls(attempts: &[Attempt]) -> impl Iterator<Item = &Attempt> {
    attempts
        .iter()
        .filter(|attempt| attempt.way == Way::Hook(HookKind::Fentry))
}

fn tried_as<'a>(attempts: &'a [Attempt], hook: &str, kind: HookKind) -> Option<&'a Attempt> {
    attempts
        .iter()
        .find(|attempt| attempt.hook == hook && attempt.way == Way::Hook(kind))
}

/// Whether every system call is hooked, in whichever way.
pub(super) fn calls_are_hooked(trials: &Trials) -> bool {
    if let Some(own) = without_ledger(trials) {
        return own
            .hooks
            .iter()
            .filter(|hook| hook.is_call())
            .all(|hook| hook.kind.is_some());
    }
    trials.hooks.done().is_some_and(|attempts| {
        calls(attempts).all(|call| {
            call.error.is_none()
                || tried_as(attempts, call.hook, HookKind::Tracepoint)
                    .is_some_and(|attempt| attempt.error.is_none())
        })
    })
}

/// Whether the kernel was asked for a tracepoint, and refused it.
pub(super) fn tracepoints_refused(trials: &Trials) -> bool {
    trials.hooks.done().is_some_and(|attempts| {
        attempts.iter().any(|attempt| {
            attempt.way == Way::Hook(HookKind::Tracepoint) && attempt.error.is_some()
        })
    })
}

/// What is lost where a trace is approximate.
pub(super) const NO_LEDGER: &str = "the ledger: RSS is sampled, and no cause has pages";

/// What is lost without a hook.
fn cost(hook: &str) -> String {
    match hook {
        "rss" | "find_target" => NO_LEDGER.to_owned(),
        "exit" => "-- CMD; the row exit; the last figures of a process that ends".to_owned(),
        "exec" => "-- CMD; an exec of the process goes unseen, and ends what is known".to_owned(),
        "fork" => "the number of children forked".to_owned(),
        "faults_user" | "faults_kernel" => "faults/s; the line page faults".to_owned(),
        call => format!("calls, failed, requested of {call}"),
    }
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Section::Hooks, id, title)
}

fn hook(name: &str) -> Check {
    Check::new(
        Section::Hooks,
        format!("hook_{name}"),
        match name {
            "find_target" => "iter/task".to_owned(),
            name => name.to_owned(),
        },
    )
}

pub(super) fn checks(trials: &Trials) -> Vec<Check> {
    let attempts = match &trials.hooks {
        Tried::Done(attempts) => attempts,
        Tried::Not(why) => {
            return vec![check("hooks", "hooks").unknown(format!("not tried: {why}"))];
        }
        Tried::Failed(why) => {
            let mut checks = vec![
                check("hooks", "hooks of the ledger")
                    .limited(format!("not tried: {why}"))
                    .costs(NO_LEDGER),
            ];
            checks.extend(chosen_hooks(trials));
            checks.push(own_ledger(trials));
            return checks;
        }
    };
    let mut checks = chosen_hooks(trials);
    if !checks.is_empty() {
        checks.push(own_ledger(trials));
        return checks;
    }
    for attempt in attempts {
        let check = hook(attempt.hook);
        let way = match attempt.way {
            Way::Hook(HookKind::TpBtf) => "by BTF tracepoint",
            Way::Iterator => "by an iterator, read once",
            // A call has two ways: below.
            Way::Hook(HookKind::Fentry | HookKind::Tracepoint) => continue,
        };
        checks.push(match &attempt.error {
            None => check.ok(way),
            Some(error) => check
                .limited(format!("refused: {error}"))
                .costs(cost(attempt.hook)),
        });
    }
    checks.extend(calls(attempts).map(|call| {
        let check = hook(call.hook);
        let tracepoint = tried_as(attempts, call.hook, HookKind::Tracepoint);
        match (&call.error, tracepoint.map(|attempt| &attempt.error)) {
            (None, _) => check.ok("by fentry"),
            (Some(_), Some(None)) => check.ok("by tracepoint"),
            (Some(fentry), Some(Some(error))) => check
                .limited(format!("refused: {error}; fentry: {fentry}"))
                .costs(cost(call.hook)),
            (Some(fentry), None) => check
                .limited(format!("refused: {fentry}"))
                .costs(cost(call.hook)),
        }
    }));
    checks.push(fentry(attempts, trials));
    checks.push(own_ledger(trials));
    checks
}

/// The session on memtrace itself, where it works and has no ledger.
fn without_ledger(trials: &Trials) -> Option<&OwnLedger> {
    trials.own.done().filter(|own| own.no_ledger.is_some())
}

/// The hooks of a session without a ledger; none where there is one. What was tried one by one are the ledger's programs; these
/// are the approximate mode's, which ask less of the kernel.
fn chosen_hooks(trials: &Trials) -> Vec<Check> {
    let Some(own) = without_ledger(trials) else {
        return Vec::new();
    };
    let mut checks: Vec<Check> = own.hooks.iter().map(chosen).collect();
    checks.push(own_fentry(&own.hooks));
    checks
}

/// A hook as the session attached it.
fn chosen(own: &Hook) -> Check {
    let check = hook(own.name);
    match own.kind {
        Some(HookKind::Fentry) => check.ok("by fentry"),
        Some(HookKind::Tracepoint) => check.ok("by tracepoint"),
        Some(HookKind::TpBtf) => check.ok("by BTF tracepoint"),
        None => check
            .limited(format!(
                "refused: {}",
                own.error.as_deref().unwrap_or("no reason given")
            ))
            .costs(cost(own.name)),
    }
}

/// The kinder way to hook system calls, as the session without a ledger found it.
fn own_fentry(hooks: &[Hook]) -> Check {
    let check = check("fentry", "fentry");
    let refused = hooks
        .iter()
        .filter(|hook| hook.is_call())
        .find_map(|hook| hook.fallback.as_deref().or(hook.error.as_deref()));
    match refused {
        None => check.ok("all system calls: other processes pay nothing"),
        Some(error) => check
            .limited(format!("refused: {error}"))
            .costs(TRACEPOINT_COST)
            .advise(TRACEPOINT_ADVICE),
    }
}

const TRACEPOINT_COST: &str = "no column. While a trace runs, every system call of every process on the host takes \
                               some 50 ns longer";
const TRACEPOINT_ADVICE: &str =
    "--no-syscalls spares the host that, without calls, failed, requested";

/// The kinder way to hook system calls.
fn fentry(attempts: &[Attempt], trials: &Trials) -> Check {
    let check = check("fentry", "fentry");
    let refused: Vec<&Attempt> = calls(attempts)
        .filter(|call| call.error.is_some())
        .collect();
    let Some(error) = refused.first().and_then(|call| call.error.as_deref()) else {
        return check.ok("all system calls: other processes pay nothing");
    };
    let what = if refused.len() == calls(attempts).count() {
        "refused".to_owned()
    } else {
        let names: Vec<&str> = refused.iter().map(|call| call.hook).collect();
        format!("refused for {}", names.join(" "))
    };
    let check = check.limited(format!("{what}: {error}"));
    if calls_are_hooked(trials) {
        check.costs(TRACEPOINT_COST).advise(TRACEPOINT_ADVICE)
    } else {
        check.costs("calls, failed, requested, where tracepoints are refused too")
    }
}

/// memtrace on itself.
fn own_ledger(trials: &Trials) -> Check {
    let check = check("own_ledger", "a trace of itself");
    match &trials.own {
        Tried::Not(why) => check.unknown(format!("not tried: {why}")),
        Tried::Failed(why) => check.missing(why).costs("everything"),
        Tried::Done(own) => {
            let mapped = size(own.mapped_bytes);
            let found = match (&own.no_ledger, own.asked_bytes) {
                (None, _) => format!(
                    "memtrace mapped {mapped}, and its ledger shows {}",
                    crate::text::format::change(own.seen_bytes)
                ),
                (Some(_), Some(asked)) => format!(
                    "without a ledger: memtrace mapped {mapped}, and mmap was seen to ask for {}",
                    size(asked)
                ),
                (Some(_), None) => "without a ledger, and mmap is not hooked".to_owned(),
            };
            if own.is_right() {
                check.ok(found)
            } else {
                check
                    .missing(found)
                    .costs("everything: what the ledger shows is not this process")
            }
        }
    }
}

pub(super) fn attempts(trials: &Trials) -> Vec<AttemptInfo> {
    let attempts = trials.hooks.done().into_iter().flatten();
    attempts
        .map(|attempt| AttemptInfo {
            hook: attempt.hook.into(),
            kind: match attempt.way {
                Way::Hook(kind) => kind.name(),
                Way::Iterator => "iter",
            }
            .into(),
            attached: attempt.error.is_none(),
            error: attempt.error.clone(),
        })
        .collect()
}

/// By the session on memtrace itself: it chose its hooks as a trace does.
pub(super) fn verdict(trials: &Trials) -> Verdict {
    let none = |reason: String| Verdict {
        mode: TraceMode::None,
        reason,
        hooks: Vec::new(),
    };
    match &trials.own {
        Tried::Not(why) | Tried::Failed(why) => none(why.clone()),
        Tried::Done(own) if !own.is_right() => none(format!(
            "a session on memtrace itself did not see what it mapped: {} of {}",
            own.asked_bytes
                .filter(|_| own.no_ledger.is_some())
                .map_or(own.seen_bytes, u64::cast_signed),
            own.mapped_bytes
        )),
        Tried::Done(own) => Verdict {
            mode: if own.no_ledger.is_none() {
                TraceMode::Exact
            } else {
                TraceMode::Approximate
            },
            reason: match &own.no_ledger {
                Some(reason) => format!("RSS is sampled, there is no ledger: {reason}"),
                None if own.slack_bytes == 0 => {
                    "the ledger sees every change of RSS, to the page".to_owned()
                }
                None => {
                    "the ledger sees every change of RSS; each thread keeps the pages of up to \
                         65 faults to itself (before Linux 6.2)"
                        .to_owned()
                }
            },
            hooks: own.hooks.iter().map(HookInfo::from).collect(),
        },
    }
}
