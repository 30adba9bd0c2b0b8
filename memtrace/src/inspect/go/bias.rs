//! Where the kernel mapped an executable: what is to be added to the addresses in its file.

use std::collections::HashSet;

use super::executable::is_relocatable;
use crate::inspect::{
    InspectError,
    elf::{Elf, Segment},
};

/// A linker makes two to six.
const MOST_PARTS: usize = 64;

/// Device and inode, which stay the same where the file is renamed, replaced or removed.
type File<'a> = (&'a [u8], &'a [u8]);

/// A mapping of a file.
#[derive(Clone, Copy)]
struct Mapped<'a> {
    start: u64,
    end: u64,
    offset: u64,
    executable: bool,
    file: File<'a>,
}

/// The load bias, from `/proc/PID/maps`: the one at which every loaded part of the file lies where its program header says, from
/// its first byte to its last, and with the right to run or without. No name is looked at, since the process chooses it.
///
/// # Errors
///
/// Where no file is mapped so, or one is at two places.
pub fn bias(elf: &Elf, maps: &[u8]) -> Result<u64, InspectError> {
    let mapped: Vec<Mapped<'_>> = maps
        .split(|&byte| byte == b'\n')
        .filter_map(mapping)
        .collect();
    let parts: Vec<&Segment> = elf
        .segments
        .iter()
        .filter(|segment| segment.file_size > 0)
        .collect();
    if parts.is_empty() || parts.len() > MOST_PARTS {
        return Err("its executable has no parts that are mapped, or too many".into());
    }
    let mut places: HashSet<(File<'_>, u64)> = HashSet::new();
    for (index, part) in parts.iter().enumerate() {
        for offset in [part.offset, part.offset.saturating_add(part.file_size - 1)] {
            let of_part: HashSet<_> = mapped
                .iter()
                .filter_map(|mapping| {
                    let bias = bias_by(mapping, part, offset)?;
                    (is_relocatable(elf) || bias == 0).then_some((mapping.file, bias))
                })
                .collect();
            if index == 0 && offset == part.offset {
                places = of_part;
            } else {
                places.retain(|place| of_part.contains(place));
            }
        }
    }
    let biases: HashSet<u64> = places.into_iter().map(|(_, bias)| bias).collect();
    let mut biases = biases.into_iter();
    match (biases.next(), biases.next()) {
        (Some(bias), None) => Ok(bias),
        (Some(_), Some(_)) => Err("its executable is mapped at two places".into()),
        (None, _) => Err("its executable is not mapped as its program headers say".into()),
    }
}

/// Pages are no larger anywhere.
const LARGEST_PAGE: u64 = 1 << 16;

/// What must be added so that this byte of the part, at its offset of the file, lies in this mapping.
fn bias_by(mapping: &Mapped<'_>, part: &Segment, offset: u64) -> Option<u64> {
    let into = offset.checked_sub(mapping.offset)?;
    let place = mapping.start.checked_add(into)?;
    if place >= mapping.end || mapping.executable != part.executable {
        return None;
    }
    // Code does not lie in one mapping with what is before it. Where nothing else tells, this tells programs from libraries.
    let before = part.offset.saturating_sub(mapping.offset);
    if part.executable && before >= LARGEST_PAGE {
        return None;
    }
    let address = part.address.checked_add(offset.checked_sub(part.offset)?)?;
    Some(place.wrapping_sub(address))
}

/// A line of `/proc/PID/maps`, where it is of a file.
fn mapping(line: &[u8]) -> Option<Mapped<'_>> {
    let whole = crate::proc::mapping(line)?;
    let mut words = line.splitn(6, |&byte| byte == b' ').skip(1);
    let executable = words.next()?.get(2) == Some(&b'x');
    let offset = std::str::from_utf8(words.next()?).ok()?;
    let file = (words.next()?, words.next()?);
    (file.1 != b"0").then_some(Mapped {
        start: whole.start,
        end: whole.end,
        offset: u64::from_str_radix(offset, 16).ok()?,
        executable,
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        executable,
        fixture::{BASE, Program, Running},
    };
    use super::*;

    fn elf() -> Elf {
        let file = Program::new("go1.24.4").relocatable().build();
        executable::open(Box::new(std::io::Cursor::new(file))).unwrap()
    }

    fn own(bias: u64) -> Vec<u8> {
        let file = Vec::new();
        crate::inspect::Process::maps(&Running { file, bias }).unwrap()
    }

    #[test]
    fn a_library_that_has_bytes_at_the_same_offsets_is_not_the_program() {
        // As libraries are: every byte as far from the beginning as in the file.
        let library = b"7f0000000000-7f0000009000 r--p 00000000 08:02 5   /lib\n\
                        7f0000009000-7f0000020000 r-xp 00009000 08:02 5   /lib\n";
        assert_eq!(
            bias(&elf(), &[library, &own(0x1000_0000)[..]].concat()).unwrap(),
            0x1000_0000
        );
        assert!(bias(&elf(), library).is_err());
        let one = b"7f0000000000-7f0000020000 rwxp 00000000 08:02 5   /lib\n";
        assert_eq!(
            bias(&elf(), &[one, &own(0x1000_0000)[..]].concat()).unwrap(),
            0x1000_0000
        );
    }

    #[test]
    fn a_program_that_is_mapped_twice_or_in_part_is_not_guessed_at() {
        let twice = [own(0x1000_0000), own(0x2000_0000)].concat();
        let error = bias(&elf(), &twice).unwrap_err().to_string();
        assert!(error.contains("two places"), "{error}");
        let whole = own(0x1000_0000);
        let cut: Vec<u8> = whole
            .split_inclusive(|&byte| byte == b'\n')
            .take(2)
            .flatten()
            .copied()
            .collect();
        let error = bias(&elf(), &cut).unwrap_err().to_string();
        assert!(error.contains("not mapped as"), "{error}");
        assert!(bias(&elf(), b"").is_err());
        // Another file's mapping in the place of the second part.
        let text = String::from_utf8(whole).unwrap();
        let other = text.replacen("08:02 77", "08:02 99", 1);
        assert!(bias(&elf(), other.as_bytes()).is_err());
    }

    #[test]
    fn a_part_that_was_split_is_still_whole() {
        let begin = BASE + 0x1000_0000;
        let text = String::from_utf8(own(0x1000_0000)).unwrap();
        let split = format!(
            "{:x}-{:x} r-xp 00000000 08:02 77   /p\n{:x}-{:x} r-xp 00003000 08:02 77   /p\n",
            begin,
            begin + 0x3000,
            begin + 0x3000,
            begin + 0x8000
        );
        let rest: String = text
            .lines()
            .skip(2)
            .map(|line| format!("{line}\n"))
            .collect();
        let split = split + &rest;
        assert_eq!(bias(&elf(), split.as_bytes()).unwrap(), 0x1000_0000);
    }
}
