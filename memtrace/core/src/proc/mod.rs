//! The files of `/proc/PID`: bytes in, figures out.
//!
//! The process chooses its name, its arguments and what it maps, so whatever stands there is read as bytes, each file for the
//! few fields that memtrace needs, and nothing in it can end in a panic. `fuzz/` holds these very functions to that.

mod auxv;
pub mod cgroup;
mod cmdline;
mod dir;
mod groups;
mod maps;
mod smaps;
mod stat;
mod statm;
mod status;

use std::io::{self, Read};

use rustix::fs::OFlags;

pub use auxv::{Class, class};
pub use cmdline::cmdline;
pub use dir::{ProcDir, is_gone, page_size, start_time};
pub use groups::{GO_ARENA, Groups, Mappings, OTHERS};
pub use maps::{Mapping, mapping};
pub use smaps::{Rollup, smaps_rollup};
pub use stat::{Stat, environment, stat};
pub use statm::{Statm, statm};
pub use status::{Resident, Status, peak, resident, status};

/// Most bytes that are read of one file. The longest that the kernel shows without being asked for more is a command line of
/// 6 MiB.
const MOST: u64 = 8 << 20;

/// Reads the file `name` of a process, through the directory that `dir` holds open, so that it is never another one's.
///
/// # Errors
///
/// Where the process is gone, the file may not be read, or is not what `parse` knows.
pub fn read<T>(dir: &ProcDir, name: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> io::Result<T> {
    let mut bytes = Vec::new();
    dir.open_relative_flags(name, OFlags::RDONLY | OFlags::CLOEXEC)?
        .take(MOST)
        .read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| {
        io::Error::other(format!(
            "its file {name} in /proc has a form that this memtrace does not know"
        ))
    })
}

/// A decimal number and nothing else.
fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    // `parse` would take a plus sign, which the kernel never writes.
    if bytes.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A hexadecimal number and nothing else.
fn hex(bytes: &[u8]) -> Option<u64> {
    if bytes.first() == Some(&b'+') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(bytes).ok()?, 16).ok()
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// The lines of a file of `Key: value`; those without a key are left out.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// Text that need not be UTF-8: what is not is shown as U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_sign_that_the_kernel_does_not_write() {
        assert_eq!(number::<u64>(b"12"), Some(12));
        assert_eq!(number::<i32>(b"-12"), Some(-12));
        for wrong in [
            &b""[..],
            b"+1",
            b"-1",
            b"1 ",
            b"1x",
            b"18446744073709551616",
        ] {
            assert_eq!(number::<u64>(wrong), None, "{wrong:?}");
        }
        assert_eq!(hex(b"ff"), Some(255));
        assert_eq!(hex(b"+f"), None);
        assert_eq!(hex(b"10000000000000000"), None);
    }

    #[test]
    fn a_file_is_read_of_the_process_that_is_held() {
        let own = ProcDir::own().unwrap();
        assert_eq!(
            read(&own, "status", status).unwrap().tgid,
            std::process::id()
        );
        assert!(read(&own, "statm", statm).unwrap().resident > 0);
        let error = read(&own, "status", |_| None::<()>).unwrap_err();
        assert!(error.to_string().contains("its file status"), "{error}");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let held = ProcDir::open(child.id()).unwrap();
        child.wait().unwrap();
        assert!(is_gone(&read(&held, "stat", stat).unwrap_err()));
    }
}
