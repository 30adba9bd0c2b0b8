//! Attaching: each hook in the best way that this kernel takes, and a name for each that it does not.

use std::io::Read;

use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, TracePoint},
};

use super::{
    Hook, HookKind, ProbeError,
    error::chain,
    hooks::{CALLS, Call, TRACEPOINTS, function},
    session::Options,
    tracefs,
};

/// Runs the iterator over all tasks once; it finds the target and starts the first epoch.
pub(super) fn find_target(ebpf: &mut Ebpf, btf: &AyaBtf) -> Result<(), ProbeError> {
    let fail = |error: &(dyn std::error::Error + 'static)| ProbeError::Ledger {
        hook: "iter/task",
        reason: chain(error),
    };
    let program: &mut Iter = program(ebpf, "find_target")?;
    program.load("task", btf).map_err(|error| fail(&error))?;
    let link = program.attach().map_err(|error| fail(&error))?;
    let link = program.take_link(link).map_err(|error| fail(&error))?;
    let mut file = link.into_file().map_err(|error| fail(&error))?;
    // The program writes nothing; reading to the end runs it on every task.
    file.read_to_end(&mut Vec::new())
        .map_err(|error| fail(&error))?;
    drop(file);
    // It has done its work.
    program.unload().map_err(|error| fail(&error))
}

pub(super) fn program<'a, P>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| <&mut P>::try_from(program).ok())
        .ok_or_else(|| ProbeError::Load(format!("no program {name} in the object")))
}

/// Attaches everything that `options` asks for; what cannot be attached is in the list, with its reason.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    options: &Options,
) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = Vec::new();
    let wanted = TRACEPOINTS
        .into_iter()
        .filter(|(name, _)| options.faults || !name.starts_with("faults"));
    for (name, tracepoint) in wanted {
        let attached = if name == "exit" && options.exit_by_function {
            Err("not asked for".to_owned())
        } else {
            attach_btf(ebpf, btf, tracepoint, tracepoint)
        };
        match attached {
            Ok(()) => hooks.push(Hook::attached(name, HookKind::TpBtf)),
            Err(reason) if name == "rss" => {
                return Err(ProbeError::Ledger {
                    hook: "tp_btf/rss_stat",
                    reason,
                });
            }
            // The tracepoint came with 6.1; the function was there before.
            Err(reason) if name == "exit" => {
                hooks.push(match attach_exit(ebpf, btf, "exit_mmap_done", tracepoint) {
                    Ok(()) => Hook::attached(name, HookKind::Fentry),
                    Err(error) => Hook::missing(name, format!("{reason}; fexit: {error}")),
                })
            }
            Err(reason) => hooks.push(Hook::missing(name, reason)),
        }
    }
    if options.syscalls {
        attach_calls(ebpf, Some(btf), &EXACT, &mut hooks);
    }
    Ok(hooks)
}

/// Attaches everything of the approximate mode that `options` asks for, and that this kernel takes.
pub(super) fn attach_approximate(
    ebpf: &mut Ebpf,
    btf: Option<&AyaBtf>,
    options: &Options,
    reason: &str,
) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = vec![Hook::missing("rss", reason.to_owned())];
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
                attach_tracepoint(ebpf, program, category, tracepoint)
            })
            .collect()
    })
    .unwrap_or_else(|error| vec![Err(error); tracepoints.len()]);
    for (&(name, ..), result) in tracepoints.iter().zip(results) {
        hooks.push(match result {
            Ok(()) => Hook::attached(name, HookKind::Tracepoint),
            Err(error) => Hook::missing(name, error),
        });
    }
    hooks.push(
        match btf
            .ok_or_else(|| NO_BTF.to_owned())
            .and_then(|btf| attach_btf(ebpf, btf, "approx_fork", "sched_process_fork"))
        {
            Ok(()) => Hook::attached("fork", HookKind::TpBtf),
            Err(error) => Hook::missing("fork", error),
        },
    );
    if options.syscalls {
        attach_calls(ebpf, btf, &APPROXIMATE, &mut hooks);
    }
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
    ebpf: &mut Ebpf,
    name: &'static str,
    category: &str,
    tracepoint: &str,
) -> Result<(), String> {
    let program: &mut TracePoint = program(ebpf, name).map_err(|error| chain(&error))?;
    program.load().map_err(|error| chain(&error))?;
    program
        .attach(category, tracepoint)
        .map_err(|error| chain(&error))?;
    Ok(())
}

