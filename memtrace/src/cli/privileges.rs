//! What memtrace needs to be allowed, asked before anything is attached: capabilities, not the user id. And given up, once
//! everything is.

use anyhow::bail;

use crate::{
    observe::Sampler,
    privilege::{self, Capabilities, NEEDS, Need, Trial, invoker},
    probe::Session,
    process::Spawned,
};

/// Fails with what is missing, what it costs, and what to type.
pub fn check(retry: &str) -> anyhow::Result<()> {
    if let Some(lacking) = lacking(retry) {
        bail!("{lacking}; memtrace doctor shows what this host allows");
    }
    Ok(())
}

/// What keeps a trace from beginning, with what to type.
pub fn lacking(retry: &str) -> Option<String> {
    privilege::claim();
    let found = Found {
        held: privilege::effective(),
        withheld: NEEDS
            .iter()
            .map(|need| need.capability)
            .filter(|&capability| privilege::is_withheld(capability))
            .collect(),
        in_user_namespace: privilege::in_user_namespace(),
    };
    found.refusal(retry)
}

/// Fails where a program is to be started as the invoking user, and memtrace cannot become this user.
pub fn check_start() -> anyhow::Result<()> {
    const BECOMING: Capabilities = Capabilities::SETUID.union(Capabilities::SETGID);
    let missing = BECOMING - privilege::effective();
    match invoker() {
        Some(invoker) if !missing.is_empty() => bail!(
            "sudo says that user {} typed this, as whom memtrace starts programs; that needs CAP_SETUID and CAP_SETGID, and this process lacks {}: start the program yourself and give --pid, or unset SUDO_UID to start it as root",
            invoker.uid,
            privilege::names(missing)
        ),
        _ => Ok(()),
    }
}

/// What this process may do.
struct Found {
    held: Capabilities,
    /// What it could not have even as root.
    withheld: Capabilities,
    in_user_namespace: bool,
}

impl Found {
    /// Why memtrace cannot work like this, in one line.
    fn refusal(&self, retry: &str) -> Option<String> {
        let missing: Vec<&Need> = privilege::missing(self.held).collect();
        let (needed, useful): (Vec<&Need>, Vec<&Need>) =
            missing.iter().partition(|need| need.cost.is_none());
        if needed.is_empty() && !self.in_user_namespace {
            return None;
        }
        let mut text =
            "loading eBPF programs needs the capabilities CAP_BPF and CAP_PERFMON, or root; this process ".to_owned();
        if needed.is_empty() {
            text.push_str("has them in a user namespace only, where they do not reach eBPF: run memtrace outside of the container");
            return Some(text);
        }
        text.push_str("lacks ");
        text.push_str(&list(&needed));
        let out_of_reach: Vec<&Need> = needed
            .iter()
            .copied()
            .filter(|need| {
                self.withheld.contains(need.capability)
                    && !privilege::allows(!self.withheld, need.capability)
            })
            .collect();
        if out_of_reach.is_empty() {
            text.push_str(&format!(": type: sudo {retry}"));
        } else {
            let flags: Vec<String> = out_of_reach
                .iter()
                .map(|need| format!("--cap-add={}", need.name.trim_start_matches("CAP_")))
                .collect();
            text.push_str(&format!(
                ", and not even root can have {} here (a container?): start the container with {}",
                if out_of_reach.len() == 1 {
                    "it"
                } else {
                    "them"
                },
                flags.join(" ")
            ));
        }
        // Not what stops it; but whoever puts a set together had better know.
        let chosen = NEEDS.iter().any(|need| self.held.contains(need.capability));
        for need in useful.into_iter().filter(|_| chosen) {
            if let Some(cost) = need.cost {
                text.push_str(&format!("; without {}: {cost}", need.name));
            }
        }
        Some(text)
    }
}

fn list(needs: &[&Need]) -> String {
    let names: Vec<&str> = needs.iter().map(|need| need.name).collect();
    names.join(" and ")
}

