//! Processes made of bytes.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use memtrace::inspect::{Image, InspectError, Process, inspect};

use super::started::{WAITS, compiled, folder, why};

#[derive(Clone, Default)]
struct Bytes {
    executable: Vec<u8>,
    maps: Vec<u8>,
    environ: Vec<u8>,
    arguments: Vec<u8>,
    files: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Process for Bytes {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        Ok(Box::new(Cursor::new(self.executable.clone())))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        Ok(self.maps.clone())
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        Ok(self.environ.clone())
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        Ok(self.arguments.clone())
    }

    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        let bytes = self.files.get(path).ok_or("there is no such file")?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }
}

fn maps(paths: &[&str]) -> Vec<u8> {
    let line = |(number, path): (usize, &&str)| {
        format!(
            "{:x}000-{:x}000 r-xp 00000000 08:01 {} {path}\n",
            number + 1,
            number + 2,
            number + 7
        )
    };
    paths
        .iter()
        .enumerate()
        .map(line)
        .collect::<String>()
        .into_bytes()
}

/// A program and a library of this machine's.
fn real() -> Option<Bytes> {
    let folder = folder();
    let program = compiled(folder.path(), "waits", "cc", WAITS, &[])?;
    let library = compiled(
        folder.path(),
        "liballoc.so",
        "cc",
        "void *malloc(unsigned long size) { return (void *)size; } int mallctl(void) { return 0; }
         const char *version(void) { return \"5.3.0-0-g54eaed1d8b56b1aa\"; }",
        &[
            "-shared",
            "-fPIC",
            "-nostdlib",
            "-fno-builtin",
            "-Wl,-soname,liballoc.so.2",
        ],
    )?;
    Some(Bytes {
        executable: fs::read(program).unwrap(),
        maps: maps(&["/waits", "/lib/liballoc.so"]),
        files: BTreeMap::from([(b"/lib/liballoc.so".to_vec(), fs::read(library).unwrap())]),
        ..Bytes::default()
    })
}

#[test]
fn a_preloaded_library_is_found_by_the_name_that_it_gives_itself() {
    let Some(mut process) = real() else { return };
    process.environ = b"LD_PRELOAD=/opt/liballoc.so.2\0".to_vec();
    let info = inspect(&process);
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc"),
        "{info:?}"
    );
    assert_eq!(
        info.allocator_version.as_ref().map(|it| it.raw()),
        Some("5.3.0")
    );
    // Not by what was preloaded, since nothing else says that it was.
    process.environ.clear();
    let info = inspect(&process);
    assert_eq!(info.allocator, None);
    assert!(why(&info.missing, "runtime.allocator").is_some());
}

#[test]
fn the_file_of_preloaded_libraries_is_read_too() {
    let Some(mut process) = real() else { return };
    let file = b"/lib/nothing.so\n/lib/liballoc.so\t".to_vec();
    process.files.insert(b"/etc/ld.so.preload".to_vec(), file);
    let info = inspect(&process);
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc"),
        "{info:?}"
    );
    let said = "/lib/nothing.so was to be preloaded, and is not mapped under that name";
    assert!(
        info.evidence.iter().any(|evidence| evidence == said),
        "{info:?}"
    );
}

#[test]
fn what_is_cut_or_garbage_ends_in_a_reason() {
    let Some(whole) = real() else { return };
    let library = whole.files[&b"/lib/liballoc.so"[..]].clone();
    for percent in 0..100 {
        let mut process = whole.clone();
        process.environ = b"LD_PRELOAD=liballoc.so\0".to_vec();
        let cut = |bytes: &[u8]| bytes[..bytes.len() * percent / 100].to_vec();
        process.executable = cut(&whole.executable);
        let info = inspect(&process);
        assert!(
            info.allocator.is_some() || !info.missing.is_empty(),
            "{info:?}"
        );
        process.executable = whole.executable.clone();
        process
            .files
            .insert(b"/lib/liballoc.so".to_vec(), cut(&library));
        let info = inspect(&process);
        assert!(
            info.allocator.is_some() || !info.missing.is_empty(),
            "{info:?}"
        );
    }
    let mut process = whole;
    for garbage in [
        &b""[..],
        b"\x7fELF",
        b"\x7fELF\x02\x01\x01",
        b"#!/bin/sh\n",
        &[0xff; 4096],
    ] {
        process.executable = garbage.to_vec();
        let info = inspect(&process);
        assert!(why(&info.missing, "executable").is_some());
        assert!(why(&info.missing, "runtime.allocator").is_some());
    }
}

/// Each bit of what says where things are.
#[test]
fn headers_that_lie_end_in_no_panic() {
    let Some(whole) = real() else { return };
    let process = |library: Vec<u8>| {
        let mut process = whole.clone();
        process.environ = b"LD_PRELOAD=liballoc.so\0".to_vec();
        process
            .files
            .insert(b"/lib/liballoc.so".to_vec(), library.clone());
        process.executable = library;
        process
    };
    let library = &whole.files[&b"/lib/liballoc.so"[..]];
    for at in 0..1024 {
        for value in [0, 0x7f, 0xff] {
            let mut changed = library.clone();
            changed[at] = value;
            let _ = inspect(&process(changed));
        }
    }
}

/// A file of a terabyte that says that all of it is symbols and texts.
struct Endless(u64, Vec<u8>);

const ENDLESS: u64 = 1 << 40;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            let at = usize::try_from(self.0).unwrap();
            *byte = self.1.get(at).copied().unwrap_or(0);
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0 = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => ENDLESS,
            SeekFrom::Current(by) => self.0.wrapping_add_signed(by),
        };
        Ok(self.0)
    }
}

struct Huge(Bytes);

impl Process for Huge {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        let mut bytes = self.0.executable.clone();
        let at =
            |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        // Every section has the size of the file: offset 32 of the section header is its size.
        let sections = usize::try_from(at(&bytes, 40)).unwrap();
        let count = usize::from(u16::from_le_bytes(bytes[60..62].try_into().unwrap()));
        for number in 0..count {
            let size = sections + number * 64 + 32;
            bytes[size..size + 8].copy_from_slice(&ENDLESS.to_le_bytes());
        }
        Ok(Box::new(Endless(0, bytes)))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        self.0.maps()
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        self.0.environ()
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        self.0.arguments()
    }

    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        self.0.file(path)
    }
}

#[test]
fn a_file_that_claims_to_be_endless_is_left_early() {
    let Some(whole) = real() else { return };
    let begun = std::time::Instant::now();
    let info = inspect(&Huge(whole));
    assert!(begun.elapsed().as_secs() < 30);
    assert_eq!(info.name, None);
}
