//! Attaching: each hook in the best way that this kernel takes, and a name for each that it does not.

use std::{
    collections::HashMap,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, Program, TracePoint},
};

use super::{
    Hook, ProbeError,
    error::{Refusal, chain},
    hooks::{CALLS, Call, ITERATOR, TRACEPOINTS, function},
    session::Options,
    tracefs,
};
use crate::model::HookKind;

/// The object's programs by name: so that two threads can take their own.
pub(super) type Parts<'a> = HashMap<&'a str, &'a mut Program>;

/// All programs of the object.
pub(super) fn programs(ebpf: &mut Ebpf) -> Parts<'_> {
    ebpf.programs_mut().collect()
}

/// Takes those programs out that hook system calls.
fn take_calls<'a>(parts: &mut Parts<'a>, programs: &Programs) -> Parts<'a> {
    CALLS
        .iter()
        .map(programs.functions)
        .chain(programs.tracepoints.map(|(name, _)| (name, name)))
        .flat_map(|(enter, exit)| [enter, exit])
        .filter_map(|name| parts.remove_entry(name))
        .collect()
}

pub(super) fn program<'a, P>(
    parts: &'a mut Parts<'_>,
    name: &'static str,
) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    parts
        .get_mut(name)
        .and_then(|program| <&mut P>::try_from(&mut **program).ok())
        .ok_or_else(|| ProbeError::Load(format!("no program {name} in the object")))
}

const FINDER: &str = "find_target";

fn no_finder(error: &(dyn std::error::Error + 'static)) -> ProbeError {
    ProbeError::Ledger {
        hook: "iter/task",
        reason: chain(error),
    }
}

/// Loads the iterator over all tasks.
pub(super) fn load_finder(parts: &mut Parts<'_>, btf: &AyaBtf) -> Result<(), ProbeError> {
    let finder: &mut Iter = program(parts, FINDER)?;
    finder
        .load(ITERATOR, btf)
        .map_err(|error| no_finder(&error))
}

/// Runs the iterator over all tasks once; it finds the target and starts the first epoch.
pub(super) fn find_target(parts: &mut Parts<'_>) -> Result<(), ProbeError> {
    let finder: &mut Iter = program(parts, FINDER)?;
    let link = finder.attach().map_err(|error| no_finder(&error))?;
    let link = finder.take_link(link).map_err(|error| no_finder(&error))?;
    let mut file = link.into_file().map_err(|error| no_finder(&error))?;
    // The program writes nothing; reading to the end runs it on every task.
    file.read_to_end(&mut Vec::new())
        .map_err(|error| no_finder(&error))?;
    drop(file);
    // It has done its work.
    finder.unload().map_err(|error| no_finder(&error))
}

/// Attaches the system calls' hooks beside everything else. What takes time is the kernel's verifier, which works for one of their
/// programs as long as for all others together.
fn beside_calls<T>(
    parts: &mut Parts<'_>,
    btf: Option<&AyaBtf>,
    wanted: bool,
    programs: &Programs,
    others: impl FnOnce(&mut Parts<'_>) -> Result<T, ProbeError>,
) -> Result<(T, Vec<Hook>), ProbeError> {
    if !wanted {
        return Ok((others(parts)?, Vec::new()));
    }
    let mut of_calls = take_calls(parts, programs);
    let given_up = &AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = thread::Builder::new()
            .name("calls".to_owned())
            .spawn_scoped(scope, move || {
                attach_calls(&mut of_calls, btf, programs, given_up)
            });
        let done = others(parts);
        given_up.store(done.is_err(), Ordering::Relaxed);
        let hooks = match calls {
            Ok(thread) => thread
                .join()
                .map_err(|_| "the thread that attaches it ended early".to_owned()),
            Err(error) => Err(format!("cannot start a thread: {error}")),
        };
        let hooks = hooks.unwrap_or_else(|error| {
            CALLS
                .iter()
                .map(|call| Hook::missing(call.name, error.clone()))
                .collect()
        });
        Ok((done?, hooks))
    })
}

/// Attaches everything that `options` asks for, and finds the target; what cannot be attached is in the list, with its reason.
pub(super) fn attach_all(
    parts: &mut Parts<'_>,
    btf: &AyaBtf,
    options: &Options,
) -> Result<Vec<Hook>, ProbeError> {
    let (mut hooks, calls) = beside_calls(parts, Some(btf), options.syscalls, &EXACT, |parts| {
        let hooks = attach_ledger(parts, btf, options)?;
        load_finder(parts, btf)?;
        Ok(hooks)
    })?;
    hooks.extend(calls);
    // All hooks are there by now, so that nothing is missed of what the ledger begins with.
    find_target(parts)?;
    Ok(hooks)
}

