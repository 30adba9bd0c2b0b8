//! `memtrace report FILE…`: the table of a capture file. No root, no kernel.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;

use super::{
    FailOn,
    args::ReportArgs,
    exit,
    extra::{Digested, Extra, Format},
    load::{Opened, about, is_itself, judge_unjudged, load},
    output::{self, Out},
    usage::wrong,
};
use crate::{
    dump::Dump,
    model::{Capture, Epoch},
    text::format::{BOLD, paint, sanitized},
    timeline::Loaded,
    verdict::Trend,
    view::{self, replaced, verdict, whole},
};

/// Prints each file's table. A file that cannot be read keeps none of the others from being printed.
pub fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let ReportArgs {
        files,
        answer,
        html,
        svg,
        fail_on,
        color,
    } = args;
    let drawn = [(html, Format::Html), (svg, Format::Svg)];
    if let Some((out, format)) = drawn
        .into_iter()
        .find_map(|(out, format)| Some((out?, format)))
    {
        return draw(&files, &out, format, &fail_on);
    }
    let piped = files.iter().filter(|file| *file == Path::new("-")).count();
    if piped > 1 {
        let text =
            format!("- is standard input, which can be read once, and was given {piped} times");
        wrong(Some("report"), ErrorKind::ArgumentConflict, &text);
    }
    let mut out = Out::new(color, false);
    let mut failed = false;
    let mut incomplete = false;
    let mut printed = false;
    let mut found = false;
    for path in &files {
        let name = path.to_string_lossy();
        let separator = if printed { "\n" } else { "" };
        let several = files.len() > 1;
        // Nothing of a file is printed before all of it has been checked.
        let (mut loaded, busy) = match any(path) {
            Ok(Any::Capture(loaded, busy)) => (*loaded, busy),
            Ok(Any::Dump(found)) => {
                print_dump(
                    &mut out,
                    separator,
                    several.then_some(&name),
                    &found,
                    answer,
                )
                .context("cannot write to standard output")?;
                printed = true;
                continue;
            }
            Err(error) => {
                failed = true;
                let text = sanitized(&format!("cannot read {name}: {error:#}"), 2000);
                output::say(&format!("memtrace: {text}"));
                continue;
            }
        };
        judge_unjudged(&mut loaded);
        let Loaded {
            capture, journal, ..
        } = loaded;
        let headline = several.then(|| headline(&name, &capture));
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
                sanitized(&name, 200)
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

/// Writes the page or the chart of a file, in place of the table.
fn draw(
    files: &[PathBuf],
    out: &Path,
    format: Format,
    fail_on: &FailOn,
) -> anyhow::Result<ExitCode> {
    let [path] = files else {
        let text = format!(
            "{} draws one capture, and {} were given; give one at a time",
            format.option(),
            files.len()
        );
        wrong(Some("report"), ErrorKind::ArgumentConflict, &text);
    };
    if is_itself(path, out) {
        bail!(
            "{} is the capture itself: give {} another name",
            path.display(),
            format.option()
        );
    }
    let extra = Extra::open(out, format)?;
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

/// What a file may be: told by what is in it, whatever its name.
enum Any {
    /// A capture or a journal, and whether it is being written.
    Capture(Box<Loaded<Trend>>, bool),
    /// A dump of pprofplus.
    Dump(Box<Dump>),
}

fn any(path: &Path) -> anyhow::Result<Any> {
    let opened = Opened::open(path)?;
    if opened.is_dump() {
        return Ok(Any::Dump(Box::new(opened.dump()?)));
    }
    let (loaded, busy) = opened.capture()?;
    Ok(Any::Capture(Box::new(loaded), busy))
}

fn print_dump(
    out: &mut Out,
    separator: &str,
    name: Option<&str>,
    found: &Dump,
    answer: bool,
) -> io::Result<()> {
    if let Some(name) = name {
        let headline = paint(BOLD, &sanitized(name, 200));
        out.print(&format!("{separator}{headline}\n\n"))?;
    }
    out.print(&view::dump(found, out.width(), answer))?;
    if found.cut_bytes > 0 {
        output::say(&format!(
            "memtrace: its last line was cut, and is left out ({} bytes)",
            found.cut_bytes
        ));
    }
    Ok(())
}

/// Which of several files, and what a table does not say.
fn headline(name: &str, capture: &Capture) -> String {
    let text = format!(
        "{}: {}, memtrace {}",
        sanitized(name, 200),
        capture.epoch.capture.started_at.shown(40),
        capture.memtrace_version.shown(40)
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
