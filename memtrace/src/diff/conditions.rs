//! What is not the same in both captures, and what follows of it.

use crate::text::{Foreign, joined};
use std::collections::BTreeSet;

use super::{Condition, Conditions, Figure, Of, Subject};
use crate::{
    model::{End, Mode, RuntimeInfo},
    text::format::{change, size, span},
};

/// What is looked at, one after the other.
#[derive(Default)]
struct Compared {
    differ: Vec<Condition>,
    same: Vec<String>,
}

impl Compared {
    /// What neither side knows is neither the same nor different.
    fn push(&mut self, of: Of, what: &str, title: &str, a: Option<Foreign>, b: Option<Foreign>) {
        if a != b {
            self.differ.push(Condition {
                what: what.to_owned(),
                title: title.into(),
                a,
                b,
                of,
            });
        } else if a.is_some() {
            self.same.push(title.to_owned());
        }
    }
}

/// All conditions.
pub(super) fn conditions(
    a: &Subject<'_>,
    b: &Subject<'_>,
    figures: &[Figure],
    by_rate: bool,
) -> Conditions {
    let mut compared = Compared::default();
    program(&mut compared, a, b);
    host(&mut compared, a, b);
    capture(&mut compared, a, b, by_rate);
    let Compared { differ, same } = compared;
    Conditions {
        notes: notes(a, b, &differ, figures, by_rate),
        differ,
        same,
        by_rate,
    }
}

fn program(compared: &mut Compared, a: &Subject<'_>, b: &Subject<'_>) {
    let (of_a, of_b) = (&a.epoch().target, &b.epoch().target);
    let mut push = |what: &str, title: &str, a, b| compared.push(Of::Program, what, title, a, b);
    push("exe", "program", of_a.exe.clone(), of_b.exe.clone());
    let line = |words: &[Foreign]| (!words.is_empty()).then(|| joined(words));
    push(
        "cmdline",
        "arguments",
        line(&of_a.cmdline),
        line(&of_b.cmdline),
    );
    let (Some(of_a), Some(of_b)) = (&of_a.runtime, &of_b.runtime) else {
        let looked =
            |runtime: &Option<RuntimeInfo>| runtime.is_some().then(|| "memtrace looked".into());
        let (a, b) = (looked(&of_a.runtime), looked(&of_b.runtime));
        compared.push(Of::Capture, "runtime", "runtime and settings", a, b);
        return;
    };
    let native = || Some("none".into());
    push(
        "runtime.name",
        "runtime",
        of_a.name.clone().or_else(native),
        of_b.name.clone().or_else(native),
    );
    push(
        "runtime.version",
        "runtime's version",
        of_a.version.clone(),
        of_b.version.clone(),
    );
    push(
        "runtime.allocator",
        "allocator",
        of_a.allocator.clone(),
        of_b.allocator.clone(),
    );
    push(
        "runtime.allocator_version",
        "allocator's version",
        of_a.allocator_version.clone(),
        of_b.allocator_version.clone(),
    );
    let names: BTreeSet<&Foreign> = of_a.settings.keys().chain(of_b.settings.keys()).collect();
    if names.is_empty() {
        compared.same.push("settings (none)".to_owned());
    }
    for name in names {
        let of = |runtime: &RuntimeInfo| runtime.settings.get(name).cloned();
        let (a, b) = (of(of_a), of(of_b));
        compared.push(
            Of::Program,
            &format!("setting:{}", name.raw()),
            name.raw(),
            a,
            b,
        );
    }
    compared.push(
        Of::Consequence,
        "runtime.expected",
        "gives back with",
        expected(of_a),
        expected(of_b),
    );
}

fn expected(runtime: &RuntimeInfo) -> Option<Foreign> {
    let mut calls: Vec<&str> = runtime
        .expected
        .iter()
        .map(|expected| expected.advice.as_ref().unwrap_or(&expected.call).raw())
        .collect();
    calls.sort_unstable();
    calls.dedup();
    (!calls.is_empty()).then(|| calls.join(", ").into())
}

fn host(compared: &mut Compared, a: &Subject<'_>, b: &Subject<'_>) {
    let (of_a, of_b) = (&a.capture.host, &b.capture.host);
    let mut push = |what: &str, title: &str, a: String, b: String| {
        compared.push(Of::Host, what, title, Some(a.into()), Some(b.into()));
    };
    push(
        "kernel",
        "Linux",
        of_a.kernel.raw().to_owned(),
        of_b.kernel.raw().to_owned(),
    );
    push(
        "arch",
        "architecture",
        of_a.arch.raw().to_owned(),
        of_b.arch.raw().to_owned(),
    );
    push(
        "page_size",
        "page size",
        size(of_a.page_size),
        size(of_b.page_size),
    );
    push("cpus", "CPUs", of_a.cpus.to_string(), of_b.cpus.to_string());
    let limit = |subject: &Subject<'_>| {
        let cgroup = subject.epoch().summary.cgroup.as_ref()?;
        Some(cgroup.limit_bytes.map_or_else(|| "none".to_owned(), size))
    };
    let (of_a, of_b) = (limit(a), limit(b));
    compared.push(
        Of::Host,
        "cgroup.limit_bytes",
        "cgroup's limit",
        of_a.map(Into::into),
        of_b.map(Into::into),
    );
}

