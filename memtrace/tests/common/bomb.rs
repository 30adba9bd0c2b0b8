//! A hostile executable: it runs, says that an unknown version of Go built it, and has debug information that takes any amount of work.

/// A program that waits for ever, with sections of these names and contents.
pub fn program(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const CODE: u64 = 0x1000;
    let mut file = vec![0; CODE as usize];
    // mov eax, 34; syscall; jmp -9: pause(2), again and again.
    file.extend([0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
    file.resize(0x2000, 0);
    // `.go.buildinfo`, as since 1.18: a magic, 8 bytes to a pointer, and that the version follows, with its length.
    file.extend(b"\xff Go buildinf:\x08\x02");
    file.resize(0x2020, 0);
    let version = b"go1.999.1";
    file.push(version.len() as u8);
    file.extend(version);
    file.resize(0x3000, 0);
    let mut names = vec![0];
    let mut headers = vec![[0u64; 8]];
    let all = [(".go.buildinfo", None)]
        .into_iter()
        .chain(sections.iter().map(|(name, bytes)| (*name, Some(bytes))));
    for (name, bytes) in all {
        let at = names.len() as u64;
        names.extend(name.as_bytes());
        names.push(0);
        let (offset, size, address) = match bytes {
            None => (0x2000, 0x100, BASE + 0x2000),
            Some(bytes) => (file.len() as u64, bytes.len() as u64, 0),
        };
        file.extend(bytes.into_iter().flatten());
        // Of the name and the kind, then flags, address, offset, size, link and info, alignment, entry size.
        headers.push([at | 1 << 32, 0, address, offset, size, 0, 16, 0]);
    }
    let at = names.len() as u64;
    names.extend(b".shstrtab\0");
    headers.push([
        at | 3 << 32,
        0,
        0,
        file.len() as u64,
        names.len() as u64,
        0,
        1,
        0,
    ]);
    file.extend(names);
    file.resize(file.len().next_multiple_of(8), 0);
    let section_headers = file.len() as u64;
    let count = headers.len() as u16;
    file.extend(headers.iter().flatten().flat_map(|word| word.to_le_bytes()));

    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    for half in [2u16, 62] {
        head.extend(half.to_le_bytes());
    }
    head.extend(1u32.to_le_bytes());
    for word in [BASE + CODE, 64, section_headers] {
        head.extend(word.to_le_bytes());
    }
    head.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, count, count - 1] {
        head.extend(half.to_le_bytes());
    }
    for (flags, offset) in [(5u32, CODE), (6, 0x2000)] {
        head.extend(1u32.to_le_bytes());
        head.extend(flags.to_le_bytes());
        for word in [offset, BASE + offset, BASE + offset, 0x1000, 0x1000, 0x1000] {
            head.extend(word.to_le_bytes());
        }
    }
    file[..head.len()].copy_from_slice(&head);
    file
}

fn uleb(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Debug information of `units` units that all speak of what is looked for, and for each of which `size` bytes of abbreviations have to be
/// parsed, their codes `step` apart: where these are not consecutive, they take more memory.
pub fn debug_information(size: usize, step: u64, units: usize) -> [(&'static str, Vec<u8>); 2] {
    let mut abbreviations = vec![1, 0x34, 0, 3, 8, 0, 0];
    let mut code = 2;
    while abbreviations.len() < size {
        uleb(code, &mut abbreviations);
        abbreviations.extend([0x34, 0, 0, 0]);
        code += step;
    }
    abbreviations.push(0);
    let mut unit = vec![4, 0, 0, 0, 0, 0, 8, 1];
    unit.extend(b"runtime.mstats\0");
    let mut whole = (unit.len() as u32).to_le_bytes().to_vec();
    whole.extend(unit);
    [
        (".debug_abbrev", abbreviations),
        (".debug_info", whole.repeat(units)),
    ]
}
