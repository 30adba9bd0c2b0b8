//! `memtrace report FILE…`: the table of a capture file. No root, no kernel.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    FailOn,
    args::ReportArgs,
    exit,
    extra::{Digested, Extra, Format},
    output::{self, Out},
};
use crate::{
    export::journal::is_being_written,
    timeline::{Capture, Digest, Epoch, Loaded, ReadError, Unassembled, load as read},
    verdict::{Trend, judge_unjudged},
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
        html,
        fail_on,
        color,
    } = args;
    if let Some(out) = html {
        return page(&files, &out, &fail_on);
    }
    let mut out = Out::new(color, false);
    let mut failed = false;
    let mut incomplete = false;
    let mut printed = false;
    let mut found = false;
    for path in &files {
        let name = path.to_string_lossy();
        // Nothing of a file is printed before all of it has been checked.
        let (mut loaded, busy) = match load::<Trend>(path) {
            Ok(loaded) => loaded,
            Err(error) => {
                failed = true;
                let text = untrusted(&format!("cannot read {name}: {error:#}"), 2000);
                output::say(&format!("memtrace: {text}"));
                continue;
            }
        };
        judge_unjudged(&mut loaded.capture, &loaded.digests);
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

/// Writes the page of a file, in place of the table.
fn page(files: &[PathBuf], out: &Path, fail_on: &FailOn) -> anyhow::Result<ExitCode> {
    let [path] = files else {
        bail!(
            "--html makes one page of one capture, and {} were given; give one at a time",
            files.len()
        );
    };
    let extra = Extra::open(out, Format::Html)?;
    let name = path.to_string_lossy();
    let (mut loaded, busy): (Loaded<Digested>, bool) =
        load(path).with_context(|| format!("cannot read {name}"))?;
    extra.write(&mut loaded)?;
    let Loaded {
        capture, journal, ..
    } = loaded;
    if let Some(journal) = journal {
        about(&name, journal, busy);
    }
    let epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
    let mut verdicts = epochs.filter_map(|epoch| epoch.verdict.as_ref());
    let found = verdicts.find_map(|verdict| fail_on.found(verdict));
    if let Some(id) = found {
        output::say(&format!("memtrace: --fail-on {id}: it was found"));
    }
    Ok(if !capture.is_complete() {
        ExitCode::from(exit::INCOMPLETE)
    } else if found.is_some() {
        ExitCode::from(exit::FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

/// Also says whether it is written to at this moment.
fn load<D: Digest>(path: &Path) -> anyhow::Result<(Loaded<D>, bool)> {
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
