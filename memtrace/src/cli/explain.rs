//! `memtrace explain [ID]`: the pages of the rules.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{args::ExplainArgs, output::Out};
use crate::{verdict, view};

/// Prints the list, or a page.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut out = Out::new(args.color, false);
    // clap has looked the name up already.
    let page = args.id.as_deref().and_then(verdict::explain);
    let text = match page {
        Some(page) => view::explain::page(page, out.width()),
        None => view::explain::rules(verdict::rules()),
    };
    out.print(&text)
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
