//! `memtrace diff A B`: two captures side by side. No root, no kernel.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    args::DiffArgs,
    exit,
    load::{about, judge_unjudged, load},
    output::Out,
};
use crate::{
    diff::{Subject, compare},
    export::{file::Pending, json},
    target::invoker,
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
        bail!(
            "both captures cannot come from standard input; give the name of a file for one of them"
        );
    }
    let (a, b) = (Side::load(&args.a)?, Side::load(&args.b)?);
    let found = compare(&a.subject()?, &b.subject()?);
    if let Some(path) = &args.html {
        let (pending, _) = Pending::create(path, invoker())?;
        pending.write(|file| file.write_all(view::diff_page(&found).as_bytes()))?;
    }
    if args.json {
        json::write_diff(&found, io::stdout().lock()).context("cannot write to standard output")?;
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
