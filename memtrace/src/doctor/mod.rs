//! `memtrace doctor`: what this kernel and these privileges allow, what that costs, and what to type.
//!
//! [`Facts`] and [`Trials`] are gathered on the host; [`examine`] makes a [`Report`] of them, and needs no host: a test writes
//! one down. `view` shows it.

mod files;
mod hooks;
mod kernel;
mod memory;
mod place;
mod privileges;
mod report;

use std::borrow::Cow;

pub use files::Files;
pub use report::{AttemptInfo, Check, Report, SCHEMA, Section, State, TraceMode, Verdict};

use crate::{
    privilege::{Capabilities, Invoker},
    probe::{self, Attempt, OwnLedger, ProbeError},
};
use files::Text;

/// What the host says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's files.
    pub files: Files,
    /// Kernel release.
    pub release: String,
    /// Architecture.
    pub arch: String,
    /// Bytes of a page.
    pub page_size: u64,
    /// CPUs online, and possible.
    pub cpus: (u32, u32),
    /// What built the eBPF object: lines `key: value`.
    pub provenance: Cow<'static, str>,
    /// Who typed `sudo`, where that was typed: the id, and the name where it has one.
    pub invoker: Option<(u32, Option<String>)>,
    /// `lockdown` of a securityfs that was mounted for memtrace alone; `None` where that was not tried.
    pub own_lockdown: Option<Result<String, String>>,
    /// Whether tracefs can be mounted for memtrace alone; `None` where that was not tried.
    pub own_tracefs: Option<Result<(), String>>,
}

impl Facts {
    /// Reads what this host says.
    ///
    /// # Errors
    ///
    /// Where not even the kernel's name can be read.
    pub fn read(invoker: Option<&Invoker>) -> Result<Self, ProbeError> {
        let host = probe::Host::read()?;
        let files = files::host();
        let may_mount = privileges::allows(&files, Capabilities::SYS_ADMIN);
        let absent = |path| files.read(path) == Text::Absent;
        let own_lockdown = (may_mount && absent(kernel::LOCKDOWN))
            .then(|| probe::read_privately("securityfs", "/sys/kernel/security", "lockdown"))
            .map(|read| read.map_err(|error| error.to_string()));
        let own_tracefs = (may_mount && place::tracefs_mount(&files).is_none())
            .then(|| probe::privately("tracefs", probe::TRACEFS, || ()))
            .map(|mounted| mounted.map_err(|error| error.to_string()));
        Ok(Self {
            files,
            release: host.kernel,
            arch: host.arch,
            page_size: host.page_size,
            cpus: (host.online_cpus, host.possible_cpus),
            provenance: Cow::Borrowed(probe::provenance()),
            invoker: invoker.map(|invoker| {
                let name = invoker.account.as_ref().map(|account| account.0.clone());
                (invoker.uid.as_raw(), name)
            }),
            own_lockdown,
            own_tracefs,
        })
    }
}

/// What trying came to.
#[derive(Clone, Debug)]
pub struct Trials {
    /// Each hook in each way.
    pub hooks: Tried<Vec<Attempt>>,
    /// A session on memtrace itself.
    pub own: Tried<OwnLedger>,
}

/// One thing that was to be tried.
#[derive(Clone, Debug)]
pub enum Tried<T> {
    /// It was not, and why.
    Not(String),
    /// The kernel refused it.
    Failed(String),
    /// It went through.
    Done(T),
}

impl<T> Tried<T> {
    const fn done(&self) -> Option<&T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Not(_) | Self::Failed(_) => None,
        }
    }
}

impl Trials {
    /// Tries everything on this host: attaches each hook, and detaches it at once.
    #[must_use]
    pub fn run() -> Self {
        fn tried<T>(result: Result<T, ProbeError>) -> Tried<T> {
            match result {
                Ok(value) => Tried::Done(value),
                Err(error) => Tried::Failed(error.to_string()),
            }
        }
        Self {
            hooks: tried(probe::try_hooks()),
            own: tried(probe::try_own_ledger()),
        }
    }

    /// Tries nothing.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self {
            hooks: Tried::Not(why.to_owned()),
            own: Tried::Not(why.to_owned()),
        }
    }
}

/// Makes the report.
#[must_use]
pub fn examine(facts: &Facts, trials: &Trials) -> Report {
    let mut checks = kernel::checks(facts, trials);
    checks.extend(privileges::checks(facts, trials));
    checks.extend(place::checks(facts, trials));
    checks.extend(hooks::checks(trials));
    checks.extend(memory::checks(&facts.files));
    Report {
        schema: SCHEMA.into(),
        memtrace_version: env!("CARGO_PKG_VERSION").into(),
        checks,
        attempts: hooks::attempts(trials),
        verdict: hooks::verdict(trials),
    }
}
