//! The tables.

use std::fmt::Write as _;

use super::{
    figures::{Figure, cheaper, figure, max, median, min, noise, targets, winners},
    names::NOTHING,
    report::{ROWS, Report, Who},
};

const MIB: f64 = (1 << 20) as f64;

/// All tables of a run.
pub fn all(report: &Report) -> String {
    let mut text = String::new();
    head(&mut text, report);
    costs(&mut text, report);
    own(&mut text, report);
    promises(&mut text, report);
    text
}

fn head(text: &mut String, report: &Report) {
    let host = &report.host;
    let _ = writeln!(
        text,
        "memtrace {}, {} {}, {} x {}, {:.1} GiB, THP {}, load {}\n{} rounds; in each, each figure is the least of the batches of {} ms\n",
        report.memtrace_version,
        host.kernel,
        host.arch,
        host.cpus,
        host.cpu,
        host.memory_bytes as f64 / f64::from(1 << 30),
        host.thp,
        host.load,
        report.rounds,
        report.millis,
    );
    if report.debug_build {
        text.push_str(DEBUG);
    }
}

/// Said where figures and targets do not fit each other.
const DEBUG: &str = "A debug build: what memtrace itself takes is not what a release takes, and no target is for it.\n\n";

fn columns(text: &mut String, first: &str) {
    let _ = write!(text, "{first:26}");
    for (_, operation) in ROWS {
        let _ = write!(text, "{:>12}", operation.name());
    }
    text.push('\n');
}

fn costs(text: &mut String, report: &Report) {
    let _ = writeln!(text, "{:26}{:>12}{:>98}", "ns", "the target", "a bystander");
    columns(text, "");
    row(
        text,
        report,
        NOTHING,
        "nothing, minimum",
        |figure| figure.min,
        false,
    );
    row(
        text,
        report,
        NOTHING,
        "nothing, median",
        |figure| figure.median,
        false,
    );
    for (title, pick) in [
        (
            "added, by the minima",
            (|figure: Figure| figure.added) as fn(Figure) -> f64,
        ),
        ("added, by the medians", |figure: Figure| {
            figure.added_median
        }),
    ] {
        let _ = writeln!(text, "{title}");
        for condition in report.conditions.iter().filter(|one| one.name != NOTHING) {
            match &condition.missing {
                Some(why) => {
                    let _ = writeln!(text, "  {:24} {why}", condition.name);
                }
                None => row(
                    text,
                    report,
                    &condition.name,
                    &format!("  {}", condition.name),
                    pick,
                    true,
                ),
            }
        }
    }
    let _ = write!(text, "{:26}", "noise");
    for (who, operation) in ROWS {
        let _ = write!(text, "{:>12.0}", noise(report, who, operation));
    }
    text.push('\n');
    let _ = writeln!(
        text,
        "\nThe least added cost among those that see the bytes, by call and advice (within the noise, all win); cheaper, and seeing less:"
    );
    for (who, operation) in ROWS {
        let _ = writeln!(
            text,
            "  {:10} {:12} {:40} {}",
            name(who),
            operation.name(),
            winners(report, who, operation).join(" = "),
            cheaper(report, who, operation).join(", ")
        );
    }
    text.push('\n');
}

const fn name(who: Who) -> &'static str {
    match who {
        Who::Target => "target",
        Who::Bystander => "bystander",
    }
}

fn row(
    text: &mut String,
    report: &Report,
    condition: &str,
    title: &str,
    pick: fn(Figure) -> f64,
    signed: bool,
) {
    let _ = write!(text, "{title:26}");
    for (who, operation) in ROWS {
        let cell = match figure(report, condition, who, operation).map(pick) {
            Some(ns) if signed => format!("{ns:+.0}"),
            Some(ns) => format!("{ns:.0}"),
            None => "-".to_owned(),
        };
        let _ = write!(text, "{cell:>12}");
    }
    text.push('\n');
}

