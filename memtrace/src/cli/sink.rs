//! The capture file, and the files of other formats: opened before anything is attached, written at the end.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    args::Options,
    exit,
    extra::Extras,
    output::{self, Out},
    shared::is_stdout,
    views::Views,
};
use crate::{
    export::{
        file::{FileError, Pending},
        journal::JournalFile,
    },
    model::Account,
    privilege::invoker,
    timeline::assemble,
};

/// What is written of the capture.
pub struct Sink {
    output: Output,
    extras: Extras,
}

/// Where the capture file goes, if anywhere, and its journal.
enum Output {
    None,
    /// For what the user of a view might want to save.
    Spare(JournalFile),
    /// For files in other formats.
    Extras(JournalFile),
    Stdout(JournalFile),
    File(Pending, JournalFile),
}

impl Sink {
    /// Opens what the options ask for.
    ///
    /// # Errors
    ///
    /// If something cannot be opened.
    pub fn open(options: &Options, views: &Views) -> anyhow::Result<Self> {
        let extras = Extras::open(options)?;
        let output = Output::open(options, views, !extras.is_empty())?;
        Ok(Self { output, extras })
    }

    /// Returns true if the capture goes to standard output.
    pub const fn is_stdout(&self) -> bool {
        matches!(self.output, Output::Stdout(_))
    }

    /// Returns true if the journal is only for what the user of a view might want to save.
    pub const fn is_spare(&self) -> bool {
        matches!(self.output, Output::Spare(_))
    }

    /// Returns the journal, if there is one.
    pub const fn journal(&mut self) -> Option<&mut JournalFile> {
        self.output.journal()
    }

    /// Returns an error in mid-trace with the place of everything up to it.
    pub fn so_far(&mut self, error: anyhow::Error) -> anyhow::Error {
        let journal = self.journal().filter(|journal| journal.has_ticks());
        match journal.and_then(|journal| journal.path()) {
            Some(path) => error.context(format!(
                "the capture ends too early; `memtrace report {}` shows it up to here",
                path.display()
            )),
            None => error,
        }
    }

    /// Returns true if the capture could be written with the privileges of this moment.
    pub fn can_finish(&mut self) -> bool {
        self.extras.can_finish() && self.output.can_finish()
    }
}

impl Output {
    fn open(options: &Options, views: &Views, extras: bool) -> anyhow::Result<Self> {
        Ok(match options.json.as_deref() {
            None if extras => Self::Extras(JournalFile::unnamed(invoker().as_ref())?),
            None if views.takes_terminal() => {
                JournalFile::unnamed(invoker().as_ref()).map_or(Self::None, Self::Spare)
            }
            None => Self::None,
            Some(path) if is_stdout(path) => {
                Self::Stdout(JournalFile::unnamed(invoker().as_ref())?)
            }
            Some(path) => {
                let (pending, journal) = Pending::create(path, invoker())?;
                Self::File(pending, journal)
            }
        })
    }

    const fn journal(&mut self) -> Option<&mut JournalFile> {
        match self {
            Self::None => None,
            Self::Spare(journal)
            | Self::Extras(journal)
            | Self::Stdout(journal)
            | Self::File(_, journal) => Some(journal),
        }
    }

    fn can_finish(&mut self) -> bool {
        match self {
            Self::None | Self::Spare(_) | Self::Extras(_) | Self::Stdout(_) => true,
            // Who may give a file its name there may also remove its own journal.
            Self::File(pending, _) => pending.can_finish(),
        }
    }
}

/// A capture that has ended.
pub struct Ended {
    /// The last epoch.
    pub last: Account,
    /// Nothing was lost, and nothing is unexplained, in any epoch.
    pub complete: bool,
    /// The rule of `--fail-on` that was found, in any epoch.
    pub found: Option<String>,
    /// Why the journal stopped before the capture's end, if it did.
    pub stopped: Option<FileError>,
}

/// What a capture came to.
pub struct Outcome {
    pub complete: bool,
    /// The rule of `--fail-on` that was found.
    pub found: Option<String>,
}

impl Outcome {
    /// Returns the exit code, and says why it is that of `--fail-on`.
    pub fn code(self) -> ExitCode {
        match self {
            Self {
                complete: false, ..
            } => ExitCode::from(exit::INCOMPLETE),
            Self {
                found: Some(id), ..
            } => {
                output::say(&format!(
                    "memtrace: --fail-on {id}: it was found, so the exit code is {}",
                    exit::FOUND
                ));
                ExitCode::from(exit::FOUND)
            }
            Self { .. } => ExitCode::SUCCESS,
        }
    }
}

/// Writes the capture file, and the files of other formats.
///
/// # Errors
///
/// If one of them could not be written, or the reader of standard output has gone.
pub fn report(out: &Out, sink: Sink, ended: Ended) -> anyhow::Result<Outcome> {
    let Ended {
        last,
        complete,
        found,
        stopped,
    } = ended;
    let Sink { mut output, extras } = sink;
    // Of a capture that was cut short, there is the journal. Whatever becomes of these, the capture itself is written.
    let extras = match output.journal().filter(|_| stopped.is_none()) {
        Some(journal) => extras.write(journal.contents()),
        None => Ok(()),
    };
    match (output, stopped) {
        (Output::None | Output::Spare(_) | Output::Extras(_), None)
        | (Output::None | Output::Spare(_), Some(_)) => {}
        (Output::Extras(_), Some(stopped)) => return Err(stopped.into()),
        (Output::Stdout(journal), stopped) => {
            // Of a journal that could be written no further, nothing is left but what is written now.
            assemble(
                journal.contents(),
                &last,
                BufWriter::new(io::stdout().lock()),
            )
            .context("cannot write the capture to standard output")?;
            stopped.map_or(Ok(()), Err)?;
        }
        (Output::File(pending, journal), Some(stopped)) => {
            if journal.path().is_none() {
                pending.write(|file| assemble(journal.contents(), &last, file))?;
            }
            return Err(stopped.into());
        }
        (Output::File(pending, journal), None) => {
            let written = pending.write(|file| assemble(journal.contents(), &last, file));
            match (&written, journal.path()) {
                (Ok(()) | Err(FileError::NotNamed { .. }), _) => {
                    if let Err(error) = journal.remove() {
                        output::say(&format!("memtrace: {error}"));
                    }
                    written?;
                }
                (Err(_), Some(path)) => {
                    let kept = format!(
                        "the capture is kept whole as {0}; to see it, type: memtrace report {0}",
                        path.display()
                    );
                    written.map_err(|error| anyhow::anyhow!("{error}; {kept}"))?;
                }
                (Err(_), None) => written?,
            }
        }
    }
    extras?;
    if let Some(failure) = out.failure() {
        bail!("{failure}");
    }
    Ok(Outcome { complete, found })
}
