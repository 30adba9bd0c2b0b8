//! RSS is about mapped files: page cache that happens to be mapped.

use crate::text::Foreign;
use crate::{
    model::{Level, MappingKind, Suggestion, Unit},
    verdict::{
        candidate::{Candidate, quoted},
        case::{Analysis, Field, share},
        evidence::Figure,
        limits::{LARGE, MOSTLY},
    },
};

/// Files that are named.
const NAMED: usize = 4;

pub fn propose(analysis: &Analysis<'_>) -> Option<Candidate> {
    let file = analysis.now(Field::File);
    let rss = analysis.now(Field::Rss);
    let rise = analysis.rise(Field::File);
    let grew = rise >= analysis.noise()
        && rise >= MOSTLY.of(analysis.shape.rise.max(0))
        && analysis.shape.has_risen();
    let mapped = data_files(analysis);
    let data: i64 = mapped
        .iter()
        .fold(0, |sum, (_, figure)| sum.saturating_add(figure.value));
    // A program's own code is in every RSS. What counts is data; where the files are not known, only a lot of it.
    let known = analysis.case.summary.mappings.is_some();
    let large = if known { data } else { file.value };
    let holds = large >= LARGE.value && share(large, rss.value) >= MOSTLY.value;
    // Loading a program maps its code: that is a start, not an answer about files.
    let loads = analysis.began_here() && large < LARGE.value;
    if !(holds || grew && !loads) {
        return None;
    }
    let points = if grew {
        30 + share(rise, analysis.highest().value)
    } else {
        10 + share(large, rss.value) / 2
    };
    let mut candidate = Candidate::new("file-mapped", points);
    let facts = &mut candidate.facts;
    let pages = facts.is("file pages", Unit::Bytes, &file)?;
    let all = facts.is("RSS", Unit::Bytes, &rss)?;
    facts.percent("file pages, of RSS", &file, &rss);
    let mut text = format!(
        "{pages} of {all} RSS are pages of files that the process has mapped. They are page cache: the kernel can drop the clean ones at any \
         time, other processes share them, and they are no heap."
    );
    if grew
        && let Some(more) = facts.less(
            "file pages rose by",
            Unit::Bytes,
            &file,
            &analysis.start(Field::File),
        )
    {
        candidate.title = format!("RSS grew by mapped files: {more} of file pages, not heap");
    } else {
        candidate.title = format!("{pages} of {all} RSS are mapped files, not heap");
    }
    for (place, (name, figure)) in mapped.iter().take(NAMED).enumerate() {
        if let Some(bytes) = facts.is(&quoted(name.raw()), Unit::Bytes, figure)
            && place == 0
        {
            text.push_str(&format!(
                " The largest is {}, with {bytes}.",
                quoted(name.raw())
            ));
        }
    }
    candidate.text = text;
    candidate.checks.whole(analysis);
    candidate.checks.check(
        !mapped.is_empty(),
        "the files are known by name",
        Level::Medium,
        "which files they are is not known",
    );
    candidate.suggestions.push(Suggestion {
        text: "Do nothing, unless it reads them from disk over and over: it is no leak. In a cgroup these pages count, and go first when \
               memory is short. A program that is done with a range may say so with MADV_DONTNEED or munmap."
            .into(),
        setting: None,
    });
    Some(candidate)
}

/// Mapped files other than the program and its libraries, the largest first.
fn data_files<'a>(analysis: &Analysis<'a>) -> Vec<(&'a Foreign, Figure)> {
    let groups = analysis.case.summary.mappings.iter().flatten().enumerate();
    let exe = analysis.case.target.exe.as_ref();
    let mut files: Vec<(&Foreign, Figure)> = groups
        .filter(|(_, group)| group.kind == MappingKind::File)
        .filter(|(_, group)| Some(&group.name) != exe && !is_library(group.name.raw()))
        .filter_map(|(place, group)| {
            let pointer = format!("/summary/mappings/{place}/rss_bytes");
            Some((&group.name, Figure::unsigned(pointer, group.rss_bytes)?))
        })
        .collect();
    files.retain(|(_, figure)| figure.value > 0);
    files.sort_by_key(|(_, figure)| std::cmp::Reverse(figure.value));
    files
}

/// Code, by the way its files are named.
fn is_library(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.ends_with(".so") || file.contains(".so.")
}
