//! What memtrace hooks, in which way each hook could be attached, and what is missing where it could not.

use crate::model::{HookInfo, HookKind};

/// One hook, or one family of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it is for: `rss`, `exit`, `exec`, `fork`, `faults_user`, `faults_kernel`, or a system call's name.
    pub name: &'static str,
    /// How it is attached; `None` where it is not.
    pub kind: Option<HookKind>,
    /// Why it is not attached.
    pub error: Option<String>,
    /// Why it is not attached in a cheaper way.
    pub fallback: Option<String>,
}

impl Hook {
    /// Whether it is a system call's.
    #[must_use]
    pub fn is_call(&self) -> bool {
        CALLS.iter().any(|call| call.name == self.name)
    }

    pub(super) fn attached(name: &'static str, kind: HookKind) -> Self {
        Self {
            name,
            kind: Some(kind),
            error: None,
            fallback: None,
        }
    }

    pub(super) fn missing(name: &'static str, error: String) -> Self {
        Self {
            name,
            kind: None,
            error: Some(error),
            fallback: None,
        }
    }
}

/// The BTF tracepoints: what each is for, and its name, which is also its program's. In any order: nothing counts before the
/// target is found.
pub(super) const TRACEPOINTS: [(&str, &str); 6] = [
    ("rss", "rss_stat"),
    ("exit", "exit_mmap"),
    ("exec", "sched_process_exec"),
    ("fork", "sched_process_fork"),
    ("faults_user", "page_fault_user"),
    ("faults_kernel", "page_fault_kernel"),
];

/// What the program that finds the target iterates over.
pub(super) const ITERATOR: &str = "task";

/// A hooked system call: its tracepoint's name, its programs, its function.
pub(super) struct Call {
    pub name: &'static str,
    pub enter: &'static str,
    pub exit: &'static str,
    /// The programs of the approximate mode.
    pub approximate: (&'static str, &'static str),
    /// The programs that do nothing.
    pub empty: (&'static str, &'static str),
}

pub(super) const CALLS: [Call; 6] = [
    Call {
        name: "mmap",
        enter: "enter_mmap",
        exit: "exit_mmap_call",
        approximate: ("approx_in_mmap", "approx_out_mmap"),
        empty: ("empty_in_mmap", "empty_out_mmap"),
    },
    Call {
        name: "munmap",
        enter: "enter_munmap",
        exit: "exit_munmap",
        approximate: ("approx_in_munmap", "approx_out_munmap"),
        empty: ("empty_in_munmap", "empty_out_munmap"),
    },
    Call {
        name: "mremap",
        enter: "enter_mremap",
        exit: "exit_mremap",
        approximate: ("approx_in_mremap", "approx_out_mremap"),
        empty: ("empty_in_mremap", "empty_out_mremap"),
    },
    Call {
        name: "brk",
        enter: "enter_brk",
        exit: "exit_brk",
        approximate: ("approx_in_brk", "approx_out_brk"),
        empty: ("empty_in_brk", "empty_out_brk"),
    },
    Call {
        name: "madvise",
        enter: "enter_madvise",
        exit: "exit_madvise",
        approximate: ("approx_in_madvise", "approx_out_madvise"),
        empty: ("empty_in_madvise", "empty_out_madvise"),
    },
    Call {
        name: "process_madvise",
        enter: "enter_process_madvise",
        exit: "exit_process_madvise",
        approximate: ("approx_in_pmadvise", "approx_out_pmadvise"),
        empty: ("empty_in_pmadv", "empty_out_pmadv"),
    },
];

/// The kernel's function of a system call.
pub(super) fn function(call: &str) -> String {
    let prefix = if cfg!(target_arch = "aarch64") {
        "__arm64_sys_"
    } else {
        "__x64_sys_"
    };
    format!("{prefix}{call}")
}

impl From<&Hook> for HookInfo {
    fn from(hook: &Hook) -> Self {
        Self {
            name: hook.name.into(),
            kind: hook.kind,
            error: hook.error.clone().map(Into::into),
            fallback: hook.fallback.clone().map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CALLS;
    use crate::model::CallName;

    #[test]
    fn every_call_of_a_capture_has_its_programs() {
        assert_eq!(
            CALLS.map(|call| call.name),
            CallName::ALL.map(CallName::name)
        );
    }
}
