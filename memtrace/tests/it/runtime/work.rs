//! The work of one look is bounded, whatever the executable asks for.

use std::{
    cell::Cell,
    io::{self, Cursor, Read, Seek, SeekFrom},
    rc::Rc,
};

use memtrace::inspect::{Findings, Image, MOST_WORK, Metered, Process};

use crate::bomb::{debug_information, program};

/// A process whose executable counts what is read of it.
struct Counted {
    file: Vec<u8>,
    read: Rc<Cell<u64>>,
}

struct Counting(Cursor<Vec<u8>>, Rc<Cell<u64>>);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Process for Counted {
    fn executable(&self) -> Result<Box<dyn Image>, String> {
        let file = Cursor::new(self.file.clone());
        Ok(Box::new(Counting(file, Rc::clone(&self.read))))
    }

    fn maps(&self) -> Result<Vec<u8>, String> {
        Ok(b"400000-403000 r-xp 00000000 08:01 7 /bomb\n".to_vec())
    }

    fn environ(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn arguments(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn file(&self, _path: &[u8]) -> Result<Box<dyn Image>, String> {
        Err("there is none".to_owned())
    }
}

/// Looks at a program; returns why Go's figures were not found, and the bytes that were read.
fn looked_at(file: Vec<u8>) -> (String, u64) {
    let read = Rc::default();
    let process = Counted {
        file,
        read: Rc::clone(&read),
    };
    let found = Findings::of(&process, true);
    assert_eq!(found.runtime.version.as_deref(), Some("go1.999.1"));
    (found.go.unwrap().unwrap_err(), read.get())
}

#[test]
fn a_program_of_an_unknown_version_is_read_by_its_debug_information() {
    let (why, _) = looked_at(program(&debug_information(100, 1, 1)));
    // The structure is empty there, and that is what is complained about.
    assert!(!why.contains("MiB"), "{why}");
}

#[test]
fn abbreviations_for_every_unit_end_at_the_bound_of_one_unit() {
    for step in [1, 2] {
        let (why, read) = looked_at(program(&debug_information(15 << 20, step, 200_000)));
        assert!(why.contains("4 MiB of abbreviations"), "{why}");
        assert!(read < MOST_WORK, "{read}");
        let (why, read) = looked_at(program(&debug_information(3 << 20, step, 200_000)));
        assert!(why.contains("DWARF is broken"), "{why}");
        assert!(read < MOST_WORK, "{read}");
    }
}

#[test]
fn many_units_end_at_the_budget_of_the_look() {
    // Units that speak of the structure without being one, so that the next one is asked.
    let [(abbreviations, mut table), (info, _)] = debug_information(60 << 10, 1, 1);
    table[1] = 0x24;
    let unit = [&[4, 0, 0, 0, 0, 0, 8, 1][..], b"runtime.mstats\0"].concat();
    let whole = [&(unit.len() as u32).to_le_bytes()[..], &unit].concat();
    let sections = [(abbreviations, table), (info, whole.repeat(200_000))];
    let (why, read) = looked_at(program(&sections));
    assert!(why.contains("256 MiB read, unpacked and parsed"), "{why}");
    assert!(read < MOST_WORK, "{read}");
}

#[test]
fn a_budget_is_not_exceeded_by_who_reads_on() {
    let read = Rc::default();
    let process = Counted {
        file: vec![0; 1 << 20],
        read: Rc::clone(&read),
    };
    let metered = Metered::new(&process);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..300 {
        let Ok(mut file) = metered.executable() else {
            break;
        };
        let _refused = file.read_exact(&mut buffer);
    }
    assert!(read.get() <= MOST_WORK, "{}", read.get());
    assert_eq!(metered.budget().spent(), MOST_WORK);
}
