//! `--bpf-log`.

use std::io::{self, Write as _};

/// Lines of the kernel side, and of crates, on standard error.
struct ToStderr;

impl log::Log for ToStderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let (level, from, what) = (record.level(), record.target(), record.args());
        // Nobody is told that standard error is closed.
        let _ = writeln!(io::stderr(), "[{level:<5} {from}] {what}");
    }

    fn flush(&self) {}
}

/// Writes the log of the kernel side and of the crates from now on.
pub fn to_stderr() {
    if log::set_logger(&ToStderr).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}
