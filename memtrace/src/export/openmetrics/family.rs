//! Metric families, and how their samples are written.

use crate::text::Foreign;
use std::{
    fmt::Write as _,
    io::{self, Write},
};

use crate::{
    model::{Cause, Epoch},
    text::format::sanitized,
};

/// Characters of a label's value. A path may be long.
const TEXT: usize = 4096;

/// A label's name, and its value as it is.
pub type Label = (&'static str, String);
/// A sample's own labels, and its value.
pub type Sample = (Vec<Label>, String);

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without `memtrace_` and without `_total`; ends in its unit.
    name: &'static str,
    help: &'static str,
    is_counter: bool,
}

impl Family {
    /// What may fall.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            is_counter: false,
        }
    }

    /// What only rises.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            is_counter: true,
        }
    }

    /// What stands before the samples.
    pub fn header(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            name,
            help,
            is_counter,
        } = self;
        let kind = if *is_counter { "counter" } else { "gauge" };
        writeln!(out, "# TYPE memtrace_{name} {kind}")?;
        for unit in ["bytes", "seconds"] {
            if name
                .strip_suffix(unit)
                .is_some_and(|rest| rest.ends_with('_'))
            {
                writeln!(out, "# UNIT memtrace_{name} {unit}")?;
            }
        }
        writeln!(out, "# HELP memtrace_{name} {help}")
    }

    /// What a sample's line begins with.
    pub fn series(&self, labels: &str) -> String {
        let Self {
            name, is_counter, ..
        } = self;
        let total = if *is_counter { "_total" } else { "" };
        format!("memtrace_{name}{total}{{{labels}}} ")
    }

    /// A sample, with its time where it has one.
    pub fn sample(
        &self,
        out: &mut impl Write,
        labels: &str,
        value: &str,
        time: Option<&str>,
    ) -> io::Result<()> {
        let series = self.series(labels);
        match time {
            Some(time) => writeln!(out, "{series}{value} {time}"),
            None => writeln!(out, "{series}{value}"),
        }
    }
}

/// What all samples of an epoch have in common.
#[derive(Clone, Debug)]
pub struct Labels(String);

impl Labels {
    /// Of this epoch.
    pub fn of(number: usize, epoch: &Epoch) -> Self {
        let mut text = format!("pid=\"{}\"", epoch.target.pid);
        put(&mut text, "comm", epoch.target.comm.raw());
        put(&mut text, "epoch", &number.to_string());
        Self(text)
    }

    /// With a sample's own, as they are written.
    pub fn text(&self, own: &[Label]) -> String {
        let mut text = self.0.clone();
        for (name, value) in own {
            put(&mut text, name, value);
        }
        text
    }
}

fn put(text: &mut String, name: &str, value: &str) {
    let _ = write!(text, ",{name}=\"");
    // No line's end is left by then.
    for letter in sanitized(value, TEXT).chars() {
        if matches!(letter, '\\' | '"') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

/// Which cause a sample is about.
pub fn cause_labels(cause: Cause, advice: Option<&Foreign>, task: Option<&Foreign>) -> Vec<Label> {
    let mut labels = vec![("cause", cause.name().to_owned())];
    let others = [("advice", advice), ("task", task)];
    labels.extend(
        others
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.raw().to_owned()))),
    );
    labels
}

/// ns as seconds, to the last digit.
pub fn seconds(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    format!("{}.{:09}", ns / SECOND, ns % SECOND)
}
