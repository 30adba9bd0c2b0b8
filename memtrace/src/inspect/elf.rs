//! An ELF file, as far as it must be known to say what it is: what it needs, which symbols it defines, what its constants say.
//!
//! The file is the target's, so anything may stand in it. What is read is bounded, piece by piece, never a whole table at once: a
//! binary of 500 MB costs what a small one does. `object` has the structures; its own readers of hash tables and symbols take
//! what the file says of sizes for granted.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, SeekFrom},
    ops::ControlFlow,
};

use object::{
    Endianness, elf,
    pod::{self, Pod},
    read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym},
};

use super::Image;

/// More program headers than any real file has: about a dozen is usual.
const MOST_SEGMENTS: u64 = 256;
/// More sections than are looked at. A kernel module built with a section per function has some thousands; programs have 40.
const MOST_SECTIONS: u64 = 4096;
/// More entries than a dynamic section has: a program with 1000 libraries has about that many.
const MOST_DYNAMIC: u64 = 8192;
/// Most bytes of a name: of a symbol (mangled names may be longer, none that is asked for), or of a library.
const MOST_NAME: usize = 512;
/// Links that are followed in a chain of a hash table. Real chains have a few.
const MOST_CHAIN: u32 = 1024;
/// Most bytes of a symbol table, and of its strings: enough for a million symbols, which take some tens of ms.
const MOST_SYMBOLS: u64 = 64 << 20;
/// Places in the strings where one of the names asked for ends.
const MOST_PLACES: usize = 4096;
/// Bytes that are read at once where a table is gone through.
const CHUNK: usize = 256 << 10;
/// How much of a chunk is seen again at the start of the next: what is sought is shorter.
pub const OVERLAP: usize = 512;
/// Size of the pieces that are kept for look-ups, and how many of them are.
const PIECE: u64 = 4096;
const MOST_PIECES: usize = 256;
/// Pieces that are read of one file before nothing more is believed of it. Real files take some dozens.
const MOST_READS: u32 = 8192;

/// An ELF file.
pub struct Elf<'i> {
    image: Box<dyn Image + 'i>,
    pieces: HashMap<u64, Vec<u8>>,
    reads_left: u32,
    class: Class,
    endian: Endianness,
    length: u64,
    header: Header,
    segments: Vec<Segment>,
    dynamic: Dynamic,
}

/// 32 or 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Elf32,
    Elf64,
}

/// What the file header says of the section headers.
#[derive(Clone, Copy, Debug)]
struct Header {
    machine: u16,
    sections: u64,
    section_count: u64,
    section_names: u64,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    size: u64,
}

#[derive(Clone, Copy, Debug)]
struct Section {
    name: u64,
    kind: u32,
    offset: u64,
    size: u64,
    link: u64,
}

#[derive(Clone, Debug, Default)]
struct Dynamic {
    strings: Option<u64>,
    symbols: Option<u64>,
    gnu_hash: Option<u64>,
    hash: Option<u64>,
    soname: Option<u64>,
    needed: Vec<u64>,
}

/// A symbol that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address, as the file has it.
    pub address: u64,
    /// Its size in bytes; 0 where it is not known.
    pub size: u64,
}

impl<'i> Elf<'i> {
    /// Looks at a file.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is no ELF file.
    pub fn open(mut image: Box<dyn Image + 'i>) -> Result<Self, String> {
        let length = image
            .seek(SeekFrom::End(0))
            .map_err(|error| format!("it cannot be read: {error}"))?;
        let mut elf = Self {
            image,
            pieces: HashMap::new(),
            reads_left: MOST_READS,
            class: Class::Elf64,
            endian: Endianness::Little,
            length,
            header: Header {
                machine: 0,
                sections: 0,
                section_count: 0,
                section_names: 0,
            },
            segments: Vec::new(),
            dynamic: Dynamic::default(),
        };
        let ident = elf.bytes(0, elf::ELFMAG.len() + 1).unwrap_or_default();
        match ident.strip_prefix(&elf::ELFMAG) {
            Some(&[elf::ELFCLASS32]) => elf.read_headers::<elf::FileHeader32<Endianness>>(),
            Some(&[elf::ELFCLASS64]) => elf.read_headers::<elf::FileHeader64<Endianness>>(),
            Some(_) => Err("its ELF class is neither 32 nor 64 bits".to_owned()),
            None => Err("it is no ELF file".to_owned()),
        }?;
        Ok(elf)
    }

