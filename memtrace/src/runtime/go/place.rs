//! Where the kernel mapped an executable: what is to be added to the addresses in its file.

use std::collections::HashSet;

use super::elf::{Elf, Segment};

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
    file: File<'a>,
}

/// The load bias, from `/proc/PID/maps`: the one at which every loaded part of the file lies where its program header says. No
/// name is looked at, since the process chooses it.
///
/// # Errors
///
/// Where no file is mapped so, or one is at two places.
pub fn bias(elf: &Elf, maps: &[u8]) -> Result<u64, String> {
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
        let of_part = mapped.iter().filter_map(|mapping| {
            let bias = bias_by(mapping, part)?;
            (elf.relocatable || bias == 0).then_some((mapping.file, bias))
        });
        places = if index == 0 {
            of_part.collect()
        } else {
            of_part.filter(|place| places.contains(place)).collect()
        };
    }
    let biases: HashSet<u64> = places.into_iter().map(|(_, bias)| bias).collect();
    let mut biases = biases.into_iter();
    match (biases.next(), biases.next()) {
        (Some(bias), None) => Ok(bias),
        (Some(_), Some(_)) => Err("its executable is mapped at two places".into()),
        (None, _) => Err("its executable is not mapped as its program headers say".into()),
    }
}

/// What must be added so that the part begins inside of this mapping, at its own offset of the file.
fn bias_by(mapping: &Mapped<'_>, part: &Segment) -> Option<u64> {
    let into = part.offset.checked_sub(mapping.offset)?;
    let begin = mapping.start.checked_add(into)?;
    (begin < mapping.end).then(|| begin.wrapping_sub(part.address))
}

/// A line of `/proc/PID/maps`, where it is of a file.
fn mapping(line: &[u8]) -> Option<Mapped<'_>> {
    let whole = crate::proc::mapping(line)?;
    let mut words = line.splitn(6, |&byte| byte == b' ').skip(2);
    let offset = std::str::from_utf8(words.next()?).ok()?;
    let file = (words.next()?, words.next()?);
    (file.1 != b"0").then_some(Mapped {
        start: whole.start,
        end: whole.end,
        offset: u64::from_str_radix(offset, 16).ok()?,
        file,
    })
}
