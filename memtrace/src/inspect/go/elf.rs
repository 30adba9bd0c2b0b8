//! An executable in ELF, read in small pieces: it may be of any size, be cut while it is read, and say anything.

use std::io::{Read as _, Seek as _, SeekFrom};

use object::{
    LittleEndian, elf,
    pod::{Pod, from_bytes, slice_from_bytes},
    read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _},
};

use crate::inspect::{Budget, Image, Process};

/// Most program headers and sections that are looked at. Linkers make a dozen of the ones, and a few dozen of the others.
const MOST_SEGMENTS: usize = 1 << 10;
const MOST_SECTIONS: usize = 1 << 13;
/// Most bytes of sections' names.
const MOST_NAMES: u64 = 1 << 20;
/// Most bytes of relocations: a large position-independent program has some ten MB.
const MOST_RELOCATIONS: u64 = 1 << 28;
/// Bytes that are read at a time of what is searched.
const CHUNK: usize = 1 << 16;

/// What the code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: Vec<u8>,
    pub kind: u32,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
    pub compressed: bool,
}

/// An executable for 64 bits, little-endian, as every one for the machines that memtrace runs on.
pub struct Elf {
    image: Box<dyn Image>,
    /// The work that may still be done for this process.
    pub budget: Budget,
    pub machine: Machine,
    /// Whether it is mapped where the kernel likes.
    pub relocatable: bool,
    pub segments: Vec<Segment>,
    /// Empty where they were stripped, too.
    pub sections: Vec<Section>,
}

impl Elf {
    /// Reads the headers of a process's executable.
    pub fn of(process: &dyn Process) -> Result<Self, String> {
        Self::open(process.executable()?, process.budget())
    }

    /// Reads the headers.
    pub fn open(mut image: Box<dyn Image>, budget: Budget) -> Result<Self, String> {
        let mut bytes = [0; size_of::<elf::FileHeader64<LittleEndian>>()];
        read(&mut image, 0, &mut bytes)?;
        if !bytes.starts_with(&elf::ELFMAG) {
            return Err("it is no ELF file".into());
        }
        let header: &elf::FileHeader64<LittleEndian> = view(&bytes)?;
        if !header.is_supported() || header.is_class_32() || header.is_big_endian() {
            return Err("it is no ELF file for 64 bits, little-endian".into());
        }
        let machine = match header.e_machine(LittleEndian) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => return Err(format!("it is for another machine, number {other}")),
        };
        let relocatable = match header.e_type(LittleEndian) {
            elf::ET_EXEC => false,
            elf::ET_DYN => true,
            _ => return Err("it is an ELF file, but no executable".into()),
        };
        let mut elf = Self {
            image,
            budget,
            machine,
            relocatable,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        elf.read_segments(header)?;
        // A program runs without sections, so whatever is wrong with them is as if there were none.
        elf.sections = elf.read_sections(header).unwrap_or_default();
        Ok(elf)
    }

