//! The executable of a Go program, as far as an ELF file must be one that memtrace knows how to read figures of.

use std::ops::ControlFlow;

use object::{LittleEndian, elf, pod};

use crate::inspect::{Image, InspectError, elf::Elf};

/// Most bytes of relocations: a large position-independent program has some ten MB.
const MOST_RELOCATIONS: u64 = 1 << 28;

/// Reads the headers of an executable for 64 bits, little-endian, as every one for the machines that memtrace runs on.
///
/// # Errors
///
/// If it is another file, or its program headers cannot all be read.
pub fn open(image: Box<dyn Image>) -> Result<Elf, InspectError> {
    let mut elf = Elf::open(image)?;
    if !elf.is_64_little() {
        return Err("it is no ELF file for 64 bits, little-endian".into());
    }
    if !matches!(elf.machine, elf::EM_X86_64 | elf::EM_AARCH64) {
        return Err(format!("it is for another machine, number {}", elf.machine).into());
    }
    if !matches!(elf.kind, elf::ET_EXEC | elf::ET_DYN) {
        return Err("it is an ELF file, but no executable".into());
    }
    elf.require_all_segments()?;
    elf.drop_broken_sections();
    Ok(elf)
}

/// Returns whether it is mapped where the kernel likes.
pub fn is_relocatable(elf: &Elf) -> bool {
    elf.kind == elf::ET_DYN
}

/// Returns whether memory that the program may change lies there.
pub fn is_variable(elf: &Elf, address: u64, size: u64) -> bool {
    elf.segments.iter().any(|segment| {
        segment.writable
            && address
                .checked_sub(segment.address)
                .and_then(|into| into.checked_add(size))
                .is_some_and(|end| end <= segment.memory_size)
    })
}

/// Returns a pointer at `address`, before the load bias: what the file says, or where a relative relocation sets it.
///
/// # Errors
///
/// If the file does not have it, or has too many relocations.
pub fn pointer(elf: &mut Elf, address: u64) -> Result<u64, InspectError> {
    let mut bytes = [0; 8];
    elf.at(address, &mut bytes)?;
    match u64::from_le_bytes(bytes) {
        // Linkers may leave the value to the relocation.
        0 if is_relocatable(elf) => relocation(elf, address),
        value => Ok(value),
    }
}

fn relocation(elf: &mut Elf, address: u64) -> Result<u64, InspectError> {
    const SIZE: usize = size_of::<elf::Rela64<LittleEndian>>();
    let relative = match elf.machine {
        elf::EM_X86_64 => elf::R_X86_64_RELATIVE,
        _ => elf::R_AARCH64_RELATIVE,
    };
    let tables: Vec<_> = elf.sections_of(elf::SHT_RELA).collect();
    let bytes = tables.iter().map(|table| table.size);
    if bytes.fold(0, u64::saturating_add) > MOST_RELOCATIONS {
        return Err("it has more relocations than any that is known".into());
    }
    let mut found = 0;
    for table in tables {
        elf.file
            .entries(table.offset, table.size, SIZE, |_, chunk| {
                let entries = chunk.len() / SIZE;
                let entries = pod::slice_from_bytes::<elf::Rela64<LittleEndian>>(chunk, entries);
                for entry in entries.map_or(&[][..], |(entries, _)| entries) {
                    if entry.r_offset.get(LittleEndian) == address
                        && entry.r_type(LittleEndian, false) == relative
                    {
                        found = entry.r_addend.get(LittleEndian).cast_unsigned();
                    }
                }
                ControlFlow::<()>::Continue(())
            })?;
    }
    Ok(found)
}
