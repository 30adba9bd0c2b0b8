//! `memtrace doctor`.

use std::{io, process::ExitCode};

use super::{
    args::DoctorArgs,
    exit,
    output::{Out, written},
    privileges,
};
use crate::{
    doctor::{Facts, Trials, examine},
    export::json,
    privilege::invoker,
    view,
};

/// Says what this host allows.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let facts = Facts::read(invoker().as_ref())?;
    // Where a trace would not begin, nothing is attached either.
    let trials = match privileges::lacking("memtrace doctor") {
        None => Trials::run(),
        Some(lacking) => Trials::none(&lacking),
    };
    let report = examine(&facts, &trials);
    if args.json {
        written(json::write_doctor(&report, io::stdout().lock()))?;
    } else {
        let mut out = Out::new(args.color, false);
        let text = view::doctor(&report, out.width());
        written(out.print(&text))?;
    }
    Ok(if report.can_trace() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::ERROR)
    })
}
