//! The rounds: each condition once, then all of them again.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    names::{CONTROL, FLOOR, NOTHING},
    report::{Condition, Operation, ROWS, Report, Sample, Who},
    tools::{Place, TOOLS, Tool},
    worker::Worker,
};

/// Measures the operations whose name contains `row` under every condition whose name contains `only`.
pub fn run(
    place: &Place,
    only: Option<&str>,
    row: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let (rounds, millis) = (report.rounds, report.millis);
    let rows: Vec<_> = ROWS
        .into_iter()
        .filter(|(_, operation)| row.is_none_or(|row| operation.name().contains(row)))
        .collect();
    let cpu = last_cpu();
    let mut target = Worker::start(&place.bench, Some(cpu))?;
    let mut bystander = Worker::start(&place.bench, Some(cpu))?;
    let chosen: Vec<&Tool> = TOOLS
        .iter()
        .filter(|tool| {
            let needed = [NOTHING, FLOOR, CONTROL];
            tool.is_there(place)
                && (needed.contains(&tool.name) || only.is_none_or(|only| tool.name.contains(only)))
        })
        .collect();
    let mut failures: HashMap<&str, String> = HashMap::new();
    report.conditions = chosen.iter().map(|tool| tool.condition(place)).collect();
    for condition in &report.conditions {
        if let Some(why) = &condition.missing {
            eprintln!("{}: {why}", condition.name);
        }
    }
    for round in 0..rounds {
        for tool in &chosen {
            if missing(&report.conditions, tool.name) || failures.contains_key(tool.name) {
                continue;
            }
            eprint!("\r\x1b[Kround {} of {rounds}: {}", round + 1, tool.name);
            let visited = visit(place, tool, &rows, millis, &mut target, &mut bystander);
            match visited {
                Ok(samples) => report
                    .samples
                    .extend(samples.into_iter().map(|sample| Sample { round, ..sample })),
                Err(error) => {
                    eprintln!("\r\x1b[K{}: {error:#}", tool.name);
                    failures.insert(tool.name, format!("{error:#}"));
                }
            }
        }
    }
    eprint!("\r\x1b[K");
    for condition in &mut report.conditions {
        if let Some(why) = failures.remove(condition.name.as_str()) {
            condition.missing = Some(why);
        }
    }
    Ok(())
}

fn missing(conditions: &[Condition], name: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.name == name && condition.missing.is_some())
}

fn visit(
    place: &Place,
    tool: &Tool,
    rows: &[(Who, Operation)],
    millis: u32,
    target: &mut Worker,
    bystander: &mut Worker,
) -> Result<Vec<Sample>> {
    let running = tool.attach(place, target.pid())?;
    let mut samples = Vec::new();
    for &(who, operation) in rows {
        let worker = match who {
            Who::Target => &mut *target,
            Who::Bystander => &mut *bystander,
        };
        match worker.ask(&format!("measure {} {millis}", operation.name())) {
            Ok(ns) => samples.push(Sample {
                round: 0,
                condition: tool.name.to_owned(),
                who,
                operation,
                ns,
            }),
            // Such as huge pages, where the host has none.
            Err(error) => eprintln!("\r\x1b[K{error:#}"),
        }
    }
    running.detach()?;
    Ok(samples)
}

/// The last CPU that this process may run on: the first ones have the most interrupts to serve.
pub fn last_cpu() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let allowed = |cpu: &usize| {
        set.as_ref()
            .is_ok_and(|set| set.is_set(*cpu).unwrap_or(false))
    };
    (0..nix::sched::CpuSet::count())
        .rev()
        .find(allowed)
        .unwrap_or(0)
}

/// Bytes of a file.
pub fn bytes_of(path: &Path) -> Result<u64> {
    let file = std::fs::metadata(path).with_context(|| format!("cannot see {}", path.display()))?;
    Ok(file.len())
}
