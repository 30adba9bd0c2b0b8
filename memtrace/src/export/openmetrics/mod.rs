//! OpenMetrics text 1.0, for Prometheus and what reads its format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
//!
//! Without the timeline it is the state at the end of the capture, without timestamps, so that it can be put where an exporter reads
//! files from. With it, every tick has its timestamp, for a backfill.

mod family;
mod shelf;
mod timeline;

use std::io::{self, Write};

pub use timeline::write as write_timeline;

use self::family::{Family, Labels, Sample, cause_labels, seconds};
use crate::{
    model::{Bytes4, Capture, CauseRow, End, Epoch, HostInfo, Summary, Tick},
    timeline::figures::{FIGURES, Figure, Since},
};

/// The last line.
const EOF: &[u8] = b"# EOF\n";

/// Writes the state at the end of the capture, and flushes.
///
/// # Errors
///
/// Where writing fails.
pub fn write(capture: &Capture, mut out: impl Write) -> io::Result<()> {
    let epoch = &capture.epoch;
    let labels = Labels::of(capture.earlier_epochs.len(), epoch);
    if let Some(tick) = closing(epoch) {
        for figure in FIGURES {
            let value = match figure.since {
                Since::LastTick => faults(&epoch.summary),
                Since::Now | Since::Before => figure.of_tick(&tick),
            };
            if let Some(value) = value {
                let family = figure_family(figure);
                family.header(&mut out)?;
                family.sample(&mut out, &labels.text(&[]), &value.to_string(), None)?;
            }
        }
    }
    for (family, value) in CAUSES {
        let samples = epoch.summary.causes.iter().filter_map(|row| {
            let labels = cause_labels(row.cause, row.advice.as_ref(), row.task.as_ref());
            Some((labels, value(row)?.to_string()))
        });
        samples_of(family, &labels, samples.collect(), &mut out)?;
    }
    for (family, samples) in CLOSING {
        samples_of(family, &labels, samples(&capture.host, epoch), &mut out)?;
    }
    out.write_all(EOF)?;
    out.flush()
}

fn samples_of(
    family: &Family,
    labels: &Labels,
    samples: Vec<Sample>,
    out: &mut impl Write,
) -> io::Result<()> {
    if samples.is_empty() {
        return Ok(());
    }
    family.header(out)?;
    for (own, value) in samples {
        family.sample(out, &labels.text(&own), &value, None)?;
    }
    Ok(())
}

/// The state at the end: the summary's, which was read last; what only ticks have, as at the last one.
fn closing(epoch: &Epoch) -> Option<Tick> {
    let Summary {
        rss_end_bytes,
        unexplained_bytes,
        unexplained_bound_bytes,
        end,
        lazyfree_bytes,
        anon_huge_bytes,
        cgroup,
        ..
    } = &epoch.summary;
    let mut tick = epoch.timeline.last()?.clone();
    // After its end the process has no memory, and what its runtime said last is of the past.
    if matches!(epoch.capture.end, End::TargetExited | End::Exec) {
        tick.vm_bytes = None;
        tick.go = None;
    }
    let Bytes4 {
        anon_bytes,
        file_bytes,
        shmem_bytes,
        swap_bytes,
    } = *end;
    tick.rss_bytes = *rss_end_bytes;
    tick.anon_bytes = anon_bytes;
    tick.file_bytes = file_bytes;
    tick.shmem_bytes = shmem_bytes;
    tick.swap_bytes = swap_bytes;
    tick.unexplained_bytes = *unexplained_bytes;
    tick.unexplained_bound_bytes = *unexplained_bound_bytes;
    tick.lazyfree_bytes = *lazyfree_bytes;
    tick.anon_huge_bytes = *anon_huge_bytes;
    tick.cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.end);
    Some(tick)
}

fn faults(summary: &Summary) -> Option<i128> {
    let (user, kernel) = (summary.faults.user?, summary.faults.kernel?);
    Some(i128::from(user) + i128::from(kernel))
}

