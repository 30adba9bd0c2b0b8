//! Whole programs, made of bytes.

use std::cell::Cell;

use super::{
    fixture::{BASE, CONTROLLER, DATA, MEMSTATS, Program, Running, Structure, TEXT, Words},
    *,
};

const MIB: u64 = 1 << 20;

fn at(file: Vec<u8>) -> Running {
    Running { file, bias: 0 }
}

fn find(program: Program) -> Result<Reader, InspectError> {
    Reader::find(&at(program.build()))
}

/// What a Go 1.19 to 1.24 has in its memory with 10 MiB of heap in use.
fn memory(bias: u64, six: u32) -> Words {
    let mut words = Words::default();
    words.set(
        CONTROLLER + bias,
        &[
            (six, 10 * MIB),
            (six + 8, 3 * MIB),
            (six + 16, 2 * MIB),
            (six + 24, 70 * MIB),
            (six + 32, 61 * MIB),
            // In use, free, stacks, work buffers, and six parts of 1 MiB.
            (six + 40, 12 * MIB + MIB + 65536 + 6 * MIB),
        ],
    );
    let manual = MIB + 65536;
    words.set(
        MEMSTATS + bias,
        &[
            (0, 12 * MIB + manual),
            (8, 4 * MIB),
            // Of the second of three, less than nothing.
            (1176 + 8, MIB.wrapping_neg()),
            (16, 10 * MIB),
            (2 * 1176 + 24, MIB),
            (32, 65536),
            (3544, MIB),
            (3552, MIB),
            (3560, MIB),
            (3568, MIB),
            (3576, MIB),
            (3584, MIB),
            // With as many that were asked for.
            (7704, 5 | (5 << 32)),
        ],
    );
    words
}

fn expected() -> GoFigures {
    GoFigures {
        sys_bytes: Some(22 * MIB + 65536),
        heap_sys_bytes: Some(15 * MIB),
        heap_alloc_bytes: Some(9 * MIB),
        heap_inuse_bytes: Some(10 * MIB),
        heap_released_bytes: Some(3 * MIB),
        heap_idle_bytes: Some(5 * MIB),
        stack_inuse_bytes: Some(MIB),
        num_gc: Some(5),
    }
}

#[test]
fn by_the_table_and_symbols() {
    let reader = find(Program::new("go1.24.4").both_symbols()).unwrap();
    assert_eq!(reader.source(), "the table for go1.24, symbols");
    assert_eq!(reader.read(&memory(0, 272)).unwrap(), expected());
}

#[test]
fn the_load_bias_is_that_of_the_mapping() {
    let file = Program::new("go1.24.4 X:rangefunc")
        .relocatable()
        .both_symbols()
        .build();
    let bias = 0x5555_0000_0000;
    let reader = Reader::find(&Running {
        file: file.clone(),
        bias,
    })
    .unwrap();
    assert_eq!(reader.read(&memory(bias, 272)).unwrap(), expected());
    // One that cannot be moved is not where it should be.
    let mut fixed = file;
    fixed[16] = 2;
    let error = Reader::find(&Running { file: fixed, bias }).unwrap_err();
    assert!(error.to_string().contains("not mapped as"), "{error}");
}

#[test]
fn dwarf_goes_before_the_table_and_serves_any_version() {
    for version in ["go1.99.1", "devel go1.28-0123abc Thu Nov 26", "go1.24.4"] {
        let program = Program::new(version).both_symbols().dwarf(&structures());
        let reader = find(program).unwrap();
        assert_eq!(reader.source(), "DWARF, symbols", "{version}");
        assert_eq!(reader.read(&memory(0, 400)).unwrap(), expected());
    }
}

