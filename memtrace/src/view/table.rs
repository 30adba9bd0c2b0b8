//! The table at the end: the ledger.

use crate::text::Foreign;
use std::fmt::Write as _;

use super::{holdings::holdings, self_stats::self_stats};
use crate::{
    model::{Bytes4, Cause, CauseRow, End, Epoch, HookInfo, HookKind, HostInfo, Mode, Summary},
    text::format::{
        BAD, BOLD, DIM, GOOD, change, count, paint, sanitized, signed_size, size, span,
    },
};

/// Width of a row's name.
pub(super) const NAME: usize = 22;
const CALLS: usize = 7;
const REQUESTED: usize = 10;
const PAGES: usize = 8;
/// Most characters of a name, and of a reason, that a capture file brings.
const TEXT: usize = 64;
const REASON: usize = 300;
/// From this width on, there are columns for the sum of a row and for time.
const WIDE: usize = 98;

/// The whole report of an epoch, with styles; the stream that it goes to strips them where it is no terminal.
#[must_use]
pub fn table(host: &HostInfo, epoch: &Epoch, width: usize) -> String {
    let mut text = String::new();
    head(&mut text, host, epoch, width);
    ledger(&mut text, epoch, width >= WIDE);
    text.push('\n');
    balance(&mut text, epoch, width);
    notes(&mut text, epoch, width);
    holdings(&mut text, epoch, width);
    if let Some(stats) = &epoch.capture.self_stats {
        self_stats(&mut text, stats);
    }
    text
}

/// Between the tables of two epochs.
#[must_use]
pub fn replaced(pid: u32, comm: &Foreign) -> String {
    format!("process {pid} has replaced its program, and is now {comm:.15}; its memory starts anew")
}

/// Why a capture, or an epoch of it, ended.
pub const fn ended(end: End) -> &'static str {
    match end {
        End::Duration => "the capture's time was over",
        End::Signal => "stopped by hand",
        End::TargetExited => "the process ended",
        End::Exec => "the process replaced its program",
        End::Interrupted => "interrupted",
    }
}

fn head(text: &mut String, host: &HostInfo, epoch: &Epoch, width: usize) {
    let target = &epoch.target;
    let capture = &epoch.capture;
    let end = ended(capture.end);
    let title = format!(
        "process {} ({}), {}: {end}",
        target.pid,
        target.comm.shown(15),
        span(capture.duration_ns),
    );
    let _ = writeln!(text, "{}", paint(BOLD, &title));
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    for hook in &capture.hooks {
        let Some(kind) = hook.kind.map(HookKind::name) else {
            continue;
        };
        match kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, hooks)) => hooks.push(hook.name.shown(TEXT)),
            None => kinds.push((kind, vec![hook.name.shown(TEXT)])),
        }
    }
    let line = format!(
        "{}; Linux {} {}, {} CPUs, pages of {}",
        capture.mode.name(),
        host.kernel.shown(TEXT),
        host.arch.shown(TEXT),
        host.cpus,
        size(host.page_size),
    );
    wrap(text, &line, width);
    if let Some(note) = &capture.mode_note {
        let line = format!("{}: {note:.REASON$}", capture.mode.name());
        wrap(text, &line, width);
    }
    for (kind, hooks) in kinds {
        wrap(text, &format!("{kind}: {}", hooks.join(" ")), width);
    }
    let missing = |hook: &&HookInfo| {
        // What the note has said already.
        hook.kind.is_none() && !(hook.name == "rss" && capture.mode_note.is_some())
    };
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for hook in capture.hooks.iter().filter(missing) {
        let error = hook
            .error
            .as_ref()
            .map_or_else(|| "not attached".to_owned(), |why| why.shown(REASON));
        let name = hook.name.shown(TEXT);
        match reasons.last_mut() {
            Some((reason, hooks)) if *reason == error => hooks.push(name),
            _ => reasons.push((error, vec![name])),
        }
    }
    for (error, hooks) in reasons {
        let hooks = hooks.join(" ");
        let line = format!("not hooked: {hooks}: {}", error);
        wrap(text, &line, width);
    }
    text.push('\n');
}

