//! From single figures to what is told: minima, medians, differences, and who wins.

use super::{
    names::{CONTROL, EQUIVALENT, FLOOR, LESSER, MEMTRACE, NOTHING, PEERS, STRACE},
    report::{Operation, Report, Who},
};

/// One operation under one condition, in ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Of all batches of all rounds.
    pub min: f64,
    /// Of the rounds' minima.
    pub median: f64,
    /// The minimum less that of nothing.
    pub added: f64,
    /// The median of the differences from nothing, each within one round.
    pub added_median: f64,
}

/// An operation under a condition; `None` where it was not measured.
pub fn figure(report: &Report, condition: &str, who: Who, operation: Operation) -> Option<Figure> {
    let rounds = minima(report, condition, who, operation);
    let nothing = minima(report, NOTHING, who, operation);
    let differences: Vec<f64> = rounds
        .iter()
        .filter_map(|(round, ns)| {
            let same = nothing.iter().find(|(other, _)| other == round)?;
            Some(ns - same.1)
        })
        .collect();
    let values: Vec<f64> = rounds.into_iter().map(|(_, ns)| ns).collect();
    let nothing: Vec<f64> = nothing.into_iter().map(|(_, ns)| ns).collect();
    Some(Figure {
        min: min(&values)?,
        median: median(&values)?,
        added: min(&values)? - min(&nothing)?,
        added_median: median(&differences)?,
    })
}

/// The lowest figure of each round.
fn minima(report: &Report, condition: &str, who: Who, operation: Operation) -> Vec<(u32, f64)> {
    report
        .samples
        .iter()
        .filter(|sample| {
            sample.condition == condition && sample.who == who && sample.operation == operation
        })
        .filter_map(|sample| Some((sample.round, min(&sample.ns)?)))
        .collect()
}

pub fn min(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

pub fn max(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((upper + sorted.get(middle.checked_sub(1)?)?) / 2.0)
}

/// What two equal conditions differ by, in ns, by minima or by medians, whichever is more; at least 1 % of the operation itself.
pub fn noise(report: &Report, who: Who, operation: Operation) -> f64 {
    let control = figure(report, CONTROL, who, operation);
    control.map_or(0.0, |control| {
        let differs = control.added.abs().max(control.added_median.abs());
        differs.max(control.min * 0.01)
    })
}

/// Those whose added cost is the least among the tools that see what memtrace sees, but for its ledger, and all that cannot be told
/// from them.
pub fn winners(report: &Report, who: Who, operation: Operation) -> Vec<String> {
    let rivals = added(report, who, operation, |name| PEERS.contains(&name));
    let costs: Vec<f64> = rivals.iter().map(|(_, added)| *added).collect();
    let Some(best) = min(&costs) else {
        return Vec::new();
    };
    let limit = best + noise(report, who, operation);
    let all = rivals.into_iter().filter(|(_, added)| *added <= limit);
    all.map(|(name, _)| name).collect()
}

/// Those that cost less than memtrace by more than the noise, and see less.
pub fn cheaper(report: &Report, who: Who, operation: Operation) -> Vec<String> {
    let is_fault = matches!(operation, Operation::Fault4k | Operation::FaultThp);
    // strace sees calls alone.
    let sees = |name: &str| LESSER.contains(&name) && !(name == STRACE && is_fault);
    let Some(own) = figure(report, MEMTRACE, who, operation) else {
        return Vec::new();
    };
    let limit = own.added - noise(report, who, operation);
    let all = added(report, who, operation, sees).into_iter();
    all.filter(|(_, added)| *added < limit)
        .map(|(name, _)| name)
        .collect()
}

/// What each of the conditions that are `wanted` adds.
fn added(
    report: &Report,
    who: Who,
    operation: Operation,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(String, f64)> {
    let conditions = report.conditions.iter();
    conditions
        .filter(|condition| wanted(&condition.name))
        .filter_map(|condition| {
            let figure = figure(report, &condition.name, who, operation)?;
            Some((condition.name.clone(), figure.added))
        })
        .collect()
}

/// What was promised, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub what: String,
    pub measured: String,
    pub limit: String,
    /// `None` where it could not be measured.
    pub met: Option<bool>,
}

impl Target {
    fn new(what: &str, measured: Option<f64>, limit: f64, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: measured.map_or_else(
                || "not measured".to_owned(),
                |value| format!("{value:.2}{unit}"),
            ),
            limit: format!("{limit:.2}{unit}"),
            met: measured.map(|value| value <= limit),
        }
    }
}

/// Every target, in the order of the promise.
pub fn targets(report: &Report) -> Vec<Target> {
    let added = |condition, who, operation| Some(figure(report, condition, who, operation)?.added);
    let ratio = |operation, of, to| {
        let (of, to) = (
            added(of, Who::Target, operation)?,
            added(to, Who::Target, operation)?,
        );
        (to > 0.0).then_some(of / to)
    };
    let mut targets = vec![Target::new(
        "a fault's added cost, to that of empty programs",
        ratio(Operation::Fault4k, MEMTRACE, FLOOR),
        1.25,
        " x",
    )];
    for (operation, name) in [
        (Operation::Dontneed, "madvise(MADV_DONTNEED)"),
        (Operation::Free, "madvise(MADV_FREE)"),
        (Operation::MmapMunmap, "mmap + munmap"),
    ] {
        targets.push(Target::new(
            &format!("{name}: added cost, to that of bpftrace's equivalent script"),
            ratio(operation, MEMTRACE, EQUIVALENT),
            0.5,
            " x",
        ));
    }
    let bystander = |condition, operation| added(condition, Who::Bystander, operation);
    let rival = bystander(EQUIVALENT, Operation::Getppid);
    targets.push(Target::new(
        "a bystander's getppid: added cost, against bpftrace's and the noise",
        bystander(MEMTRACE, Operation::Getppid),
        rival.unwrap_or(0.0) + noise(report, Who::Bystander, Operation::Getppid),
        " ns",
    ));
    let fault = figure(report, MEMTRACE, Who::Bystander, Operation::Fault4k);
    targets.push(Target::new(
        "a bystander's fault: added cost",
        fault.map(|fault| fault.added * 100.0 / (fault.min - fault.added)),
        3.0,
        " %",
    ));
    for (interval, name, limit) in [(1_000_000_000, "1 s", 0.2), (10_000_000, "10 ms", 3.0)] {
        let shares: Vec<f64> = report
            .own
            .iter()
            .filter(|own| own.interval_ns == interval)
            .map(|own| own.cpu_ns as f64 * 100.0 / own.wall_ns as f64)
            .collect();
        targets.push(Target::new(
            &format!("memtrace's own CPU time, a tick every {name}, the worst target"),
            max(&shares),
            limit,
            " %",
        ));
    }
    let peaks: Vec<f64> = report
        .own
        .iter()
        .map(|own| own.rss_peak_bytes as f64 / f64::from(1 << 20))
        .collect();
    targets.push(Target::new(
        "memtrace's own RSS, at its peak",
        max(&peaks),
        20.0,
        " MiB",
    ));
    let starts: Vec<f64> = report
        .startup
        .iter()
        .map(|one| one.attached_ns as f64 / 1e6)
        .collect();
    targets.push(Target::new(
        "from start to attached, the median",
        median(&starts),
        300.0,
        " ms",
    ));
    targets
}
