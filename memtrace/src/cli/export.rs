//! `memtrace export FILE --to FORMAT`: a capture in the format of another tool. No root, no kernel.

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use clap::error::ErrorKind as Usage;

use super::{
    args::{ExportArgs, Format},
    exit,
    load::{Again, about, file_id, load_again},
    output,
    usage::wrong,
};
use crate::{
    export::{ExportError, csv, file::Pending, jsonl, openmetrics, perfetto, svg::svg},
    privilege::invoker,
    text::format::sanitized,
    timeline::{Joining, Loaded},
};

/// Bytes that are written at once.
const BLOCK: usize = 64 << 10;

/// Writes the file in its new format.
pub fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let ExportArgs {
        file,
        to,
        output,
        timeline,
    } = args;
    let output = output.as_deref().filter(|path| *path != Path::new("-"));
    let format = to
        .or_else(|| output.and_then(Format::of_name))
        .unwrap_or_else(|| {
            wrong_usage(
                "no format: give --to, or -o a name that ends in one of .csv .jsonl .om .prom .pftrace .perfetto-trace .svg",
            )
        });
    if *timeline && format != Format::Openmetrics {
        wrong_usage("--timeline is for --to openmetrics; the other formats have every tick anyway");
    }
    if format.is_binary() && output.is_none() && io::stdout().is_terminal() {
        bail!(
            "{} is a binary format, which a terminal cannot show: give -o FILE, or redirect standard output",
            format.name()
        );
    }
    let name = file.to_string_lossy();
    let cannot_read = || format!("cannot read {name}");
    let mut again = load_again(file).with_context(cannot_read)?;
    match output {
        None => {
            let mut out = BufWriter::with_capacity(BLOCK, io::stdout().lock());
            match write(&mut again, format, *timeline, &mut out) {
                Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(ExportError::Write(error)) => {
                    // What is in the buffer cannot be written either.
                    drop(out.into_parts());
                    return Err(anyhow!("cannot write to standard output: {error}"));
                }
                written => written.with_context(cannot_read)?,
            }
        }
        Some(path) => {
            if again.file_id.is_some() && again.file_id == file_id(path) {
                bail!("{name} is the capture itself: give -o another name");
            }
            let mut failed = None;
            let written = Pending::alone(path, invoker())?.write(|out| {
                write(&mut again, format, *timeline, out).map_err(|error| match error {
                    ExportError::Write(error) => error,
                    error => {
                        failed = Some(error);
                        io::Error::other("it cannot be read")
                    }
                })
            });
            if let Some(error) = failed {
                return Err(error).with_context(cannot_read);
            }
            written?;
        }
    }
    let Loaded {
        capture, journal, ..
    } = &again.loaded;
    if let Some(journal) = journal {
        about(&name, *journal, again.busy);
    }
    if capture.is_complete() {
        return Ok(ExitCode::SUCCESS);
    }
    let name = sanitized(&name, 200);
    output::say(&format!(
        "memtrace: {name}: the capture is incomplete; memtrace report says what is missing"
    ));
    Ok(ExitCode::from(exit::INCOMPLETE))
}

fn write(
    again: &mut Again,
    format: Format,
    timeline: bool,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let Again {
        loaded,
        causes,
        ticks,
        ..
    } = again;
    let capture = &loaded.capture;
    match format {
        Format::Csv => csv::write(capture, causes, ticks, out),
        Format::Svg => {
            let mut joining = Joining::default();
            ticks.each(capture, &mut joining)?;
            let picture = svg(capture, &joining.history);
            out.write_all(picture.as_bytes())
                .map_err(ExportError::Write)
        }
        Format::Jsonl => jsonl::write(capture, ticks, out),
        Format::Openmetrics if timeline => {
            openmetrics::write_timeline(capture, causes, ticks, invoker().as_ref(), out)
        }
        Format::Perfetto => perfetto::write(capture, causes, ticks, out),
        Format::Openmetrics => openmetrics::write(capture, out).map_err(ExportError::Write),
    }
}

fn wrong_usage(text: &str) -> ! {
    wrong(Some("export"), Usage::MissingRequiredArgument, text)
}