/// Everything is attached and open: becomes the user who started memtrace, and keeps only the capabilities that reading,
/// looking at the target, ending the program and naming the file are seen to need. `start` forks the process that looks at its files.
pub fn drop_privileges(
    session: &Session,
    sampler: &Sampler,
    names: &mut dyn FnMut() -> bool,
    spawned: Option<&Spawned>,
    start: &mut dyn FnMut(),
) -> anyhow::Result<()> {
    const BPF: Capabilities = Capabilities::BPF;
    const PTRACE: Capabilities = Capabilities::SYS_PTRACE;
    const OVERRIDE: Capabilities = Capabilities::DAC_OVERRIDE;
    const OWNER: Capabilities = Capabilities::FOWNER;
    let mut reads = || session.started().is_ok();
    let mut sees = || sampler.can_see();
    let mut opens = || sampler.can_open();
    let mut signals = || spawned.is_none_or(|spawned| spawned.signal(0).is_ok());
    let mut trials = [
        Trial {
            candidates: &[BPF, Capabilities::SYS_ADMIN],
            works: &mut reads,
        },
        Trial {
            candidates: &[PTRACE],
            works: &mut sees,
        },
        Trial {
            candidates: &[Capabilities::PERFMON, PTRACE],
            works: &mut opens,
        },
        Trial {
            candidates: &[OVERRIDE, OWNER, OVERRIDE.union(OWNER)],
            works: names,
        },
        Trial {
            candidates: &[Capabilities::KILL],
            works: &mut signals,
        },
    ];
    privilege::drop_privileges(invoker().as_ref(), &mut trials, start)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(held: Capabilities) -> Found {
        Found {
            held,
            withheld: Capabilities::empty(),
            in_user_namespace: false,
        }
    }

    #[test]
    fn root_lacks_nothing() {
        assert_eq!(found(Capabilities::all()).refusal("memtrace"), None);
        assert_eq!(found(Capabilities::SYS_ADMIN).refusal("memtrace"), None);
    }

    #[test]
    fn the_two_capabilities_are_enough_and_both_are_needed() {
        let both = Capabilities::BPF | Capabilities::PERFMON;
        assert_eq!(found(both).refusal("memtrace"), None);
        let text = found(Capabilities::BPF)
            .refusal("memtrace --pid 7")
            .unwrap();
        assert!(
            text.contains("lacks CAP_PERFMON: type: sudo memtrace --pid 7"),
            "{text}"
        );
        let text = found(Capabilities::empty()).refusal("memtrace").unwrap();
        assert!(text.contains("lacks CAP_BPF and CAP_PERFMON"), "{text}");
    }

    #[test]
    fn what_else_is_missing_is_named_with_its_cost() {
        let held = Capabilities::BPF;
        let text = found(held).refusal("memtrace").unwrap();
        assert!(
            text.contains("without CAP_SYS_PTRACE: of another"),
            "{text}"
        );
        let text = found(held | Capabilities::SYS_PTRACE)
            .refusal("memtrace")
            .unwrap();
        assert!(!text.contains("CAP_SYS_PTRACE"), "{text}");
        // Who has nothing is told of the one way that has it all.
        let text = found(Capabilities::empty()).refusal("memtrace").unwrap();
        assert!(text.ends_with("sudo memtrace"), "{text}");
    }

    #[test]
    fn sudo_is_not_advised_where_it_does_not_help() {
        let mut withheld = found(Capabilities::empty());
        withheld.withheld = Capabilities::BPF | Capabilities::SYS_ADMIN;
        let text = withheld.refusal("memtrace").unwrap();
        assert!(text.contains("--cap-add=BPF"), "{text}");
        assert!(!text.contains("--cap-add=PERFMON"), "{text}");
        assert!(!text.contains("sudo"), "{text}");
        let mut nested = found(Capabilities::all());
        nested.in_user_namespace = true;
        let text = nested.refusal("memtrace").unwrap();
        assert!(text.contains("user namespace"), "{text}");
    }
}