fn capture(compared: &mut Compared, a: &Subject<'_>, b: &Subject<'_>, by_rate: bool) {
    let (of_a, of_b) = (&a.epoch().capture, &b.epoch().capture);
    let mut push = |what: &str, title: &str, a: String, b: String| {
        compared.push(Of::Capture, what, title, Some(a.into()), Some(b.into()));
    };
    if by_rate {
        let length = |ns| span(ns);
        let (a, b) = (length(of_a.duration_ns), length(of_b.duration_ns));
        push("duration_ns", "lasts", a, b);
    }
    push(
        "mode",
        "mode",
        of_a.mode.name().to_owned(),
        of_b.mode.name().to_owned(),
    );
    let hooks = |subject: &Subject<'_>| {
        let hooks = &subject.epoch().capture.hooks;
        let missing = hooks.iter().filter(|hook| hook.kind.is_none());
        let missing: Vec<&str> = missing.map(|hook| hook.name.raw()).collect();
        if missing.is_empty() {
            "all".to_owned()
        } else {
            format!("without {}", missing.join(" "))
        }
    };
    push("hooks", "hooks", hooks(a), hooks(b));
    push(
        "interval_ns",
        "interval",
        span(of_a.interval_ns),
        span(of_b.interval_ns),
    );
    push(
        "end",
        "ended by",
        end(of_a.end).to_owned(),
        end(of_b.end).to_owned(),
    );
    push(
        "memtrace_version",
        "memtrace",
        a.capture.memtrace_version.raw().to_owned(),
        b.capture.memtrace_version.raw().to_owned(),
    );
    if !by_rate {
        compared.same.push("length".to_owned());
    }
}

const fn end(end: End) -> &'static str {
    match end {
        End::Duration => "its time",
        End::Signal => "hand",
        End::TargetExited => "the process's end",
        End::Exec => "an exec",
        End::Interrupted => "memtrace's end",
    }
}

fn notes(
    a: &Subject<'_>,
    b: &Subject<'_>,
    differ: &[Condition],
    figures: &[Figure],
    by_rate: bool,
) -> Vec<String> {
    let mut notes = vec![explained(differ)];
    if differ.iter().any(|condition| condition.what == "runtime") {
        notes.push(
            "Runtime and settings are known of one capture only: whether they differ is not known."
                .to_owned(),
        );
    }
    if by_rate {
        notes.push("The captures do not last equally long: what grows with time is compared per second. What happens once, such as a start or a peak, does not grow with time.".to_owned());
    }
    let start = figures
        .iter()
        .find(|figure| figure.name == "rss_start_bytes" && figure.quantity.is_changed());
    if let Some(by) = start.and_then(|figure| figure.quantity.change) {
        notes.push(format!(
            "RSS at the start differs by {}: they were not caught at the same point of the program's life.",
            change(by)
        ));
    }
    for (name, subject) in [("A", a), ("B", b)] {
        let epoch = subject.epoch();
        if epoch.capture.mode == Mode::Approximate {
            let bound = epoch.summary.rss_sampling_bound_bytes;
            let bound = bound.map_or_else(String::new, |bound| format!(", ± {}", size(bound)));
            notes.push(format!(
                "{name} has no ledger: what each cause moved is not known there, and RSS is sampled{bound}."
            ));
        }
        if subject.is_over() {
            notes.push(format!(
                "The process of {name} has ended: there is no RSS at the end."
            ));
        }
        let earlier = subject.capture.earlier_epochs.len();
        if earlier > 0 {
            notes.push(format!(
                "In {name} the process replaced its program {}: the last one is compared.",
                if earlier == 1 {
                    "once".to_owned()
                } else {
                    format!("{earlier} times")
                }
            ));
        }
        if !subject.capture.is_complete() {
            notes.push(format!(
                "{name} is incomplete: {}. Its numbers are what was seen.",
                incomplete(subject)
            ));
        }
    }
    notes
}

/// What may have made a change.
fn explained(differ: &[Condition]) -> String {
    let may: Vec<&str> = differ
        .iter()
        .filter(|condition| matches!(condition.of, Of::Program | Of::Host))
        .map(|condition| condition.title.raw())
        .collect();
    match may.as_slice() {
        [] => "Nothing that memtrace knows of program, settings and host differs: what changed is for a reason that it does not see, or by chance.".to_owned(),
        [one] => format!("One thing differs that may have made a change: {one}."),
        several => format!(
            "{} things differ that may have made a change: {}. Which of them did, two captures cannot tell.",
            several.len(),
            several.join(", ")
        ),
    }
}

fn incomplete(subject: &Subject<'_>) -> String {
    let epochs = subject.capture.earlier_epochs.iter();
    let mut reasons = Vec::new();
    for epoch in epochs.chain([subject.epoch()]) {
        if epoch.capture.end == End::Interrupted {
            reasons.push("memtrace did not bring it to its end".to_owned());
        }
        if epoch.capture.lost_events > 0 {
            reasons.push(format!(
                "{} events were not counted",
                epoch.capture.lost_events
            ));
        }
        if let Some(bytes) = epoch.summary.unexplained_bytes.filter(|&bytes| bytes != 0) {
            reasons.push(format!("{} are unexplained", change(bytes)));
        }
    }
    reasons.dedup();
    reasons.truncate(3);
    reasons.join(", ")
}
