//! The only place that knows aya: the kernel's structures, loading, attaching, falling back, reading.
//!
//! What leaves this module is plain data ([`crate::ledger::Reading`]) and the state of the hooks ([`Hook`]).

mod attach;
pub mod btf;
mod error;
pub mod events;
mod floor;
mod hooks;
mod host;
mod ids;
mod loaded;
mod loader;
mod memlock;
mod mounts;
mod object;
pub mod offsets;
mod session;
mod stats;
mod tracefs;
mod trial;

pub use floor::Floor;
pub use hooks::Hook;
pub use host::{Host, INITIAL_PID_NAMESPACE, PidNamespace, batch_pages};
pub use loaded::loaded_programs;
pub use mounts::{MountError, privately, read_privately};
pub use object::{OBJECT, provenance};
pub use session::{EpochEvent, KernelLog, Options, Session, Wanted, monotonic_ns};
pub use stats::ProgramRuns;
pub use tracefs::TRACEFS;
pub use trial::{Attempt, OwnLedger, Way, try_hooks, try_own_ledger};

/// Why the target cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel's structures.
    #[error(transparent)]
    Offsets(#[from] offsets::OffsetError),
    /// The kernel's BTF.
    #[error(transparent)]
    Btf(#[from] btf::BtfError),
    /// The object could not be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Load(String),
    /// The one hook without which there is no ledger.
    #[error("cannot attach {hook}, without which there is no ledger: {reason}")]
    Ledger {
        /// The hook.
        hook: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// Not even the approximate mode has anything to attach.
    #[error("no hook can be attached: {0}")]
    NoHook(String),
    /// Neither mode works.
    #[error(
        "this kernel allows no ledger ({exact}), and the approximate mode does not work either: {approximate}"
    )]
    Neither {
        /// Why there is no ledger.
        exact: String,
        /// Why the approximate mode does not work.
        approximate: String,
    },
    /// `--self-stats` was asked for.
    #[error(
        "cannot turn the kernel's eBPF statistics on, which --self-stats needs: {0}; it needs CAP_SYS_ADMIN and Linux 5.8: leave --self-stats out, or type sudo"
    )]
    Statistics(String),
    /// A map could not be read.
    #[error("cannot read the map {map}: {reason}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The target was not among the tasks any more.
    #[error("process {0} ended while memtrace was attaching")]
    TargetGone(u32),
    /// Something about the host could not be read.
    #[error("cannot read {what}: {reason}")]
    Host {
        /// What.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

impl ProbeError {
    /// Whether the kernel is such that there can be no ledger, and the approximate mode may still work.
    #[must_use]
    pub const fn is_for_want_of_a_ledger(&self) -> bool {
        matches!(
            self,
            Self::Offsets(_) | Self::Btf(_) | Self::Load(_) | Self::Ledger { .. }
        )
    }

    /// Whether it is this host, or what it allows, that stands in the way, and not the target.
    #[must_use]
    pub const fn is_of_the_host(&self) -> bool {
        match self {
            Self::Offsets(_)
            | Self::Btf(_)
            | Self::Load(_)
            | Self::Ledger { .. }
            | Self::NoHook(_)
            | Self::Neither { .. }
            | Self::Host { .. } => true,
            Self::Statistics(_) | Self::Map { .. } | Self::TargetGone(_) => false,
        }
    }
}
