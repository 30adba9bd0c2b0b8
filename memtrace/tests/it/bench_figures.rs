//! What the benchmark makes of its figures. The benchmark itself needs root and takes its time: `cargo xtask bench`.

#![expect(
    clippy::unwrap_used,
    reason = "what is not as expected is a test that fails"
)]
#![expect(
    dead_code,
    reason = "the benchmark uses more of its modules than is tested here"
)]

#[path = "../../benches/cost/figures.rs"]
mod figures;
#[path = "../../benches/cost/names.rs"]
mod names;
#[path = "../../benches/cost/report.rs"]
mod report;
#[path = "../../benches/cost/table.rs"]
mod table;

use figures::{cheaper, figure, median, noise, targets, winners};
use names::{CONTROL, EQUIVALENT, FLOOR, MEMTRACE, NOTHING, PERF_RECORD, PERF_STAT, STRACE, SUMS};
use report::{Condition, Host, Operation, Own, Pauses, Report, SCHEMA, Sample, Startup, Who};

/// A report in which each condition's rounds took so many ns for a fault of the target.
fn report(conditions: &[(&str, &[f64])]) -> Report {
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        memtrace_version: "0".to_owned(),
        host: Host {
            kernel: "6.18".to_owned(),
            arch: "x86_64".to_owned(),
            cpu: "a CPU".to_owned(),
            cpus: 2,
            memory_bytes: 1 << 30,
            thp: "madvise".to_owned(),
            load: "0".to_owned(),
        },
        binary_bytes: 1 << 20,
        object_bytes: 1 << 10,
        millis: 2,
        ..Report::default()
    };
    for (name, rounds) in conditions {
        report.conditions.push(Condition {
            name: (*name).to_owned(),
            command: String::new(),
            note: String::new(),
            missing: None,
        });
        for (round, ns) in (0..).zip(*rounds) {
            report.samples.push(Sample {
                round,
                condition: (*name).to_owned(),
                who: Who::Target,
                operation: Operation::Fault4k,
                // The best of a visit counts.
                ns: vec![ns + 500.0, *ns],
            });
        }
    }
    report
}

fn fault(report: &Report, condition: &str) -> figures::Figure {
    figure(report, condition, Who::Target, Operation::Fault4k).unwrap()
}

#[test]
fn what_a_condition_adds_is_told_by_minima_and_by_medians_of_differences() {
    // The second round was slow for everybody.
    let report = report(&[
        (NOTHING, &[1000.0, 1800.0, 1020.0]),
        (MEMTRACE, &[1150.0, 1950.0, 1130.0]),
    ]);
    let memtrace = fault(&report, MEMTRACE);
    assert_eq!(memtrace.min, 1130.0);
    assert_eq!(memtrace.median, 1150.0);
    assert_eq!(memtrace.added, 130.0);
    assert_eq!(memtrace.added_median, 150.0);
    assert_eq!(fault(&report, NOTHING).added, 0.0);
    assert_eq!(
        figure(&report, MEMTRACE, Who::Bystander, Operation::Fault4k),
        None
    );
}

#[test]
fn a_round_without_its_counterpart_is_not_compared() {
    let mut report = report(&[(NOTHING, &[1000.0]), (MEMTRACE, &[1100.0, 5000.0])]);
    assert_eq!(fault(&report, MEMTRACE).added_median, 100.0);
    report.samples.retain(|sample| sample.condition != NOTHING);
    assert_eq!(
        figure(&report, MEMTRACE, Who::Target, Operation::Fault4k),
        None
    );
}

#[test]
fn medians_of_even_numbers_lie_between_the_middle_two() {
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[]), None);
}

#[test]
fn noise_is_what_equal_conditions_differ_by_and_never_below_a_hundredth() {
    let loud = report(&[(NOTHING, &[1000.0]), (CONTROL, &[960.0])]);
    assert_eq!(noise(&loud, Who::Target, Operation::Fault4k), 40.0);
    // The best rounds agree, and the others do not.
    let unsteady = report(&[
        (NOTHING, &[1000.0, 1100.0, 1200.0]),
        (CONTROL, &[1000.0, 1180.0, 1400.0]),
    ]);
    assert_eq!(noise(&unsteady, Who::Target, Operation::Fault4k), 80.0);
    let quiet = report(&[(NOTHING, &[1000.0]), (CONTROL, &[1000.0])]);
    assert_eq!(noise(&quiet, Who::Target, Operation::Fault4k), 10.0);
}

