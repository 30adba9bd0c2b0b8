//! The capture file.

use std::io::{self, Write};

use crate::{diff::Diff, doctor::Report, model::Capture};

/// Writes a capture as JSON, with a line's end.
///
/// # Errors
///
/// Where writing fails.
pub fn write(capture: &Capture, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, capture)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes what `memtrace doctor` found as JSON, for people to read too.
///
/// # Errors
///
/// Where writing fails.
pub fn write_doctor(report: &Report, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes what `memtrace diff` found as JSON, for people to read too.
///
/// # Errors
///
/// Where writing fails.
pub fn write_diff(diff: &Diff, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, diff)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The JSON Schema of what `memtrace diff --json` prints, as `docs/memtrace-diff-1.schema.json` holds it.
#[cfg(feature = "schema")]
#[must_use]
pub fn diff_schema() -> serde_json::Value {
    schemars::schema_for!(Diff).to_value()
}

/// The JSON Schema of what `memtrace doctor --json` prints, as `docs/memtrace-doctor-1.schema.json` holds it.
#[cfg(feature = "schema")]
#[must_use]
pub fn doctor_schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// The JSON Schema of the capture file, as `docs/memtrace-1.schema.json` holds it.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Capture).to_value()
}
