//! The capture file.

use std::io::{self, Write};

use crate::timeline::Capture;

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

/// The JSON Schema of the capture file, as `docs/memtrace-1.schema.json` holds it.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Capture).to_value()
}