    fn read_segments(&mut self, header: &elf::FileHeader64<LittleEndian>) -> Result<(), String> {
        let count = usize::from(header.e_phnum(LittleEndian));
        if count > MOST_SEGMENTS {
            return Err(format!("it has {count} program headers"));
        }
        let size = count * size_of::<elf::ProgramHeader64<LittleEndian>>();
        let bytes = self.bytes(header.e_phoff(LittleEndian), size as u64, size as u64)?;
        let (headers, _) = slice_from_bytes::<elf::ProgramHeader64<LittleEndian>>(&bytes, count)
            .map_err(|()| CUT.to_owned())?;
        self.segments = headers
            .iter()
            .filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD)
            .map(|header| Segment {
                address: header.p_vaddr(LittleEndian),
                memory_size: header.p_memsz(LittleEndian),
                offset: header.p_offset(LittleEndian),
                file_size: header.p_filesz(LittleEndian),
                writable: header.p_flags(LittleEndian) & elf::PF_W != 0,
                executable: header.p_flags(LittleEndian) & elf::PF_X != 0,
            })
            .collect();
        Ok(())
    }

    fn read_sections(
        &mut self,
        header: &elf::FileHeader64<LittleEndian>,
    ) -> Result<Vec<Section>, String> {
        let count = usize::from(header.e_shnum(LittleEndian));
        if count > MOST_SECTIONS {
            return Err(format!("it has {count} sections"));
        }
        let size = count * size_of::<elf::SectionHeader64<LittleEndian>>();
        let bytes = self.bytes(header.e_shoff(LittleEndian), size as u64, size as u64)?;
        let (headers, _) = slice_from_bytes::<elf::SectionHeader64<LittleEndian>>(&bytes, count)
            .map_err(|()| CUT.to_owned())?;
        let names = match headers.get(usize::from(header.e_shstrndx(LittleEndian))) {
            Some(names) => self.bytes(
                names.sh_offset(LittleEndian),
                names.sh_size(LittleEndian),
                MOST_NAMES,
            )?,
            None => Vec::new(),
        };
        let name = |at: u32| {
            let rest = names.get(at as usize..).unwrap_or_default();
            // Names of sections that anyone looks for are short; those of a hostile file may all share a long one.
            let end = rest.iter().take(256).position(|&byte| byte == 0);
            rest.get(..end.unwrap_or(0)).unwrap_or_default().to_vec()
        };
        Ok(headers
            .iter()
            .map(|header| Section {
                name: name(header.sh_name(LittleEndian)),
                kind: header.sh_type(LittleEndian),
                address: header.sh_addr(LittleEndian),
                offset: header.sh_offset(LittleEndian),
                size: header.sh_size(LittleEndian),
                link: header.sh_link(LittleEndian),
                compressed: header.sh_flags(LittleEndian) & u64::from(elf::SHF_COMPRESSED) != 0,
            })
            .collect())
    }

    /// A section with bytes in the file.
    pub fn section(&self, name: &str) -> Option<Section> {
        self.sections
            .iter()
            .find(|section| section.name == name.as_bytes() && section.kind != elf::SHT_NOBITS)
            .cloned()
    }

    /// Whether memory that the program may change lies there.
    pub fn is_variable(&self, address: u64, size: u64) -> bool {
        self.segments.iter().any(|segment| {
            segment.writable
                && address
                    .checked_sub(segment.address)
                    .and_then(|into| into.checked_add(size))
                    .is_some_and(|end| end <= segment.memory_size)
        })
    }

    /// Fills `buffer` from the file.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        read(&mut self.image, offset, buffer)
    }

    /// Bytes of the file, where they are no more than `most`.
    pub fn bytes(&mut self, offset: u64, size: u64, most: u64) -> Result<Vec<u8>, String> {
        if size > most {
            return Err(format!("a part of it has {size} bytes"));
        }
        let mut bytes = Vec::new();
        seek(&mut self.image, offset)?;
        // No more memory than the file has bytes.
        (&mut self.image)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        if (bytes.len() as u64) < size {
            return Err(CUT.into());
        }
        Ok(bytes)
    }

    /// The file from `offset` on, at most `size` bytes, as a stream.
    pub fn stream(&mut self, offset: u64, size: u64) -> Result<impl std::io::Read, String> {
        seek(&mut self.image, offset)?;
        Ok((&mut self.image).take(size))
    }

    /// Fills `buffer` from where the file is mapped at `address`, before the load bias.
    pub fn at(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), String> {
        let offset = self
            .segments
            .iter()
            .find_map(|segment| {
                let into = address.checked_sub(segment.address)?;
                let left = segment.file_size.checked_sub(into)?;
                (left >= buffer.len() as u64).then_some(segment.offset.checked_add(into)?)
            })
            .ok_or_else(|| format!("the file has nothing for address {address:#x}"))?;
        self.read(offset, buffer)
    }

    /// A pointer at `address`, before the load bias: what the file says, or where a relative relocation sets it.
    pub fn pointer(&mut self, address: u64) -> Result<u64, String> {
        let mut bytes = [0; 8];
        self.at(address, &mut bytes)?;
        match u64::from_le_bytes(bytes) {
            // Linkers may leave the value to the relocation.
            0 if self.relocatable => self.relocation(address),
            value => Ok(value),
        }
    }

    fn relocation(&mut self, address: u64) -> Result<u64, String> {
        const SIZE: usize = size_of::<elf::Rela64<LittleEndian>>();
        let relative = match self.machine {
            Machine::X86_64 => elf::R_X86_64_RELATIVE,
            Machine::Aarch64 => elf::R_AARCH64_RELATIVE,
        };
        let tables: Vec<Section> = self
            .sections
            .iter()
            .filter(|section| section.kind == elf::SHT_RELA)
            .cloned()
            .collect();
        let bytes = tables.iter().map(|table| table.size);
        if bytes.fold(0, u64::saturating_add) > MOST_RELOCATIONS {
            return Err("it has more relocations than any that is known".into());
        }
        let mut found = 0;
        for table in tables {
            self.search(table.offset, table.size, SIZE, |_, chunk| {
                for entry in chunk.chunks_exact(SIZE) {
                    let entry: &elf::Rela64<LittleEndian> = view(entry)?;
                    if entry.r_offset.get(LittleEndian) == address
                        && entry.r_type(LittleEndian, false) == relative
                    {
                        found = entry.r_addend.get(LittleEndian).cast_unsigned();
                    }
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Hands a part of the file to `look` in pieces, each with its offset in the part: of whole `unit`s.
    pub fn search(
        &mut self,
        offset: u64,
        size: u64,
        unit: usize,
        mut look: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut buffer = vec![0; CHUNK / unit * unit];
        let mut done = 0;
        while done < size {
            let part = buffer
                .len()
                .min(usize::try_from(size - done).unwrap_or(usize::MAX));
            let piece = buffer.get_mut(..part).unwrap_or_default();
            let at = offset.checked_add(done).ok_or_else(|| CUT.to_owned())?;
            read(&mut self.image, at, piece)?;
            look(done, piece)?;
            done += part as u64;
        }
        Ok(())
    }
}

const CUT: &str = "it ends before a part of it that it says it has";

/// Bytes as a structure of ELF.
pub fn view<T: Pod>(bytes: &[u8]) -> Result<&T, String> {
    from_bytes(bytes)
        .map(|(structure, _)| structure)
        .map_err(|()| CUT.to_owned())
}

fn seek(image: &mut Box<dyn Image>, offset: u64) -> Result<(), String> {
    image
        .seek(SeekFrom::Start(offset))
        .map(drop)
        .map_err(|error| error.to_string())
}

fn read(image: &mut Box<dyn Image>, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
    seek(image, offset)?;
    image
        .read_exact(buffer)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => CUT.to_owned(),
            _ => error.to_string(),
        })
}
