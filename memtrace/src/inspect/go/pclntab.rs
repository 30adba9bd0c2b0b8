//! Addresses of functions by name, from the table that the runtime itself makes its tracebacks of, so no `strip` takes it away.
//!
//! The format is in `runtime/symtab.go` and `debug/gosym/pclntab.go`; it has had four forms.

use std::{io::Read, ops::ControlFlow};

use super::executable::pointer;
use crate::inspect::{
    ElfError, InspectError,
    elf::{Elf, name_at},
};

/// Most bytes of it: large programs have some tens of MB.
const MOST: u64 = 1 << 28;
/// Most functions: large programs have some hundred thousand.
const MOST_FUNCTIONS: u64 = 1 << 22;
/// Most bytes that are searched for it, and most places where it may be.
const MOST_SEARCHED: u64 = 1 << 29;
const MOST_BEGINNINGS: usize = 16;
/// The names under which linkers file it; the latter in position-independent programs.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// The code of a function, before the load bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    pub start: u64,
    pub end: u64,
}

/// What a form says of itself.
struct Table {
    /// Its own address, and where in the file it begins.
    address: u64,
    offset: u64,
    size: u64,
    /// How many functions.
    count: u64,
    /// What addresses are relative to; 0 where they are whole.
    text: u64,
    /// Where the names are, from the beginning.
    names: (u64, u64),
    /// What the places of names are relative to.
    names_from: u64,
    /// Where the list of functions is, and what the places of their descriptions are relative to.
    list: u64,
    described_from: u64,
    /// Bytes of an address, and of all other numbers of the list.
    width: u64,
}

/// The functions of these names, in order; `None` for each that the program has not.
///
/// # Errors
///
/// Where there is no such table, or it is none that is known.
pub fn functions<const N: usize>(
    elf: &mut Elf,
    names: [&str; N],
) -> Result<[Option<Function>; N], InspectError> {
    let table = Table::find(elf)?;
    let (from, to) = table.names;
    let size = to.checked_sub(from).ok_or(BROKEN)?;
    let (places, sought) = elf.file.places(table.offset + from, size, &names);
    sought?;
    let mut found = [None; N];
    let mut window = Window::new(table.size);
    let mut missing = places.len();
    for index in 0..table.count {
        if missing == 0 {
            break;
        }
        let entry =
            |index: u64, part: u64| table.offset + table.list + (2 * index + part) * table.width;
        let described = window.number(elf, entry(index, 1), table.width)?;
        let at = described
            .checked_add(table.described_from)
            .filter(|&at| at < table.size)
            .ok_or(BROKEN)?;
        // It begins with the address once more; the place of the name follows.
        let name = window.number(elf, table.offset + at + table.width, 4)?;
        let Some(name) = (name + table.names_from).checked_sub(from) else {
            continue;
        };
        let Some(slot) = name_at(&places, name).and_then(|name| found.get_mut(name)) else {
            continue;
        };
        let start = window.number(elf, entry(index, 0), table.width)?;
        let end = window.number(elf, entry(index + 1, 0), table.width)?;
        if slot.is_none() {
            missing -= 1;
            *slot = Some(Function {
                start: table.text.wrapping_add(start),
                end: table.text.wrapping_add(end),
            });
        }
    }
    Ok(found)
}

const BROKEN: &str = "its table of functions is broken";

