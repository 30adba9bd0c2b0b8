//! What the dynamic linker reads of a file: what it needs, and the symbols that it offers.

use object::{Endianness, elf, pod::Pod, read::elf::Dyn};

use super::{Elf, Segment, Symbol};

/// More entries than a dynamic section has: a program with 1000 libraries has about that many.
const MOST_DYNAMIC: u64 = 8192;
/// Links that are followed in a chain of a hash table. Real chains have a few.
const MOST_CHAIN: u32 = 1024;

/// The dynamic section: addresses, and offsets in its strings.
#[derive(Clone, Debug, Default)]
pub(super) struct Dynamic {
    strings: Option<u64>,
    symbols: Option<u64>,
    gnu_hash: Option<u64>,
    hash: Option<u64>,
    soname: Option<u64>,
    needed: Vec<u64>,
}

impl Elf {
    pub(super) fn read_dynamic<D: Dyn<Endian = Endianness> + Pod>(&mut self, part: Segment) {
        let count = (part.file_size / size_of::<D>() as u64).min(MOST_DYNAMIC);
        for index in 0..count {
            let Ok(entry) = self.file.get_nth::<D>(part.offset, index) else {
                break;
            };
            let value: u64 = entry.d_val(self.endian).into();
            let dynamic = &mut self.dynamic;
            match entry.tag(self.endian) {
                elf::DT_NULL => break,
                elf::DT_NEEDED => dynamic.needed.push(value),
                elf::DT_SONAME => dynamic.soname = Some(value),
                elf::DT_STRTAB => dynamic.strings = Some(value),
                elf::DT_SYMTAB => dynamic.symbols = Some(value),
                elf::DT_GNU_HASH => dynamic.gnu_hash = Some(value),
                elf::DT_HASH => dynamic.hash = Some(value),
                _ => {}
            }
        }
    }

    /// Returns whether nothing in it asks for a dynamic linker or a library.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.dynamic.needed.is_empty() && self.interpreter.is_none()
    }

    /// Returns the dynamic linker that it asks for.
    pub fn interpreter(&mut self) -> Option<Vec<u8>> {
        self.file.name_at(self.interpreter?)
    }

    /// Returns the name that others need it by.
    pub fn soname(&mut self) -> Option<Vec<u8>> {
        self.dynamic_string(self.dynamic.soname?)
    }

    /// Returns the names of the libraries that it needs, in order.
    pub fn needed(&mut self) -> Vec<Vec<u8>> {
        let needed = self.dynamic.needed.clone();
        needed
            .into_iter()
            .filter_map(|offset| self.dynamic_string(offset))
            .collect()
    }

    /// Returns a symbol that it offers to others, found as the dynamic linker finds it.
    pub fn exported(&mut self, name: &str) -> Option<Symbol> {
        if self.dynamic.gnu_hash.is_some() {
            return self.by_gnu_hash(name.as_bytes());
        }
        self.by_hash(name.as_bytes())
    }

    fn by_gnu_hash(&mut self, name: &[u8]) -> Option<Symbol> {
        let table = self.offset_of(self.dynamic.gnu_hash?, 1)?;
        let header: elf::GnuHashHeader<Endianness> = self.file.get_nth(table, 0).ok()?;
        let endian = self.endian;
        let buckets = header.bucket_count.get(endian);
        let base = header.symbol_base.get(endian);
        let bloom_words = u64::from(header.bloom_count.get(endian));
        let start = table
            .checked_add(size_of::<elf::GnuHashHeader<Endianness>>() as u64)?
            .checked_add(bloom_words * if self.is_64 { 8 } else { 4 })?;
        let hash = elf::gnu_hash(name);
        let first = self.word(start, u64::from(hash.checked_rem(buckets)?))?;
        if first < base {
            return None;
        }
        let chain = start.checked_add(u64::from(buckets) * 4)?;
        for index in first..first.checked_add(MOST_CHAIN)? {
            let value = self.word(chain, u64::from(index - base))?;
            if value | 1 == hash | 1
                && let Some(symbol) = self.symbol(index, name)
            {
                return Some(symbol);
            }
            if value & 1 != 0 {
                return None;
            }
        }
        None
    }

    /// Looks in the older table, which is all that some libraries have.
    fn by_hash(&mut self, name: &[u8]) -> Option<Symbol> {
        let table = self.offset_of(self.dynamic.hash?, 1)?;
        let buckets = self.word(table, 0)?;
        let bucket = elf::hash(name).checked_rem(buckets)?;
        let mut index = self.word(table, 2 + u64::from(bucket))?;
        for _ in 0..MOST_CHAIN {
            if index == 0 {
                return None;
            }
            if let Some(symbol) = self.symbol(index, name) {
                return Some(symbol);
            }
            index = self.word(table, 2 + u64::from(buckets) + u64::from(index))?;
        }
        None
    }

    /// Returns the symbol of that number, if it is defined and has that name.
    fn symbol(&mut self, index: u32, name: &[u8]) -> Option<Symbol> {
        let table = self.offset_of(self.dynamic.symbols?, 1)?;
        let (symbol, size) = self.symbols();
        let offset = table.checked_add(u64::from(index) * size as u64)?;
        let entry = self.file.bytes(offset, size).ok()?;
        let (named, symbol) = symbol(&entry, self.endian)?;
        (self.dynamic_string(named)? == name).then_some(symbol)
    }

    fn dynamic_string(&mut self, offset: u64) -> Option<Vec<u8>> {
        let strings = self.offset_of(self.dynamic.strings?, 1)?;
        self.file.name_at(strings.checked_add(offset)?)
    }

    fn word(&mut self, table: u64, index: u64) -> Option<u32> {
        let word: object::U32<Endianness> = self.file.get_nth(table, index).ok()?;
        Some(word.get(self.endian))
    }
}
