//! What groups of options share: the headings of the help, and `-`.

use std::path::Path;

/// The headings of the options of a trace, in the order of the help.
pub const WHAT: &str = "What to trace";
pub const WRITE: &str = "What to write";
pub const SHOW: &str = "What to show";
pub const HOW: &str = "How to trace";
pub const CI: &str = "For continuous integration";
pub const ITSELF: &str = "About memtrace itself";

/// Returns true for `-`, standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}
