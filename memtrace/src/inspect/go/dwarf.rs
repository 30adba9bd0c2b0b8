//! Where the fields of the runtime's structures are, from DWARF: Go's linker writes it unless told not to (`-w`, `-s`), compressed.
//!
//! All types of a program are in one unit, which can be tens of MB. One unit at a time is held in memory, and only those are parsed that
//! speak of the runtime's figures. A program whose units are larger than that is read by the table of its version. Unpacking and
//! parsing spend the budget of the look: many small units may each ask for much parsing.

use std::{
    collections::HashMap,
    io::{BufReader, Read},
};

use flate2::read::ZlibDecoder;
use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, EndianSlice,
    LittleEndian, UnitHeader,
};
use memchr::memmem;

use crate::inspect::{
    Budget, InspectError,
    elf::{Elf, Section},
};

/// Most bytes of a unit, unpacked.
const MOST_UNIT: u64 = 16 << 20;
/// Most bytes of all abbreviations: those of a Go program have some hundred bytes, those of C code that is linked in some hundred KB.
const MOST_ABBREVIATIONS: u64 = 4 << 20;
/// Most bytes of the abbreviations of one unit. Parsed, they take some fifty times as much memory.
const MOST_OF_UNIT: usize = 64 << 10;
/// An attribute may take no byte, and an abbreviation have any number of them: so many are parsed for each byte of a unit.
const ATTRIBUTES: u64 = 4;

/// The largest of the structures has some hundred.
const MOST_MEMBERS: usize = 1 << 12;

/// What is looked for, and what says that a unit has it.
const WANTED: [&str; 8] = [
    "runtime.mstats",
    "runtime.gcControllerState",
    "runtime.consistentHeapStats",
    "runtime.heapStatsDelta",
    "runtime.mheap",
    "runtime.mcentral",
    "runtime.mcache",
    "runtime.p",
];
const TELLING: &[u8] = b"runtime.mstats\0";

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A structure, as far as it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    pub size: u32,
    /// Offsets by name.
    pub members: HashMap<String, u32>,
}

/// The runtime's structures by name.
pub type Structures = HashMap<String, Structure>;

/// Reads them; `None` where there is no DWARF.
///
/// # Errors
///
/// Where there is some that cannot be used, with the reason.
pub fn structures(elf: &mut Elf, budget: &Budget) -> Result<Option<Structures>, InspectError> {
    let abbreviations = section(elf, "debug_abbrev");
    let Some((abbreviations, info)) = abbreviations.zip(section(elf, "debug_info")) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let mut packed = unpacked(elf, abbreviations)?.take(MOST_ABBREVIATIONS + 1);
    packed.read_to_end(&mut bytes).map_err(broken)?;
    drop(packed);
    budget.spend(bytes.len() as u64)?;
    if bytes.len() as u64 > MOST_ABBREVIATIONS {
        return Err(format!(
            "its DWARF has more than {} MiB of abbreviations",
            MOST_ABBREVIATIONS >> 20
        )
        .into());
    }
    let mut units = unpacked(elf, info)?;
    let mut unit = Vec::new();
    while next(&mut units, &mut unit, budget)? {
        if memmem::find(&unit, TELLING).is_none() {
            continue;
        }
        // Parsing takes several times as long as reading.
        budget.spend((unit.len() + MOST_OF_UNIT) as u64 * ATTRIBUTES)?;
        let found = of_unit(&unit, &bytes).map_err(broken)?;
        // Elsewhere the name may be a parameter's, or a string.
        if found.contains_key("runtime.mstats") {
            return Ok(Some(found));
        }
    }
    Err("its DWARF does not speak of the runtime's figures".into())
}

fn broken(error: impl std::fmt::Display) -> InspectError {
    format!("its DWARF is broken: {error}").into()
}

/// A section, under its own name or, with true, that which Go before 1.19 gives compressed ones.
fn section(elf: &mut Elf, name: &str) -> Option<(Section, bool)> {
    [(format!(".{name}"), false), (format!(".z{name}"), true)]
        .into_iter()
        .find_map(|(name, old)| Some((elf.section(&name)?, old)))
}

/// A section's bytes, unpacked where they are compressed.
fn unpacked(
    elf: &mut Elf,
    (section, old): (Section, bool),
) -> Result<Box<dyn Read + '_>, InspectError> {
    // `ZLIB` and a size of 8 bytes, or a `Elf64_Chdr` of 24, whose first word says how.
    let (skipped, zlib) = if old {
        let mut magic = [0; 4];
        elf.file.read(section.offset, &mut magic)?;
        (12, magic == *b"ZLIB")
    } else if section.compressed {
        let mut kind = [0; 4];
        elf.file.read(section.offset, &mut kind)?;
        let kind = u32::from_le_bytes(kind);
        (24, kind == object::elf::ELFCOMPRESS_ZLIB)
    } else {
        let stream = elf.file.stream(section.offset, section.size)?;
        return Ok(Box::new(BufReader::new(stream)));
    };
    if !zlib {
        return Err("its DWARF is compressed in a way that memtrace does not know".into());
    }
    let size = section
        .size
        .checked_sub(skipped)
        .ok_or_else(|| broken("it is cut"))?;
    let stream = elf
        .file
        .stream(section.offset.saturating_add(skipped), size)?;
    Ok(Box::new(BufReader::with_capacity(
        1 << 16,
        ZlibDecoder::new(stream),
    )))
}