fn attach_ledger(
    parts: &mut Parts<'_>,
    btf: &AyaBtf,
    options: &Options,
) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = Vec::new();
    let wanted = TRACEPOINTS
        .into_iter()
        .filter(|(name, _)| options.faults || !name.starts_with("faults"));
    for (name, tracepoint) in wanted {
        let attached = if name == "exit" && options.exit_by_function {
            Err(Refusal("not asked for".to_owned()))
        } else {
            attach_btf(parts, btf, tracepoint, tracepoint)
        };
        match attached {
            Ok(()) => hooks.push(Hook::attached(name, HookKind::TpBtf)),
            Err(reason) if name == "rss" => {
                return Err(ProbeError::Ledger {
                    hook: "tp_btf/rss_stat",
                    reason: reason.0,
                });
            }
            // The tracepoint came with 6.1; the function was there before.
            Err(reason) if name == "exit" => hooks.push(
                match attach_exit(parts, btf, "exit_mmap_done", tracepoint) {
                    Ok(()) => Hook::attached(name, HookKind::Fentry),
                    Err(error) => Hook::missing(name, format!("{reason}; fexit: {error}")),
                },
            ),
            Err(reason) => hooks.push(Hook::missing(name, reason.0)),
        }
    }
    Ok(hooks)
}

/// Attaches everything of the approximate mode that `options` asks for, and that this kernel takes.
pub(super) fn attach_approximate(
    parts: &mut Parts<'_>,
    btf: Option<&AyaBtf>,
    options: &Options,
    reason: &str,
) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = vec![Hook::missing("rss", reason.to_owned())];
    let (others, calls) = beside_calls(parts, btf, options.syscalls, &APPROXIMATE, |parts| {
        Ok(attach_samples(parts, btf, options))
    })?;
    hooks.extend(others);
    hooks.extend(calls);
    if hooks.iter().all(|hook| hook.kind.is_none()) {
        return Err(ProbeError::NoHook(
            hooks
                .into_iter()
                .filter_map(|hook| Some(format!("{}: {}", hook.name, hook.error?)))
                .collect::<Vec<_>>()
                .join("; "),
        ));
    }
    Ok(hooks)
}

/// What the approximate mode counts beside the calls.
fn attach_samples(parts: &mut Parts<'_>, btf: Option<&AyaBtf>, options: &Options) -> Vec<Hook> {
    let mut hooks = Vec::new();
    let mut tracepoints = vec![("exec", "approx_exec", "sched", "sched_process_exec")];
    if options.faults {
        tracepoints.extend([
            (
                "faults_user",
                "approx_fault_user",
                "exceptions",
                "page_fault_user",
            ),
            (
                "faults_kernel",
                "approx_fault_kern",
                "exceptions",
                "page_fault_kernel",
            ),
        ]);
    }
    let results = tracefs::with(|| {
        tracepoints
            .iter()
            .map(|&(_, program, category, tracepoint)| {
                attach_tracepoint(parts, program, category, tracepoint)
            })
            .collect()
    })
    .unwrap_or_else(|error| vec![Err(Refusal(error.to_string())); tracepoints.len()]);
    for (&(name, ..), result) in tracepoints.iter().zip(results) {
        hooks.push(match result {
            Ok(()) => Hook::attached(name, HookKind::Tracepoint),
            Err(error) => Hook::missing(name, error.0),
        });
    }
    hooks.push(
        match btf
            .ok_or_else(|| Refusal(NO_BTF.to_owned()))
            .and_then(|btf| attach_btf(parts, btf, "approx_fork", "sched_process_fork"))
        {
            Ok(()) => Hook::attached("fork", HookKind::TpBtf),
            Err(error) => Hook::missing("fork", error.0),
        },
    );
    hooks
}

/// Why something that needs BTF is missing.
const NO_BTF: &str = "this kernel shows no BTF";

/// Which programs hook the system calls.
pub(super) struct Programs {
    /// Of `fentry` and `fexit`.
    functions: fn(&Call) -> (&'static str, &'static str),
    /// Of the tracepoints.
    tracepoints: [(&'static str, &'static str); 2],
    /// Whether `brk` needs BTF, which tells where the kernel keeps the old break.
    brk_needs_btf: bool,
}

pub(super) const EXACT: Programs = Programs {
    functions: |call| (call.enter, call.exit),
    tracepoints: [("sys_enter", "sys_enter"), ("sys_exit", "sys_exit")],
    brk_needs_btf: false,
};

const APPROXIMATE: Programs = Programs {
    functions: |call| call.approximate,
    tracepoints: [("approx_enter", "sys_enter"), ("approx_exit", "sys_exit")],
    brk_needs_btf: true,
};