#[test]
fn who_cannot_be_told_from_the_best_wins_too_and_who_sees_less_does_not_compete() {
    let report = report(&[
        (NOTHING, &[1000.0]),
        (CONTROL, &[1010.0]),
        (FLOOR, &[1050.0]),
        (MEMTRACE, &[1105.0]),
        ("memtrace --no-faults", &[1020.0]),
        (EQUIVALENT, &[1100.0]),
        (PERF_RECORD, &[1900.0]),
        (PERF_STAT, &[1050.0]),
        // Within the noise.
        (SUMS, &[1100.0]),
        // It sees no faults.
        (STRACE, &[1000.0]),
    ]);
    assert_eq!(
        winners(&report, Who::Target, Operation::Fault4k),
        [MEMTRACE, EQUIVALENT]
    );
    assert_eq!(
        cheaper(&report, Who::Target, Operation::Fault4k),
        [PERF_STAT]
    );
    assert!(winners(&report, Who::Bystander, Operation::Fault4k).is_empty());
}

#[test]
fn a_target_is_met_missed_or_not_measured() {
    let mut report = report(&[
        (NOTHING, &[1000.0]),
        (FLOOR, &[1100.0]),
        (MEMTRACE, &[1130.0]),
        (EQUIVALENT, &[1200.0]),
    ]);
    let own = Own {
        target_rss_bytes: 1 << 30,
        target_threads: 1,
        busy: false,
        interval_ns: 1_000_000_000,
        wall_ns: 10_000_000_000,
        cpu_ns: 5_000_000,
        rss_bytes: 5 << 20,
        rss_peak_bytes: 19 << 20,
    };
    let worst = Own {
        cpu_ns: 30_000_000,
        rss_peak_bytes: 21 << 20,
        ..own.clone()
    };
    report.own = vec![worst, own];
    report.startup = [250, 310, 290]
        .map(|ms| Startup {
            attached_ns: ms * 1_000_000,
            reported_ns: 0,
            gone_ns: 0,
        })
        .to_vec();
    let met = |part: &str| {
        let targets = targets(&report);
        let target = targets
            .iter()
            .find(|target| target.what.contains(part))
            .unwrap();
        (target.measured.clone(), target.met)
    };
    assert_eq!(
        met("a fault's added cost"),
        ("1.30 x".to_owned(), Some(false))
    );
    assert_eq!(met("every 1 s"), ("0.30 %".to_owned(), Some(false)));
    assert_eq!(met("every 10 ms"), ("not measured".to_owned(), None));
    assert_eq!(met("own RSS"), ("21.00 MiB".to_owned(), Some(false)));
    assert_eq!(
        met("from start to attached"),
        ("290.00 ms".to_owned(), Some(true))
    );
    assert_eq!(met("MADV_FREE").1, None);
}

#[test]
fn the_tables_name_what_is_missing_and_the_rows_of_which_two_runs_disagree() {
    let mut first = report(&[
        (NOTHING, &[1000.0]),
        (MEMTRACE, &[1100.0]),
        (PERF_RECORD, &[1500.0]),
    ]);
    let second = report(&[
        (NOTHING, &[1000.0]),
        (MEMTRACE, &[1900.0]),
        (PERF_RECORD, &[1500.0]),
    ]);
    assert!(table::agreement(&first, &first).contains("fault_4k     yes"));
    let disagreement = table::agreement(&first, &second);
    assert!(
        disagreement.contains("fault_4k     NO: memtrace and perf record"),
        "{disagreement}"
    );
    first.conditions[2].missing = Some("perf is not installed".to_owned());
    let text = table::all(&first);
    assert!(text.contains(PERF_RECORD), "{text}");
    assert!(text.contains("perf is not installed"), "{text}");
    assert!(text.contains("+100"), "{text}");
    assert!(!text.contains("debug build"), "{text}");
    first.debug_build = true;
    assert!(table::all(&first).contains("A debug build"));
}

#[test]
fn percentiles_are_of_all_calls() {
    let pauses = Pauses::of_sorted(&(1..=1001).collect::<Vec<_>>());
    assert_eq!(
        (pauses.calls, pauses.p50, pauses.p999, pauses.max),
        (1001, 501, 1000, 1001)
    );
    assert_eq!(Pauses::of_sorted(&[]).max, 0);
}
