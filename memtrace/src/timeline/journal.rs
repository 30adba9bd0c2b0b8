//! The journal of a capture that is still going on: JSON Lines, one line per event, each written as soon as it has happened.
//!
//! Whatever ends memtrace, everything up to the last whole line is there. At the end, the capture file is put together from it
//! (`assemble`), so a capture's memory does not grow with its time. `docs/schema.md` has the lines field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Account, CauseRow, Children, Faults, HookInfo, HostInfo, LossInfo, SCHEMA, TargetInfo, Tick,
};

/// The value of `journal` in the first line.
pub const FORMAT: u32 = 1;

/// Ticks of an epoch, counted from 0, whose comparison was with the next program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// The first one.
    pub from: u64,
    /// The first one behind them.
    pub until: u64,
}

impl TakenBack {
    /// Whether it is about the tick of this number.
    #[must_use]
    pub const fn concerns(&self, number: u64) -> bool {
        self.from <= number && number < self.until
    }
}

/// What is known at a tick beside the tick itself: since the epoch began, not since the last tick.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What each cause did, by the number of its cell.
    pub causes: BTreeMap<u32, CauseRow>,
    /// Page faults.
    pub faults: Faults,
    /// What was not counted.
    pub losses: LossInfo,
    /// Child processes.
    pub children: Option<Children>,
    /// How far sampled figures may be off, bytes.
    pub sampling_bound_bytes: Option<u64>,
    /// The hooks, where they have changed.
    pub hooks: Option<Vec<HookInfo>>,
    /// The process, where it may have changed.
    pub target: Option<TargetInfo>,
}

impl Known {
    /// Returns what the account of the beginning of an epoch says.
    pub(super) fn of(opening: &Account) -> Self {
        Self {
            faults: opening.summary.faults,
            losses: opening.capture.losses,
            children: opening.capture.children,
            sampling_bound_bytes: opening.summary.rss_sampling_bound_bytes,
            target: Some(opening.target.clone()),
            ..Self::default()
        }
    }
}

/// The first line.
#[derive(Serialize)]
struct Head<'a> {
    schema: &'a str,
    journal: u32,
    memtrace_version: &'a str,
    host: &'a HostInfo,
    epoch: &'a Account,
}

/// A tick's line: the tick, and what has changed of what is known.
#[derive(Serialize)]
struct TickLine<'a> {
    tick: &'a Tick,
    /// `None`: a row is back where nothing has happened.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    causes: BTreeMap<u32, Option<&'a CauseRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Faults>,
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<LossInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Children>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_sampling_bound_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hooks: Option<&'a [HookInfo]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a TargetInfo>,
}

/// The line at the end of an epoch. `ended` comes first: by that the line is known without being parsed.
#[derive(Serialize)]
struct EndLine<'a> {
    ended: &'a Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_back: Option<TakenBack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a Account>,
}

/// How the line at the end of an epoch begins.
pub(super) const ENDED: &[u8] = br#"{"ended":"#;

/// Makes the lines, each with its line's end. It keeps what the last one said, and no tick.
#[derive(Clone, Debug)]
pub struct Journal {
    last: Known,
    line: Vec<u8>,
}

impl Journal {
    /// Begins with what is known of the first epoch.
    #[must_use]
    pub fn begin(host: &HostInfo, epoch: &Account) -> Self {
        let mut journal = Self {
            last: Known::of(epoch),
            line: Vec::new(),
        };
        journal.put(&Head {
            schema: SCHEMA,
            journal: FORMAT,
            memtrace_version: env!("CARGO_PKG_VERSION"),
            host,
            epoch,
        });
        journal
    }

    /// The last line made; the first one, right after the beginning.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Rows that are kept to see what has changed: never more than there are cells.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.last.causes.len()
    }

    /// The line of a tick.
    pub fn tick(&mut self, tick: &Tick, known: Known) -> &[u8] {
        let before = std::mem::take(&mut self.last);
        let now = known;
        let gone = before
            .causes
            .keys()
            .filter(|cell| !now.causes.contains_key(cell))
            .map(|cell| (*cell, None));
        let causes = now
            .causes
            .iter()
            .filter(|(cell, row)| before.causes.get(cell) != Some(row))
            .map(|(cell, row)| (*cell, Some(row)))
            .chain(gone)
            .collect();
        self.put(&TickLine {
            tick,
            causes,
            faults: changed(&now.faults, &before.faults),
            losses: changed(&now.losses, &before.losses),
            children: now.children.filter(|_| now.children != before.children),
            rss_sampling_bound_bytes: now
                .sampling_bound_bytes
                .filter(|_| now.sampling_bound_bytes != before.sampling_bound_bytes),
            hooks: now.hooks.as_deref(),
            target: now.target.as_ref().filter(|_| now.target != before.target),
        });
        self.last = now;
        &self.line
    }

    /// The line of the end of an epoch, and of the beginning of the next one, if there is one.
    pub fn ended(
        &mut self,
        ended: &Account,
        taken_back: Option<TakenBack>,
        next: Option<&Account>,
    ) -> &[u8] {
        self.put(&EndLine {
            ended,
            taken_back,
            next,
        });
        self.last = next.map(Known::of).unwrap_or_default();
        &self.line
    }

    fn put(&mut self, line: &impl Serialize) {
        self.line.clear();
        // These types have string keys only, and memory takes everything.
        if serde_json::to_writer(&mut self.line, line).is_ok() {
            self.line.push(b'\n');
        }
    }
}

fn changed<T: Copy + PartialEq>(now: &T, before: &T) -> Option<T> {
    (now != before).then_some(*now)
}

/// What a tick's line says beside the tick.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) causes: BTreeMap<u32, Option<CauseRow>>,
    pub(super) faults: Option<Faults>,
    pub(super) losses: Option<LossInfo>,
    pub(super) children: Option<Children>,
    pub(super) rss_sampling_bound_bytes: Option<u64>,
    pub(super) hooks: Option<Vec<HookInfo>>,
    pub(super) target: Option<TargetInfo>,
}

impl Changes {
    /// Brings what is known up to this line. What the line says of the process and the hooks is left in `known` as news.
    pub(super) fn apply(self, known: &mut Known) {
        let Self {
            causes,
            faults,
            losses,
            children,
            rss_sampling_bound_bytes,
            hooks,
            target,
        } = self;
        for (cell, row) in causes {
            match row {
                Some(row) => known.causes.insert(cell, row),
                None => known.causes.remove(&cell),
            };
        }
        known.faults = faults.unwrap_or(known.faults);
        known.losses = losses.unwrap_or(known.losses);
        known.children = children.or(known.children);
        known.sampling_bound_bytes = rss_sampling_bound_bytes.or(known.sampling_bound_bytes);
        known.hooks = hooks;
        known.target = target;
    }
}
