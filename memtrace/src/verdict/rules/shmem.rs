//! RSS is about shared memory: tmpfs, memfd, `MAP_SHARED | MAP_ANONYMOUS`, System V.

use crate::{
    model::{Level, MappingKind, Suggestion, Unit},
    verdict::{
        candidate::{Candidate, quoted},
        case::{Analysis, Field, share},
        evidence::Figure,
        limits::{LARGE, MOSTLY},
    },
};

/// Mappings that are named.
const NAMED: usize = 4;

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let shmem = analysis.now(Field::Shmem);
    let rss = analysis.now(Field::Rss);
    let rise = analysis.rise(Field::Shmem);
    let shape = &analysis.shape;
    let grew =
        rise >= analysis.noise() && rise >= MOSTLY.of(shape.rise.max(0)) && shape.has_risen();
    let holds = shmem.value >= LARGE.value && share(shmem.value, rss.value) >= MOSTLY.value;
    if !(grew || holds) {
        return None;
    }
    let points = if grew {
        30 + share(rise, analysis.highest().value)
    } else {
        10 + share(shmem.value, rss.value) / 2
    };
    // Where it goes on, that it grows is the same finding, and this one says of what.
    let goes_on = grew && shape.rises_throughout() && !shape.has_levelled_off();
    let mut candidate = Candidate::new("shmem", if goes_on { points + 20 } else { points });
    let facts = &mut candidate.facts;
    let pages = facts.is("shared memory", Unit::Bytes, &shmem)?;
    let all = facts.is("RSS", Unit::Bytes, &rss)?;
    facts.percent("shared memory, of RSS", &shmem, &rss);
    let more = facts.less(
        "shared memory rose by",
        Unit::Bytes,
        &shmem,
        &analysis.start(Field::Shmem),
    );
    candidate.title = match more.filter(|_| grew) {
        Some(more) if goes_on => format!("Shared memory grows: by {more}, without levelling off"),
        Some(more) => format!("RSS grew by shared memory: {more}"),
        None => format!("{pages} of {all} RSS are shared memory"),
    };
    let mut text = format!(
        "{pages} of {all} RSS are shared memory (tmpfs, memfd, MAP_SHARED, System V). Each process that has it mapped shows it in its RSS; it \
         exists once. It stays until its file is deleted or cut, whoever made it, and can only be swapped, not dropped."
    );
    let mappings = largest(analysis);
    for (place, (name, figure)) in mappings.iter().take(NAMED).enumerate() {
        if let Some(bytes) = facts.is(&quoted(name), Unit::Bytes, figure)
            && place == 0
        {
            text.push_str(&format!(" The largest is {}, with {bytes}.", quoted(name)));
        }
    }
    candidate.text = text;
    candidate.checks.whole(analysis);
    if goes_on {
        candidate.checks.trend(analysis);
    }
    if mappings.is_empty() {
        candidate
            .checks
            .at_most(Level::Medium, "what it is by name is not known");
    }
    candidate.suggestions.push(Suggestion {
        text: "Look who else has it mapped (grep its name in /proc/*/maps) and what is in /dev/shm. Databases and ZGC keep their pools there: \
               then it is a setting of theirs. Do not add RSS up over processes that share it: use Pss."
            .into(),
        setting: None,
    });
    Some(candidate)
}

fn largest<'a>(analysis: &Analysis<'a>) -> Vec<(&'a str, Figure)> {
    let groups = analysis.case.summary.mappings.iter().flatten().enumerate();
    let mut found: Vec<(&str, Figure)> = groups
        .filter(|(_, group)| group.kind == MappingKind::Shmem && group.rss_bytes > 0)
        .filter_map(|(place, group)| {
            let pointer = format!("/summary/mappings/{place}/rss_bytes");
            Some((
                group.name.raw(),
                Figure::unsigned(pointer, group.rss_bytes)?,
            ))
        })
        .collect();
    found.sort_by_key(|(_, figure)| std::cmp::Reverse(figure.value));
    found
}
