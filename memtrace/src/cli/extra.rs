//! Files beside the capture file, in other formats, that are written once it has ended: `--html FILE`.

use std::{
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::args::Options;
use crate::{
    export::{
        file::Pending,
        html::{self, Finer},
    },
    target::invoker,
    timeline::{Loaded, load},
    verdict::{Trend, judge_unjudged},
};

/// What is worked out of the ticks for all formats.
pub type Digested = (Trend, Finer);

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The page.
    Html,
}

/// A file that is to be written at the end.
pub struct Extra {
    /// `None`: standard output.
    pending: Option<Pending>,
    path: PathBuf,
    format: Format,
}

impl Extra {
    /// Makes sure that it can be written, by the rules of the capture file.
    ///
    /// # Errors
    ///
    /// Where it cannot.
    pub fn open(path: &Path, format: Format) -> anyhow::Result<Self> {
        let pending = if path == Path::new("-") {
            None
        } else {
            Some(Pending::alone(path, invoker())?)
        };
        Ok(Self {
            pending,
            path: path.to_owned(),
            format,
        })
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// Where writing fails.
    pub fn write(self, loaded: &mut Loaded<Digested>) -> anyhow::Result<()> {
        let Loaded {
            capture, digests, ..
        } = loaded;
        judge_unjudged(capture, digests.iter().map(|(trend, _)| trend));
        let contents = |out: &mut dyn Write| match self.format {
            Format::Html => html::write(capture, digests.iter().map(|(_, finer)| finer), out),
        };
        match self.pending {
            Some(pending) => pending.write(contents)?,
            None => {
                contents(&mut io::stdout().lock()).context("cannot write to standard output")?
            }
        }
        Ok(())
    }
}

/// All that the command line asks for.
pub struct Extras(Vec<Extra>);

impl Extras {
    /// Makes sure that they can be written, before anything is traced.
    ///
    /// # Errors
    ///
    /// Where one cannot.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let wanted = [(options.html.as_deref(), Format::Html)];
        if wanted.iter().any(|(path, _)| *path == Some(Path::new("-"))) {
            bail!(
                "standard output has the table; give a FILE, or make the page of a capture file: memtrace report FILE --html -"
            );
        }
        let wanted = wanted
            .into_iter()
            .filter_map(|(path, format)| Some((path?, format)));
        wanted
            .map(|(path, format)| Extra::open(path, format))
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// Whether none is asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they could be written with the privileges of this moment.
    pub fn can_finish(&mut self) -> bool {
        let mut pending = self.0.iter_mut().filter_map(|extra| extra.pending.as_mut());
        pending.all(Pending::can_finish)
    }

    /// Writes all of them from the journal of a capture that has ended. One that fails keeps no other from being written.
    ///
    /// # Errors
    ///
    /// The first one.
    pub fn write(self, mut journal: impl Read + Seek) -> anyhow::Result<()> {
        let Self(extras) = self;
        if extras.is_empty() {
            return Ok(());
        }
        journal
            .rewind()
            .context("cannot read the capture's journal")?;
        let mut loaded = load(journal).context("cannot read the capture's journal")?;
        let mut failed = Ok(());
        for extra in extras {
            let path = extra.path.display().to_string();
            let written = extra
                .write(&mut loaded)
                .with_context(|| format!("cannot write {path}"));
            failed = failed.and(written);
        }
        failed
    }
}