pub(super) const EMPTY: Programs = Programs {
    functions: |call| call.empty,
    tracepoints: [("empty_enter", "sys_enter"), ("empty_exit", "sys_exit")],
    brk_needs_btf: false,
};

fn attach_tracepoint(
    parts: &mut Parts<'_>,
    name: &'static str,
    category: &str,
    tracepoint: &str,
) -> Result<(), Refusal> {
    let program: &mut TracePoint = program(parts, name)?;
    program.load()?;
    program.attach(category, tracepoint)?;
    Ok(())
}

/// Attaches a BTF tracepoint's program.
pub(super) fn attach_btf(
    parts: &mut Parts<'_>,
    btf: &AyaBtf,
    name: &'static str,
    tracepoint: &'static str,
) -> Result<(), Refusal> {
    let program: &mut BtfTracePoint = program(parts, name)?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_exit(
    parts: &mut Parts<'_>,
    btf: &AyaBtf,
    name: &'static str,
    function: &str,
) -> Result<(), Refusal> {
    let program: &mut FExit = program(parts, name)?;
    program.load(function, btf)?;
    program.attach()?;
    Ok(())
}

/// `fentry` and `fexit` where the kernel takes them, else the tracepoints. Stops short once it is of no use any more.
pub(super) fn attach_calls(
    parts: &mut Parts<'_>,
    btf: Option<&AyaBtf>,
    programs: &Programs,
    given_up: &AtomicBool,
) -> Vec<Hook> {
    let mut hooks = Vec::new();
    let mut left: Vec<(&'static str, Refusal)> = Vec::new();
    for (index, call) in CALLS.iter().enumerate() {
        if given_up.load(Ordering::Relaxed) {
            return hooks;
        }
        let Some(btf) = btf else {
            if call.name == "brk" && programs.brk_needs_btf {
                hooks.push(Hook::missing(call.name, NO_BTF.to_owned()));
            } else {
                left.push((call.name, Refusal(NO_BTF.to_owned())));
            }
            continue;
        };
        // Where the first one is refused, all are; asking once keeps the start fast.
        if let Some((_, refused)) = left.first()
            && left.len() == index
        {
            left.push((call.name, refused.clone()));
            continue;
        }
        let (enter, exit) = (programs.functions)(call);
        match attach_functions(parts, btf, call.name, enter, exit) {
            Ok(()) => hooks.push(Hook::attached(call.name, HookKind::Fentry)),
            Err(error) => left.push((call.name, error)),
        }
    }
    if left.is_empty() {
        return hooks;
    }
    let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
    let results = tracefs::with(|| attach_tracepoints(parts, programs, &names))
        .unwrap_or_else(|error| vec![Err(Refusal(error.to_string())); names.len()]);
    for ((name, refused), result) in left.into_iter().zip(results) {
        hooks.push(match result {
            Ok(()) => Hook {
                fallback: Some(refused.0),
                ..Hook::attached(name, HookKind::Tracepoint)
            },
            Err(error) => Hook::missing(name, format!("{error}; fentry: {refused}")),
        });
    }
    hooks
}

pub(super) fn attach_functions(
    parts: &mut Parts<'_>,
    btf: &AyaBtf,
    call: &str,
    enter: &'static str,
    exit: &'static str,
) -> Result<(), Refusal> {
    let function = function(call);
    // Entry first, so that no exit comes without its entry.
    let entry: &mut FEntry = program(parts, enter)?;
    entry.load(&function, btf)?;
    let link = entry.attach()?;
    let result = (|| -> Result<_, Refusal> {
        let leave: &mut FExit = program(parts, exit)?;
        leave.load(&function, btf)?;
        Ok(leave.attach()?)
    })();
    if let Err(error) = result {
        let entry: &mut FEntry = program(parts, enter)?;
        entry.detach(link)?;
        return Err(error);
    }
    Ok(())
}

pub(super) fn attach_tracepoints(
    parts: &mut Parts<'_>,
    programs: &Programs,
    calls: &[&'static str],
) -> Vec<Result<(), Refusal>> {
    let mut results = vec![Ok(()); calls.len()];
    for (name, tracepoint) in programs.tracepoints {
        let program: &mut TracePoint = match program(parts, name) {
            Ok(program) => program,
            Err(error) => return vec![Err(error.into()); calls.len()],
        };
        if let Err(error) = program.load() {
            return vec![Err(error.into()); calls.len()];
        }
        for (call, result) in calls.iter().zip(&mut results) {
            if let Err(error) = program.attach("syscalls", &format!("{tracepoint}_{call}")) {
                *result = Err(error.into());
            }
        }
    }
    results
}
