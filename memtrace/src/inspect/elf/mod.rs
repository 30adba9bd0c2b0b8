//! An ELF file, read within bounds: what it needs, which symbols it defines, what its constants say, and what lies at an address.
//!
//! The file is the target's, so anything may stand in it, and it may be cut while it is read. What is read is bounded, piece by piece,
//! never a whole table at once: a binary of 500 MB costs what a small one does. `object` has the structures; its own readers of hash
//! tables and symbols take what the file says of sizes for granted.

mod dynamic;
mod file;
mod symbols;

use std::{io, ops::ControlFlow};

use object::{
    Endianness, elf,
    pod::Pod,
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};

use self::{dynamic::Dynamic, file::File};
pub use self::{
    file::OVERLAP,
    symbols::{Symbol, name_at},
};
use super::Image;

/// More program headers than any real file has: about a dozen is usual.
const MOST_SEGMENTS: u64 = 1 << 10;
/// More sections than are looked at. A kernel module built with a section per function has some thousands; programs have 40.
const MOST_SECTIONS: u64 = 1 << 13;
/// Most bytes of the names of sections that are all believed.
const MOST_NAMES: u64 = 1 << 20;

/// Why a file, or a part of it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first read of the file failed.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It does not begin as an ELF file does.
    #[error("it is no ELF file")]
    NoElf,
    /// Its header is cut, or of a kind that is not known.
    #[error("{0}")]
    Header(&'static str),
    /// It has more program headers than any real file.
    #[error("it has {0} program headers")]
    Segments(u64),
    /// A later read failed, or the budget of the look is spent.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is made to take long.
    #[error("it takes more reads than any file that is known")]
    Reads,
    /// It is shorter than its tables say.
    #[error("it ends before a part of it that it says it has")]
    Cut,
    /// Nothing of it is mapped there.
    #[error("the file has nothing for address {0:#x}")]
    Address(u64),
    /// Its symbol table, or the names in it, have so many bytes.
    #[error("its symbol table has {} MiB, more than the {} MiB that are gone through", .0 >> 20, symbols::MOST_SYMBOLS >> 20)]
    Symbols(u64),
    /// A name that is sought is in it too often.
    #[error("its names are of no linker's making")]
    Names,
}

/// An ELF file.
pub struct Elf {
    pub file: File,
    is_64: bool,
    endian: Endianness,
    /// The machine that it is for, as `e_machine` has it.
    pub machine: u16,
    /// Its `e_type`.
    pub kind: u16,
    /// The parts of it that are mapped.
    pub segments: Vec<Segment>,
    /// Why there are no more of them, if there should be.
    missing_segments: Option<Error>,
    /// Where the name of the dynamic linker is.
    interpreter: Option<u64>,
    dynamic: Dynamic,
    sections: u64,
    section_count: u64,
    section_names: u64,
}

/// A part of the file that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub address: u64,
    pub memory_size: u64,
    pub offset: u64,
    pub file_size: u64,
    pub writable: bool,
    pub executable: bool,
}

/// A part of the file that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where its name is, among the names of sections.
    name: u64,
    pub kind: u32,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u64,
    pub compressed: bool,
}

impl Elf {
    /// Reads the headers of a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no ELF file.
    pub fn open(image: Box<dyn Image>) -> Result<Self, Error> {
        let mut file = File::new(image)?;
        let ident = match file.bytes(0, elf::ELFMAG.len() + 1) {
            Err(Error::Read(error)) => return Err(Error::Unreadable(error)),
            ident => ident.unwrap_or_default(),
        };
        match ident.strip_prefix(&elf::ELFMAG) {
            Some(&[elf::ELFCLASS32]) => Self::read::<elf::FileHeader32<Endianness>>(file),
            Some(&[elf::ELFCLASS64]) => Self::read::<elf::FileHeader64<Endianness>>(file),
            Some(_) => Err(Error::Header("its ELF class is neither 32 nor 64 bits")),
            None => Err(Error::NoElf),
        }
    }