/// Breaks a dim line at spaces.
fn wrap(text: &mut String, line: &str, width: usize) {
    let mut row = String::new();
    for word in line.split(' ') {
        if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > width.max(40) {
            let _ = writeln!(text, "{}", paint(DIM, &row));
            row = "  ".to_owned();
        } else if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(word);
    }
    let _ = writeln!(text, "{}", paint(DIM, &row));
}

fn ledger(text: &mut String, epoch: &Epoch, wide: bool) {
    let has_pages = epoch.capture.mode == Mode::Exact;
    let mut header = format!(
        "{:<NAME$}{:>CALLS$}{:>CALLS$}{:>REQUESTED$}",
        "cause", "calls", "failed", "requested"
    );
    if wide && has_pages {
        let _ = write!(header, "{:>PAGES$}", "RSS");
    }
    if has_pages {
        for name in ["anon", "file", "shmem", "swap"] {
            let _ = write!(header, "{name:>PAGES$}");
        }
    }
    if wide {
        let _ = write!(header, "{:>10}", "time");
    }
    let _ = writeln!(text, "{}", paint(BOLD, &header));
    let mut family = None;
    let mut sum = Bytes4::default();
    for row in &epoch.summary.causes {
        let group = row.advice.is_some().then_some(row.cause);
        if group.is_some() && family != group {
            let _ = writeln!(text, "{}", row.cause.name());
        }
        family = group;
        let pages = row.by_kind.filter(|_| has_pages);
        if let Some(pages) = &pages {
            add(&mut sum, pages);
        }
        let name = label(row.cause, row.advice.as_ref(), row.task.as_ref());
        line(text, &name, Some(row), pages.as_ref(), wide);
    }
    if epoch.summary.causes.is_empty() {
        let _ = writeln!(
            text,
            "{}",
            paint(
                DIM,
                if has_pages {
                    "nothing moved, and nothing was asked for"
                } else {
                    "nothing was asked for"
                }
            )
        );
    }
    if has_pages {
        line(text, "sum", None, Some(&sum), wide);
    }
}

/// Adds a row to a sum.
pub fn add(sum: &mut Bytes4, row: &Bytes4) {
    let Bytes4 {
        anon_bytes,
        file_bytes,
        shmem_bytes,
        swap_bytes,
    } = *row;
    for (sum, bytes) in [
        (&mut sum.anon_bytes, anon_bytes),
        (&mut sum.file_bytes, file_bytes),
        (&mut sum.shmem_bytes, shmem_bytes),
        (&mut sum.swap_bytes, swap_bytes),
    ] {
        *sum = sum.saturating_add(bytes);
    }
}

/// The name of a row: of an advice, that of the advice, below its call's.
pub(super) fn label(cause: Cause, advice: Option<&Foreign>, task: Option<&Foreign>) -> String {
    if let Some(advice) = advice {
        return format!("  {}", advice.without("MADV_").shown(NAME - 3));
    }
    let name = cause.name();
    match task {
        Some(task) if cause == Cause::OtherProcess => {
            format!("other: {}", task.shown(NAME - 8))
        }
        Some(task) => format!("{name}: {}", task.shown(NAME - name.len() - 3)),
        None => name.to_owned(),
    }
}

