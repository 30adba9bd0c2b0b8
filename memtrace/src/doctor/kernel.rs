//! memtrace itself, and what this kernel was built and booted with.

use super::{Check, Facts, Section, Text, Trials, Tried, files, hooks, privileges::allows};
use crate::{privilege::Capabilities, text::format::size};

pub(super) const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const SYSCTL: &str = "/proc/sys";

pub(super) fn checks(facts: &Facts, trials: &Trials) -> Vec<Check> {
    let (online, possible) = facts.cpus;
    vec![
        check("kernel", "Linux")
            .value(&facts.release)
            .info(&facts.release),
        check("arch", "architecture")
            .value(&facts.arch)
            .info(&facts.arch),
        check("cpus", "CPUs, pages")
            .value(online.to_string())
            .info(format!(
                "{online} online of {possible} possible; pages of {}",
                size(facts.page_size)
            )),
        object(&facts.provenance),
        btf(facts),
        load(trials),
        lockdown(facts, trials),
        unprivileged(facts),
        jit(facts),
        statistics(facts),
        perf(facts, trials),
        ptrace(facts),
        ftrace(facts),
    ]
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Section::Kernel, id, title)
}

/// A file that is not there, or not to be read, makes a check unknown; else `judge` looks at it.
fn sysctl(
    facts: &Facts,
    check: Check,
    name: &str,
    judge: impl FnOnce(Check, &str) -> Check,
) -> Check {
    match facts.files.read(&format!("{SYSCTL}/{name}")) {
        Text::Here(value) => {
            let check = check.value(&value);
            judge(check, &value)
        }
        Text::Absent => check.unknown(format!(
            "no {name}: not in this kernel, or in this namespace"
        )),
        Text::Unreadable(reason) => check.unknown(format!("cannot be read: {reason}")),
    }
}

fn object(provenance: &str) -> Check {
    let line = |name| files::field(provenance, name).unwrap_or("unknown");
    let short = |name| line(name).get(..12).unwrap_or("unknown");
    let rustc = line("rustc");
    check("ebpf_object", "eBPF object")
        .value(line("object-sha256"))
        .info(format!(
            "sha256 {}, of sources {}; {}; {}, LLVM {}",
            short("object-sha256"),
            short("sources-sha256"),
            rustc.split_once(" (").map_or(rustc, |cut| cut.0),
            line("bpf-linker"),
            line("rustc-llvm"),
        ))
}

fn btf(facts: &Facts) -> Check {
    let check = check("btf", "BTF");
    match facts.files.bytes(BTF) {
        Some(bytes) => check.ok(format!("{BTF}, {}", size(bytes))),
        None => check
            .limited(format!("no {BTF}"))
            .costs(
                "the ledger: RSS is sampled, and no cause has pages; children forked; calls, failed, requested of brk",
            )
            .advise(
                "a kernel with CONFIG_DEBUG_INFO_BTF=y (ask your distribution: most have one); in a \
                 container, /sys of the host",
            ),
    }
}

fn load(trials: &Trials) -> Check {
    let check = check("bpf_load", "loading eBPF");
    match &trials.hooks {
        Tried::Done(_) => check.ok("the object was loaded"),
        Tried::Not(why) => check.unknown(format!("not tried: {why}")),
        Tried::Failed(why) if trials.own.done().is_some() => check
            .limited(format!("not for a ledger: {why}"))
            .costs(hooks::NO_LEDGER),
        Tried::Failed(why) => check
            .missing(why)
            .costs("everything: no program of memtrace's can run"),
    }
}

fn lockdown(facts: &Facts, trials: &Trials) -> Check {
    let check = check("lockdown", "lockdown");
    let text = match (facts.files.read(LOCKDOWN), &facts.own_lockdown) {
        (Text::Here(text), _) => text,
        (_, Some(Ok(text))) => text.trim().to_owned(),
        (Text::Unreadable(reason), _) => return check.unknown(format!("cannot be read: {reason}")),
        (Text::Absent, _) => {
            return match facts.files.list("/sys/kernel/security").is_empty() {
                false => check.ok("not in this kernel"),
                true => check.unknown(match &facts.own_lockdown {
                    Some(Err(why)) => format!("securityfs is not mounted, and cannot be: {why}"),
                    _ => "securityfs is not mounted".to_owned(),
                }),
            };
        }
    };
    let level = files::chosen(&text).unwrap_or(&text).to_owned();
    let check = check.value(&level);
    match level.as_str() {
        "none" => check.ok("none"),
        "integrity" => check.ok("integrity, which lets eBPF read"),
        _ if trials.own.done().is_some() => {
            check.ok(format!("{level}; a trace works all the same"))
        }
        _ => check
            .missing(&level)
            .costs("everything: eBPF may not read the kernel's memory")
            .advise(
                "boot with lockdown=integrity, or without lockdown, on the kernel's command line",
            ),
    }
}

