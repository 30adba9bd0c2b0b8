//! Files beside the capture file, in other formats, that are written once it has ended: `--html FILE`, `--svg FILE`.

use std::{
    io::{self, Read, Seek, Write},
    path::Path,
};

use anyhow::Context as _;

use super::{args::Options, output::written, shared::is_stdout};
use crate::{
    export::{
        file::Pending,
        html::{self, Finer},
        svg::svg,
    },
    privilege::invoker,
    timeline::{History, Loaded, load},
    verdict::{Trend, judge_unjudged},
};

/// What is worked out of the ticks for all formats.
pub type Digested = (Trend, (Finer, History));

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The page.
    Html,
    /// The chart.
    Svg,
}

impl Format {
    /// The option that asks for it.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Html => "--html",
            Self::Svg => "--svg",
        }
    }
}

/// A file that is to be written at the end.
pub struct Extra {
    /// `None`: standard output.
    pending: Option<Pending>,
    format: Format,
}

impl Extra {
    /// Makes sure that it can be written, by the rules of the capture file.
    ///
    /// # Errors
    ///
    /// Where it cannot.
    pub fn open(path: &Path, format: Format) -> anyhow::Result<Self> {
        let pending = if is_stdout(path) {
            None
        } else {
            Some(Pending::alone(path, invoker())?)
        };
        Ok(Self { pending, format })
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
            Format::Html => html::write(capture, digests.iter().map(|(_, (finer, _))| finer), out),
            Format::Svg => {
                let histories = digests.iter().map(|(_, (_, history))| history.clone());
                let history = History::joined(capture, histories);
                out.write_all(svg(capture, &history).as_bytes())
            }
        };
        match self.pending {
            Some(pending) => pending.write(contents)?,
            None => written(contents(&mut io::stdout().lock()))?,
        }
        Ok(())
    }
}

/// All that the command line asks for.
pub struct Extras(Vec<Extra>);

impl Extras {
    /// Makes sure that they can be written, before anything is traced. [`usage::outputs`](super::usage::outputs) has seen to it
    /// that none goes to standard output, which has the table.
    ///
    /// # Errors
    ///
    /// Where one cannot.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let wanted = [
            (options.html.as_deref(), Format::Html),
            (options.svg.as_deref(), Format::Svg),
        ];
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
            failed = failed.and(extra.write(&mut loaded));
        }
        failed
    }
}