/// A figure of ticks as a family. What counts is a counter; what is signed or may fall is a gauge.
const fn figure_family(figure: &'static Figure) -> Family {
    match figure.since {
        Since::Now => Family::gauge(figure.name, figure.help),
        Since::LastTick | Since::Before => Family::counter(figure.name, figure.help),
    }
}

const RSS_CHANGE: Family = Family::gauge(
    "rss_change_bytes",
    "RSS that this cause has brought or taken since the epoch began",
);
const SWAP_CHANGE: Family = Family::gauge(
    "swap_change_bytes",
    "Swap entries that this cause has brought or taken since the epoch began",
);
const CALLS: Family = Family::counter(
    "calls",
    "System calls that began and ended since the epoch began",
);
const REQUESTED: Family = Family::counter(
    "requested_bytes",
    "Bytes that successful calls asked to map, unmap, advise on or grow by",
);

type OfRow = fn(&CauseRow) -> Option<i128>;

/// What each cause has done, at the end; the first four also over time.
const CAUSES: &[(Family, OfRow)] = &[
    (RSS_CHANGE, |row| row.rss_delta_bytes.map(i128::from)),
    (SWAP_CHANGE, |row| {
        row.by_kind.map(|kind| kind.swap_bytes.into())
    }),
    (CALLS, |row| row.calls.map(i128::from)),
    (REQUESTED, |row| row.requested_bytes.map(i128::from)),
];

type OfEpoch = fn(&HostInfo, &Epoch) -> Vec<Sample>;

fn one(value: Option<impl ToString>) -> Vec<Sample> {
    let value = value.map(|value| (Vec::new(), value.to_string()));
    value.into_iter().collect()
}

fn of_rows(epoch: &Epoch, value: impl Fn(&CauseRow) -> Option<String>) -> Vec<Sample> {
    let rows = epoch.summary.causes.iter();
    rows.filter_map(|row| {
        let labels = cause_labels(row.cause, row.advice.as_ref(), row.task.as_ref());
        Some((labels, value(row)?))
    })
    .collect()
}

/// A change that has only one direction: of a file that says otherwise, nothing.
fn risen(bytes: Option<i64>) -> Option<u64> {
    bytes.and_then(|bytes| u64::try_from(bytes).ok())
}

