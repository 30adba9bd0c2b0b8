//! The hooks of an exact session with programs that do nothing: what they cost before anybody does anything in them.

use std::sync::atomic::AtomicBool;

use aya::Ebpf;

use super::{
    Hook, Host, ProbeError,
    attach::{EMPTY, attach_btf, attach_calls, programs},
    session::{Options, load_exact},
};
use crate::model::HookKind;

/// The empty programs: the hook, the program, its tracepoint.
const TRACEPOINTS: [(&str, &str, &str); 6] = [
    ("rss", "empty_rss_stat", "rss_stat"),
    ("exit", "empty_exit_mmap", "exit_mmap"),
    ("exec", "empty_exec", "sched_process_exec"),
    ("fork", "empty_fork", "sched_process_fork"),
    ("faults_user", "empty_fault_user", "page_fault_user"),
    ("faults_kernel", "empty_fault_kern", "page_fault_kernel"),
];

/// The empty programs of all system calls.
pub(super) const RAW: [(&str, &str, &str); 2] = [
    ("all_calls_enter", "empty_raw_enter", "sys_enter"),
    ("all_calls_exit", "empty_raw_exit", "sys_exit"),
];

/// Empty programs, attached for as long as this lives. For benchmarks: no tool on the same hooks can cost less.
pub struct Floor {
    _ebpf: Ebpf,
    hooks: Vec<Hook>,
}

impl Floor {
    /// Attaches an empty program wherever a session with these options attaches one of its own.
    ///
    /// # Errors
    ///
    /// Where the object cannot be loaded. Hooks that cannot be attached are in [`Self::hooks`], with their reasons.
    pub fn attach(options: &Options) -> Result<Self, ProbeError> {
        Self::attach_with(options, &[])
    }

    /// The same, with two programs that run for every system call of every process, in place of those on the calls that matter.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`].
    pub fn attach_raw(options: &Options) -> Result<Self, ProbeError> {
        let options = Options {
            syscalls: false,
            ..*options
        };
        Self::attach_with(&options, &RAW)
    }

    fn attach_with(
        options: &Options,
        more: &[(&'static str, &'static str, &'static str)],
    ) -> Result<Self, ProbeError> {
        let host = Host::read()?;
        let (mut ebpf, btf, _) = load_exact(&host, options)?;
        let mut parts = programs(&mut ebpf);
        let mut hooks = Vec::new();
        let wanted = TRACEPOINTS
            .iter()
            .filter(|(name, ..)| options.faults || !name.starts_with("faults"));
        for &(name, program, tracepoint) in wanted.chain(more) {
            hooks.push(match attach_btf(&mut parts, &btf, program, tracepoint) {
                Ok(()) => Hook::attached(name, HookKind::TpBtf),
                Err(reason) => Hook::missing(name, reason.0),
            });
        }
        if options.syscalls {
            let never = AtomicBool::new(false);
            hooks.extend(attach_calls(&mut parts, Some(&btf), &EMPTY, &never));
        }
        drop(parts);
        Ok(Self { _ebpf: ebpf, hooks })
    }

    /// The hooks, attached or not.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }
}