impl Table {
    /// By its section, else by its beginning: the system's linker files it under other data.
    fn find(elf: &mut Elf) -> Result<Self, InspectError> {
        if let Some(section) = SECTIONS.iter().find_map(|name| elf.section(name)) {
            return Self::read(elf, section.address, section.offset, section.size);
        }
        let mut why = "it is stripped of its symbols, and has no table of functions".into();
        for (address, offset, size) in beginnings(elf)? {
            match Self::read(elf, address, offset, size) {
                Ok(table) => return Ok(table),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn read(elf: &mut Elf, address: u64, offset: u64, size: u64) -> Result<Self, InspectError> {
        if size > MOST || offset.checked_add(MOST).is_none() {
            return Err("its table of functions is larger than any that is known".into());
        }
        let mut header = [0; 72];
        elf.file.read(offset, &mut header)?;
        let word = |index: usize| {
            let bytes = header.get(8 * index..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let [magic @ .., 0, 0, _, 8] = word(0).to_le_bytes() else {
            return Err(BROKEN.into());
        };
        let count = word(1);
        let mut table = Self {
            address,
            offset,
            size,
            count,
            text: 0,
            names: (0, size),
            names_from: 0,
            list: 16,
            described_from: 0,
            width: 8,
        };
        match u32::from_le_bytes(magic) {
            // Go 1.2 to 1.15.
            0xffff_fffb => {}
            // 1.16 and 1.17.
            0xffff_fffa => {
                table.names = (word(3), word(4));
                table.names_from = word(3);
                table.list = word(7);
                table.described_from = word(7);
            }
            // 1.18 and 1.19; since 1.20.
            0xffff_fff0 | 0xffff_fff1 => {
                table.names = (word(4), word(5));
                table.names_from = word(4);
                table.list = word(8);
                table.described_from = word(8);
                table.width = 4;
                // It may be left to a relocation.
                let stored = pointer(elf, address.saturating_add(24)).unwrap_or(word(3));
                table.text = table.text(elf, stored)?;
            }
            other => {
                return Err(format!(
                    "its table of functions has a form that memtrace does not know, {other:#x}"
                )
                .into());
            }
        }
        let end = count
            .checked_mul(2 * table.width)
            .and_then(|bytes| bytes.checked_add(table.list));
        if count > MOST_FUNCTIONS
            || end.is_none_or(|end| end > table.size)
            || table.names.0 > table.size
            || table.names.1 > table.size
        {
            return Err(BROKEN.into());
        }
        Ok(table)
    }

    /// Where the code begins. Up to 1.25 the table says so; since then, `moduledata` alone.
    fn text(&self, elf: &mut Elf, stored: u64) -> Result<u64, InspectError> {
        // The fields of `moduledata` before `text` have not changed since 1.16: a pointer, six slices, and the tree of functions.
        const MINPC: u64 = 160;
        const TEXT: u64 = 176;
        if stored != 0 {
            return Ok(stored);
        }
        let module = module(elf, self.address)?;
        let first = Window::new(self.size).number(elf, self.offset + self.list, 4)?;
        let [least, text] = [MINPC, TEXT].map(|field| pointer(elf, module.saturating_add(field)));
        let (least, text) = (least?, text?);
        if text.checked_add(first) != Some(least) {
            return Err("its moduledata is not as memtrace knows it".into());
        }
        Ok(text)
    }
}

/// Where such a table may begin: address, offset in the file, and bytes to the end of what is mapped.
fn beginnings(elf: &mut Elf) -> Result<Vec<(u64, u64, u64)>, InspectError> {
    let mut found = Vec::new();
    // With the code, where the linker keeps all that is not written in one part.
    let parts = elf.segments.clone();
    let bytes = parts.iter().map(|part| part.file_size);
    if bytes.fold(0, u64::saturating_add) > MOST_SEARCHED {
        return Err("it has more data than memtrace searches for a table of functions".into());
    }
    for part in parts {
        // Addresses are multiples of 8 at the least, and so are the offsets.
        let skipped = part.offset.next_multiple_of(8) - part.offset;
        let Some(size) = part.file_size.checked_sub(skipped) else {
            continue;
        };
        let many = elf
            .file
            .entries(part.offset + skipped, size, 8, |at, piece| {
                for (index, word) in (0..).zip(piece.as_chunks::<8>().0) {
                    if matches!(
                        word,
                        [0xfb | 0xfa | 0xf0 | 0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]
                    ) {
                        let into = at + 8 * index;
                        let left = (size - into).min(MOST);
                        let address = part.address.wrapping_add(skipped).wrapping_add(into);
                        found.push((address, part.offset + skipped + into, left));
                    }
                }
                if found.len() > MOST_BEGINNINGS {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if many.is_some() {
            return Err("it has too many tables of functions".into());
        }
    }
    Ok(found)
}

/// The address of `runtime.firstmoduledata`: it begins with that of the table.
fn module(elf: &mut Elf, table: u64) -> Result<u64, InspectError> {
    const OWN: &str = ".go.module";
    for name in [OWN, ".noptrdata", ".data"] {
        let Some(place) = elf.section(name).filter(|place| place.size <= MOST) else {
            continue;
        };
        if name == OWN && pointer(elf, place.address)? == table {
            return Ok(place.address);
        }
        let found = elf.file.entries(place.offset, place.size, 8, |at, piece| {
            let mut words = piece.as_chunks::<8>().0.iter();
            match words.position(|word| u64::from_le_bytes(*word) == table) {
                Some(index) => ControlFlow::Break(at + 8 * index as u64),
                None => ControlFlow::Continue(()),
            }
        })?;
        if let Some(at) = found {
            return Ok(place.address.wrapping_add(at));
        }
    }
    Err("it has no moduledata, which says where its functions are".into())
}

/// A piece of the file, for numbers that are read mostly in order.
struct Window {
    /// How many more pieces are read: each is read about once, unless the table is made to take long.
    left: u64,
    /// Two: the list, and what it describes, take turns.
    pieces: [(u64, Vec<u8>); 2],
    oldest: usize,
}

impl Window {
    const SIZE: u64 = 1 << 14;

    fn new(size: u64) -> Self {
        Self {
            left: size / Self::SIZE * 8 + 64,
            pieces: Default::default(),
            oldest: 0,
        }
    }

    fn number(&mut self, elf: &mut Elf, at: u64, width: u64) -> Result<u64, InspectError> {
        for (begin, piece) in &self.pieces {
            if let Some(number) = within(*begin, piece, at, width) {
                return Ok(number);
            }
        }
        self.left = self.left.checked_sub(1).ok_or(BROKEN)?;
        // The last piece of the file is shorter.
        let mut piece = Vec::new();
        let mut stream = elf.file.stream(at, Self::SIZE)?;
        stream.read_to_end(&mut piece).map_err(ElfError::Read)?;
        let number = within(at, &piece, at, width).ok_or(BROKEN)?;
        if let Some(slot) = self.pieces.get_mut(self.oldest) {
            *slot = (at, piece);
        }
        self.oldest = 1 - self.oldest;
        Ok(number)
    }
}

fn within(begin: u64, piece: &[u8], at: u64, width: u64) -> Option<u64> {
    let from = usize::try_from(at.checked_sub(begin)?).ok()?;
    let bytes = piece.get(from..)?.get(..usize::try_from(width).ok()?)?;
    let mut whole = [0; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(whole))
}