fn own(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "memtrace itself: {:.1} MiB on disk, of which the eBPF object {:.0} KiB",
        report.binary_bytes as f64 / MIB,
        report.object_bytes as f64 / 1024.0
    );
    let times = |pick: fn(&super::report::Startup) -> u64| -> Vec<f64> {
        report
            .startup
            .iter()
            .map(|one| pick(one) as f64 / 1e6)
            .collect()
    };
    for (what, times) in [
        ("from start to attached", times(|one| one.attached_ns)),
        (
            "from Ctrl-C to the end of the table",
            times(|one| one.reported_ns),
        ),
        ("from Ctrl-C to the prompt", times(|one| one.gone_ns)),
    ] {
        if let (Some(least), Some(middle), Some(most)) = (min(&times), median(&times), max(&times))
        {
            let _ = writeln!(
                text,
                "  {what:38} {least:7.0} ms least, {middle:7.0} ms median, {most:7.0} ms most"
            );
        }
    }
    if !report.own.is_empty() {
        let _ = writeln!(
            text,
            "  target                        interval     CPU   us per tick       RSS      peak"
        );
    }
    for own in &report.own {
        let ticks = own.wall_ns as f64 / own.interval_ns as f64;
        let threads = if own.busy { "busy" } else { "idle" };
        let _ = writeln!(
            text,
            "  {:6.0} MiB, {:2} threads, {threads}  {:7} ms  {:5.2} %  {:10.0}  {:5.1} MiB  {:5.1} MiB",
            own.target_rss_bytes as f64 / MIB,
            own.target_threads,
            own.interval_ns / 1_000_000,
            own.cpu_ns as f64 * 100.0 / own.wall_ns as f64,
            own.cpu_ns as f64 / ticks / 1000.0,
            own.rss_bytes as f64 / MIB,
            own.rss_peak_bytes as f64 / MIB,
        );
    }
    for size in &report.size {
        let each = size.timeline_bytes as f64 / size.ticks.max(1) as f64;
        let _ = writeln!(
            text,
            "  capture file of {} target: {each:.0} bytes a tick, so {:.1} MiB an hour and {:.0} MiB a day at a tick a second",
            if size.busy { "a busy" } else { "an idle" },
            each * 3600.0 / MIB,
            each * 86_400.0 / MIB,
        );
    }
    if !report.pauses.is_empty() {
        let _ = writeln!(
            text,
            "\nmmap + munmap in a process of {:.1} GiB of 4 KiB pages, us: p50, p99.9 and the longest, of each round",
            report.pauses_rss_bytes as f64 / f64::from(1 << 30)
        );
    }
    let mut names: Vec<&str> = report
        .pauses
        .iter()
        .map(|one| one.condition.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let _ = write!(text, "  {name:24}");
        for one in report.pauses.iter().filter(|one| one.condition == name) {
            let us = |ns: u64| ns as f64 / 1000.0;
            let _ = write!(
                text,
                "  {:6.1} {:7.1} {:9.1}",
                us(one.pauses.p50),
                us(one.pauses.p999),
                us(one.pauses.max)
            );
        }
        text.push('\n');
    }
    text.push('\n');
}

fn promises(text: &mut String, report: &Report) {
    let _ = writeln!(text, "{:72}{:>16}{:>14}", "Promised", "measured", "at most");
    for target in targets(report) {
        let verdict = match target.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "-",
        };
        let _ = writeln!(
            text,
            "  {:70}{:>16}{:>14}  {verdict}",
            target.what, target.measured, target.limit
        );
    }
}

/// Whether two runs agree on who wins, row by row.
pub fn agreement(first: &Report, second: &Report) -> String {
    let mut text = String::from("\nDo both runs agree on who wins?\n");
    for (who, operation) in ROWS {
        let (one, other) = (
            winners(first, who, operation),
            winners(second, who, operation),
        );
        let agree = one.iter().any(|name| other.contains(name));
        let verdict = if agree {
            "yes".to_owned()
        } else {
            format!("NO: {} and {}", one.join(" = "), other.join(" = "))
        };
        let _ = writeln!(text, "  {:10} {:12} {verdict}", name(who), operation.name());
    }
    text
}
