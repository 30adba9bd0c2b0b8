//! What this process is allowed, by the names that one types.

use super::{Check, Facts, Files, Section, Text, Trials, Tried, files::field, hooks};
use crate::text::format::size;

/// `/proc/self/status`, where the kernel says what this process may do.
const STATUS: &str = "/proc/self/status";

/// Bits of `include/uapi/linux/capability.h`.
mod bit {
    pub const CHOWN: u32 = 0;
    pub const DAC_OVERRIDE: u32 = 1;
    pub const DAC_READ_SEARCH: u32 = 2;
    pub const SETGID: u32 = 6;
    pub const SETUID: u32 = 7;
    pub const SYS_PTRACE: u32 = 19;
    pub const SYS_ADMIN: u32 = 21;
    pub const SYS_RESOURCE: u32 = 24;
    pub const PERFMON: u32 = 38;
    pub const BPF: u32 = 39;
}

/// The sets that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capabilities {
    effective: u64,
    permitted: u64,
    bounding: Option<u64>,
}

impl Capabilities {
    pub fn read(files: &Files) -> Self {
        match files.read(STATUS) {
            Text::Here(status) => Self::parse(&status),
            // Nothing is taken for granted.
            Text::Absent | Text::Unreadable(_) => Self::default(),
        }
    }

    fn parse(status: &str) -> Self {
        let set = |name| u64::from_str_radix(field(status, name)?, 16).ok();
        Self {
            effective: set("CapEff").unwrap_or(0),
            permitted: set("CapPrm").unwrap_or(0),
            bounding: set("CapBnd"),
        }
    }

    const fn has(self, bit: u32) -> bool {
        self.effective & (1 << bit) != 0
    }

    pub const fn has_sys_admin(self) -> bool {
        self.has(bit::SYS_ADMIN)
    }

    pub const fn has_perfmon(self) -> bool {
        self.has(bit::PERFMON) || self.has_sys_admin()
    }

    pub const fn has_ptrace(self) -> bool {
        self.has(bit::SYS_PTRACE)
    }

    /// How a capability that is not in force is absent.
    fn absent(self, bit: u32) -> &'static str {
        if self.permitted & (1 << bit) != 0 {
            "absent: permitted, and not raised"
        } else if self.bounding.is_some_and(|set| set & (1 << bit) == 0) {
            "absent, and not to be had here: it is not in the bounding set"
        } else {
            "absent"
        }
    }

    /// What to type to have it.
    fn advice(self, bit: u32, name: &str) -> String {
        if self.bounding.is_some_and(|set| set & (1 << bit) == 0) {
            let name = name.trim_start_matches("CAP_");
            format!("run memtrace on the host; or start the container with --cap-add {name}")
        } else {
            "sudo memtrace …".to_owned()
        }
    }
}

pub(super) fn checks(facts: &Facts, trials: &Trials) -> Vec<Check> {
    let status = facts.files.read(STATUS);
    let status = status.here().unwrap_or_default();
    let mut checks = vec![user(facts, status)];
    checks.extend(capabilities(facts, trials, status));
    checks.push(user_namespace(facts, trials));
    checks.push(seccomp(status, trials));
    checks.push(no_new_privileges(status));
    checks.push(memlock(facts, trials));
    checks
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Section::Privileges, id, title)
}

fn user(facts: &Facts, status: &str) -> Check {
    let check = check("user", "user");
    let Some(uid) = effective_uid(status) else {
        return check.unknown("/proc/self/status cannot be read");
    };
    check.value(uid.to_string()).info(match &facts.invoker {
        Some((by, Some(name))) => {
            format!("uid {uid}, by sudo of {name} ({by}), whose are files and commands")
        }
        Some((by, None)) => format!("uid {uid}, by sudo of uid {by}, whose are files and commands"),
        None => format!("uid {uid}"),
    })
}

