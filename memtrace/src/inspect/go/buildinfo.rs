//! The version that built a Go program: `.go.buildinfo`, which `go version FILE` reads, and which survives stripping.
//!
//! Since Go 1.13. The layout is in `debug/buildinfo`: 32 bytes, which begin with a magic and hold the size of a pointer and flags,
//! then, since 1.18, the version with its length; before, pointers to two strings.

use super::{executable::pointer, symbols};
use crate::inspect::{InspectError, elf::Elf};

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
/// It starts at a multiple of this.
const ALIGNMENT: u64 = 16;
const SIZE: usize = 32;
/// Without sections it is looked for where a linker would put it.
const MOST_SEARCHED: u64 = 1 << 20;
/// A version with all its experiments has some dozen bytes.
const MOST_VERSION: u64 = 1 << 10;

const BIG_ENDIAN: u8 = 1;
const INLINE: u8 = 2;

/// What is known of the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Such as `go1.19.8`, or `devel go1.28-…`.
    pub version: String,
    /// `CGO_ENABLED` of the build settings, which since 1.18 lie beside the version.
    pub cgo: Option<bool>,
}

/// The version; `None` where it is no Go program.
///
/// # Errors
///
/// Where it is one, and its version cannot be had.
pub fn read(elf: &mut Elf) -> Result<Option<BuildInfo>, InspectError> {
    let Some(address) = find(elf)? else {
        return before(elf);
    };
    let mut header = [0; SIZE];
    elf.at(address, &mut header)?;
    let [.., pointer_size, flags] = header[..16] else {
        return Ok(None);
    };
    if flags & INLINE != 0 {
        let (version, at) = counted(elf, address + SIZE as u64, MOST_VERSION)?;
        // The settings are a text of lines, between two marks of 16 bytes.
        let settings = counted(elf, at, MOST_SETTINGS).map(|(text, _)| text);
        return Ok(Some(BuildInfo {
            version: text(&version)?,
            cgo: settings.ok().and_then(|settings| cgo(&settings)),
        }));
    }
    if flags & BIG_ENDIAN != 0 || pointer_size != 8 {
        return Err("its .go.buildinfo is of another machine".into());
    }
    let string = pointer(elf, address + 16)?;
    Ok(Some(BuildInfo {
        version: pointed(elf, string)?,
        cgo: None,
    }))
}

/// Its address, before the load bias.
fn find(elf: &mut Elf) -> Result<Option<u64>, InspectError> {
    let places: Vec<(u64, u64)> = match elf.section(".go.buildinfo") {
        Some(section) => vec![(section.address, section.size)],
        None => elf
            .segments
            .iter()
            .filter(|segment| !segment.executable)
            .map(|segment| (segment.address, segment.file_size))
            .collect(),
    };
    for (address, size) in places {
        if let Some(found) = search(elf, address, size.min(MOST_SEARCHED))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn search(elf: &mut Elf, address: u64, size: u64) -> Result<Option<u64>, InspectError> {
    // Whole, and it is small: a section has some hundred bytes.
    let Ok(count) = usize::try_from(size) else {
        return Ok(None);
    };
    let mut bytes = vec![0; count];
    elf.at(address, &mut bytes)?;
    let start = (ALIGNMENT - address % ALIGNMENT) % ALIGNMENT;
    let Ok(start) = usize::try_from(start) else {
        return Ok(None);
    };
    let found = bytes
        .get(start..)
        .unwrap_or_default()
        .chunks(ALIGNMENT as usize)
        .position(|chunk| chunk.starts_with(MAGIC));
    Ok(found.and_then(|index| address.checked_add(start as u64 + index as u64 * ALIGNMENT)))
}

/// A program of Go before 1.13 has its version in a variable alone.
fn before(elf: &mut Elf) -> Result<Option<BuildInfo>, InspectError> {
    if elf.section(".note.go.buildid").is_none() && elf.section(".gopclntab").is_none() {
        return Ok(None);
    }
    let [Some(address)] = symbols::find(elf, ["runtime.buildVersion"])? else {
        return Err("it is a Go program, but it does not say of which version".into());
    };
    Ok(Some(BuildInfo {
        version: pointed(elf, address)?,
        cgo: None,
    }))
}

/// A string that is stored as a pointer and a length at `address`.
fn pointed(elf: &mut Elf, address: u64) -> Result<String, InspectError> {
    let data = pointer(elf, address)?;
    let mut length = [0; 8];
    elf.at(after(address, 8)?, &mut length)?;
    text(&string(
        elf,
        data,
        u64::from_le_bytes(length),
        MOST_VERSION,
    )?)
}

/// A string behind its length, and the address behind it.
fn counted(elf: &mut Elf, address: u64, most: u64) -> Result<(Vec<u8>, u64), InspectError> {
    let mut length = 0_u64;
    let mut at = address;
    // As `binary.Uvarint`: seven bits a byte, the lowest first.
    for shift in (0..63).step_by(7) {
        let mut byte = [0];
        elf.at(at, &mut byte)?;
        at = after(at, 1)?;
        let [byte] = byte;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((string(elf, at, length, most)?, after(at, length)?));
        }
    }
    Err("its .go.buildinfo is broken".into())
}

fn string(elf: &mut Elf, address: u64, length: u64, most: u64) -> Result<Vec<u8>, InspectError> {
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length as u64 <= most)
        .ok_or_else(|| format!("its .go.buildinfo speaks of {length} bytes"))?;
    let mut bytes = vec![0; length];
    elf.at(address, &mut bytes)?;
    Ok(bytes)
}

fn after(address: u64, bytes: u64) -> Result<u64, InspectError> {
    address
        .checked_add(bytes)
        .ok_or_else(|| "its .go.buildinfo is broken".into())
}

fn text(bytes: &[u8]) -> Result<String, InspectError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("its .go.buildinfo holds no version".into()),
    }
}

/// The settings list every module that was built in.
const MOST_SETTINGS: u64 = 1 << 20;

fn cgo(settings: &[u8]) -> Option<bool> {
    settings
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"build\tCGO_ENABLED="))
        .and_then(|value| match value {
            b"1" => Some(true),
            b"0" => Some(false),
            _ => None,
        })
}
