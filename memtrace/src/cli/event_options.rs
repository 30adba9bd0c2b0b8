//! The options of `--events`: where single calls go, and which.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueHint};
use memtrace_common::{advice, cell::call_slot, config::EVENT_WORDS};

use super::shared::{WRITE, is_stdout};
use crate::{
    model::{CallName, EventsFilter},
    probe::events::Selection,
};

/// Single calls: where they go, and which.
#[derive(Clone, Debug, Default, Args)]
pub struct EventOptions {
    /// Write each mmap, munmap, mremap, brk and madvise to FILE as a line of JSON, or to standard output with -
    ///
    /// Each with its thread, address, length, result, duration, and the RSS change of that very call. What does not fit into the
    /// ring buffer is dropped and counted, and the exit code is then 3. FILE may be followed with tail -f.
    #[arg(help_heading = WRITE, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "no_syscalls")]
    pub events: Option<PathBuf>,
    /// Only calls that ask for so many bytes or more, such as 64K
    #[arg(help_heading = WRITE, long, value_name = "SIZE", requires = "events", value_parser = size)]
    pub events_min_bytes: Option<u64>,
    /// Only these calls, such as munmap,madvise:FREE
    #[arg(
        help_heading = WRITE,
        long,
        value_name = "CALL,…",
        requires = "events",
        value_delimiter = ','
    )]
    pub events_calls: Vec<Calls>,
}

impl EventOptions {
    /// Whether they go to standard output.
    pub fn on_stdout(&self) -> bool {
        self.events.as_deref().is_some_and(is_stdout)
    }

    /// What the kernel side is to tell; `None` where nothing.
    pub fn selection(&self) -> Option<Selection> {
        self.events.as_ref()?;
        let mut slots = [0; EVENT_WORDS];
        for calls in &self.events_calls {
            for (word, more) in slots.iter_mut().zip(calls.slots) {
                *word |= more;
            }
        }
        let all = Selection::default();
        Some(Selection {
            slots: if self.events_calls.is_empty() {
                all.slots
            } else {
                slots
            },
            min_bytes: self.events_min_bytes.unwrap_or(all.min_bytes),
        })
    }

    /// Returns the filter, as the header of the file names it.
    pub fn filter(&self) -> EventsFilter {
        let named = |calls: &Calls| calls.name.clone();
        EventsFilter {
            min_bytes: self.events_min_bytes.unwrap_or(0),
            calls: (!self.events_calls.is_empty())
                .then(|| self.events_calls.iter().map(named).collect()),
        }
    }
}

/// Some of the hooked calls: `munmap`, `madvise`, `madvise:FREE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    name: String,
    slots: [u32; EVENT_WORDS],
}

impl FromStr for Calls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (call, wanted) = match text.split_once(':') {
            Some((call, advice)) => (call, Some(advice)),
            None => (text, None),
        };
        let Some(known) = CallName::ALL.into_iter().find(|known| known.name() == call) else {
            let names = CallName::ALL.map(CallName::name);
            let (last, others) = names.split_last().unwrap_or((&"", &[]));
            return Err(format!(
                "calls are {} and {last}, the last two also with an advice: madvise:FREE",
                others.join(", ")
            ));
        };
        let mut slots = [0; EVENT_WORDS];
        let mut take = |cell| {
            let slot = call_slot(cell).unwrap_or_default();
            if let Some(word) = slots.get_mut(slot as usize / 32) {
                *word |= 1 << (slot % 32);
            }
        };
        let Some(wanted) = wanted else {
            known.cells().for_each(take);
            return Ok(Self {
                name: call.to_owned(),
                slots,
            });
        };
        if !known.is_advised() {
            return Err(format!(
                "{call} takes no advice; madvise and process_madvise do"
            ));
        }
        let advice = advice::KNOWN.iter().find(|(name, _)| {
            let short = name.trim_start_matches("MADV_");
            wanted.eq_ignore_ascii_case(name) || wanted.eq_ignore_ascii_case(short)
        });
        let Some((name, value)) = advice else {
            let names: Vec<&str> = advice::KNOWN
                .iter()
                .map(|(name, _)| name.trim_start_matches("MADV_"))
                .collect();
            return Err(format!("advice is one of {}", names.join(", ")));
        };
        take(known.cells().start + advice::slot_of_known(*value));
        Ok(Self {
            name: format!("{call}:{name}"),
            slots,
        })
    }
}

/// A size in bytes; K, M and G are powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a number of bytes, or one with K, M or G, such as 64K".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}
