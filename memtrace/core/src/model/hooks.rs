//! How a process was traced.

use serde::{Deserialize, Serialize};

/// How a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// A BTF tracepoint.
    TpBtf,
    /// `fentry` and `fexit` on the system calls' own functions: other processes pay nothing.
    Fentry,
    /// The `syscalls:*` tracepoints: every system call of every process takes the kernel's slow path.
    Tracepoint,
}

impl HookKind {
    /// The name in the capture file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// How exact the RSS figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The ledger sees every change.
    Exact,
    /// RSS is sampled.
    Approximate,
}

impl Mode {
    /// The name in the capture file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximate => "approximate",
        }
    }
}