    fn read<H>(mut file: File) -> Result<Self, Error>
    where
        H: FileHeader<Endian = Endianness>,
        H::ProgramHeader: Pod,
        H::Dyn: Pod,
    {
        let header: H = file
            .get_nth(0, 0)
            .map_err(|_| Error::Header("its ELF header is cut"))?;
        if !header.is_supported() {
            return Err(Error::Header(
                "its ELF header has a version that is not known",
            ));
        }
        let endian = header
            .endian()
            .map_err(|_| Error::Header("its ELF header has no known byte order"))?;
        let mut elf = Self {
            file,
            is_64: header.is_type_64(),
            endian,
            machine: header.e_machine(endian),
            kind: header.e_type(endian),
            segments: Vec::new(),
            missing_segments: None,
            interpreter: None,
            dynamic: Dynamic::default(),
            sections: header.e_shoff(endian).into(),
            section_count: header.e_shnum(endian).into(),
            section_names: header.e_shstrndx(endian).into(),
        };
        let count = u64::from(header.e_phnum(endian));
        if count > MOST_SEGMENTS {
            elf.missing_segments = Some(Error::Segments(count));
        }
        let start = header.e_phoff(endian).into();
        let mut dynamic = None;
        for index in 0..count.min(MOST_SEGMENTS) {
            let segment = match elf.file.get_nth::<H::ProgramHeader>(start, index) {
                Ok(segment) => segment,
                Err(error) => {
                    elf.missing_segments.get_or_insert(error);
                    break;
                }
            };
            let part = Segment {
                address: segment.p_vaddr(endian).into(),
                memory_size: segment.p_memsz(endian).into(),
                offset: segment.p_offset(endian).into(),
                file_size: segment.p_filesz(endian).into(),
                writable: segment.p_flags(endian) & elf::PF_W != 0,
                executable: segment.p_flags(endian) & elf::PF_X != 0,
            };
            match segment.p_type(endian) {
                elf::PT_LOAD => elf.segments.push(part),
                elf::PT_INTERP => _ = elf.interpreter.get_or_insert(part.offset),
                elf::PT_DYNAMIC => _ = dynamic.get_or_insert(part),
                _ => {}
            }
        }
        if let Some(part) = dynamic {
            elf.read_dynamic::<H::Dyn>(part);
        }
        Ok(elf)
    }

    /// Returns whether it is for 64 bits, little-endian.
    pub fn is_64_little(&self) -> bool {
        self.is_64 && self.endian == Endianness::Little
    }

    /// Refuses a file whose program headers were not all read.
    ///
    /// # Errors
    ///
    /// If there are too many of them, or the file is cut.
    pub fn require_all_segments(&mut self) -> Result<(), Error> {
        self.missing_segments.take().map_or(Ok(()), Err)
    }

    /// Takes the sections for missing unless all of them, and their names, are in the file: a program runs without them.
    pub fn drop_broken_sections(&mut self) {
        let last = self.section_count.checked_sub(1);
        let whole = self.section_count <= MOST_SECTIONS
            && last.is_none_or(|last| self.nth_section(last).is_some())
            && self.nth_section(self.section_names).is_none_or(|names| {
                let end = names.offset.checked_add(names.size);
                names.size <= MOST_NAMES && end.is_some_and(|end| end <= self.file.length())
            });
        if !whole {
            self.section_count = 0;
        }
    }

    /// Returns the first section with bytes in the file that has this name.
    pub fn section(&mut self, name: &str) -> Option<Section> {
        let names = self.nth_section(self.section_names)?;
        let name = [name.as_bytes(), b"\0"].concat();
        for index in 0..MOST_SECTIONS {
            let section = self.nth_section(index)?;
            let place = names.offset.saturating_add(section.name);
            if section.kind != elf::SHT_NOBITS
                && section.name + name.len() as u64 <= names.size
                && self
                    .file
                    .bytes(place, name.len())
                    .is_ok_and(|found| found == name)
            {
                return Some(section);
            }
        }
        None
    }