fn structures() -> [Structure; 4] {
    [
        (
            "runtime.gcControllerState",
            500,
            &[
                ("heapInUse", 400),
                ("heapReleased", 408),
                ("heapFree", 416),
                ("totalAlloc", 424),
                ("totalFree", 432),
                ("mappedReady", 440),
            ],
        ),
        (
            "runtime.mstats",
            8000,
            &[
                ("heapStats", 0),
                ("stacks_sys", 3544),
                ("mspan_sys", 3552),
                ("mcache_sys", 3560),
                ("buckhash_sys", 3568),
                ("gcMiscSys", 3576),
                ("other_sys", 3584),
                ("numgc", 7704),
            ],
        ),
        ("runtime.consistentHeapStats", 3544, &[("stats", 0)]),
        (
            "runtime.heapStatsDelta",
            1176,
            &[
                ("committed", 0),
                ("released", 8),
                ("inHeap", 16),
                ("inStacks", 24),
                ("inWorkBufs", 32),
                ("inPtrScalarBits", 40),
            ],
        ),
    ]
}

#[test]
fn a_version_that_is_not_known_has_no_figures() {
    for (version, part) in [
        ("go1.99.1", "does not know where go1.99 keeps"),
        ("go1.24rc1", "none that was released"),
        ("devel go1.24-0123abc", "none that was released"),
        ("go2.0", "none that was released"),
    ] {
        let error = find(Program::new(version).both_symbols()).unwrap_err();
        assert!(
            error.to_string().contains(part) && error.to_string().contains("no DWARF"),
            "{error}"
        );
    }
}

#[test]
fn dwarf_that_lacks_a_field_is_not_used() {
    let mut structures = structures();
    structures[0].2 = &structures[0].2[..5];
    let error = find(Program::new("go1.99.1").both_symbols().dwarf(&structures)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a way that memtrace does not know"),
        "{error}"
    );
}

fn stripped(version: &str, named: impl Fn(u64) -> u64) -> Program {
    let six = CONTROLLER + 272;
    let stats = MEMSTATS;
    let heap = [six, six + 8, six + 16].map(&named);
    Program::new(version)
        .function("main.runtime.gcinit", [named(7)])
        .function(
            "runtime.(*mheap).grow",
            heap.into_iter().chain([stats, six + 777]),
        )
        .function(
            "runtime.(*mheap).allocSpan",
            heap.into_iter().chain([six + 40, stats]),
        )
        .function(
            "runtime.(*mheap).freeSpanLocked",
            heap.into_iter().chain([stats]),
        )
        .function("runtime.(*mcache).refill", [CONTROLLER, six + 24, stats])
        .function(
            "runtime.(*mcache).allocLarge",
            [CONTROLLER, six + 24, stats],
        )
        .function("runtime.(*sweepLocked).sweep", [six + 32, stats])
        .function("runtime.sysAlloc", [six + 40])
        .function("runtime.gcinit", [CONTROLLER])
        .function("runtime.gcControllerCommit", [CONTROLLER])
        .function(
            "runtime.(*mheap).init",
            [3552, 3560, 3576, 3584].map(|at| stats + at),
        )
        .function("runtime.newBucket", [stats + 3568])
        .function(
            "runtime.gcMarkTermination",
            [stats + 7704, stats + 7708, stats],
        )
}

#[test]
fn a_stripped_program_says_it_in_its_code() {
    let reader = find(stripped("go1.24.4", |address| address)).unwrap();
    assert_eq!(reader.source(), "the table for go1.24, pclntab");
    assert_eq!(reader.read(&memory(0, 272)).unwrap(), expected());
}

#[test]
fn the_table_of_functions_is_found_without_its_section() {
    let mut file = stripped("go1.24.4", |address| address).build();
    let name = memchr::memmem::find(&file, b".gopclntab").unwrap();
    file[name + 1] = b'x';
    let reader = Reader::find(&at(file.clone())).unwrap();
    assert_eq!(reader.read(&memory(0, 272)).unwrap(), expected());
    // Nor without any sections.
    file[60] = 0;
    let reader = Reader::find(&at(file)).unwrap();
    assert_eq!(reader.source(), "the table for go1.24, pclntab");
}