fn line(text: &mut String, name: &str, row: Option<&CauseRow>, pages: Option<&Bytes4>, wide: bool) {
    let is_sum = row.is_none();
    let mut line = format!("{name:<NAME$}");
    let calls = row.and_then(|row| row.calls);
    let mut cell = |value: String, width: usize, dim: bool| {
        let value = format!("{value:>width$}");
        line.push_str(&if dim && !is_sum {
            paint(DIM, &value)
        } else {
            value
        });
    };
    let optional = |value: Option<u64>, show: fn(u64) -> String| match value {
        Some(0) => ("0".to_owned(), true),
        Some(value) => (show(value), false),
        None if is_sum => (String::new(), true),
        None => ("-".to_owned(), true),
    };
    let (value, dim) = optional(calls, count);
    cell(value, CALLS, dim);
    let (value, dim) = optional(row.and_then(|row| row.failed_calls), count);
    cell(value, CALLS, dim);
    let (value, dim) = match row.map(|row| (row.requested_bytes, row.shrunk_bytes)) {
        Some((Some(requested), Some(shrunk))) if shrunk > 0 => {
            let net = net(requested, shrunk);
            (change(net), net == 0)
        }
        Some((requested, _)) => optional(requested, size),
        None => (String::new(), true),
    };
    cell(value, REQUESTED, dim);
    if let Some(pages) = pages {
        if wide {
            cell(change(pages.rss_bytes()), PAGES, pages.rss_bytes() == 0);
        }
        for bytes in [
            pages.anon_bytes,
            pages.file_bytes,
            pages.shmem_bytes,
            pages.swap_bytes,
        ] {
            cell(change(bytes), PAGES, bytes == 0);
        }
    }
    if wide {
        let time = row.and_then(|row| row.time_ns);
        cell(time.map_or_else(String::new, short_time), 10, false);
    }
    if is_sum {
        line = paint(BOLD, &line);
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// brk and mremap ask both ways; the table shows what they asked for in sum.
pub fn net(requested: u64, shrunk: u64) -> i64 {
    let net = i128::from(requested) - i128::from(shrunk);
    i64::try_from(net).unwrap_or(if net < 0 { i64::MIN } else { i64::MAX })
}

/// The time that calls took.
pub fn short_time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} µs", ns / 1000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

fn balance(text: &mut String, epoch: &Epoch, width: usize) {
    let summary = &epoch.summary;
    let mut rows = String::new();
    let mut entry = |name: &str, value: &str, note: &str| {
        let line = format!("{name:<NAME$}{value:>9}");
        if note.is_empty() {
            let _ = writeln!(rows, "{line}");
        } else {
            let _ = writeln!(rows, "{line}  {}", paint(DIM, note));
        }
    };
    let exact = epoch.capture.mode == Mode::Exact;
    let sampled = match summary.rss_sampling_bound_bytes {
        _ if exact => String::new(),
        Some(bound) => format!("sampled, ± {}", size(bound)),
        None => "sampled".to_owned(),
    };
    entry(
        "RSS at the start",
        &signed_size(summary.rss_start_bytes),
        if summary.rss_start_settled == Some(false) {
            "busy: some pages off, made up for by the causes"
        } else {
            &sampled
        },
    );
    if exact {
        entry("moved by the causes", &change(moved(summary)), "");
        unexplained(&mut entry, epoch);
    }
    let ended = matches!(epoch.capture.end, End::TargetExited | End::Exec);
    entry(
        "RSS at the end",
        &signed_size(summary.rss_end_bytes),
        if ended { "" } else { &sampled },
    );
    if ended {
        entry(
            "highest RSS seen",
            &signed_size(summary.rss_highest_seen_bytes),
            "at a tick; in between it may have been more",
        );
        let seen = epoch
            .timeline
            .iter()
            .rev()
            .find_map(|tick| Some((tick, tick.lazyfree_bytes?)));
        if let Some((tick, lazy)) = seen {
            entry(
                "LazyFree last seen",
                &size(lazy),
                &format!(
                    "{} after the start, of {} RSS",
                    span(tick.t_ns),
                    signed_size(tick.rss_bytes)
                ),
            );
        }
        text.push_str(&rows);
        return;
    }
    match summary.lazyfree_bytes {
        Some(lazy) => {
            entry(
                "LazyFree",
                &size(lazy),
                "freed by the program, kept until it is needed",
            );
            entry(
                "RSS - LazyFree",
                &signed_size(summary.rss_end_bytes.saturating_sub_unsigned(lazy)),
                "what the program still holds",
            );
        }
        None => {
            entry("LazyFree", "-", "not known");
            if let Some(reason) = &summary.lazyfree_missing {
                wrap(&mut rows, &format!("LazyFree: {reason:.REASON$}"), width);
            }
        }
    }
    text.push_str(&rows);
}

/// What the causes moved, in sum.
pub fn moved(summary: &Summary) -> i64 {
    summary
        .causes
        .iter()
        .filter_map(|row| row.rss_delta_bytes)
        .fold(0, i64::saturating_add)
}

fn unexplained(entry: &mut impl FnMut(&str, &str, &str), epoch: &Epoch) {
    let summary = &epoch.summary;
    match (summary.unexplained_bytes, summary.unexplained_bound_bytes) {
        (Some(0), Some(0)) => entry(
            "unexplained",
            &paint(GOOD, "      0 B"),
            &format!("compared with {}", compared(summary)),
        ),
        (Some(bytes), Some(0)) => entry(
            "unexplained",
            &paint(BAD, &format!("{:>9}", change(bytes))),
            &format!("compared with {}", compared(summary)),
        ),
        (Some(bytes), bound) => entry(
            "unexplained",
            &format!(
                "{:>9}",
                if bytes == 0 {
                    "0 B".to_owned()
                } else {
                    change(bytes)
                }
            ),
            &format!(
                "± {}: busy while compared with {}",
                size(bound.unwrap_or(0)),
                compared(summary)
            ),
        ),
        (None, _) => entry("unexplained", "-", "there was nothing to compare with"),
    }
}

/// What the ledger was compared with.
pub fn compared(summary: &Summary) -> String {
    match summary.compared_with.as_ref().map(Foreign::raw) {
        Some("counters") => "the kernel's counters at the end".to_owned(),
        Some(name) => sanitized(name, TEXT),
        None => "nothing".to_owned(),
    }
}

fn notes(text: &mut String, epoch: &Epoch, width: usize) {
    let capture = &epoch.capture;
    let faults = &epoch.summary.faults;
    if let (Some(user), Some(kernel)) = (faults.user, faults.kernel) {
        let _ = writeln!(
            text,
            "{:<NAME$}{:>9}  {}",
            "page faults",
            count(user.saturating_add(kernel)),
            paint(
                DIM,
                &format!(
                    "{} in user code, {} in the kernel",
                    count(user),
                    count(kernel)
                )
            )
        );
    }
    for row in epoch
        .summary
        .causes
        .iter()
        .filter(|row| !row.errnos.is_empty())
    {
        let list: Vec<String> = row
            .errnos
            .iter()
            .map(|errno| {
                let name = errno.errno.shown(TEXT);
                format!("{} × {name}", count(errno.calls))
            })
            .collect();
        let advice = row
            .advice
            .as_ref()
            .map(|it| it.shown(TEXT))
            .unwrap_or_default();
        let line = format!("failed: {} {advice}: {}", row.cause.name(), list.join(", "));
        wrap(text, &line.replace(" :", ":"), width);
    }
    if let Some(children) = capture.children.filter(|children| children.forked > 0) {
        let last = children
            .last_pid
            .map_or_else(String::new, |pid| format!("; the last one is {pid}"));
        let _ = writeln!(
            text,
            "children forked, and not followed: {}{last}",
            children.forked
        );
    }
    let interrupted = capture.end == End::Interrupted;
    if capture.losses.skipped_runs.is_none() {
        let why = if interrupted {
            "they are read at the end"
        } else {
            "kernels tell since 5.12"
        };
        let line = format!("skipped runs of memtrace's own programs: not known; {why}");
        wrap(text, &line, width);
    }
    if interrupted {
        let line = "incomplete: memtrace did not bring this capture to its end; at most what came after the last tick is missing";
        let _ = writeln!(text, "{}", paint(BAD, line));
    }
    if let Some(dropped) = capture.losses.single_events.filter(|&dropped| dropped > 0) {
        let line = format!(
            "the file of --events is incomplete: {} calls were dropped from it; they are counted here",
            count(dropped)
        );
        wrap(text, &line, width);
    }
    if capture.lost_events > 0 {
        let losses = &capture.losses;
        let line = format!(
            "incomplete: {} events were not counted (ring buffer {}, calls {}, errnos {}, counter reads {}, epochs {}, skipped runs {})",
            capture.lost_events,
            losses.ring_buffer,
            losses.calls,
            losses.errnos,
            losses.counter_reads,
            losses.epochs,
            losses
                .skipped_runs
                .map_or_else(|| "not known".to_owned(), |runs| runs.to_string())
        );
        let _ = writeln!(text, "{}", paint(BAD, &line));
    }
}
