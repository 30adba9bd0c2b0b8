//! `memtrace report FILE…`: the table of a capture file. No root, no kernel.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    args::ReportArgs,
    exit,
    output::{self, Out},
};
use crate::{
    export::journal::is_being_written,
    timeline::{Capture, Epoch, Loaded, ReadError, Unassembled, load as read},
    verdict::{Case, Trend, judge},
    view::{
        format::{BOLD, paint, untrusted},
        replaced, verdict, whole,
    },
};

/// Prints each file's table. A file that cannot be read keeps none of the others from being printed.
pub fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let ReportArgs {
        files,
        answer,
        fail_on,
        color,
    } = args;
    let mut out = Out::new(color, false);
    let mut failed = false;
    let mut incomplete = false;
    let mut printed = false;
    let mut found = false;
    for path in &files {
        let name = path.to_string_lossy();
        // Nothing of a file is printed before all of it has been checked.
        let (mut loaded, busy) = match load(path) {
            Ok(loaded) => loaded,
            Err(error) => {
                failed = true;
                let text = untrusted(&format!("cannot read {name}: {error:#}"), 2000);
                output::say(&format!("memtrace: {text}"));
                continue;
            }
        };
        judge_unjudged(&mut loaded);
        let Loaded {
            capture, journal, ..
        } = loaded;
        let separator = if printed { "\n" } else { "" };
        let headline = (files.len() > 1).then(|| headline(&name, &capture));
        print(&mut out, separator, headline, &capture, answer)
            .context("cannot write to standard output")?;
        if let Some(journal) = journal {
            about(&name, journal, busy);
        }
        printed = true;
        let epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
        let mut verdicts = epochs.filter_map(|epoch| epoch.verdict.as_ref());
        if let Some(id) = verdicts.find_map(|verdict| fail_on.found(verdict)) {
            found = true;
            output::say(&format!(
                "memtrace: --fail-on {id}: it was found in {}",
                untrusted(&name, 200)
            ));
        }
        incomplete |= !capture.is_complete();
        if out.closed() {
            break;
        }
    }
    Ok(if failed {
        ExitCode::from(exit::ERROR)
    } else if incomplete {
        ExitCode::from(exit::INCOMPLETE)
    } else if found {
        ExitCode::from(exit::FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

/// Also says whether it is written to at this moment.
fn load(path: &Path) -> anyhow::Result<(Loaded<Trend>, bool)> {
    if path == Path::new("-") {
        return Ok((read(io::stdin().lock())?, false));
    }
    let loaded = File::open(path).map_err(ReadError::Io).and_then(|file| {
        let loaded = read(&file)?;
        let busy = loaded.journal.is_some() && is_being_written(&file);
        Ok((loaded, busy))
    });
    match loaded {
        Ok(loaded) => Ok(loaded),
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::IsADirectory => {
            bail!("it is a folder; give the name of a capture file in it")
        }
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no such file; `memtrace --json FILE` writes one")
        }
        Err(error) => Err(error.into()),
    }
}

/// Answers for the epochs of which the file has no answer: of a capture that memtrace did not end, or that a version wrote
/// which did not judge.
fn judge_unjudged(loaded: &mut Loaded<Trend>) {
    let Loaded {
        capture, digests, ..
    } = loaded;
    let epochs = capture.earlier_epochs.iter_mut();
    for (epoch, trend) in epochs.chain([&mut capture.epoch]).zip(digests) {
        if epoch.verdict.is_none() {
            epoch.verdict = Some(judge(&Case {
                host: &capture.host,
                target: &epoch.target,
                capture: &epoch.capture,
                summary: &epoch.summary,
                trend,
            }));
        }
    }
}

/// What is to be said of a journal beside its table.
fn about(name: &str, journal: Unassembled, busy: bool) {
    let name = untrusted(name, 200);
    if busy {
        output::say(&format!(
            "memtrace: {name}: memtrace is still writing it; this is as at its last line"
        ));
        return;
    }
    if journal.cut_bytes > 0 {
        output::say(&format!(
            "memtrace: {name}: its last line was cut, and is left out ({} bytes)",
            journal.cut_bytes
        ));
    }
    if journal.ended {
        output::say(&format!(
            "memtrace: {name}: the capture came to its end, and is whole; memtrace could not write the capture file"
        ));
    }
}

/// Which of several files, and what a table does not say.
fn headline(name: &str, capture: &Capture) -> String {
    let text = format!(
        "{}: {}, memtrace {}",
        untrusted(name, 200),
        untrusted(&capture.epoch.capture.started_at, 40),
        untrusted(&capture.memtrace_version, 40)
    );
    paint(BOLD, &text)
}

/// Every epoch's table, as the live run has printed them.
fn print(
    out: &mut Out,
    separator: &str,
    headline: Option<String>,
    capture: &Capture,
    answer: bool,
) -> io::Result<()> {
    let width = out.width();
    let shown = |epoch: &Epoch| match &epoch.verdict {
        Some(found) if answer => verdict(found, width),
        _ => whole(&capture.host, epoch, width),
    };
    if let Some(headline) = headline {
        out.print(&format!("{separator}{headline}\n\n"))?;
    }
    let later = capture.earlier_epochs.iter().skip(1);
    for (epoch, next) in capture
        .earlier_epochs
        .iter()
        .zip(later.chain([&capture.epoch]))
    {
        let report = shown(epoch);
        let next = replaced(next.target.pid, &next.target.comm);
        out.print(&format!("{report}\n{next}\n\n"))?;
    }
    out.print(&shown(&capture.epoch))
}
