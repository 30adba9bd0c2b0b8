//! What memtrace is allowed to do, at each phase: claimed before attaching, shed once everything is attached.
//!
//! `docs/security.md` says which capability is for what, and what it costs to be without it.

mod apart;
mod shed;
mod user;

use std::os::unix::fs::MetadataExt;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

pub use apart::{as_invoker, become_thread};
pub use rustix::thread::CapabilitySet as Capabilities;
pub use shed::{ShedError, Trial, shed};
pub use user::{Invoker, invoker};

/// A capability that memtrace has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The capability.
    pub capability: CapabilitySet,
    /// Its name.
    pub name: &'static str,
    /// What memtrace does with it.
    pub purpose: &'static str,
    /// What is lost without it; `None` where nothing works without it.
    pub cost: Option<&'static str>,
}

/// Everything that memtrace has a use for. What is not here is never claimed.
pub const NEEDS: [Need; 5] = [
    Need {
        capability: CapabilitySet::BPF,
        name: "CAP_BPF",
        purpose: "loads the eBPF programs and their maps",
        cost: None,
    },
    Need {
        capability: CapabilitySet::PERFMON,
        name: "CAP_PERFMON",
        purpose: "lets the programs read the kernel's counters, and attaches them",
        cost: None,
    },
    Need {
        capability: CapabilitySet::SYS_PTRACE,
        name: "CAP_SYS_PTRACE",
        purpose: "looks at another user's process: the path of its executable, smaps_rollup; with hidepid all of it",
        cost: Some(
            "of another user's process, exe is not known, and LazyFree only where the kernel shows it to CAP_PERFMON",
        ),
    },
    Need {
        capability: CapabilitySet::DAC_READ_SEARCH,
        name: "CAP_DAC_READ_SEARCH",
        purpose: "reads the ids of tracepoints in tracefs, where the kernel refuses fentry",
        cost: Some(
            "where the kernel refuses fentry, system calls are not hooked: no calls and requested bytes",
        ),
    },
    Need {
        capability: CapabilitySet::SYS_ADMIN,
        name: "CAP_SYS_ADMIN",
        purpose: "mounts tracefs for memtrace alone, where the kernel refuses fentry and it is not mounted",
        cost: Some(
            "where the kernel refuses fentry and tracefs is not mounted, system calls are not hooked: no calls and requested bytes",
        ),
    },
];

/// What the present thread may use at once.
#[must_use]
pub fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Whether the kernel lets a holder of `held` do what `capability` is for: `CAP_SYS_ADMIN` stands for both of the newer ones.
#[must_use]
pub fn allows(held: CapabilitySet, capability: CapabilitySet) -> bool {
    let newer = CapabilitySet::BPF | CapabilitySet::PERFMON;
    held.contains(capability)
        || held.contains(CapabilitySet::SYS_ADMIN) && newer.contains(capability)
}

/// The needs that `held` does not meet.
pub fn missing(held: CapabilitySet) -> impl Iterator<Item = &'static Need> {
    NEEDS
        .iter()
        .filter(move |need| !allows(held, need.capability))
}

/// Makes effective what is permitted and needed. A file's capabilities need to be permitted only (`=p`): then a container that
/// withholds one of them does not keep memtrace from starting, and memtrace can say which it is.
pub fn claim() {
    if let Ok(mut sets) = capabilities(None) {
        for need in &NEEDS {
            sets.effective |= sets.permitted & need.capability;
        }
        // Where it fails, what is missing is said by those who miss it.
        let _ = set_capabilities(None, sets);
    }
}

/// Whether memtrace got its privileges from its file, so that whoever started it has chosen its environment, and is not to be
/// believed in it.
#[must_use]
pub fn secure_execution() -> bool {
    // SAFETY: reads a number that the kernel gave to this process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process is in a user namespace of its own: its capabilities then do not reach as far as eBPF.
#[must_use]
pub fn in_user_namespace() -> bool {
    /// `PROC_USER_INIT_INO` in `include/linux/proc_ns.h`: part of the ABI.
    const INITIAL: u64 = 0xefff_fffd;
    std::fs::metadata("/proc/self/ns/user").is_ok_and(|found| found.ino() != INITIAL)
}

/// Whether this process can never have `capability`, not even as root: a container was started without it.
#[must_use]
pub fn is_withheld(capability: CapabilitySet) -> bool {
    rustix::thread::capability_is_in_bounding_set(capability) == Ok(false)
}

/// The names of capabilities, as people write them: `CAP_BPF and CAP_PERFMON`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon_and_nothing_else() {
        let missing: Vec<&str> = missing(CapabilitySet::SYS_ADMIN)
            .map(|need| need.name)
            .collect();
        assert_eq!(missing, ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    }

    #[test]
    fn each_missing_capability_is_named_alone() {
        for need in &NEEDS {
            let held = CapabilitySet::all() - need.capability - CapabilitySet::SYS_ADMIN;
            let found: Vec<&str> = missing(held)
                .map(|need| need.name)
                .filter(|&name| name != "CAP_SYS_ADMIN" || need.name == name)
                .collect();
            assert_eq!(found, [need.name]);
            assert_eq!(names(need.capability), need.name);
        }
    }

    #[test]
    fn only_the_two_that_load_are_indispensable() {
        let without: Vec<&str> = NEEDS
            .iter()
            .filter(|need| need.cost.is_none())
            .map(|need| need.name)
            .collect();
        assert_eq!(without, ["CAP_BPF", "CAP_PERFMON"]);
    }
}
