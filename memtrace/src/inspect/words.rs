//! Versions among the constants of a file.

use std::ops::ControlFlow;

use memchr::memmem;

use super::elf::Elf;

/// Most bytes of constants that are gone through for a version. Node's are 47 MiB, and its version stands within the first.
const MOST: u64 = 24 << 20;
/// Longest version that is believed.
const LONGEST: usize = 64;

/// The version that stands behind `mark` in the constants, such as `2.10` behind `gperftools `.
pub fn version_behind(elf: &mut Elf, mark: &[u8]) -> Option<String> {
    let finder = memmem::Finder::new(mark);
    let mut version = None;
    elf.constants(MOST, |chunk| {
        for at in finder.find_iter(chunk) {
            let behind = chunk.get(at + mark.len()..).unwrap_or_default();
            if let Some(found) = leading(behind) {
                version = Some(found);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    version
}

/// The one version that `is_it` takes among all that end with a zero byte: linkers let `3.9.18` be the end of a path. None where
/// there are several.
pub fn only_version(elf: &mut Elf, is_it: impl Fn(&str) -> bool) -> Option<String> {
    let mut found: Option<String> = None;
    let mut several = false;
    elf.constants(MOST, |chunk| {
        for end in memchr::memchr_iter(0, chunk) {
            let Some(version) = trailing(chunk.get(..end).unwrap_or_default()) else {
                continue;
            };
            if !is_it(version) {
                continue;
            }
            if found.as_deref().is_some_and(|found| found != version) {
                several = true;
                return ControlFlow::Break(());
            }
            found = Some(version.to_owned());
        }
        ControlFlow::Continue(())
    });
    found.filter(|_| !several)
}

/// The first text in the constants that `pick` makes something of; it is given what lies around each `mark`, from the zero byte before
/// it to the one behind.
pub fn around<T>(elf: &mut Elf, mark: &[u8], pick: impl Fn(&str) -> Option<T>) -> Option<T> {
    let finder = memmem::Finder::new(mark);
    let mut picked = None;
    elf.constants(MOST, |chunk| {
        for at in finder.find_iter(chunk) {
            let (before, behind) = chunk.split_at(at);
            let start = memchr::memrchr(0, before).map_or(0, |zero| zero + 1);
            let end = memchr::memchr(0, behind).map_or(chunk.len(), |length| at + length);
            let text = chunk.get(start..end).unwrap_or_default();
            if text.len() <= super::elf::OVERLAP
                && let Ok(text) = std::str::from_utf8(text)
            {
                picked = pick(text);
            }
            if picked.is_some() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    picked
}

/// Which of the marks is in the constants: the first of the list among those that one piece of them holds.
pub fn first_of(elf: &mut Elf, marks: &[&[u8]]) -> Option<usize> {
    let finders: Vec<_> = marks.iter().map(memmem::Finder::new).collect();
    let mut found = None;
    elf.constants(MOST, |chunk| {
        found = finders
            .iter()
            .position(|finder| finder.find(chunk).is_some());
        if found.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    found
}

/// Digits and dots at the start: two numbers at least.
fn leading(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .take(LONGEST)
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let version = text.trim_end_matches('.');
    numbers(version)
        .is_some_and(|numbers| numbers.len() >= 2)
        .then(|| version.to_owned())
}

/// Three numbers with dots between them at the end.
fn trailing(bytes: &[u8]) -> Option<&str> {
    if !bytes.last()?.is_ascii_digit() {
        return None;
    }
    let start = bytes
        .iter()
        .rev()
        .take(LONGEST)
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    // Without a byte before it, it may be the rest of something longer.
    let before = bytes
        .len()
        .checked_sub(start)
        .filter(|before| *before > 0)?;
    let text = std::str::from_utf8(bytes.get(before..)?).ok()?;
    (numbers(text)?.len() == 3).then_some(text)
}

/// The numbers of a version; `None` where one of them is none, or there are more than four.
pub fn numbers(version: &str) -> Option<Vec<u32>> {
    let numbers: Option<Vec<u32>> = version
        .split('.')
        .map(|part| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| part.parse().ok())?
        })
        .collect();
    numbers.filter(|numbers| numbers.len() <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_digits_and_dots() {
        assert_eq!(leading(b"2.10\0").as_deref(), Some("2.10"));
        assert_eq!(leading(b"2.36.\n").as_deref(), Some("2.36"));
        assert_eq!(leading(b"20.20.2-nightly"), Some("20.20.2".to_owned()));
        assert_eq!(leading(b"2 \0"), None);
        assert_eq!(leading(b"2..3\0"), None);
        assert_eq!(leading(b"99999999999.1\0"), None);
        assert_eq!(trailing(b"/opt/3.9.18"), Some("3.9.18"));
        assert_eq!(trailing(b"1.2.3.4"), None);
        assert_eq!(trailing(b"a.1.2.3"), None);
        assert_eq!(trailing(b"3.9.18"), None);
        assert_eq!(trailing(b""), None);
    }
}
