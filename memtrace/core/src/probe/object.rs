//! The eBPF object that the binary carries.
//!
//! It is built by `cargo xtask build-ebpf` and committed, so that building memtrace needs stable Rust and nothing else;
//! `cargo xtask ci` checks that it belongs to the sources.

use std::{ops::Range, ptr};

use memtrace_common::config::{CAST, Config, MOVE, NO_CAST, NUMBER};
use object::{
    LittleEndian, Object as _, ObjectSection as _,
    elf::SHF_EXECINSTR,
    read::elf::{ElfFile64, ElfSection64, SectionHeader as _},
};

/// Aligned as an ELF file wants to be read.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../ebpf/memtrace.bpf.o"));

/// The object: one little-endian ELF file for x86-64 and arm64.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// What built the object, and from what: the lines of `memtrace.bpf.txt` beside it.
#[must_use]
pub fn provenance() -> &'static str {
    include_str!("../../../ebpf/memtrace.bpf.txt")
}

/// Returns the object with what only the loader knows put into its instructions: the numbers of the configuration ([`MOVE`]), and the BTF
/// id of `bpf_rdonly_cast` if this kernel has it ([`CAST`]).
pub(super) fn configured(config: &Config, cast: Option<u32>) -> Words {
    patched(OBJECT, config, cast)
}

/// Returns the bytes of the sections that hold instructions; none of what is no ELF file.
fn code(object: &[u8]) -> Vec<Range<u64>> {
    let Ok(file) = ElfFile64::<LittleEndian>::parse(object) else {
        return Vec::new();
    };
    let executable = |section: &ElfSection64<'_, '_, LittleEndian>| {
        let flags = section.elf_section_header().sh_flags(LittleEndian);
        flags & u64::from(SHF_EXECINSTR) != 0
    };
    file.sections()
        .filter(executable)
        .filter_map(|section| section.file_range())
        .map(|(start, size)| start..start.saturating_add(size))
        .collect()
}

/// Puts the numbers into the instructions of an object. Words like these in other sections, such as names or BTF, stay as they are.
fn patched(object: &[u8], config: &Config, cast: Option<u32>) -> Words {
    let code = code(object);
    // SAFETY: all of its fields are integers, and there is no padding between them.
    let config: &[u8; size_of::<Config>()] = unsafe { &*ptr::from_ref(config).cast() };
    let call = cast.map_or(NO_CAST, |id| with_number(CAST, id));
    let words = (0..).step_by(8).zip(object.chunks(8)).map(|(at, bytes)| {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let word = u64::from_le_bytes(word);
        if !code.iter().any(|code| code.contains(&at)) {
            return word;
        }
        if word == CAST {
            return call;
        }
        match field(word).and_then(|offset| config.get(offset..offset + 4)) {
            Some([a, b, c, d]) => with_number(word, u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => word,
        }
    });
    // Bytes as they lie in the file, whatever the host's order is.
    Words(words.map(u64::to_le).collect())
}

/// The same instruction with another number in it.
const fn with_number(instruction: u64, number: u32) -> u64 {
    (number as u64) << 32 | instruction & u32::MAX as u64
}

/// The field's offset, where this is an instruction that takes a number of the configuration.
fn field(instruction: u64) -> Option<usize> {
    /// All of the instruction but its register and its number.
    const KIND: u32 = 0xffff_f0ff;
    if instruction as u32 & KIND != MOVE {
        return None;
    }
    let offset = ((instruction >> 32) as u32).checked_sub(NUMBER)? as usize;
    (offset < size_of::<Config>()).then_some(offset)
}

/// Bytes at an address that suits an ELF file's numbers; up to seven 0 follow the file's own.
pub(super) struct Words(Vec<u64>);

impl std::ops::Deref for Words {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: all bytes of the numbers, which are bytes themselves.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) }
    }
}

#[cfg(test)]
mod tests {
    use memtrace_common::config::Config;

    use super::*;
    use crate::probe::offsets::{Host, approximate};

    fn config() -> Config {
        let host = Host {
            tgid: 4242,
            pid_namespace: None,
            wait_for_exec: false,
            possible_cpus: 2,
            online_cpus: 2,
            anon_orders: 1,
        };
        Config {
            task_mm: 1234,
            ..approximate(None, host)
        }
    }

    fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
        let words = bytes.as_chunks().0.iter();
        words.map(|bytes| u64::from_le_bytes(*bytes))
    }

    #[test]
    fn each_number_of_the_configuration_is_put_in_where_it_is_asked_for() {
        let offset = std::mem::offset_of!(Config, task_mm);
        let object = configured(&config(), None);
        assert_eq!(object.len(), OBJECT.len().next_multiple_of(8));
        let mut asked = 0;
        for (before, after) in words(OBJECT).zip(words(&object)) {
            if field(before) == Some(offset) {
                asked += 1;
                // The instruction and its register stay.
                assert_eq!(before as u32, after as u32);
                assert_eq!(after >> 32, 1234);
            } else if field(before).is_none() && before != CAST {
                assert_eq!(before, after);
            }
        }
        assert!(asked > 0);
        assert!(words(&object).all(|word| field(word).is_none()));
    }

    #[test]
    fn what_looks_like_an_instruction_elsewhere_stays_as_it_is() {
        let code = code(OBJECT);
        let is_code = |at: usize| code.iter().any(|code| code.contains(&(at as u64)));
        let asked = words(OBJECT)
            .enumerate()
            .filter(|(_, word)| field(*word).is_some() || *word == CAST);
        let mut found = 0;
        for (index, word) in asked {
            assert!(
                is_code(8 * index),
                "{word:#x} at {:#x} is no instruction",
                8 * index
            );
            found += 1;
        }
        assert!(found > 0);
        let [cast, number] =
            [CAST, u64::from(NUMBER) << 32 | u64::from(MOVE)].map(u64::to_le_bytes);
        // The same words among the names, which may be any bytes.
        let file = ElfFile64::<LittleEndian>::parse(OBJECT).unwrap();
        let names = file
            .section_by_name(".strtab")
            .unwrap()
            .file_range()
            .unwrap();
        let names = names.0..names.0 + names.1;
        let mut object = OBJECT.to_vec();
        let mut placed = Vec::new();
        for (at, bytes) in (0..OBJECT.len())
            .step_by(8)
            .zip([cast, number].iter().cycle())
        {
            if names.contains(&(at as u64)) && names.contains(&(at as u64 + 7)) {
                object[at..at + 8].copy_from_slice(bytes);
                placed.push(at);
            }
        }
        assert!(placed.len() > 1);
        let patched = patched(&object, &config(), Some(7));
        for at in placed {
            assert_eq!(patched[at..at + 8], object[at..at + 8]);
        }
    }

    #[test]
    fn the_kernels_function_is_called_where_there_is_one() {
        let count = |bytes: &[u8], word| words(bytes).filter(|&found| found == word).count();
        let calls = count(OBJECT, CAST);
        assert!(calls > 0);
        for (id, word) in [(Some(123_456), 0x0001_e240_0000_2085), (None, NO_CAST)] {
            let object = configured(&config(), id);
            assert_eq!(count(&object, CAST), 0);
            assert_eq!(count(&object, word), count(OBJECT, word) + calls);
        }
    }
}