    fn read_headers<H>(&mut self) -> Result<(), String>
    where
        H: FileHeader<Endian = Endianness>,
        H::ProgramHeader: Pod,
        H::Dyn: Pod,
    {
        let header: H = self.get(0).ok_or("its ELF header is cut")?;
        if !header.is_supported() {
            return Err("its ELF header has a version that is not known".to_owned());
        }
        let endian = header
            .endian()
            .map_err(|_| "its ELF header has no known byte order")?;
        self.endian = endian;
        self.class = if header.is_type_64() {
            Class::Elf64
        } else {
            Class::Elf32
        };
        self.header = Header {
            machine: header.e_machine(endian),
            sections: header.e_shoff(endian).into(),
            section_count: header.e_shnum(endian).into(),
            section_names: header.e_shstrndx(endian).into(),
        };
        let start: u64 = header.e_phoff(endian).into();
        let count = u64::from(header.e_phnum(endian)).min(MOST_SEGMENTS);
        for index in 0..count {
            let Some(segment) = self.get_nth::<H::ProgramHeader>(start, index) else {
                break;
            };
            self.segments.push(Segment {
                kind: segment.p_type(endian),
                flags: segment.p_flags(endian),
                offset: segment.p_offset(endian).into(),
                address: segment.p_vaddr(endian).into(),
                size: segment.p_filesz(endian).into(),
            });
        }
        self.read_dynamic::<H>();
        Ok(())
    }

