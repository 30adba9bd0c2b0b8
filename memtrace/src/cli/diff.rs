//! `memtrace diff A B`: two captures side by side. No root, no kernel.

use std::{io, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;

use super::{
    args::DiffArgs,
    exit,
    load::{about, is_itself, judge_unjudged, load},
    output::{Out, plain, written},
    shared::is_stdout,
    usage::wrong,
};
use crate::{
    diff::{Subject, compare},
    export::{file::Pending, json},
    privilege::invoker,
    timeline::Loaded,
    verdict::Trend,
    view,
};

/// Compares, and prints. Nothing is printed before both files have been read and checked.
pub fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    if [&args.a, &args.b]
        .iter()
        .all(|path| *path == Path::new("-"))
    {
        wrong(
            Some("diff"),
            ErrorKind::ArgumentConflict,
            "both captures cannot come from standard input; give the name of a file for one of them",
        );
    }
    let page = args.html.as_deref();
    if args.json && page.is_some_and(is_stdout) {
        wrong(
            Some("diff"),
            ErrorKind::ArgumentConflict,
            "--json and --html - both want standard output: give --html a FILE",
        );
    }
    for (path, html) in [&args.a, &args.b]
        .into_iter()
        .filter_map(|path| Some((path, page?)))
    {
        if is_itself(path, html) {
            bail!(
                "{} is one of the captures: give --html another name",
                path.display()
            );
        }
    }
    let (a, b) = (Side::load(&args.a)?, Side::load(&args.b)?);
    let found = compare(&a.subject()?, &b.subject()?);
    if let Some(path) = page.filter(|path| !is_stdout(path)) {
        let pending = Pending::alone(path, invoker())?;
        pending.write(|file| file.write_all(view::diff_page(&found).as_bytes()))?;
    }
    if page.is_some_and(is_stdout) {
        plain(view::diff_page(&found).as_bytes())?;
    } else if args.json {
        written(json::write_diff(&found, io::stdout().lock()))?;
    } else {
        let mut out = Out::new(args.color, false);
        let text = view::diff(&found, out.width());
        out.print(&text)
            .context("cannot write to standard output")?;
    }
    Ok(if found.a.is_complete && found.b.is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::INCOMPLETE)
    })
}

/// A capture that was read.
struct Side {
    name: String,
    loaded: Loaded<Trend>,
}

impl Side {
    fn load(path: &Path) -> anyhow::Result<Self> {
        let name = path.to_string_lossy().into_owned();
        let (mut loaded, busy) = load(path).with_context(|| format!("cannot read {name}"))?;
        judge_unjudged(&mut loaded);
        if let Some(journal) = loaded.journal {
            about(&name, journal, busy);
        }
        Ok(Self { name, loaded })
    }

    fn subject(&self) -> anyhow::Result<Subject<'_>> {
        Ok(Subject {
            file: &self.name,
            capture: &self.loaded.capture,
            // The last epoch's is the last one.
            trend: self.loaded.digests.last().context("it has no epoch")?,
        })
    }
}
