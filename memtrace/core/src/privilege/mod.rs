//! What memtrace is allowed to do, at each phase: claimed before attaching, dropped once everything is attached.
//!
//! `docs/security.md` says which capability is for what, and what it costs to be without it.

mod apart;
mod drop;
mod sets;
mod user;

use std::os::unix::fs::MetadataExt;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

pub use apart::{as_invoker, become_thread};
pub use drop::{DropError, Trial, drop_privileges};
pub use rustix::thread::CapabilitySet as Capabilities;
pub use sets::Sets;
pub use user::{Invoker, invoker};

/// A capability that memtrace has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The capability.
    pub capability: CapabilitySet,
    /// Its name.
    pub name: &'static str,
    /// Its name in lower case, as tools that set a file's capabilities take it.
    pub id: &'static str,
    /// What memtrace does with it.
    pub purpose: &'static str,
    /// What is lost without it, as a clause of an error; `None` if nothing works without it.
    pub cost: Option<&'static str>,
    /// What is lost without it, as `memtrace doctor` lists it.
    pub lost: &'static str,
}

const BPF: Need = Need {
    capability: CapabilitySet::BPF,
    name: "CAP_BPF",
    id: "cap_bpf",
    purpose: "loads the eBPF programs and their maps",
    cost: None,
    lost: "everything: no eBPF program can be loaded",
};
const PERFMON: Need = Need {
    capability: CapabilitySet::PERFMON,
    name: "CAP_PERFMON",
    id: "cap_perfmon",
    purpose: "lets the programs read the kernel's counters, and attaches them",
    cost: None,
    lost: "everything: no program may read the kernel's memory",
};
const SYS_PTRACE: Need = Need {
    capability: CapabilitySet::SYS_PTRACE,
    name: "CAP_SYS_PTRACE",
    id: "cap_sys_ptrace",
    purpose: "looks at another user's process: the path of its executable, smaps_rollup; with hidepid all of it",
    cost: Some(
        "of another user's process, exe is not known, and LazyFree only where the kernel shows it to CAP_PERFMON",
    ),
    lost: "of other users' processes: LazyFree, RSS - LazyFree and the executable's path; unexplained is held against \
           statm alone",
};
const DAC_READ_SEARCH: Need = Need {
    capability: CapabilitySet::DAC_READ_SEARCH,
    name: "CAP_DAC_READ_SEARCH",
    id: "cap_dac_read_search",
    purpose: "reads the ids of tracepoints in tracefs, where the kernel refuses fentry",
    cost: Some(
        "where the kernel refuses fentry, system calls are not hooked: no calls and requested bytes",
    ),
    lost: "tracefs is closed to others than root: where fentry is refused, the columns calls, failed, requested",
};
const SYS_ADMIN: Need = Need {
    capability: CapabilitySet::SYS_ADMIN,
    name: "CAP_SYS_ADMIN",
    id: "cap_sys_admin",
    purpose: "mounts tracefs for memtrace alone, where the kernel refuses fentry and it is not mounted",
    cost: Some(
        "where the kernel refuses fentry and tracefs is not mounted, system calls are not hooked: no calls and requested bytes",
    ),
    lost: "--self-stats",
};

/// What memtrace claims. What is not here is never claimed.
pub const NEEDS: [Need; 5] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYS_ADMIN];

/// All that memtrace has a use for, in the order in which `memtrace doctor` lists it: [`NEEDS`], and what it uses if it happens to be in
/// force.
pub const USED: [Need; 9] = [
    BPF,
    PERFMON,
    SYS_ADMIN,
    SYS_PTRACE,
    DAC_READ_SEARCH,
    unclaimed(
        CapabilitySet::SYS_RESOURCE,
        ("CAP_SYS_RESOURCE", "cap_sys_resource"),
        "raises the limit of locked memory before Linux 5.11",
        "before Linux 5.11: eBPF maps must fit into the locked-memory limit",
    ),
    unclaimed(
        CapabilitySet::SETUID,
        ("CAP_SETUID", "cap_setuid"),
        "becomes the user who typed sudo",
        "-- CMD: the command cannot run as who typed it",
    ),
    unclaimed(
        CapabilitySet::SETGID,
        ("CAP_SETGID", "cap_setgid"),
        "takes the groups of the user who typed sudo",
        "-- CMD: the command cannot run with the groups of who typed it",
    ),
    unclaimed(
        CapabilitySet::CHOWN,
        ("CAP_CHOWN", "cap_chown"),
        "gives files to the user who typed sudo",
        "--json FILE: the file cannot be given to who typed it",
    ),
];

const fn unclaimed(
    capability: CapabilitySet,
    (name, id): (&'static str, &'static str),
    purpose: &'static str,
    lost: &'static str,
) -> Need {
    Need {
        capability,
        name,
        id,
        purpose,
        cost: Some(lost),
        lost,
    }
}

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
    fn what_is_claimed_is_listed_and_everything_has_its_own_name() {
        for need in &NEEDS {
            assert!(USED.contains(need), "{}", need.name);
        }
        for need in &USED {
            assert_eq!(names(need.capability), need.name);
            assert_eq!(need.name.to_lowercase(), need.id);
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
