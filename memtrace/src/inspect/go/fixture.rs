//! Small Go programs, made of bytes: headers, a version, and what says where the figures are.

use std::{
    collections::HashMap,
    io::{self, Cursor},
};

use crate::inspect::{Image, InspectError, Memory, Process};

/// Where the parts are mapped, before the load bias. The file has them at the same places, less `BASE`.
pub const BASE: u64 = 0x40_0000;
pub const TEXT: u64 = BASE + 0x1000;
pub const DATA: u64 = BASE + 0x8000;
/// Behind what the file has of the data.
pub const CONTROLLER: u64 = DATA + 0x1000;
pub const MEMSTATS: u64 = DATA + 0x2000;
const DATA_SIZE: u64 = 0x6000;

/// A name, a size, and members, each with its place.
pub type Structure = (&'static str, u32, &'static [(&'static str, u32)]);

#[derive(Default)]
pub struct Program {
    relocatable: bool,
    sections: Vec<(&'static str, u32, u64, Vec<u8>)>,
    code: Vec<u8>,
    functions: Vec<(&'static str, u64, u64)>,
}

impl Program {
    pub fn new(version: &str) -> Self {
        let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
        info.resize(32, 0);
        info.push(version.len() as u8);
        info.extend(version.as_bytes());
        info.push(0);
        Self::default().section(".go.buildinfo", 1, DATA, info)
    }

    pub fn relocatable(mut self) -> Self {
        self.relocatable = true;
        self
    }

    pub fn section(mut self, name: &'static str, kind: u32, address: u64, bytes: Vec<u8>) -> Self {
        self.sections.push((name, kind, address, bytes));
        self
    }

    pub fn symbols(self, symbols: &[(&str, u64)]) -> Self {
        let mut names = vec![0];
        let mut table = vec![0; 24];
        for (name, address) in symbols {
            table.extend((names.len() as u32).to_le_bytes());
            // Global, an object, in some section.
            table.extend([0x11, 0, 1, 0]);
            table.extend(address.to_le_bytes());
            table.extend(8_u64.to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        self.section(".symtab", 2, 0, table)
            .section(".strtab", 3, 0, names)
    }

    pub fn both_symbols(self) -> Self {
        self.symbols(&[
            ("runtime.gcController", CONTROLLER),
            ("runtime.memstats", MEMSTATS),
        ])
    }

    /// A function that names these addresses, one `lea` each.
    pub fn function(mut self, name: &'static str, named: impl IntoIterator<Item = u64>) -> Self {
        let start = TEXT + self.code.len() as u64;
        for address in named {
            let next = TEXT + self.code.len() as u64 + 7;
            self.code.extend([0x48, 0x8d, 0x05]);
            let away = address.wrapping_sub(next) as u32;
            self.code.extend(away.to_le_bytes());
        }
        self.code.push(0xc3);
        self.functions
            .push((name, start, TEXT + self.code.len() as u64));
        self
    }

    /// DWARF of these structures: name, size, members. Of one unit.
    pub fn dwarf(self, structures: &[Structure]) -> Self {
        // A unit with a name; a structure with a name and a size; a member with a name and a place.
        let abbreviations = [
            &[1, 0x11, 1, 0x03, 0x08, 0, 0][..],
            &[2, 0x13, 1, 0x03, 0x08, 0x0b, 0x06, 0, 0],
            &[3, 0x0d, 0, 0x03, 0x08, 0x38, 0x06, 0, 0],
            &[0],
        ]
        .concat();
        let mut unit = b"\x04\0\0\0\0\0\x08\x01runtime\0".to_vec();
        for (name, size, members) in structures {
            entry(&mut unit, 2, name, *size);
            for (name, place) in *members {
                entry(&mut unit, 3, name, *place);
            }
            unit.push(0);
        }
        unit.push(0);
        let mut info = (unit.len() as u32).to_le_bytes().to_vec();
        info.extend(unit);
        self.section(".debug_abbrev", 1, 0, abbreviations)
            .section(".debug_info", 1, 0, info)
    }

    /// The table of functions, in the form of Go 1.20 to 1.25.
    fn table(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut list = Vec::new();
        let mut described = Vec::new();
        let list_size = 8 * self.functions.len() as u32 + 4;
        for (name, start, _) in &self.functions {
            let entry = (start - TEXT) as u32;
            list.extend(entry.to_le_bytes());
            list.extend((list_size + described.len() as u32).to_le_bytes());
            described.extend(entry.to_le_bytes());
            described.extend((names.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        list.extend((self.code.len() as u32).to_le_bytes());
        let mut table = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        let at = 72 + names.len() as u64;
        for word in [self.functions.len() as u64, 0, TEXT, 72, at, at, at, at] {
            table.extend(word.to_le_bytes());
        }
        [table, names, list, described].concat()
    }

    pub fn build(mut self) -> Vec<u8> {
        if !self.functions.is_empty() {
            let table = self.table();
            self = self.section(".gopclntab", 1, BASE + 0x4000, table);
        }
        let mut file = vec![0; (DATA - BASE) as usize];
        put(&mut file, TEXT - BASE, &self.code);
        let mut names = vec![0];
        let mut headers = vec![0; 64];
        // Those that are mapped lie at their places; the others behind.
        file.resize((DATA - BASE) as usize + 0x400, 0);
        for (name, kind, address, bytes) in &self.sections {
            let offset = match address.checked_sub(BASE) {
                Some(offset) => offset,
                None => {
                    let end = file.len() as u64;
                    file.resize(file.len() + bytes.len(), 0);
                    end
                }
            };
            put(&mut file, offset, bytes);
            // The names of symbols come next.
            let link = if *kind == 2 {
                headers.len() / 64 + 1
            } else {
                0
            };
            header(
                &mut headers,
                names.len(),
                *kind,
                *address,
                offset,
                bytes.len(),
                link,
            );
            names.extend(name.as_bytes());
            names.push(0);
        }
        let count = headers.len() / 64;
        let at = file.len() as u64;
        file.extend(&names);
        header(&mut headers, 0, 3, 0, at, names.len(), 0);
        let section_headers = file.len() as u64;
        file.extend(headers);

        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2 + u8::from(self.relocatable), 0, 62, 0, 1, 0, 0, 0]);
        elf.extend(TEXT.to_le_bytes());
        elf.extend(64_u64.to_le_bytes());
        elf.extend(section_headers.to_le_bytes());
        elf.extend([0; 4]);
        for half in [64, 56, 2, 64, count + 1, count] {
            elf.extend((half as u16).to_le_bytes());
        }
        let text = DATA - BASE;
        for (flags, offset, size, memory) in [(5_u32, 0, text, text), (6, text, 0x400, DATA_SIZE)] {
            elf.extend(1_u32.to_le_bytes());
            elf.extend(flags.to_le_bytes());
            for word in [offset, BASE + offset, 0, size, memory, 0x1000] {
                elf.extend(u64::to_le_bytes(word));
            }
        }
        put(&mut file, 0, &elf);
        file
    }
}

fn entry(unit: &mut Vec<u8>, code: u8, name: &str, number: u32) {
    unit.push(code);
    unit.extend(name.as_bytes());
    unit.push(0);
    unit.extend(number.to_le_bytes());
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset as usize..end].copy_from_slice(bytes);
}

fn header(
    headers: &mut Vec<u8>,
    name: usize,
    kind: u32,
    address: u64,
    offset: u64,
    size: usize,
    link: usize,
) {
    headers.extend((name as u32).to_le_bytes());
    headers.extend(kind.to_le_bytes());
    for word in [0, address, offset, size as u64] {
        headers.extend(word.to_le_bytes());
    }
    headers.extend((link as u32).to_le_bytes());
    headers.extend([0; 20]);
}

/// A process that runs such a program, mapped with this load bias.
pub struct Running {
    pub file: Vec<u8>,
    pub bias: u64,
}

impl Process for Running {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        Ok(Box::new(Cursor::new(self.file.clone())))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        let line = |begin: u64, end: u64, access: &str, offset: u64| {
            let (begin, end) = (begin + self.bias, end + self.bias);
            format!("{begin:x}-{end:x} {access} {offset:08x} 08:02 77   /a b\u{7} (deleted)\n")
        };
        let text = [
            "1000-2000 r--p 00000000 08:02 78   /a b\u{7} (deleted)\n".into(),
            line(BASE, DATA, "r-xp", 0),
            line(DATA, DATA + 0x1000, "rw-p", DATA - BASE),
        ];
        Ok(text.concat().into_bytes())
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        Err("not needed".into())
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        Err("not needed".into())
    }

    fn file(&self, _: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        Err("not needed".into())
    }
}

/// Numbers of 8 bytes by address; 0 elsewhere.
#[derive(Clone, Default)]
pub struct Words(pub HashMap<u64, u64>);

impl Words {
    pub fn set(&mut self, variable: u64, words: &[(u32, u64)]) {
        for &(offset, word) in words {
            self.0.insert(variable + u64::from(offset), word);
        }
    }
}

impl Memory for Words {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (address, bytes) in (address..).step_by(8).zip(buffer.chunks_mut(8)) {
            let word = self.0.get(&address).copied().unwrap_or(0).to_le_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        Ok(())
    }
}