    /// Returns the sections of this kind.
    pub fn sections_of(&mut self, kind: u32) -> impl Iterator<Item = Section> {
        (0..MOST_SECTIONS)
            .map_while(|index| self.nth_section(index))
            .filter(move |section| section.kind == kind)
    }

    /// Returns the section of this number.
    pub fn nth_section(&mut self, index: u64) -> Option<Section> {
        if self.is_64 {
            self.section_as::<elf::SectionHeader64<Endianness>>(index)
        } else {
            self.section_as::<elf::SectionHeader32<Endianness>>(index)
        }
    }

    fn section_as<S: SectionHeader<Endian = Endianness> + Pod>(
        &mut self,
        index: u64,
    ) -> Option<Section> {
        if index >= self.section_count {
            return None;
        }
        let section: S = self.file.get_nth(self.sections, index).ok()?;
        let endian = self.endian;
        let flags: u64 = section.sh_flags(endian).into();
        Some(Section {
            name: section.sh_name(endian).into(),
            kind: section.sh_type(endian),
            address: section.sh_addr(endian).into(),
            offset: section.sh_offset(endian).into(),
            size: section.sh_size(endian).into(),
            link: section.sh_link(endian).into(),
            compressed: flags & u64::from(elf::SHF_COMPRESSED) != 0,
        })
    }

    /// Returns where in the file an address is that has at least `size` bytes behind it there.
    fn offset_of(&self, address: u64, size: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = address.checked_sub(segment.address)?;
            let left = segment.file_size.checked_sub(within)?;
            (left >= size)
                .then(|| segment.offset.checked_add(within))
                .flatten()
        })
    }

    /// Fills `buffer` from where the file is mapped at `address`, before the load bias.
    ///
    /// # Errors
    ///
    /// If the file does not have all of it in one part.
    pub fn at(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let offset = self
            .offset_of(address, buffer.len() as u64)
            .ok_or(Error::Address(address))?;
        self.file.read(offset, buffer)
    }

    /// Returns the bytes at an address of the file's own, as far as the file has them.
    pub fn bytes_at(&mut self, address: u64, length: usize) -> Option<Vec<u8>> {
        let offset = self.offset_of(address, 1)?;
        self.file.bytes(offset, length).ok()
    }

    /// Returns the text at an address of the file's own, up to its zero byte.
    pub fn text_at(&mut self, address: u64) -> Option<Vec<u8>> {
        let offset = self.offset_of(address, 1)?;
        self.file.name_at(offset)
    }

    /// Goes through the constants, at most `limit` bytes of them, until `look` has seen enough. Pieces overlap by [`OVERLAP`] bytes.
    pub fn constants(&mut self, limit: u64, mut look: impl FnMut(&[u8]) -> ControlFlow<()>) {
        let mut left = limit;
        for (offset, size) in self.constant_ranges() {
            let part = size.min(left);
            left -= part;
            // What cannot be read of one range says nothing of the next.
            let seen = self.file.texts(offset, part, |_, chunk| look(chunk));
            if let Ok(Some(())) = seen {
                return;
            }
        }
    }

    /// Returns where the constants are: the section of that name; without one, what is neither writable nor, if possible, code.
    fn constant_ranges(&mut self) -> Vec<(u64, u64)> {
        if let Some(section) = self.section(".rodata")
            && section.kind == elf::SHT_PROGBITS
        {
            return vec![(section.offset, section.size)];
        }
        let mut ranges: Vec<_> = self
            .segments
            .iter()
            .filter(|segment| !segment.writable)
            .map(|segment| (segment.executable, segment.offset, segment.file_size))
            .collect();
        ranges.sort_unstable();
        ranges
            .into_iter()
            .map(|(_, offset, size)| (offset, size))
            .collect()
    }
}
