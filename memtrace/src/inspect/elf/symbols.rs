//! The symbols of a file's own table, which `strip` leaves out, by name.

use std::{collections::BTreeMap, ops::ControlFlow};

use object::{
    Endianness, elf,
    pod::{self, Pod},
    read::elf::Sym,
};

use super::{Elf, Error, File, Section};

/// Most bytes of a symbol table, and of its strings, that are gone through for an allocator: enough for a million symbols, which take
/// some tens of ms.
pub const MOST_SYMBOLS: u64 = 64 << 20;
/// Places in the strings where one of the names asked for ends: one, or some where names share their ends.
const MOST_PLACES: usize = 4096;

/// A symbol that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address, as the file has it.
    pub address: u64,
    /// What it is, such as `STT_FUNC`.
    pub kind: u8,
}

/// Where names stand in a table of names, each with its index among those asked for; sorted.
pub type Places = Vec<(u64, usize)>;

/// Returns the index of the name at `place`.
pub fn name_at(places: &Places, place: u64) -> Option<usize> {
    let index = places.binary_search_by_key(&place, |place| place.0).ok()?;
    places.get(index).map(|place| place.1)
}

impl Elf {
    /// Returns whether it has a symbol table beside the dynamic one: whether it was not stripped.
    pub fn has_symbols(&mut self) -> bool {
        self.sections_of(elf::SHT_SYMTAB).next().is_some()
    }

    /// Returns which of `names` it defines in its own symbol table, offered to others or not; empty where it was stripped.
    ///
    /// # Errors
    ///
    /// If the table is too large to be gone through.
    pub fn own_symbols(
        &mut self,
        names: &[&'static str],
    ) -> Result<BTreeMap<&'static str, Symbol>, Error> {
        let mut found = BTreeMap::new();
        let Some(table) = self.sections_of(elf::SHT_SYMTAB).next() else {
            return Ok(found);
        };
        let Some(strings) = self.nth_section(table.link) else {
            return Ok(found);
        };
        let size = table.size.max(strings.size);
        if size > MOST_SYMBOLS {
            return Err(Error::Symbols(size));
        }
        // Of a table that is cut, what is there counts.
        let _cut = self.named(table, strings, names, |name, symbol| {
            if let Some(name) = names.get(name) {
                found.entry(*name).or_insert(symbol);
            }
        });
        Ok(found)
    }

    /// Hands to `look` the symbols of a table that have one of `names`, each with the index of the name.
    ///
    /// # Errors
    ///
    /// If not all of them can be had; `look` has then seen those that can.
    pub fn named(
        &mut self,
        table: Section,
        strings: Section,
        names: &[&str],
        mut look: impl FnMut(usize, Symbol),
    ) -> Result<(), Error> {
        let (places, sought) = self.file.places(strings.offset, strings.size, names);
        if places.is_empty() {
            return sought;
        }
        let (symbol, size) = self.symbols();
        let endian = self.endian;
        let read = self
            .file
            .entries(table.offset, table.size, size, |_, chunk| {
                for (name, symbol) in chunk
                    .chunks_exact(size)
                    .filter_map(|entry| symbol(entry, endian))
                {
                    if let Some(name) = name_at(&places, name) {
                        look(name, symbol);
                    }
                }
                ControlFlow::<()>::Continue(())
            });
        sought.and(read.map(drop))
    }

    /// Returns how an entry of a symbol table is read, and its size.
    pub(super) fn symbols(&self) -> (ReadSymbol, usize) {
        if self.is_64 {
            (
                defined::<elf::Sym64<Endianness>>,
                size_of::<elf::Sym64<Endianness>>(),
            )
        } else {
            (
                defined::<elf::Sym32<Endianness>>,
                size_of::<elf::Sym32<Endianness>>(),
            )
        }
    }
}

/// Reads a symbol, with the place of its name.
type ReadSymbol = fn(&[u8], Endianness) -> Option<(u64, Symbol)>;

/// Reads a symbol, if it is defined.
fn defined<S: Sym<Endian = Endianness> + Pod>(
    entry: &[u8],
    endian: Endianness,
) -> Option<(u64, Symbol)> {
    let (symbol, _) = pod::from_bytes::<S>(entry).ok()?;
    let kind = symbol.st_type();
    let is_defined = symbol.st_shndx(endian) != elf::SHN_UNDEF
        && matches!(
            kind,
            elf::STT_NOTYPE | elf::STT_FUNC | elf::STT_OBJECT | elf::STT_GNU_IFUNC
        );
    let address = symbol.st_value(endian).into();
    is_defined.then(|| (symbol.st_name(endian).into(), Symbol { address, kind }))
}

impl File {
    /// Finds where in a table of names one of `names`, or the end of a longer one, stands. Linkers let a name be the end of another.
    /// With the places comes whether they are all.
    pub fn places(
        &mut self,
        offset: u64,
        size: u64,
        names: &[&str],
    ) -> (Places, Result<(), Error>) {
        let mut places = Places::new();
        // Of a hundred thousand names nearly all are told by their last four letters; no name that is asked for is shorter.
        let ends: Vec<[u8; 4]> = names
            .iter()
            .filter_map(|name| name.as_bytes().last_chunk().copied())
            .collect();
        let read = self.texts(offset, size, |at, chunk| {
            let mut start = 0;
            for end in memchr::memchr_iter(0, chunk) {
                let text = chunk.get(start..end).unwrap_or_default();
                start = end + 1;
                let may_be = text
                    .last_chunk()
                    .is_some_and(|end: &[u8; 4]| ends.contains(end));
                if !may_be {
                    continue;
                }
                for (index, name) in names.iter().enumerate() {
                    if text.ends_with(name.as_bytes()) {
                        places.push((at + (end - name.len()) as u64, index));
                    }
                }
            }
            if places.len() < MOST_PLACES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(Error::Names)
            }
        });
        // Those where two chunks overlap are found twice.
        places.sort_unstable();
        places.dedup();
        let read = read.and_then(|broken| broken.map_or(Ok(()), Err));
        (places, read)
    }
}
