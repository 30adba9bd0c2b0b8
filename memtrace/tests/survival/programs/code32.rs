//! `code32`: a 32-bit program, made of a few instructions and an ELF header, so that no 32-bit compiler or library is needed.

use std::{io, path::Path};

/// What the program moves after each line that it reads, in anonymous pages.
pub const FAULT: i64 = 200 + 16;
pub const DONTNEED: i64 = -50;
pub const MUNMAP: i64 = -100;
pub const MMAP: i64 = 64;
pub const MREMAP: i64 = -24;
pub const BRK: i64 = -10;

#[cfg(target_arch = "x86_64")]
// System calls by `arch/x86/entry/syscalls/syscall_32.tbl`: the number in eax, the arguments in ebx, ecx, edx, esi, edi, ebp.
std::arch::global_asm!(
    ".pushsection .rodata",
    ".code32",
    ".globl memtrace_code32_begin",
    ".globl memtrace_code32_end",
    "memtrace_code32_begin:",
    "sub esp, 64",
    "20:", // A line: one byte after another, up to its end.
    "mov eax, 3",
    "xor ebx, ebx",
    "mov ecx, esp",
    "mov edx, 1",
    "int 0x80", // read
    "cmp eax, 1",
    "jne 90f",
    "cmp byte ptr [esp], 10",
    "jne 20b",
    // 300 pages, of which 200 are touched.
    "mov eax, 192",
    "xor ebx, ebx",
    "mov ecx, 300 * 4096",
    "mov edx, 3",
    "mov esi, 0x22",
    "mov edi, -1",
    "xor ebp, ebp",
    "int 0x80", // mmap2, private and anonymous
    "mov [esp + 8], eax",
    "mov ebx, eax",
    "mov eax, 219",
    "mov ecx, 300 * 4096",
    "mov edx, 15",
    "int 0x80", // madvise, MADV_NOHUGEPAGE
    "mov ebx, [esp + 8]",
    "mov ecx, 200",
    "30:",
    "mov byte ptr [ebx], 1",
    "add ebx, 4096",
    "loop 30b",
    "mov eax, 219",
    "mov ebx, [esp + 8]",
    "mov ecx, 50 * 4096",
    "mov edx, 4",
    "int 0x80", // madvise, MADV_DONTNEED
    "mov eax, 91",
    "mov ebx, [esp + 8]",
    "add ebx, 100 * 4096",
    "mov ecx, 200 * 4096",
    "int 0x80", // munmap
    // The break up by 16 pages, which are touched, and down by 10.
    "mov eax, 45",
    "xor ebx, ebx",
    "int 0x80", // brk
    "add eax, 4095",
    "and eax, -4096",
    "mov [esp + 12], eax",
    "lea ebx, [eax + 16 * 4096]",
    "mov eax, 45",
    "int 0x80", // brk
    "mov ebx, [esp + 12]",
    "mov ecx, 16",
    "40:",
    "mov byte ptr [ebx], 1",
    "add ebx, 4096",
    "loop 40b",
    "mov ebx, [esp + 12]",
    "add ebx, 6 * 4096",
    "mov eax, 45",
    "int 0x80", // brk
    // 64 pages that the kernel brings in, and 24 of them gone.
    "mov eax, 192",
    "xor ebx, ebx",
    "mov ecx, 64 * 4096",
    "mov edx, 3",
    "mov esi, 0x8022",
    "mov edi, -1",
    "xor ebp, ebp",
    "int 0x80", // mmap2, and MAP_POPULATE
    "mov ebx, eax",
    "mov eax, 163",
    "mov ecx, 64 * 4096",
    "mov edx, 40 * 4096",
    "xor esi, esi",
    "int 0x80", // mremap
    "mov word ptr [esp], 0x0a2e",
    "mov eax, 4",
    "mov ebx, 1",
    "mov ecx, esp",
    "mov edx, 2",
    "int 0x80", // write
    "jmp 20b",
    "90:",
    "mov eax, 1",
    "xor ebx, ebx",
    "int 0x80", // exit
    "memtrace_code32_end:",
    ".code64",
    ".popsection",
);

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    #[link_name = "memtrace_code32_begin"]
    static BEGIN: u8;
    #[link_name = "memtrace_code32_end"]
    static END: u8;
}

/// There are no instructions for this machine here.
#[cfg(not(target_arch = "x86_64"))]
pub fn write(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes the program to `path`.
#[cfg(target_arch = "x86_64")]
pub fn write(path: &Path) -> io::Result<()> {
    use std::{fs, os::unix::fs::PermissionsExt, slice};

    const AT: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    // SAFETY: both lie in one section, the second one behind the first.
    let code = unsafe {
        let length = (&raw const END).offset_from_unsigned(&raw const BEGIN);
        slice::from_raw_parts(&raw const BEGIN, length)
    };
    let bytes = HEADERS + code.len() as u32;
    // `Elf32_Ehdr`: 32-bit, little-endian, an executable for EM_386.
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |file: &mut Vec<u8>, words: &[u16]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    let word = |file: &mut Vec<u8>, words: &[u32]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    half(&mut file, &[2, 3]);
    word(&mut file, &[1, AT + HEADERS, 52, 0, 0]);
    half(&mut file, &[52, 32, 1, 0, 0, 0]);
    // `Elf32_Phdr`: PT_LOAD, to be read and executed.
    word(&mut file, &[1, 0, AT, AT, bytes, bytes, 5, 4096]);
    file.extend(code);
    fs::write(path, file)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