/// What is known of an epoch only at its end.
const CLOSING: &[(Family, OfEpoch)] = &[
    (
        Family::counter("failed_calls", "Failed ones among the calls"),
        |_, epoch| of_rows(epoch, |row| row.failed_calls.map(|calls| calls.to_string())),
    ),
    (
        Family::counter(
            "failed_requested_bytes",
            "Bytes that failed calls asked for",
        ),
        |_, epoch| {
            of_rows(epoch, |row| {
                row.failed_requested_bytes.map(|bytes| bytes.to_string())
            })
        },
    ),
    (
        Family::counter(
            "shrunk_bytes",
            "Bytes that successful brk and mremap calls asked to shrink by",
        ),
        |_, epoch| of_rows(epoch, |row| row.shrunk_bytes.map(|bytes| bytes.to_string())),
    ),
    (
        Family::counter(
            "call_seconds",
            "Time between entry and exit, over all calls",
        ),
        |_, epoch| of_rows(epoch, |row| row.time_ns.map(seconds)),
    ),
    (
        Family::counter("faults_by_access", "Page faults by who and how"),
        |_, epoch| {
            let faults = &epoch.summary.faults;
            [
                ("user", "read", faults.user_read),
                ("user", "write", faults.user_write),
                ("user", "exec", faults.user_exec),
                ("kernel", "read", faults.kernel_read),
                ("kernel", "write", faults.kernel_write),
            ]
            .into_iter()
            .filter_map(|(mode, access, count)| {
                let labels = vec![("mode", mode.to_owned()), ("access", access.to_owned())];
                Some((labels, count?.to_string()))
            })
            .collect()
        },
    ),
    (
        Family::gauge("rss_start_bytes", "RSS when the epoch began"),
        |_, epoch| one(Some(epoch.summary.rss_start_bytes)),
    ),
    (
        Family::gauge(
            "rss_highest_seen_bytes",
            "The highest RSS among the ticks of the epoch",
        ),
        |_, epoch| one(Some(epoch.summary.rss_highest_seen_bytes)),
    ),
    (
        Family::gauge(
            "rss_sampling_bound_bytes",
            "How far sampled RSS figures may be off, where there is no ledger",
        ),
        |_, epoch| one(epoch.summary.rss_sampling_bound_bytes),
    ),
    (
        Family::counter("released_bytes", "RSS that fell at the process's own calls"),
        |_, epoch| {
            let returned = epoch.summary.returned;
            one(risen(returned.and_then(|returned| returned.released_bytes)))
        },
    ),
    (
        Family::counter(
            "lazily_freed_bytes",
            "What successful MADV_FREE calls were about",
        ),
        |_, epoch| {
            let returned = epoch.summary.returned;
            one(returned.and_then(|returned| returned.lazily_freed_bytes))
        },
    ),
    (
        Family::counter(
            "discarded_bytes",
            "Lazily freed pages that the kernel took back",
        ),
        |_, epoch| {
            let returned = epoch.summary.returned;
            one(risen(
                returned.and_then(|returned| returned.discarded_bytes),
            ))
        },
    ),
    (
        Family::counter(
            "reacquired_bytes",
            "RSS that rose while it was below its highest so far",
        ),
        |_, epoch| {
            let returned = epoch.summary.returned;
            one(risen(
                returned.and_then(|returned| returned.reacquired_bytes),
            ))
        },
    ),
    (
        Family::gauge(
            "cgroup_memory_limit_bytes",
            "The lowest limit of the memory cgroup and those above it",
        ),
        |_, epoch| {
            let cgroup = epoch.summary.cgroup.as_ref();
            one(cgroup.and_then(|cgroup| cgroup.limit_bytes))
        },
    ),
    (
        Family::gauge("duration_seconds", "How long the epoch lasted"),
        |_, epoch| one(Some(seconds(epoch.capture.duration_ns))),
    ),
    (
        Family::counter("lost_events", "Everything that was not counted"),
        |_, epoch| one(Some(epoch.capture.lost_events)),
    ),
    (
        Family::gauge(
            "complete",
            "1 where the epoch is whole: nothing lost, nothing unexplained",
        ),
        |_, epoch| one(Some(u8::from(epoch.is_complete()))),
    ),
    (
        Family::gauge("target_info", "What runs, and where; always 1"),
        |host, epoch| {
            let runtime = epoch.target.runtime.as_ref();
            let known = [
                ("exe", epoch.target.exe.clone()),
                ("runtime", runtime.and_then(|found| found.name.clone())),
                (
                    "runtime_version",
                    runtime.and_then(|found| found.version.clone()),
                ),
                (
                    "allocator",
                    runtime.and_then(|found| found.allocator.clone()),
                ),
                ("kernel", Some(host.kernel.clone())),
                ("arch", Some(host.arch.clone())),
            ];
            let labels = known
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?.raw().to_owned())));
            vec![(labels.collect(), "1".to_owned())]
        },
    ),
    (
        Family::gauge("verdict_info", "The answer, by its id; always 1"),
        |_, epoch| {
            let verdict = epoch.verdict.as_ref();
            let labels = verdict.map(|verdict| {
                let level = format!("{:?}", verdict.confidence.level).to_lowercase();
                vec![("id", verdict.id.raw().to_owned()), ("confidence", level)]
            });
            labels
                .into_iter()
                .map(|labels| (labels, "1".to_owned()))
                .collect()
        },
    ),
];