    fn read_dynamic<H>(&mut self)
    where
        H: FileHeader<Endian = Endianness>,
        H::Dyn: Pod,
    {
        let Some(segment) = self.segment(elf::PT_DYNAMIC) else {
            return;
        };
        let count = (segment.size / size_of::<H::Dyn>() as u64).min(MOST_DYNAMIC);
        for index in 0..count {
            let Some(entry) = self.get_nth::<H::Dyn>(segment.offset, index) else {
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

    /// Whether nothing in it asks for a dynamic linker or a library.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.dynamic.needed.is_empty() && self.segment(elf::PT_INTERP).is_none()
    }

    /// The dynamic linker that it asks for.
    pub fn interpreter(&mut self) -> Option<Vec<u8>> {
        let segment = self.segment(elf::PT_INTERP)?;
        self.name_at(segment.offset)
    }

    /// The name that others need it by.
    pub fn soname(&mut self) -> Option<Vec<u8>> {
        let offset = self.dynamic.soname?;
        self.dynamic_string(offset)
    }

    /// The names of the libraries that it needs, in order.
    pub fn needed(&mut self) -> Vec<Vec<u8>> {
        let needed = self.dynamic.needed.clone();
        needed
            .into_iter()
            .filter_map(|offset| self.dynamic_string(offset))
            .collect()
    }

    /// Whether it has a symbol table beside the dynamic one: whether it was not stripped.
    pub fn has_symbols(&mut self) -> bool {
        self.section(|section| section.kind == elf::SHT_SYMTAB)
            .is_some()
    }

    /// A symbol that it offers to others, found as the dynamic linker finds it.
    pub fn exported(&mut self, name: &str) -> Option<Symbol> {
        if self.dynamic.gnu_hash.is_some() {
            return self.by_gnu_hash(name.as_bytes());
        }
        self.by_hash(name.as_bytes())
    }

    /// Which of `names` it defines in its own symbol table, offered to others or not; empty where it was stripped.
    ///
    /// # Errors
    ///
    /// Where the table is too large to be gone through.
    pub fn own_symbols(
        &mut self,
        names: &[&'static str],
    ) -> Result<BTreeMap<&'static str, Symbol>, String> {
        let Some(table) = self.section(|section| section.kind == elf::SHT_SYMTAB) else {
            return Ok(BTreeMap::new());
        };
        let Some(strings) = self.nth_section(table.link) else {
            return Ok(BTreeMap::new());
        };
        if table.size > MOST_SYMBOLS || strings.size > MOST_SYMBOLS {
            return Err(format!(
                "its symbol table has {} MiB, more than the {} MiB that are gone through",
                table.size.max(strings.size) >> 20,
                MOST_SYMBOLS >> 20
            ));
        }
        let places = self.places(strings, names);
        if places.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(match self.class {
            Class::Elf32 => self.defined_at::<elf::Sym32<Endianness>>(table, &places),
            Class::Elf64 => self.defined_at::<elf::Sym64<Endianness>>(table, &places),
        })
    }

    /// Where in a table of strings one of the names, or the end of a longer one, stands. Linkers let a name be the end of another.
    fn places(&mut self, strings: Section, names: &[&'static str]) -> HashMap<u64, &'static str> {
        let mut places = HashMap::new();
        // Of a hundred thousand names nearly all are told by their last four letters; no name that is asked for is shorter.
        let ends: Vec<[u8; 4]> = names
            .iter()
            .filter_map(|name| name.as_bytes().last_chunk().copied())
            .collect();
        let _cut = self.chunks(strings.offset, strings.size, |at, chunk| {
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
                for name in names {
                    if text.ends_with(name.as_bytes()) {
                        let place = at + (end - name.len()) as u64 - strings.offset;
                        places.insert(place, *name);
                    }
                }
            }
            if places.len() < MOST_PLACES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        places
    }

    fn defined_at<S: Sym<Endian = Endianness> + Pod>(
        &mut self,
        table: Section,
        places: &HashMap<u64, &'static str>,
    ) -> BTreeMap<&'static str, Symbol> {
        let endian = self.endian;
        let mut found = BTreeMap::new();
        self.exact_chunks(table.offset, table.size, size_of::<S>(), |chunk| {
            let count = chunk.len() / size_of::<S>();
            let Ok((symbols, _)) = pod::slice_from_bytes::<S>(chunk, count) else {
                return;
            };
            for symbol in symbols {
                if !is_defined(symbol, endian) {
                    continue;
                }
                if let Some(name) = places.get(&u64::from(symbol.st_name(endian))) {
                    found.entry(*name).or_insert(Symbol {
                        address: symbol.st_value(endian).into(),
                        size: symbol.st_size(endian).into(),
                    });
                }
            }
        });
        found
    }

    fn by_gnu_hash(&mut self, name: &[u8]) -> Option<Symbol> {
        let table = self.offset_of(self.dynamic.gnu_hash?)?;
        let header: elf::GnuHashHeader<Endianness> = self.get(table)?;
        let endian = self.endian;
        let buckets = header.bucket_count.get(endian);
        let base = header.symbol_base.get(endian);
        let bloom_words = u64::from(header.bloom_count.get(endian));
        let word = match self.class {
            Class::Elf32 => 4,
            Class::Elf64 => 8,
        };
        let start = table
            .checked_add(size_of::<elf::GnuHashHeader<Endianness>>() as u64)?
            .checked_add(bloom_words * word)?;
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

    /// The older table, which is all that some libraries have.
    fn by_hash(&mut self, name: &[u8]) -> Option<Symbol> {
        let table = self.offset_of(self.dynamic.hash?)?;
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

    /// The symbol of that number, where it is defined and has that name.
    fn symbol(&mut self, index: u32, name: &[u8]) -> Option<Symbol> {
        match self.class {
            Class::Elf32 => self.symbol_as::<elf::Sym32<Endianness>>(index, name),
            Class::Elf64 => self.symbol_as::<elf::Sym64<Endianness>>(index, name),
        }
    }

    fn symbol_as<S: Sym<Endian = Endianness> + Pod>(
        &mut self,
        index: u32,
        name: &[u8],
    ) -> Option<Symbol> {
        let symbols = self.offset_of(self.dynamic.symbols?)?;
        let symbol: S = self.get_nth(symbols, index.into())?;
        let endian = self.endian;
        if !is_defined(&symbol, endian)
            || self.dynamic_string(symbol.st_name(endian).into())? != name
        {
            return None;
        }
        Some(Symbol {
            address: symbol.st_value(endian).into(),
            size: symbol.st_size(endian).into(),
        })
    }

    /// What stands at an address of the file's own, as far as the file has it.
    pub fn bytes_at(&mut self, address: u64, length: usize) -> Option<Vec<u8>> {
        let offset = self.offset_of(address)?;
        self.bytes(offset, length)
    }

    /// The text at an address of the file's own, up to its zero byte.
    pub fn text_at(&mut self, address: u64) -> Option<Vec<u8>> {
        let offset = self.offset_of(address)?;
        self.name_at(offset)
    }

    /// The machine that it is for, as `e_machine` has it.
    #[must_use]
    pub const fn machine(&self) -> u16 {
        self.header.machine
    }

    /// Goes through the constants, at most `limit` bytes of them, until `look` has seen enough. Pieces overlap by [`OVERLAP`] bytes.
    pub fn constants(&mut self, limit: u64, mut look: impl FnMut(&[u8]) -> ControlFlow<()>) {
        let mut left = limit;
        for (offset, size) in self.constant_ranges() {
            let part = size.min(left);
            left -= part;
            if self.chunks(offset, part, |_, chunk| look(chunk)).is_break() {
                return;
            }
        }
    }

    /// Where the constants are: the section of that name; without one, what is neither writable nor, if possible, code.
    fn constant_ranges(&mut self) -> Vec<(u64, u64)> {
        if let Some(names) = self.nth_section(self.header.section_names)
            && let Some(section) = self.named_section(names, b".rodata")
        {
            return vec![(section.offset, section.size)];
        }
        let mut ranges: Vec<_> = self
            .segments
            .iter()
            .filter(|segment| segment.kind == elf::PT_LOAD && segment.flags & elf::PF_W == 0)
            .map(|segment| (segment.flags & elf::PF_X, segment.offset, segment.size))
            .collect();
        ranges.sort_unstable();
        ranges
            .into_iter()
            .map(|(_, offset, size)| (offset, size))
            .collect()
    }

    fn named_section(&mut self, names: Section, name: &[u8]) -> Option<Section> {
        for index in 0..self.header.section_count.min(MOST_SECTIONS) {
            let section = self.nth_section(index)?;
            if section.kind == elf::SHT_PROGBITS
                && self.name_at(names.offset.checked_add(section.name)?)? == name
            {
                return Some(section);
            }
        }
        None
    }

    fn section(&mut self, is_it: impl Fn(&Section) -> bool) -> Option<Section> {
        for index in 0..self.header.section_count.min(MOST_SECTIONS) {
            let section = self.nth_section(index)?;
            if is_it(&section) {
                return Some(section);
            }
        }
        None
    }

    fn nth_section(&mut self, index: u64) -> Option<Section> {
        match self.class {
            Class::Elf32 => self.section_as::<elf::SectionHeader32<Endianness>>(index),
            Class::Elf64 => self.section_as::<elf::SectionHeader64<Endianness>>(index),
        }
    }

    fn section_as<S: SectionHeader<Endian = Endianness> + Pod>(
        &mut self,
        index: u64,
    ) -> Option<Section> {
        if index >= self.header.section_count {
            return None;
        }
        let section: S = self.get_nth(self.header.sections, index)?;
        let endian = self.endian;
        Some(Section {
            name: section.sh_name(endian).into(),
            kind: section.sh_type(endian),
            offset: section.sh_offset(endian).into(),
            size: section.sh_size(endian).into(),
            link: section.sh_link(endian).into(),
        })
    }

    fn segment(&self, kind: u32) -> Option<Segment> {
        self.segments
            .iter()
            .copied()
            .find(|segment| segment.kind == kind)
    }

    /// Where in the file an address is.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == elf::PT_LOAD)
            .find_map(|segment| {
                let within = address.checked_sub(segment.address)?;
                (within < segment.size)
                    .then(|| segment.offset.checked_add(within))
                    .flatten()
            })
    }

    fn dynamic_string(&mut self, offset: u64) -> Option<Vec<u8>> {
        let strings = self.offset_of(self.dynamic.strings?)?;
        self.name_at(strings.checked_add(offset)?)
    }

    fn word(&mut self, table: u64, index: u64) -> Option<u32> {
        let bytes = self.bytes(table.checked_add(index.checked_mul(4)?)?, 4)?;
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        Some(match self.endian {
            Endianness::Little => u32::from_le_bytes(bytes),
            Endianness::Big => u32::from_be_bytes(bytes),
        })
    }

    fn get_nth<T: Pod>(&mut self, start: u64, index: u64) -> Option<T> {
        self.get(start.checked_add(index.checked_mul(size_of::<T>() as u64)?)?)
    }

    fn get<T: Pod>(&mut self, offset: u64) -> Option<T> {
        let bytes = self.bytes(offset, size_of::<T>())?;
        pod::from_bytes::<T>(&bytes).ok().map(|(value, _)| *value)
    }

    /// Text up to its zero byte; `None` where that is too far away.
    fn name_at(&mut self, offset: u64) -> Option<Vec<u8>> {
        let mut length = 32;
        loop {
            let room = usize::try_from(self.length.checked_sub(offset)?).ok()?;
            let part = self.bytes(offset, length.min(room))?;
            if let Some(end) = memchr::memchr(0, &part) {
                return part.get(..end).map(<[u8]>::to_vec);
            }
            if length >= MOST_NAME || length >= room {
                return None;
            }
            length *= 4;
        }
    }

    /// A few bytes, through the pieces that are kept.
    fn bytes(&mut self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(CHUNK));
        while bytes.len() < length {
            let at = offset.checked_add(bytes.len() as u64)?;
            let within = usize::try_from(at % PIECE).ok()?;
            let wanted = length - bytes.len();
            let piece = self.piece(at / PIECE)?.get(within..)?;
            if piece.is_empty() {
                return None;
            }
            bytes.extend_from_slice(piece.get(..wanted).unwrap_or(piece));
        }
        Some(bytes)
    }

    fn piece(&mut self, number: u64) -> Option<&[u8]> {
        if !self.pieces.contains_key(&number) {
            self.reads_left = self.reads_left.checked_sub(1)?;
            if self.pieces.len() >= MOST_PIECES {
                self.pieces.clear();
            }
            let mut piece = vec![0; PIECE as usize];
            let read = self.read(number.checked_mul(PIECE)?, &mut piece).ok()?;
            piece.truncate(read);
            self.pieces.insert(number, piece);
        }
        self.pieces.get(&number).map(Vec::as_slice)
    }

    /// As much as there is, up to the buffer's size.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.image.seek(SeekFrom::Start(offset))?;
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..)
            && !rest.is_empty()
        {
            match self.image.read(rest) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }

    /// Goes through a range in chunks that overlap, each with its place in the file.
    fn chunks(
        &mut self,
        offset: u64,
        size: u64,
        mut look: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = offset;
        let mut left = size.min(self.length.saturating_sub(offset));
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let Some(buffer) = buffer.get_mut(..part) else {
                break;
            };
            let Ok(read) = self.read(at, buffer) else {
                break;
            };
            look(at, buffer.get(..read).unwrap_or_default())?;
            if read < part || part as u64 == left {
                break;
            }
            let step = (part - OVERLAP) as u64;
            at += step;
            left -= step;
        }
        ControlFlow::Continue(())
    }

    /// Goes through a table in chunks of whole entries.
    fn exact_chunks(&mut self, offset: u64, size: u64, entry: usize, mut look: impl FnMut(&[u8])) {
        let most = CHUNK - CHUNK % entry;
        let mut buffer = vec![0; most];
        let mut at = offset;
        let mut left = size.min(self.length.saturating_sub(offset));
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(most).min(most);
            let Some(buffer) = buffer.get_mut(..part) else {
                break;
            };
            let Ok(read) = self.read(at, buffer) else {
                break;
            };
            look(buffer.get(..read).unwrap_or_default());
            if read < part {
                break;
            }
            at += part as u64;
            left -= part as u64;
        }
    }
}

fn is_defined<S: Sym<Endian = Endianness>>(symbol: &S, endian: Endianness) -> bool {
    symbol.st_shndx(endian) != elf::SHN_UNDEF
        && matches!(
            symbol.st_type(),
            elf::STT_NOTYPE | elf::STT_FUNC | elf::STT_OBJECT | elf::STT_GNU_IFUNC
        )
}
