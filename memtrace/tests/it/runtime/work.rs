//! The work of one look is bounded, whatever the executable asks for.

use std::io::Read as _;

use memtrace::inspect::{Findings, MOST_WORK, Metered, Process as _};

use crate::{
    bomb::{debug_information, program},
    fuzz::Counted,
};

/// Looks at a program; returns why Go's figures were not found, and the bytes that were read.
fn looked_at(file: Vec<u8>) -> (String, u64) {
    let process = Counted::new(file);
    let found = Findings::of(&process, true);
    assert_eq!(
        found.runtime.version.as_ref().map(|it| it.raw()),
        Some("go1.999.1")
    );
    (found.go.unwrap().unwrap_err().to_string(), process.read())
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
    let process = Counted::new(vec![0; 1 << 20]);
    let metered = Metered::new(&process);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..300 {
        let Ok(mut file) = metered.executable() else {
            break;
        };
        let _refused = file.read_exact(&mut buffer);
    }
    assert!(process.read() <= MOST_WORK, "{}", process.read());
    assert_eq!(metered.budget().spent(), MOST_WORK);
}
