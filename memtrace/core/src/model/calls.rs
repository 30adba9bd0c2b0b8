//! The lines of an events file: single calls, as `docs/events.md` documents them.

use std::{borrow::Cow, fmt, ops::Range};

use memtrace_common::{
    advice,
    cell::{BRK, MADVISE_BASE, MMAP, MREMAP, MUNMAP, PROCESS_MADVISE_BASE, TASK_BASE},
    layout::CallEvent,
};
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{Cause, HostInfo, Mode, TargetInfo, errno_name};
use bits::{MMAP_FLAGS, MREMAP_FLAGS, PROTECTION};

mod bits;

/// The schema that an events file's first line names.
pub const EVENTS_SCHEMA: &str = "memtrace-events/1";

/// A line of an events file. The first one is a header, the last one, where the file came to its end, a trailer; each other one is a
/// call. They are told apart by `schema`, `call` and `written`, which only they have.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum EventLine {
    /// The first line.
    Header(Box<EventsHeader>),
    /// A call that has ended.
    Call(Box<CallLine>),
    /// The last line. Without it, memtrace did not come to its end, or could not write.
    Trailer(EventsTrailer),
}

/// The first line: of what the calls are.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventsHeader {
    /// `memtrace-events/1`.
    pub schema: String,
    /// When the first epoch began, RFC 3339, UTC.
    pub started_at: String,
    /// `exact`, or `approximate`, where no call's RSS change is known.
    pub mode: Mode,
    /// The host.
    pub host: HostInfo,
    /// The process, as it was at the beginning.
    pub target: TargetInfo,
    /// System calls that are hooked. One that is not here is not told, whatever the filter says.
    pub hooked: Vec<String>,
    /// Which calls are told.
    pub filter: EventsFilter,
}

/// Which calls are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventsFilter {
    /// `--events-min-bytes`: calls that asked for so many bytes, or more.
    pub min_bytes: u64,
    /// `--events-calls`: these calls, `CALL` or `CALL:ADVICE`; `null` stands for all.
    pub calls: Option<Vec<String>>,
}

/// The hooked calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallName {
    /// `mmap`.
    Mmap,
    /// `munmap`.
    Munmap,
    /// `mremap`.
    Mremap,
    /// `brk`.
    Brk,
    /// `madvise`.
    Madvise,
    /// `process_madvise`: the process's own calls, on whichever process.
    ProcessMadvise,
}

impl CallName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Mmap,
        Self::Munmap,
        Self::Mremap,
        Self::Brk,
        Self::Madvise,
        Self::ProcessMadvise,
    ];

    /// Returns the cause that the call is in the ledger.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::Mmap => Cause::Mmap,
            Self::Munmap => Cause::Munmap,
            Self::Mremap => Cause::Mremap,
            Self::Brk => Cause::Brk,
            Self::Madvise => Cause::Madvise,
            Self::ProcessMadvise => Cause::ProcessMadvise,
        }
    }

    /// Returns the kernel's name of the call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.cause().name()
    }

    /// Returns the ledger's cells of the call: one, or one per advice.
    #[must_use]
    pub const fn cells(self) -> Range<u32> {
        match self {
            Self::Mmap => MMAP..MMAP + 1,
            Self::Munmap => MUNMAP..MUNMAP + 1,
            Self::Mremap => MREMAP..MREMAP + 1,
            Self::Brk => BRK..BRK + 1,
            Self::Madvise => MADVISE_BASE..PROCESS_MADVISE_BASE,
            Self::ProcessMadvise => PROCESS_MADVISE_BASE..TASK_BASE,
        }
    }

    /// Returns true if the call has an advice.
    #[must_use]
    pub const fn is_advised(self) -> bool {
        matches!(self, Self::Madvise | Self::ProcessMadvise)
    }
}

/// An address, in hexadecimal, such as `0x7f3a5c000000`: as `/proc/PID/maps` has it, and too wide for what many programs read numbers into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An address, in hexadecimal.",
            "type": "string",
            "pattern": "^0x[0-9a-f]+$"
        })
    }
}

/// Flags by name, with `|` between them; bits without a name are one hexadecimal number, and none at all is `0`.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    value: u32,
    names: bits::Names,
}

impl fmt::Display for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.value;
        let mut between = "";
        for &(name, mask, value) in self.names {
            // A name without bits stands for their absence.
            let named = if value == 0 {
                self.value & mask == 0
            } else {
                left & mask == value
            };
            if named {
                write!(formatter, "{between}{name}")?;
                between = "|";
                left &= !value;
            }
        }
        if left != 0 {
            write!(formatter, "{between}{left:#x}")?;
        } else if between.is_empty() {
            formatter.write_str("0")?;
        }
        Ok(())
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Flags {
    fn schema_name() -> Cow<'static, str> {
        "Flags".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Flags by the kernel's names, with | between them; bits without a name as a number.",
            "type": "string"
        })
    }
}