fn effective_uid(status: &str) -> Option<u32> {
    field(status, "Uid")?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn capabilities(facts: &Facts, trials: &Trials, status: &str) -> Vec<Check> {
    let own = Capabilities::parse(status);
    let known = field(status, "CapEff").is_some();
    let hollow = !is_initial(facts).unwrap_or(true) && trials.hooks.done().is_none();
    let one = |bit: u32, id: &'static str, name: &'static str, judge: &dyn Fn(Check) -> Check| {
        let check = check(id, name);
        if !known {
            check.unknown("/proc/self/status cannot be read")
        } else if own.has(bit) {
            let check = check.value("present");
            if hollow {
                check.limited("present in this user namespace, and not on the host")
            } else {
                check.ok("present")
            }
        } else {
            judge(check.value("absent"))
        }
    };
    // Absent, and it costs something.
    let costs = |check: Check, bit, name, cost: &str| {
        check
            .limited(own.absent(bit))
            .costs(cost)
            .advise(own.advice(bit, name))
    };
    let needed = |bit, name: &'static str, cost: &'static str| {
        move |check: Check| {
            if own.has_sys_admin() {
                check.ok("absent; CAP_SYS_ADMIN stands for it")
            } else {
                check
                    .missing(own.absent(bit))
                    .costs(cost)
                    .advise(own.advice(bit, name))
            }
        }
    };
    let for_invoker = |bit, name: &'static str, cost: &'static str| {
        let invoked = facts.invoker.is_some();
        move |check: Check| {
            if invoked {
                costs(check, bit, name, cost)
            } else {
                check.ok("absent, and not needed: memtrace was not started by sudo")
            }
        }
    };
    let tracefs_is_mounted = super::place::tracefs_mount(&facts.files).is_some();
    vec![
        one(
            bit::BPF,
            "cap_bpf",
            "CAP_BPF",
            &needed(
                bit::BPF,
                "CAP_BPF",
                "everything: no eBPF program can be loaded",
            ),
        ),
        one(
            bit::PERFMON,
            "cap_perfmon",
            "CAP_PERFMON",
            &needed(
                bit::PERFMON,
                "CAP_PERFMON",
                "everything: no program may read the kernel's memory",
            ),
        ),
        one(bit::SYS_ADMIN, "cap_sys_admin", "CAP_SYS_ADMIN", &|check| {
            let cost = if tracefs_is_mounted {
                "--self-stats"
            } else {
                "--self-stats; and tracefs cannot be mounted for memtrace alone"
            };
            costs(check, bit::SYS_ADMIN, "CAP_SYS_ADMIN", cost)
        }),
        one(
            bit::SYS_PTRACE,
            "cap_sys_ptrace",
            "CAP_SYS_PTRACE",
            &|check| {
                costs(
                    check,
                    bit::SYS_PTRACE,
                    "CAP_SYS_PTRACE",
                    "of other users' processes: LazyFree, RSS - LazyFree and the executable's path; \
                     unexplained is held against statm alone",
                )
            },
        ),
        one(
            bit::DAC_READ_SEARCH,
            "cap_dac_read_search",
            "CAP_DAC_READ_SEARCH",
            &|check| {
                if own.has(bit::DAC_OVERRIDE) {
                    check.ok("absent; CAP_DAC_OVERRIDE stands for it")
                } else if effective_uid(status) == Some(0) {
                    check.ok("absent, and not needed: tracefs is root's")
                } else if hooks::calls_are_hooked(trials) {
                    check.ok("absent, and not needed: system calls are hooked without it")
                } else {
                    costs(
                        check,
                        bit::DAC_READ_SEARCH,
                        "CAP_DAC_READ_SEARCH",
                        "tracefs is closed to others than root: where fentry is refused, the columns \
                         calls, failed, requested",
                    )
                }
            },
        ),
        one(
            bit::SYS_RESOURCE,
            "cap_sys_resource",
            "CAP_SYS_RESOURCE",
            &|check| match &trials.hooks {
                Tried::Done(_) => {
                    check.ok("absent, and not needed: the locked-memory limit is wide enough")
                }
                Tried::Not(_) => {
                    check.unknown("absent; before Linux 5.11 it may be needed, which was not tried")
                }
                Tried::Failed(_) => costs(
                    check,
                    bit::SYS_RESOURCE,
                    "CAP_SYS_RESOURCE",
                    "before Linux 5.11: eBPF maps must fit into the locked-memory limit",
                ),
            },
        ),
        one(
            bit::SETUID,
            "cap_setuid",
            "CAP_SETUID",
            &for_invoker(
                bit::SETUID,
                "CAP_SETUID",
                "-- CMD: the command cannot run as who typed it",
            ),
        ),
        one(
            bit::SETGID,
            "cap_setgid",
            "CAP_SETGID",
            &for_invoker(
                bit::SETGID,
                "CAP_SETGID",
                "-- CMD: the command cannot run with the groups of who typed it",
            ),
        ),
        one(
            bit::CHOWN,
            "cap_chown",
            "CAP_CHOWN",
            &for_invoker(
                bit::CHOWN,
                "CAP_CHOWN",
                "--json FILE: the file cannot be given to who typed it",
            ),
        ),
    ]
}

/// Whether this is the user namespace that the kernel began with: only its capabilities count everywhere.
fn is_initial(facts: &Facts) -> Option<bool> {
    let map = facts.files.read("/proc/self/uid_map");
    Some(map.here()?.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn user_namespace(facts: &Facts, trials: &Trials) -> Check {
    let check = check("user_namespace", "user namespace");
    match is_initial(facts) {
        None => return check.unknown("/proc/self/uid_map cannot be read"),
        Some(true) => return check.value("initial").ok("the initial one"),
        Some(false) => {}
    }
    let check = check.value("own");
    if trials.hooks.done().is_some() {
        return check.ok("one of its own, and eBPF works all the same");
    }
    check
        .missing("one of its own")
        .costs("everything: its capabilities do not count for eBPF")
        .advise("run memtrace on the host, or in a container without a user namespace")
}

fn seccomp(status: &str, trials: &Trials) -> Check {
    let check = check("seccomp", "seccomp");
    let Some(mode) = field(status, "Seccomp") else {
        return if status.is_empty() {
            check.unknown("/proc/self/status cannot be read")
        } else {
            check.ok("not in this kernel")
        };
    };
    if mode == "0" {
        return check.value(mode).ok("no filter");
    }
    let filters = field(status, "Seccomp_filters").unwrap_or("some");
    let check = check.value(mode);
    match &trials.hooks {
        Tried::Done(_) => check.ok(format!("{filters} filter(s); bpf() passes")),
        Tried::Not(_) => check.info(format!(
            "{filters} filter(s), as containers have; whether bpf() passes was not tried"
        )),
        Tried::Failed(_) => check
            .limited(format!("{filters} filter(s), as containers have"))
            .costs("it may be what refuses bpf()")
            .advise("run memtrace on the host; or docker run --security-opt seccomp=unconfined"),
    }
}

fn no_new_privileges(status: &str) -> Check {
    let check = check("no_new_privs", "no_new_privs");
    match field(status, "NoNewPrivs") {
        None => check.unknown("the kernel does not tell"),
        Some("0") => check.value("0").ok("not set"),
        Some(value) => check
            .value(value)
            .info("set: sudo and file capabilities have no effect here"),
    }
}

fn memlock(facts: &Facts, trials: &Trials) -> Check {
    let check = check("memlock", "locked memory");
    let limit = facts
        .files
        .read("/proc/self/limits")
        .here()
        .and_then(|text| {
            let (_, rest) = text.split_once("Max locked memory")?;
            Some(rest.split_whitespace().next()?.to_owned())
        });
    let Some(limit) = limit else {
        return check.unknown("/proc/self/limits cannot be read");
    };
    let shown = limit.parse().map_or_else(
        |_| limit.clone(),
        |bytes| format!("at most {}", size(bytes)),
    );
    let check = check.value(&limit);
    match &trials.hooks {
        Tried::Done(_) => check.ok(format!("{shown}, which is enough")),
        Tried::Failed(_) if limit != "unlimited" => check
            .limited(shown)
            .costs("before Linux 5.11 it may be what keeps the maps from being made")
            .advise("ulimit -l unlimited"),
        _ => check.info(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_capability_is_absent_is_told_apart() {
        let own = Capabilities::parse(
            "CapPrm:\t0000000000200000\nCapEff:\t0000000000000000\nCapBnd:\t0000008000200000",
        );
        assert!(!own.has_sys_admin());
        assert!(own.absent(bit::SYS_ADMIN).contains("not raised"));
        assert_eq!(own.absent(bit::BPF), "absent");
        assert!(own.absent(bit::PERFMON).contains("bounding set"));
        assert!(
            own.advice(bit::PERFMON, "CAP_PERFMON")
                .contains("--cap-add PERFMON")
        );
        assert!(own.advice(bit::BPF, "CAP_BPF").contains("sudo"));
    }

    #[test]
    fn a_status_that_cannot_be_read_gives_nothing() {
        for status in ["", "CapEff:\tzz", "CapEff:"] {
            assert!(!Capabilities::parse(status).has_perfmon(), "{status}");
        }
    }
}
