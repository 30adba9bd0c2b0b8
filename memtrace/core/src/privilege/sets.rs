//! The capability sets of a process, as the kernel shows them in text.

use rustix::thread::CapabilitySet;

use super::allows;

/// The sets that `/proc/PID/status` shows.
#[derive(Clone, Copy, Debug)]
pub struct Sets {
    effective: CapabilitySet,
    permitted: CapabilitySet,
    /// `None` if it is not shown.
    bounding: Option<CapabilitySet>,
}

impl Sets {
    /// Returns the sets in the text of a `/proc/PID/status`; `None` if it does not show the effective one.
    #[must_use]
    pub fn parse(status: &str) -> Option<Self> {
        let set = |name: &str| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let bits = u64::from_str_radix(line.trim(), 16).ok()?;
            Some(CapabilitySet::from_bits_retain(bits))
        };
        Some(Self {
            effective: set("CapEff")?,
            permitted: set("CapPrm").unwrap_or(CapabilitySet::empty()),
            bounding: set("CapBnd"),
        })
    }

    /// Returns true if `capability` is in force.
    #[must_use]
    pub const fn holds(self, capability: CapabilitySet) -> bool {
        self.effective.contains(capability)
    }

    /// Returns true if the kernel lets this process do what `capability` is for: see [`allows`].
    #[must_use]
    pub fn allows(self, capability: CapabilitySet) -> bool {
        allows(self.effective, capability)
    }

    /// Returns true if the process may put `capability` in force.
    #[must_use]
    pub const fn permits(self, capability: CapabilitySet) -> bool {
        self.permitted.contains(capability)
    }

    /// Returns true if the process can never have `capability`, not even as root.
    #[must_use]
    pub fn withholds(self, capability: CapabilitySet) -> bool {
        self.bounding.is_some_and(|set| !set.contains(capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_is_read() {
        let own = Sets::parse(
            "Name:\tx\nCapPrm:\t0000000000200000\nCapEff:\t0000000000080000\nCapBnd:\t0000008000280000",
        )
        .unwrap();
        assert!(own.holds(CapabilitySet::SYS_PTRACE) && !own.holds(CapabilitySet::SYS_ADMIN));
        assert!(own.permits(CapabilitySet::SYS_ADMIN) && !own.permits(CapabilitySet::BPF));
        assert!(own.withholds(CapabilitySet::PERFMON) && !own.withholds(CapabilitySet::BPF));
        assert!(!own.allows(CapabilitySet::PERFMON));
        let root = Sets::parse("CapEff: 200000").unwrap();
        assert!(root.allows(CapabilitySet::PERFMON) && !root.withholds(CapabilitySet::PERFMON));
    }

    #[test]
    fn a_status_that_cannot_be_read_has_no_sets() {
        for status in ["", "CapEff:\tzz", "CapEff:", "CapEffs:\t0", "CapPrm:\t0"] {
            assert!(Sets::parse(status).is_none(), "{status}");
        }
    }
}