/// Reads the next unit, with its length in front; false at the end.
fn next(units: &mut impl Read, unit: &mut Vec<u8>, budget: &Budget) -> Result<bool, InspectError> {
    unit.clear();
    take(units, 4, unit)?;
    let mut length = match unit.first_chunk() {
        // Padding at the end, or none.
        None => return Ok(false),
        Some(short) => u64::from(u32::from_le_bytes(*short)),
    };
    if length == u64::from(u32::MAX) {
        take(units, 8, unit)?;
        length = unit
            .last_chunk()
            .map_or(0, |long| u64::from_le_bytes(*long));
    }
    if length > MOST_UNIT {
        return Err(format!(
            "its DWARF is too large: one unit of it has {} MiB",
            length >> 20
        )
        .into());
    }
    let before = unit.len() as u64;
    budget.spend(before + length)?;
    unit.reserve_exact(usize::try_from(length).unwrap_or(usize::MAX));
    take(units, length, unit)?;
    if (unit.len() as u64) < before + length {
        return Err(broken("a unit is cut"));
    }
    Ok(true)
}

fn take(units: &mut impl Read, count: u64, unit: &mut Vec<u8>) -> Result<(), InspectError> {
    units.take(count).read_to_end(unit).map_err(broken)?;
    Ok(())
}

/// The wanted structures of a unit.
fn of_unit(unit: &[u8], abbreviations: &[u8]) -> gimli::Result<Structures> {
    let info = DebugInfo::new(unit, LittleEndian);
    let mut found = Structures::new();
    let Some(header) = info.units().next()? else {
        return Ok(found);
    };
    // Only its own, and no more of them than is bearable: what is cut there is an error.
    let from = header.debug_abbrev_offset().0.min(abbreviations.len());
    let own = abbreviations.get(from..).unwrap_or_default();
    let own = own.get(..MOST_OF_UNIT).unwrap_or(own);
    let own = DebugAbbrev::new(own, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
    walk(&header, &own, &mut found)?;
    Ok(found)
}

fn walk(
    header: &UnitHeader<Bytes<'_>>,
    abbreviations: &Abbreviations,
    found: &mut Structures,
) -> gimli::Result<()> {
    let mut entries = header.entries_raw(abbreviations, None)?;
    // The structure that the next entries may be members of, and its depth.
    let mut inside: Option<(isize, String)> = None;
    let mut attributes = header
        .length_including_self()
        .saturating_mul(ATTRIBUTES as usize)
        .saturating_add(1 << 12);
    while !entries.is_empty() {
        let depth = entries.next_depth();
        if inside.as_ref().is_some_and(|(outer, _)| depth <= *outer) {
            inside = None;
        }
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        let count = abbreviation.attributes().len();
        attributes = attributes
            .checked_sub(count)
            .ok_or(gimli::Error::TooManyIterations)?;
        let is_structure = abbreviation.tag() == gimli::DW_TAG_structure_type;
        let is_member = abbreviation.tag() == gimli::DW_TAG_member
            && inside.as_ref().is_some_and(|(outer, _)| depth == outer + 1);
        if !is_structure && !is_member {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut name = None;
        let mut number = None;
        for &attribute in abbreviation.attributes() {
            let attribute = entries.read_attribute(attribute)?;
            match attribute.name() {
                // In place, as Go writes them.
                gimli::DW_AT_name => {
                    if let AttributeValue::String(text) = attribute.value() {
                        name = std::str::from_utf8(text.slice()).ok();
                    }
                }
                gimli::DW_AT_byte_size if is_structure => number = attribute.udata_value(),
                gimli::DW_AT_data_member_location if is_member => {
                    number = place(&attribute.value())
                }
                _ => {}
            }
        }
        let (Some(name), Some(Ok(number))) = (name, number.map(u32::try_from)) else {
            continue;
        };
        if is_structure {
            if WANTED.contains(&name) {
                inside = Some((depth, name.to_owned()));
                found.entry(name.to_owned()).or_default().size = number;
            }
        } else if let Some((_, structure)) = &inside
            && let Some(structure) = found.get_mut(structure)
            && structure.members.len() < MOST_MEMBERS
        {
            structure.members.insert(name.to_owned(), number);
        }
    }
    Ok(())
}

/// An offset: a constant, or, up to Go 1.10, an expression that adds one.
fn place(value: &AttributeValue<Bytes<'_>>) -> Option<u64> {
    match value {
        AttributeValue::Exprloc(_) | AttributeValue::Block(_) => None,
        value => value.udata_value(),
    }
}