/// A call that has ended. What does not apply to a call is left out; what could not be had is `null`. Lines are in the order in which
/// calls ended.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallLine {
    /// Number of the epoch, from 0: how often the process had replaced its program.
    pub epoch: u32,
    /// When the call began, in ns since the epoch began.
    pub t_ns: u64,
    /// The thread, as memtrace's own PID namespace numbers it; `null` where it has no number there.
    pub thread: Option<u32>,
    /// Which call.
    pub call: CallName,
    /// Of `madvise` and `process_madvise`: the advice by the kernel's name, or by its number where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
    /// The address that was passed; for `mmap` a wish, `0x0` where there is none, and for `brk` the new break. Not for
    /// `process_madvise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The length in bytes, as it was passed: for `mremap` the new one, for `brk` how far the break was to move, for
    /// `process_madvise` the sum of all ranges.
    pub length: u64,
    /// Of `mremap`: the old length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_length: Option<u64>,
    /// Of `brk`: where the break was; `null` where the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_address: Option<Option<Address>>,
    /// Of `process_madvise`: how many ranges were passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<u64>,
    /// Of `mmap`: the protection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prot: Option<Flags>,
    /// Of `mmap` and `mremap`: the flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Flags>,
    /// Of a successful `munmap`, `madvise` and `process_madvise`: what it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<i64>,
    /// Of a successful `mmap` and `mremap`, and of any `brk`: the address that it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_address: Option<Address>,
    /// Of a failed call: its errno by name. `brk`, which has none, fails with `ENOMEM` where it did not move the break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// From the call's entry to its exit, in ns.
    pub duration_ns: u64,
    /// RSS change of this very call: the pages that the ledger has booked under it, in this thread, from its entry to its exit.
    /// Exact where one thread moves memory at a time. Where two CPUs bring their counts together at the same moment, one of the two
    /// calls can have what the other one lacks: at most 512 pages and a batch (`docs/accuracy.md`). `null` in the approximate mode,
    /// before Linux 6.2, and where so many threads are inside calls that this one has no place.
    pub rss_delta_bytes: Option<i64>,
    /// Swap entries that came and went with this call, in bytes, within the same bounds. Not part of RSS.
    pub swap_delta_bytes: Option<i64>,
}

/// The last line. `written` + `filtered` + `dropped` are all calls that the ledger has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventsTrailer {
    /// Calls in this file.
    pub written: u64,
    /// Calls that the filter left out.
    pub filtered: u64,
    /// Calls that are missing: there was no room for them in the ring buffer, or they could not be written.
    pub dropped: u64,
    /// Whether nothing is missing: `dropped` is 0.
    pub complete: bool,
}

impl CallLine {
    /// The line of a call. `attached_ns` is when an epoch began whose begin the kernel side has not seen. `None` where `event` is not
    /// of a hooked call.
    #[must_use]
    pub fn of(event: &CallEvent, page_size: u64, attached_ns: u64) -> Option<Self> {
        let mut calls = CallName::ALL.into_iter();
        let call = calls.find(|call| call.cells().contains(&event.cell))?;
        let begin_ns = if event.begin_ns == 0 {
            attached_ns
        } else {
            event.begin_ns
        };
        let bytes = |pages: i64| pages.saturating_mul(page_size.cast_signed());
        let moved = (event.has_moved == 1).then_some(event.moved);
        let advised = matches!(call, CallName::Madvise | CallName::ProcessMadvise);
        let has_failed = event.errno != 0;
        let (mut result, mut result_address) = (None, None);
        match call {
            CallName::Brk => result_address = Some(Address(event.result.cast_unsigned())),
            CallName::Mmap | CallName::Mremap if !has_failed => {
                result_address = Some(Address(event.result.cast_unsigned()));
            }
            _ if !has_failed => result = Some(event.result),
            _ => {}
        }
        Some(Self {
            epoch: event.epoch,
            t_ns: event.at_ns.saturating_sub(begin_ns),
            thread: (event.thread != 0).then_some(event.thread),
            call,
            advice: advised.then(|| advice_name(event.advice)),
            address: (call != CallName::ProcessMadvise).then_some(Address(event.address)),
            length: event.length,
            old_length: (call == CallName::Mremap).then_some(event.old),
            old_address: (call == CallName::Brk)
                .then_some((event.old != 0).then_some(Address(event.old))),
            ranges: (call == CallName::ProcessMadvise).then_some(event.old),
            prot: (call == CallName::Mmap).then_some(Flags {
                value: event.prot,
                names: PROTECTION,
            }),
            flags: match call {
                CallName::Mmap => Some(MMAP_FLAGS),
                CallName::Mremap => Some(MREMAP_FLAGS),
                _ => None,
            }
            .map(|names| Flags {
                value: event.flags,
                names,
            }),
            result,
            result_address,
            errno: has_failed.then(|| errno_name(event.errno)),
            duration_ns: event.duration_ns,
            rss_delta_bytes: moved.map(|[file, anon, _, shmem]| {
                bytes(file.saturating_add(anon).saturating_add(shmem))
            }),
            swap_delta_bytes: moved.map(|[_, _, swap, _]| bytes(swap)),
        })
    }
}

fn advice_name(advice: i32) -> Cow<'static, str> {
    advice::name(advice).map_or_else(|| advice.to_string().into(), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use memtrace_common::cell::{CELLS, call_slot};

    use super::*;

    #[test]
    fn each_cell_of_a_call_has_its_call_and_no_other_cell_has_one() {
        for cell in 0..u32::try_from(CELLS).unwrap() {
            let calls = CallName::ALL.into_iter();
            let found: Vec<_> = calls.filter(|call| call.cells().contains(&cell)).collect();
            assert_eq!(
                found.len(),
                usize::from(call_slot(cell).is_some()),
                "{cell}"
            );
        }
    }

    #[test]
    fn each_call_is_a_cause_with_its_name_in_the_file() {
        for call in CallName::ALL {
            assert!(call.cause().is_call());
            assert_eq!(serde_json::to_value(call).unwrap(), call.name());
            assert_eq!(serde_json::to_value(call.cause()).unwrap(), call.name());
        }
    }
}
