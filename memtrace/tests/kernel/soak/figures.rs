//! What the soak has seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use memtrace::model::Capture;

use super::tool::Ended;
use crate::storm::{Known, share};

/// Most pages that two events which meet misplace between two rows: one page table's worth, and a batch (docs/accuracy.md).
const FOLD: u64 = 512 + 64;

/// Sums over the whole soak.
#[derive(Default)]
pub struct Figures {
    pub rounds: u64,
    pub storms: u64,
    pub execs: u64,
    pub forks: u64,
    pub deaths: u64,
    /// memtraces that were attached to a target, the veteran's own included.
    pub memtraces: u64,
    /// Of them, those that were killed.
    pub memtraces_killed: u64,
    /// How often one was stopped.
    pub memtraces_stopped: u64,
    /// Sessions of this process.
    pub sessions: u64,
    /// Capture files that were read, and their ticks.
    pub captures: u64,
    pub ticks: u64,
    /// Of them, those that found something unexplained: a thread had lost its CPU between a counter and the event that tells of it.
    pub odd_ticks: u64,
    /// Comparisons with the kernel's own figures: at rest, and at the end of an epoch.
    pub stand_stills: u64,
    pub ends: u64,
    /// RSS events that sessions of this process counted.
    pub events: u64,
    /// Pages that storms moved, by their own account.
    pub pages: u64,
    /// Of the ledger's rows, the sum of what each was off in each storm.
    off: BTreeMap<&'static str, u64>,
    worst_off: u64,
    /// Epochs that were merged because nobody could read them: provoked, and counted.
    pub merged: u64,
    /// Runs of memtrace's programs that the kernel skipped.
    pub skipped: u64,
    played: BTreeSet<&'static str>,
    left_out: BTreeMap<&'static str, String>,
}

impl Figures {
    pub fn played(&mut self, scene: &'static str) {
        self.played.insert(scene);
    }

    /// A scene that this host does not have what it takes for.
    pub fn left_out(&mut self, scene: &'static str, missing: &str) {
        self.left_out.insert(scene, missing.to_owned());
    }

    /// A capture file that was read.
    pub fn capture(&mut self, capture: &Capture) {
        let (ticks, odd) = Ended::ticks(capture);
        self.captures += 1;
        self.ticks += ticks;
        self.odd_ticks += odd;
    }

    /// Compares what a storm knows that it did with what the ledger says, row by row.
    pub fn storm(&mut self, known: &Known, found: impl Fn(&str) -> i64, threads: u64) {
        let total = known.total();
        self.storms += 1;
        self.pages += total;
        // A storm of a second may have as many meetings as one of four has, and a thread has a stack.
        let allowed = allowed(total) + 4 * FOLD + 16 * threads;
        for (row, expected) in known.rows() {
            let off = found(row).abs_diff(expected);
            *self.off.entry(row).or_default() += off;
            self.worst_off = self.worst_off.max(off);
            assert!(
                off <= allowed,
                "row {row} is off by {off} of {total} pages, more than {allowed}: {} for {expected}; {known:?}",
                found(row)
            );
        }
    }

    /// What can be said only at the end.
    pub fn judge(&mut self, scenes: impl Iterator<Item = &'static str>) {
        let total = self.pages;
        for (row, off) in &self.off {
            assert!(
                *off <= allowed(total) + 4 * FOLD,
                "over the whole soak, row {row} is off by {off} of {total} pages"
            );
        }
        assert!(
            self.odd_ticks <= 2 + self.ticks / 1000,
            "{} of {} ticks found something unexplained",
            self.odd_ticks,
            self.ticks
        );
        for scene in scenes {
            if !self.played.contains(scene) {
                let reason = || "the time was over before its turn came".to_owned();
                self.left_out.entry(scene).or_insert_with(reason);
            }
        }
    }
}

fn allowed(pages: u64) -> u64 {
    (pages as f64 * share()) as u64
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            storms,
            execs,
            forks,
            deaths,
            memtraces,
            memtraces_killed,
            memtraces_stopped,
            sessions,
            captures,
            ticks,
            odd_ticks,
            stand_stills,
            ends,
            events,
            pages,
            off,
            worst_off,
            merged,
            skipped,
            played: _,
            left_out,
        } = self;
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<36}{value}");
        row("rounds", rounds)?;
        row("storms", storms)?;
        row("pages moved by them", pages)?;
        row("RSS events", events)?;
        row("execs", execs)?;
        row("forks", forks)?;
        row("deaths", deaths)?;
        row(
            "memtraces attached",
            &format!("{memtraces}, {memtraces_killed} killed, stopped {memtraces_stopped} times"),
        )?;
        row("sessions attached", sessions)?;
        row(
            "capture files",
            &format!(
                "{captures}, {ticks} ticks; in {odd_ticks} of them something unexplained that passed"
            ),
        )?;
        row(
            "unexplained",
            &format!("0 pages, at {stand_stills} stand-stills and {ends} ends"),
        )?;
        for (name, off) in off {
            row(
                &format!("row {name}"),
                &format!(
                    "off by {off} pages, {:.4} %",
                    *off as f64 * 100.0 / (*pages).max(1) as f64
                ),
            )?;
        }
        row("most that a row was off in a storm", worst_off)?;
        row("epochs merged, as provoked", merged)?;
        row("skipped runs", skipped)?;
        for (scene, reason) in left_out {
            row("NOT PLAYED", &format!("{scene}: {reason}"))?;
        }
        Ok(())
    }
}
