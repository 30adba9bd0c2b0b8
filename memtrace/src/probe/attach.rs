//! Attaching: each hook in the best way that this kernel takes, and a name for each that it does not.

use std::io::Read;

use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, TracePoint},
};

use super::{
    Hook, HookKind, ProbeError,
    error::chain,
    hooks::{CALLS, function},
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

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, ProbeError>
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
    // In any order: nothing counts before the target is found.
    let mut tracepoints = vec![
        ("exit", "exit_mmap"),
        ("exec", "sched_process_exec"),
        ("fork", "sched_process_fork"),
        ("rss", "rss_stat"),
    ];
    if options.faults {
        tracepoints.push(("faults_user", "page_fault_user"));
        tracepoints.push(("faults_kernel", "page_fault_kernel"));
    }
    for (name, tracepoint) in tracepoints {
        match attach_btf(ebpf, btf, tracepoint) {
            Ok(()) => hooks.push(Hook::attached(name, HookKind::TpBtf)),
            Err(reason) if name == "rss" => {
                return Err(ProbeError::Ledger {
                    hook: "tp_btf/rss_stat",
                    reason,
                });
            }
            Err(reason) => hooks.push(Hook::missing(name, reason)),
        }
    }
    if options.syscalls {
        attach_calls(ebpf, btf, &mut hooks);
    }
    Ok(hooks)
}

/// Attaches a BTF tracepoint's program, which has its name.
fn attach_btf(ebpf: &mut Ebpf, btf: &AyaBtf, tracepoint: &'static str) -> Result<(), String> {
    let program: &mut BtfTracePoint = program(ebpf, tracepoint).map_err(|error| chain(&error))?;
    program
        .load(tracepoint, btf)
        .map_err(|error| chain(&error))?;
    program.attach().map_err(|error| chain(&error))?;
    Ok(())
}

/// `fentry` and `fexit` where the kernel takes them, else the tracepoints.
fn attach_calls(ebpf: &mut Ebpf, btf: &AyaBtf, hooks: &mut Vec<Hook>) {
    let mut left = Vec::new();
    let mut refused = String::new();
    for call in &CALLS {
        // Where one is refused, all are; asking once keeps the start fast.
        if !refused.is_empty() {
            left.push(call.name);
            continue;
        }
        match attach_functions(ebpf, btf, call.name, call.enter, call.exit) {
            Ok(()) => hooks.push(Hook::attached(call.name, HookKind::Fentry)),
            Err(error) => {
                refused = error;
                left.push(call.name);
            }
        }
    }
    if left.is_empty() {
        return;
    }
    let results = tracefs::with(|| attach_tracepoints(ebpf, &left))
        .unwrap_or_else(|error| vec![Err(error); left.len()]);
    for (name, result) in left.into_iter().zip(results) {
        hooks.push(match result {
            Ok(()) => Hook::attached(name, HookKind::Tracepoint),
            Err(error) => Hook::missing(name, format!("{error}; fentry: {refused}")),
        });
    }
}

fn attach_functions(
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

fn attach_tracepoints(ebpf: &mut Ebpf, calls: &[&'static str]) -> Vec<Result<(), String>> {
    let mut results = vec![Ok(()); calls.len()];
    for name in ["sys_enter", "sys_exit"] {
        let program: &mut TracePoint = match program(ebpf, name) {
            Ok(program) => program,
            Err(error) => return vec![Err(chain(&error)); calls.len()],
        };
        if let Err(error) = program.load() {
            return vec![Err(chain(&error)); calls.len()];
        }
        for (call, result) in calls.iter().zip(&mut results) {
            if let Err(error) = program.attach("syscalls", &format!("{name}_{call}")) {
                *result = Err(chain(&error));
            }
        }
    }
    results
}