fn unprivileged(facts: &Facts) -> Check {
    let check = check("unprivileged_bpf_disabled", "unprivileged eBPF");
    sysctl(
        facts,
        check,
        "kernel/unprivileged_bpf_disabled",
        |check, value| {
            check.ok(match value {
                "0" => "0: allowed; memtrace needs its capabilities all the same".to_owned(),
                "1" | "2" => format!("{value}: off, which memtrace does not mind"),
                other => other.to_owned(),
            })
        },
    )
}

fn jit(facts: &Facts) -> Check {
    let check = check("bpf_jit", "eBPF compiler");
    let harden = match facts.files.read("/proc/sys/net/core/bpf_jit_harden") {
        Text::Here(value) if value == "2" => {
            "; hardened for everybody (bpf_jit_harden 2): programs are somewhat slower"
        }
        _ => "",
    };
    sysctl(facts, check, "net/core/bpf_jit_enable", |check, value| {
        if value == "0" {
            check
                .limited("off: programs are interpreted")
                .costs(
                    "no fentry; and every change of RSS of every process on the host waits several \
                     times longer",
                )
                .advise("sysctl net.core.bpf_jit_enable=1")
        } else {
            check.ok(format!("on{harden}"))
        }
    })
}

fn statistics(facts: &Facts) -> Check {
    let check = check("bpf_stats", "eBPF statistics");
    sysctl(facts, check, "kernel/bpf_stats_enabled", |check, value| {
        if value == "0" {
            check.ok("off; --self-stats turns them on for the time of a capture")
        } else {
            check
                .limited("on, for every eBPF program of the host")
                .costs("each run of each program takes some tens of ns longer")
                .advise("sysctl kernel.bpf_stats_enabled=0, unless somebody reads them")
        }
    })
}

fn perf(facts: &Facts, trials: &Trials) -> Check {
    let check = check("perf_event_paranoid", "perf_event_paranoid");
    sysctl(
        facts,
        check,
        "kernel/perf_event_paranoid",
        |check, value| {
            if hooks::tracepoints_refused(trials)
                && value.parse::<i32>().is_ok_and(|level| level > 2)
            {
                return check
                    .limited(format!("{value}, and tracepoints are refused"))
                    .costs("where fentry is refused too: calls, failed, requested")
                    .advise("sysctl kernel.perf_event_paranoid=2");
            }
            if allows(&facts.files, Capabilities::PERFMON) {
                check.ok(format!("{value}; CAP_PERFMON stands above it"))
            } else {
                check.info(value)
            }
        },
    )
}

/// Reading another process's memory is what a debugger does; Yama, where it is, restricts that.
fn ptrace(facts: &Facts) -> Check {
    const COST: &str = "the figures of Go's heap";
    let check = check("ptrace_scope", "ptrace_scope");
    if facts
        .files
        .read(&format!("{SYSCTL}/kernel/yama/ptrace_scope"))
        == Text::Absent
    {
        return check
            .info("no Yama is seen, which would forbid to read memory of one's own processes");
    }
    sysctl(facts, check, "kernel/yama/ptrace_scope", |check, value| {
        match value {
            "0" => check.ok("0: memory of one's own processes may be read"),
            "3" => check
                .limited("3: no process's memory may be read, until the next boot")
                .costs(COST),
            _ if allows(&facts.files, Capabilities::SYS_PTRACE) => {
                check.ok(format!("{value}; CAP_SYS_PTRACE stands above it"))
            }
            _ => check
                .limited(format!(
                    "{value}: of processes that memtrace did not start, memory may not be read without CAP_SYS_PTRACE"
                ))
                .costs(COST)
                .advise("sudo memtrace …"),
        }
    })
}

fn ftrace(facts: &Facts) -> Check {
    let check = check("ftrace_enabled", "ftrace");
    sysctl(facts, check, "kernel/ftrace_enabled", |check, value| {
        if value == "0" {
            check
                .limited("off")
                .costs("no fentry: system calls are hooked by tracepoint")
                .advise("sysctl kernel.ftrace_enabled=1")
        } else {
            check.ok("on")
        }
    })
}