#[test]
fn code_that_does_not_agree_says_nothing() {
    // Another version's offsets.
    let error = find(stripped("go1.19.1", |address| address)).unwrap_err();
    assert!(error.to_string().contains("do not name it as"), "{error}");
    // One function differs.
    let error = find(stripped("go1.24.4", |address| address + 8)).unwrap_err();
    assert!(error.to_string().contains("do not name it as"), "{error}");
    // A function is missing.
    let error =
        find(Program::new("go1.24.4").function("runtime.gcinit", [CONTROLLER])).unwrap_err();
    assert!(error.to_string().contains("has no function"), "{error}");
    // Code of another machine.
    let mut file = stripped("go1.24.4", |address| address).build();
    file[18] = 183;
    let error = Reader::find(&at(file)).unwrap_err();
    assert!(error.to_string().contains("x86-64"), "{error}");
    let error = find(Program::new("go1.24.4")).unwrap_err();
    assert!(
        error.to_string().contains("no table of functions"),
        "{error}"
    );
}

#[test]
fn versions_before_1_18_are_behind_pointers() {
    let mut info = b"\xff Go buildinf:\x08\0".to_vec();
    info.extend((DATA + 64).to_le_bytes());
    info.extend([0; 40]);
    info.extend((DATA + 96).to_le_bytes());
    info.extend(9_u64.to_le_bytes());
    info.extend([0; 16]);
    info.extend(b"go1.15.15");
    let program = |info: &[u8]| Program::default().section(".go.buildinfo", 1, DATA, info.to_vec());
    let version = |program: Program| version(&at(program.build()));
    assert_eq!(version(program(&info)).unwrap().unwrap(), "go1.15.15");

    // Left to relocations.
    let mut blank = info.clone();
    blank[16..24].fill(0);
    blank[64..72].fill(0);
    assert!(version(program(&blank)).is_err());
    let mut relocations = Vec::new();
    for (place, value) in [(DATA + 16, DATA + 64), (DATA + 64, DATA + 96)] {
        for word in [place, 8, value] {
            relocations.extend(word.to_le_bytes());
        }
    }
    let moved = program(&blank)
        .section(".rela", 4, BASE + 0x3000, relocations)
        .relocatable();
    assert_eq!(version(moved).unwrap().unwrap(), "go1.15.15");

    for (at, with, part) in [
        (64, [0xff; 8], "nothing for address"),
        (72, [0x7f; 8], "speaks of"),
    ] {
        let mut wrong = info.clone();
        wrong[at..at + 8].copy_from_slice(&with);
        let error = version(program(&wrong)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn what_is_no_go_program_has_no_version() {
    assert_eq!(version(&at(Program::default().build())).unwrap(), None);
    assert_eq!(
        version(&at(Program::default().both_symbols().build())).unwrap(),
        None
    );
    let error = find(Program::default()).unwrap_err();
    assert!(matches!(error, InspectError::NotGo), "{error}");
    for garbage in [&b""[..], b"#!/bin/sh\nexit\n", b"\x7fELF", &[0; 100]] {
        assert!(version(&at(garbage.to_vec())).is_err(), "{garbage:?}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_says_the_same() {
    let whole = stripped("go1.24.4", |address| address)
        .both_symbols()
        .build();
    let process = at(whole.clone());
    let full = Reader::find(&process).unwrap();
    for end in (0..whole.len()).step_by(13) {
        if let Ok(cut) = Reader::find(&at(whole[..end].to_vec())) {
            assert_eq!(cut.variables, full.variables, "cut at {end}");
        }
    }
}

#[test]
fn a_name_with_two_addresses_is_not_believed() {
    let twice = [
        ("runtime.gcController", CONTROLLER),
        ("runtime.memstats", MEMSTATS),
        ("runtime.memstats", TEXT),
    ];
    let error = find(Program::new("go1.24.4").symbols(&twice)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("several symbols runtime.memstats"),
        "{error}"
    );
}

#[test]
fn figures_that_do_not_add_up_are_not_told() {
    let reader = find(Program::new("go1.24.4").both_symbols()).unwrap();
    let good = memory(0, 272);
    for (&address, word) in &good.0 {
        // The counts of collections are the only ones that nothing else knows.
        if address == MEMSTATS + 7704 {
            continue;
        }
        // What was allocated in all is only known to be more than what was freed, and no more than is in use.
        let much = address == CONTROLLER + 272 + 24 || address == CONTROLLER + 272 + 32;
        let step = if much { 100 * MIB } else { 8192 };
        let mut wrong = good.clone();
        wrong.0.insert(address, word.wrapping_add(step));
        let error = reader.read(&wrong).unwrap_err();
        assert!(
            matches!(error, InspectError::Torn(_)),
            "{address:#x}: {error}"
        );
    }
    let error = reader.read(&Words::default()).unwrap_err();
    assert!(matches!(error, InspectError::NotStarted), "{error}");
}

/// Wrong as often as it says.
struct Torn(Words, Cell<u32>);

impl Memory for Torn {
    fn read(&self, address: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read(address, buffer)?;
        if address < MEMSTATS && self.1.get() > 0 {
            self.1.set(self.1.get() - 1);
            buffer[2] ^= 1;
        }
        Ok(())
    }
}

#[test]
fn torn_figures_are_read_again() {
    let reader = find(Program::new("go1.24.4").both_symbols()).unwrap();
    let torn = Torn(memory(0, 272), Cell::new(7));
    assert_eq!(reader.read(&torn).unwrap(), expected());
    let always = Torn(memory(0, 272), Cell::new(u32::MAX));
    let error = reader.read(&always).unwrap_err();
    assert!(matches!(error, InspectError::Torn(_)), "{error}");
}

#[test]
fn c_code_is_known_by_the_build_or_a_symbol() {
    let ask = |program: Program| has_c(&at(program.build())).unwrap();
    assert_eq!(ask(Program::new("go1.24.4")), None);
    assert_eq!(ask(Program::new("go1.24.4").both_symbols()), Some(false));
    let with = [("runtime.memstats", MEMSTATS), ("x_cgo_init", TEXT)];
    assert_eq!(ask(Program::new("go1.24.4").symbols(&with)), Some(true));
}

#[test]
fn go_1_16_to_1_18_sum_up_their_shards() {
    for (version, at, size, objects, num_gc) in [
        ("go1.16.15", 6024, 1168, 48, 4288),
        ("go1.17.13", 5960, 1184, 56, 4280),
        ("go1.18.10", 5960, 1176, 56, 4280),
    ] {
        let symbols = [("runtime.memstats", MEMSTATS)];
        let reader = find(Program::new(version).symbols(&symbols)).unwrap();
        let mut words = Words::default();
        words.set(
            MEMSTATS,
            &[
                (48, 15 * MIB),
                (56, 10 * MIB),
                (64, 3 * MIB),
                (88, MIB),
                (160, 5 * MIB),
                (num_gc, 5 | (5 << 32)),
                (at, 12 * MIB + MIB + 65536),
                (at + size + 8, 3 * MIB),
                (at + 16, 11 * MIB),
                (at + 2 * size + 16, MIB.wrapping_neg()),
                (at + 24, MIB),
                (at + 32, 65536),
                // 8 MiB, and 65,536 of 48 bytes, of which 43,690 and 32 bytes were freed.
                (at + objects, 8 * MIB),
                (at + objects + 16 + 8 * 5, 65536),
                (at + size + objects + 32 + 68 * 8 + 8 * 5, 43690),
                (at + objects + 32 + 68 * 8 + 8 * 4, 1),
            ],
        );
        let figures = GoFigures {
            heap_alloc_bytes: Some(8 * MIB + MIB),
            ..expected()
        };
        assert_eq!(reader.read(&words).unwrap(), figures, "{version}");
        for (&address, word) in &words.0 {
            // Nothing else knows the count of collections, the parts that are not the heap's, and what was allocated.
            let offset = (address - MEMSTATS) as u32;
            if [88, 160, num_gc].contains(&offset) || (offset - at.min(offset)) % size >= objects {
                continue;
            }
            let mut wrong = words.clone();
            wrong.0.insert(address, word.wrapping_add(8192));
            let error = reader.read(&wrong).unwrap_err();
            assert!(
                matches!(error, InspectError::Torn(_)),
                "{version} {offset}: {error}"
            );
        }
    }
}
