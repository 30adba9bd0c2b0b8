//! Will it be scaled out, or evicted? What an autoscaler counts is the working set, not usage, and not RSS.

use crate::{
    model::Unit,
    verdict::{
        candidate::Candidate,
        case::{Analysis, Field, share},
        evidence::Figure,
        limits::{APART, NOISE, PART},
    },
};

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let (place, figures) = analysis.cgroup_now()?;
    let usage = Figure::unsigned(format!("{place}/usage_bytes"), figures.usage_bytes?)?;
    let working = Figure::unsigned(
        format!("{place}/working_set_bytes"),
        figures.working_set_bytes?,
    )?;
    let apart = usage.value.checked_sub(working.value)?;
    let resident = analysis.now(Field::Rss);
    if apart < NOISE.value
        || share(apart, usage.value) < APART.value
        || share(resident.value, usage.value) < PART.value
    {
        return None;
    }
    let mut candidate = Candidate::beside("cgroup-scaling");
    let facts = &mut candidate.facts;
    let used = facts.is("the cgroup's usage", Unit::Bytes, &usage)?;
    let counted = facts.is("its working set", Unit::Bytes, &working)?;
    let less = facts.less("usage less working set", Unit::Bytes, &usage, &working)?;
    let rss = facts.is("RSS of this process", Unit::Bytes, &resident)?;
    candidate.title = format!("Kubernetes counts {counted}, not the {used} of the cgroup's usage");
    let mut text = format!(
        "Kubernetes scales and evicts by the working set: usage less inactive file pages, which are {less} here. RSS of this process is {rss}."
    );
    if let Some(lazy) = analysis.lazyfree()
        && lazy.value >= analysis.noise()
        && let Some(lazy) = facts.is("LazyFree", Unit::Bytes, &lazy)
    {
        text.push_str(&format!(
            " Its {lazy} of lazily freed memory are among the inactive file pages: RSS shows them, the working set does not."
        ));
    }
    candidate.text = text;
    Some(candidate)
}
