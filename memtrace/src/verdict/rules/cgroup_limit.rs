//! Will it be OOM-killed? How full the memory cgroup is, and what of it the kernel can take back first.

use crate::{
    model::{Formula, Suggestion, Unit},
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, share},
        evidence::Figure,
        limits::{FULL, SOON},
    },
};

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let limit = analysis.case.summary.cgroup.as_ref()?.limit_bytes?;
    let limit = Figure::unsigned("/summary/cgroup/limit_bytes", limit)?;
    let (place, figures) = analysis.cgroup_now()?;
    let usage = Figure::unsigned(format!("{place}/usage_bytes"), figures.usage_bytes?)?;
    let mut candidate = Candidate::beside("cgroup-limit");
    let killed = killed(analysis, &mut candidate);
    let full = share(usage.value, limit.value) >= FULL.value;
    let until = until(analysis, &limit, &usage);
    let soon = until.as_ref().is_some_and(|(ns, _)| *ns <= SOON.value);
    if killed.is_none() && !full && !soon {
        return None;
    }
    let facts = &mut candidate.facts;
    let used = facts.is("the cgroup's usage", Unit::Bytes, &usage)?;
    let most = facts.is("its limit", Unit::Bytes, &limit)?;
    let part = facts.percent("usage, of the limit", &usage, &limit)?;
    let mut text = format!("The memory cgroup uses {used} of its limit of {most} ({part}).");
    let mut soft = Vec::new();
    if let Some(file) = figures.inactive_file_bytes
        && let Some(figure) = Figure::unsigned(format!("{place}/inactive_file_bytes"), file)
    {
        if let Some(file) = facts.is("of it inactive file pages", Unit::Bytes, &figure) {
            text.push_str(&format!(
                " {file} of it go first: inactive file pages, lazily freed memory among them, are dropped before anything is killed."
            ));
        }
        soft.push(figure);
    }
    let mut title = match &killed {
        Some(kills) => format!("The cgroup's OOM killer struck: {kills} killed during the capture"),
        None => format!("The cgroup is at {part} of its limit of {most}"),
    };
    if let Some((_, figures)) = until.filter(|_| soon) {
        let figures: Vec<&Figure> = figures.iter().collect();
        if let Some(time) = facts.note(
            "until the limit, at this rate",
            Unit::Ns,
            Formula::TimeUntil,
            &figures,
        ) {
            text.push_str(&format!(
                " At the rate at which this process grew, the limit is met in {time}."
            ));
            if killed.is_none() {
                title = format!("The cgroup's limit of {most} is met in {time}, at this rate");
            }
        }
    }
    candidate.title = title;
    candidate.text = text;
    candidate.suggestions.push(Suggestion {
        text: "Usage without inactive file pages is what can lead to an OOM kill. If that is near the limit: raise the limit, or bound the heap \
               well below it. Page cache up to the limit is normal."
            .into(),
        setting: None,
    });
    Some(candidate)
}

/// Processes that were OOM-killed during the capture.
fn killed(analysis: &Analysis<'_>, candidate: &mut Candidate) -> Option<String> {
    let (first, old) = analysis.cgroup_start()?;
    let (last, new) = analysis.cgroup_now()?;
    let (old, new) = (old.oom_kills?, new.oom_kills?);
    if new <= old {
        return None;
    }
    candidate.facts.less(
        "OOM kills during the capture",
        Unit::Count,
        &Figure::unsigned(format!("{last}/oom_kills"), new)?,
        &Figure::unsigned(format!("{first}/oom_kills"), old)?,
    )
}

/// When the limit is met, in ns, where this process goes on growing; and the figures of the formula.
fn until(analysis: &Analysis<'_>, limit: &Figure, usage: &Figure) -> Option<(i64, [Figure; 6])> {
    let shape = &analysis.shape;
    if !shape.rises_throughout() || shape.has_levelled_off() || limit.value <= usage.value {
        return None;
    }
    let (first, last) = (analysis.case.trend.first()?, analysis.case.trend.last()?);
    if last.rss <= first.rss || last.t_ns <= first.t_ns {
        return None;
    }
    let figures = [
        analysis.at(&last, Field::Rss)?,
        analysis.at(&first, Field::Rss)?,
        analysis.at(&last, Field::Time)?,
        analysis.at(&first, Field::Time)?,
        limit.clone(),
        usage.clone(),
    ];
    let parts: Vec<i64> = figures.iter().map(|figure| figure.value).collect();
    let time = crate::verdict::evidence::apply(Formula::TimeUntil, &parts)?;
    Some((time, figures))
}