/// Attaches a BTF tracepoint's program.
pub(super) fn attach_btf(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    name: &'static str,
    tracepoint: &'static str,
) -> Result<(), String> {
    let program: &mut BtfTracePoint = program(ebpf, name).map_err(|error| chain(&error))?;
    program
        .load(tracepoint, btf)
        .map_err(|error| chain(&error))?;
    program.attach().map_err(|error| chain(&error))?;
    Ok(())
}

fn attach_exit(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    name: &'static str,
    function: &str,
) -> Result<(), String> {
    let program: &mut FExit = program(ebpf, name).map_err(|error| chain(&error))?;
    program.load(function, btf).map_err(|error| chain(&error))?;
    program.attach().map_err(|error| chain(&error))?;
    Ok(())
}

/// `fentry` and `fexit` where the kernel takes them, else the tracepoints.
pub(super) fn attach_calls(
    ebpf: &mut Ebpf,
    btf: Option<&AyaBtf>,
    programs: &Programs,
    hooks: &mut Vec<Hook>,
) {
    let mut left: Vec<(&'static str, String)> = Vec::new();
    for (index, call) in CALLS.iter().enumerate() {
        let Some(btf) = btf else {
            if call.name == "brk" && programs.brk_needs_btf {
                hooks.push(Hook::missing(call.name, NO_BTF.to_owned()));
            } else {
                left.push((call.name, NO_BTF.to_owned()));
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
        match attach_functions(ebpf, btf, call.name, enter, exit) {
            Ok(()) => hooks.push(Hook::attached(call.name, HookKind::Fentry)),
            Err(error) => left.push((call.name, error)),
        }
    }
    if left.is_empty() {
        return;
    }
    let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
    let results = tracefs::with(|| attach_tracepoints(ebpf, programs, &names))
        .unwrap_or_else(|error| vec![Err(error); names.len()]);
    for ((name, refused), result) in left.into_iter().zip(results) {
        hooks.push(match result {
            Ok(()) => Hook {
                fallback: Some(refused),
                ..Hook::attached(name, HookKind::Tracepoint)
            },
            Err(error) => Hook::missing(name, format!("{error}; fentry: {refused}")),
        });
    }
}

pub(super) fn attach_functions(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    call: &str,
    enter: &'static str,
    exit: &'static str,
) -> Result<(), String> {
    let function = function(call);
    let text = |error: ProbeError| chain(&error);
    // Entry first, so that no exit comes without its entry.
    let entry: &mut FEntry = program(ebpf, enter).map_err(text)?;
    entry.load(&function, btf).map_err(|error| chain(&error))?;
    let link = entry.attach().map_err(|error| chain(&error))?;
    let result = (|| {
        let leave: &mut FExit = program(ebpf, exit).map_err(text)?;
        leave.load(&function, btf).map_err(|error| chain(&error))?;
        leave.attach().map_err(|error| chain(&error))
    })();
    if let Err(error) = result {
        let entry: &mut FEntry = program(ebpf, enter).map_err(text)?;
        entry.detach(link).map_err(|error| chain(&error))?;
        return Err(error);
    }
    Ok(())
}

pub(super) fn attach_tracepoints(
    ebpf: &mut Ebpf,
    programs: &Programs,
    calls: &[&'static str],
) -> Vec<Result<(), String>> {
    let mut results = vec![Ok(()); calls.len()];
    for (name, tracepoint) in programs.tracepoints {
        let program: &mut TracePoint = match program(ebpf, name) {
            Ok(program) => program,
            Err(error) => return vec![Err(chain(&error)); calls.len()],
        };
        if let Err(error) = program.load() {
            return vec![Err(chain(&error)); calls.len()];
        }
        for (call, result) in calls.iter().zip(&mut results) {
            if let Err(error) = program.attach("syscalls", &format!("{tracepoint}_{call}")) {
                *result = Err(chain(&error));
            }
        }
    }
    results
}
