//! What this process is allowed, by the names that one types.

use super::{Check, Facts, Files, Section, Trials, Tried, files::field, hooks};
use crate::{
    privilege::{Capabilities as Capability, Need, Sets, USED},
    text::format::size,
};

/// `/proc/self/status`, where the kernel says what this process may do.
const STATUS: &str = "/proc/self/status";

/// Returns this process's capabilities; `None` if they cannot be read.
pub(super) fn own(files: &Files) -> Option<Sets> {
    Sets::parse(files.read(STATUS).here()?)
}

/// Returns true if this process is known to be allowed what `capability` is for.
pub(super) fn allows(files: &Files, capability: Capability) -> bool {
    own(files).is_some_and(|own| own.allows(capability))
}

pub(super) fn checks(facts: &Facts, trials: &Trials) -> Vec<Check> {
    let status = facts.files.read(STATUS);
    let status = status.here().unwrap_or_default();
    let mut checks = vec![user(facts, status)];
    checks.extend(capabilities(facts, trials));
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

fn capabilities(facts: &Facts, trials: &Trials) -> Vec<Check> {
    let own = own(&facts.files);
    let of = |need| Judged {
        need,
        facts,
        trials,
    };
    USED.iter().map(|need| of(need).check(own)).collect()
}

/// A capability, and what decides whether memtrace can do without it.
struct Judged<'a> {
    need: &'static Need,
    facts: &'a Facts,
    trials: &'a Trials,
}

impl Judged<'_> {
    fn check(&self, own: Option<Sets>) -> Check {
        let check = check(self.need.id, self.need.name);
        let Some(own) = own else {
            return check.unknown("/proc/self/status cannot be read");
        };
        if !own.holds(self.need.capability) {
            return self.absent(own, check.value("absent"));
        }
        let check = check.value("present");
        if !is_initial(self.facts).unwrap_or(true) && self.trials.hooks.done().is_none() {
            check.limited("present in this user namespace, and not on the host")
        } else {
            check.ok("present")
        }
    }

    fn absent(&self, own: Sets, check: Check) -> Check {
        let lost = self.need.lost;
        match self.need.capability {
            Capability::BPF | Capability::PERFMON if own.allows(self.need.capability) => {
                check.ok("absent; CAP_SYS_ADMIN stands for it")
            }
            Capability::BPF | Capability::PERFMON => {
                self.costs(check.missing(self.how(own)), own, lost)
            }
            Capability::SYS_ADMIN if super::place::tracefs_mount(&self.facts.files).is_none() => {
                let lost = format!("{lost}; and tracefs cannot be mounted for memtrace alone");
                self.limits(check, own, &lost)
            }
            Capability::DAC_READ_SEARCH => match self.spares_search(own) {
                Some(why) => check.ok(why),
                None => self.limits(check, own, lost),
            },
            Capability::SYS_RESOURCE => match &self.trials.hooks {
                Tried::Done(_) => {
                    check.ok("absent, and not needed: the locked-memory limit is wide enough")
                }
                Tried::Not(_) => {
                    check.unknown("absent; before Linux 5.11 it may be needed, which was not tried")
                }
                Tried::Failed(_) => self.limits(check, own, lost),
            },
            Capability::SETUID | Capability::SETGID | Capability::CHOWN
                if self.facts.invoker.is_none() =>
            {
                check.ok("absent, and not needed: memtrace was not started by sudo")
            }
            _ => self.limits(check, own, lost),
        }
    }

    /// Returns why tracefs can be read without `CAP_DAC_READ_SEARCH`, or need not be.
    fn spares_search(&self, own: Sets) -> Option<&'static str> {
        let status = self.facts.files.read(STATUS);
        if own.holds(Capability::DAC_OVERRIDE) {
            Some("absent; CAP_DAC_OVERRIDE stands for it")
        } else if effective_uid(status.here().unwrap_or_default()) == Some(0) {
            Some("absent, and not needed: tracefs is root's")
        } else if hooks::calls_are_hooked(self.trials) {
            Some("absent, and not needed: system calls are hooked without it")
        } else {
            None
        }
    }

    /// It is absent, and something is lost, though not everything.
    fn limits(&self, check: Check, own: Sets, lost: &str) -> Check {
        self.costs(check.limited(self.how(own)), own, lost)
    }

    fn costs(&self, check: Check, own: Sets, lost: &str) -> Check {
        check.costs(lost).advise(self.advice(own))
    }

    /// Returns how a capability that is not in force is absent.
    fn how(&self, own: Sets) -> &'static str {
        if own.permits(self.need.capability) {
            "absent: permitted, and not raised"
        } else if own.withholds(self.need.capability) {
            "absent, and not to be had here: it is not in the bounding set"
        } else {
            "absent"
        }
    }

    /// Returns what to type to have it.
    fn advice(&self, own: Sets) -> String {
        if own.withholds(self.need.capability) {
            let name = self.need.name.trim_start_matches("CAP_");
            format!("run memtrace on the host; or start the container with --cap-add {name}")
        } else {
            "sudo memtrace …".to_owned()
        }
    }
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
