//! The order of Debian's versions, and patterns that choose a kernel.

use std::{cmp::Ordering, fmt, str::FromStr};

use anyhow::{Result, bail};

/// Compares two versions of a package that have no epoch (no kernel's has one), as `deb-version(7)` says: parts that are not
/// digits and parts that are take turns.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        if left.is_empty() && right.is_empty() {
            return Ordering::Equal;
        }
        let (left_text, left_rest) = split(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = split(right, |byte| !byte.is_ascii_digit());
        let (left_number, left_rest) = split(left_rest, u8::is_ascii_digit);
        let (right_number, right_rest) = split(right_rest, u8::is_ascii_digit);
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_numbers(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !belongs(byte));
    bytes.split_at(end.unwrap_or(bytes.len()))
}

/// `~` before the end, the end before letters, letters before anything else.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(byte) if byte.is_ascii_alphabetic() => (2, *byte),
        Some(byte) => (3, *byte),
    };
    let longer = left.len().max(right.len());
    (0..longer)
        .map(|at| rank(left.get(at)).cmp(&rank(right.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Of any length, without leading zeros.
fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let (_, left) = split(left, |byte| *byte == b'0');
    let (_, right) = split(right, |byte| *byte == b'0');
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Which kernel is wanted: the newest one that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `newest`
    Newest,
    /// `6.1` for 6.1.176, not for 6.12.
    Version(Vec<u32>),
    /// `6.16-6.19`, both ends included.
    Range(Vec<u32>, Vec<u32>),
    /// `6.1.0-50-cloud-amd64`, in full.
    Release(String),
}

impl Pattern {
    /// Whether it stands for a kernel of this release, as `uname -r` prints it.
    pub fn matches(&self, release: &str) -> bool {
        let numbers = numbers(release);
        let first = |count: usize| numbers.get(..count).unwrap_or(&numbers);
        match self {
            Self::Newest => true,
            Self::Version(version) => first(version.len()) == version,
            Self::Range(from, to) => {
                from.as_slice() <= first(from.len()) && first(to.len()) <= to.as_slice()
            }
            Self::Release(wanted) => wanted == release,
        }
    }
}

impl FromStr for Pattern {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let version = |text: &str| -> Option<Vec<u32>> {
            text.split('.').map(|part| part.parse().ok()).collect()
        };
        if text == "newest" {
            return Ok(Self::Newest);
        }
        if let Some(version) = version(text) {
            return Ok(Self::Version(version));
        }
        if let Some((from, to)) = text.split_once('-') {
            if let (Some(from), Some(to)) = (version(from), version(to)) {
                return Ok(Self::Range(from, to));
            }
            if text.starts_with(|first: char| first.is_ascii_digit()) {
                return Ok(Self::Release(text.to_owned()));
            }
        }
        bail!(
            "`{text}` names no kernel; type a version such as 6.1, a range such as 6.16-6.19, a release in full, or newest"
        )
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = |version: &[u32]| {
            let parts: Vec<String> = version.iter().map(u32::to_string).collect();
            parts.join(".")
        };
        match self {
            Self::Newest => write!(f, "newest"),
            Self::Version(version) => write!(f, "{}", dotted(version)),
            Self::Range(from, to) => write!(f, "{}-{}", dotted(from), dotted(to)),
            Self::Release(release) => write!(f, "{release}"),
        }
    }
}

/// The numbers with which a release begins: 6, 12 and 107 of `6.12.107+deb13-cloud-amd64`.
pub fn numbers(release: &str) -> Vec<u32> {
    let end = release.find(|part: char| part != '.' && !part.is_ascii_digit());
    release[..end.unwrap_or(release.len())]
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_debians_order() {
        let ascending = [
            "5.10.223-1",
            "6.1.176-1",
            "6.12.95-1~bpo12+1",
            "6.12.95-1",
            "6.12.107-1",
            "6.19~rc4-1~exp1",
            "6.19-1",
            "6.19.2-1~bpo13+1",
            "7.3.4-1~bpo13+1",
        ];
        for (index, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), index.cmp(&other), "{left} {right}");
            }
        }
        assert_eq!(compare("1.02", "1.2"), Ordering::Equal);
        assert_eq!(compare("1.0a", "1.0+"), Ordering::Less);
    }

    #[test]
    fn a_version_matches_by_its_parts() {
        let matches =
            |pattern: &str, release: &str| pattern.parse::<Pattern>().unwrap().matches(release);
        assert!(matches("6.1", "6.1.0-50-cloud-amd64"));
        assert!(!matches("6.1", "6.12.107+deb13-cloud-amd64"));
        assert!(matches("6", "6.12.107+deb13-cloud-amd64"));
        assert!(matches("6.12.107", "6.12.107+deb13-cloud-amd64"));
        assert!(!matches("6.12.107", "6.12.1+deb13-cloud-amd64"));
        assert!(matches("6.16-6.19", "6.16.3+deb13-cloud-amd64"));
        assert!(matches("6.16-6.19", "6.19.14+deb13-cloud-amd64"));
        assert!(!matches("6.16-6.19", "6.12.107+deb13-cloud-amd64"));
        assert!(!matches("6.16-6.19", "7.0.4+deb13-cloud-amd64"));
        assert!(matches("newest", "7.0.4+deb13-cloud-amd64"));
        assert!(matches("6.1.0-50-cloud-amd64", "6.1.0-50-cloud-amd64"));
        assert!(!matches("6.1.0-5", "6.1.0-50-cloud-amd64"));
    }

    #[test]
    fn patterns_are_shown_as_they_were_typed() {
        for text in ["newest", "6.1", "6.16-6.19", "6.1.0-50-cloud-amd64"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "oldest", "bookworm", "x-y", "6.x"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_numbers_of_a_release() {
        assert_eq!(numbers("6.1.0-50-cloud-amd64"), [6, 1, 0]);
        assert_eq!(numbers("7.3-cloud-amd64"), [7, 3]);
        assert_eq!(numbers("6.19~rc4-cloud-amd64"), [6, 19]);
        assert_eq!(numbers("x"), [0; 0]);
    }
}
