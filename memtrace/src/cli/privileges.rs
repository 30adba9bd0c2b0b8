//! What memtrace needs to be allowed, asked before anything is attached: capabilities, not the user id.

use anyhow::{Context as _, bail};
use procfs::process::Process;

use crate::proc;

/// Bits of `include/uapi/linux/capability.h`.
const CAP_SYS_ADMIN: u64 = 21;
const CAP_PERFMON: u64 = 38;
const CAP_BPF: u64 = 39;

/// Fails with what is missing and what to type.
pub fn check(retry: &str) -> anyhow::Result<()> {
    let status = Process::myself()
        .and_then(|process| proc::read(&process, "status", proc::status))
        .context("cannot read this process's capabilities from /proc/self/status")?;
    let missing = missing(status.cap_effective);
    if !missing.is_empty() {
        bail!(
            "loading eBPF programs needs the capabilities CAP_BPF and CAP_PERFMON, or root; this process lacks {}: type: sudo {retry}",
            missing.join(" and ")
        );
    }
    Ok(())
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u64| effective & (1 << bit) != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)]
        .into_iter()
        .filter(|&(_, bit)| !has(bit))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lacks_nothing() {
        assert!(missing(0x1ff_ffff_ffff).is_empty());
        assert!(missing(1 << CAP_SYS_ADMIN).is_empty());
    }

    #[test]
    fn the_two_capabilities_are_enough_and_both_are_needed() {
        assert!(missing(1 << CAP_BPF | 1 << CAP_PERFMON).is_empty());
        assert_eq!(missing(1 << CAP_BPF), ["CAP_PERFMON"]);
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON"]);
    }
}
