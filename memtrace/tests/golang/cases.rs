//! The cases, by toolchain.

use std::{env, fs, thread::available_parallelism};

use libtest_mimic::{Completion, Failed, Trial};
use memtrace::{
    inspect::go::{Reader, has_c, version},
    model::GoFigures,
};

use crate::{
    process::Running,
    toolchain::{self, Form, Toolchain},
};

/// Set where the tests must run: then what would be skipped fails.
const REQUIRE: [&str; 2] = ["MEMTRACE_REQUIRE_KERNEL", "CI"];

/// What each processor's cache may hide at the very most: a span of each class.
const HIDDEN: u64 = 168 * 8192 * 2;

type Outcome = Result<(), Failed>;
type Case = (&'static str, Form, fn(&Toolchain, Form) -> Outcome);

const PLAIN: Form = Form {
    pie: false,
    flags: "",
};
const WITHOUT_DWARF: Form = Form {
    pie: false,
    flags: "-w",
};
const STRIPPED: Form = Form {
    pie: true,
    flags: "-s",
};

/// Of every toolchain.
const CASES: [Case; 6] = [
    ("is_read_while_it_allocates", WITHOUT_DWARF, busy),
    ("hides_no_more_than_its_caches_hold", PLAIN, caches),
    ("is_read_where_its_file_is_gone", STRIPPED, gone),
    (
        "of_an_unknown_version_is_left_alone",
        WITHOUT_DWARF,
        unknown,
    ),
    ("with_a_damaged_file_says_nothing_wrong", PLAIN, damaged),
    ("stripped_and_damaged_says_nothing_wrong", STRIPPED, damaged),
];

pub fn all() -> Vec<Trial> {
    let (found, missing) = toolchain::all();
    let mut trials = Vec::new();
    for toolchain in found {
        for pie in [false, true] {
            for flags in [
                "",
                "-w",
                "-s",
                "-linkmode=external",
                "-linkmode=external -s",
            ] {
                let form = Form { pie, flags };
                let name = format!("says_what_is_read{}", form.suffix());
                trials.push(trial(&toolchain, &name, form, agree));
            }
        }
        for (name, form, case) in CASES {
            trials.push(trial(&toolchain, name, form, case));
        }
    }
    for version in missing {
        let name = format!("go{version}");
        trials.push(Trial::ignorable_test(name.clone(), move || {
            let reason = "no toolchain; type: cargo xtask golang";
            if REQUIRE.iter().any(|name| env::var_os(name).is_some()) {
                return Err(format!("this must run here, and did not: {reason}").into());
            }
            eprintln!("\nNOT TESTED: {name}: {reason}");
            Ok(Completion::ignored_with(reason))
        }));
    }
    trials
}

fn trial(
    toolchain: &Toolchain,
    name: &str,
    form: Form,
    case: fn(&Toolchain, Form) -> Outcome,
) -> Trial {
    let toolchain = toolchain.clone();
    let name = format!("go{}_{name}", toolchain.version);
    Trial::test(name, move || case(&toolchain, form))
}

fn agree(toolchain: &Toolchain, form: Form) -> Outcome {
    let mut running = Running::start(&toolchain.build(form));
    running.says();
    let process = running.process();
    assert_eq!(version(&process)?, Some(format!("go{}", toolchain.version)));
    let known = !form.has_c() || !form.is_stripped();
    // Builds say since 1.18 that C code was not allowed; before, symbols alone say that there is none.
    if known && !(form.is_stripped() && toolchain.minor() == "1.15") {
        assert_eq!(has_c(&process)?, Some(form.has_c()));
    } else {
        assert_eq!(has_c(&process)?, None);
    }
    let reader = Reader::find(&process)?;
    let expected = match form.flags {
        "" | "-linkmode=external" => "DWARF, symbols",
        "-w" => &format!("the table for go{}, symbols", toolchain.minor()),
        _ => &format!("the table for go{}, pclntab", toolchain.minor()),
    };
    assert_eq!(reader.source(), expected);
    for letter in ['s', 'g', 'o', 'd', 'f', 'r', 'g'] {
        running.tell(letter);
        let (said, read) = running.both(&reader);
        eprintln!("{letter}: {said:?}\n   {read:?}");
        same(said, read);
    }
    Ok(())
}

/// Sys and the count of collections to the byte; the rest within 64 KiB or 0.1 %, since the program has gone on a little after it
/// spoke.
#[track_caller]
fn same(said: GoFigures, read: GoFigures) {
    assert_eq!(said.sys_bytes, read.sys_bytes);
    assert_eq!(said.num_gc, read.num_gc);
    for (said, read) in words(said).into_iter().zip(words(read)) {
        let bound = (64 << 10).max(said / 1000);
        assert!(said.abs_diff(read) <= bound, "{said} is said, {read} read");
    }
}

fn words(figures: GoFigures) -> [u64; 6] {
    [
        figures.heap_sys_bytes,
        figures.heap_alloc_bytes,
        figures.heap_inuse_bytes,
        figures.heap_released_bytes,
        figures.heap_idle_bytes,
        figures.stack_inuse_bytes,
    ]
    .map(Option::unwrap)
}

fn busy(toolchain: &Toolchain, form: Form) -> Outcome {
    let mut running = Running::start(&toolchain.build(form));
    running.tell('c');
    let reader = Reader::find(&running.process())?;
    let memory = running.memory();
    let mut failed = 0;
    for _ in 0..2000 {
        let Ok(figures) = reader.read(&memory) else {
            failed += 1;
            continue;
        };
        let [system, allocated, in_use, released, idle, _] = words(figures);
        assert_eq!(system, in_use + idle);
        assert!(released <= idle && allocated <= in_use, "{figures:?}");
    }
    eprintln!("{failed} of 2000 did not add up");
    assert!(failed < 100, "{failed} of 2000 reads did not add up");
    Ok(())
}

fn caches(toolchain: &Toolchain, form: Form) -> Outcome {
    let mut running = Running::start(&toolchain.build(form));
    let reader = Reader::find(&running.process())?;
    let memory = running.memory();
    let most = available_parallelism()?.get() as u64 * HIDDEN;
    for letter in ['o', 'f', 'o'] {
        running.tell(letter);
        let before = reader.read(&memory)?.heap_alloc_bytes.unwrap();
        let said = running.says().heap_alloc_bytes.unwrap();
        eprintln!("{letter}: {} bytes", said as i64 - before as i64);
        assert!(
            said.abs_diff(before) <= most,
            "{said} is said, {before} read"
        );
    }
    Ok(())
}

fn gone(toolchain: &Toolchain, form: Form) -> Outcome {
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("a (deleted)\nb");
    fs::copy(toolchain.build(form), &program)?;
    let mut running = Running::start(&program);
    running.says();
    fs::remove_file(&program)?;
    let reader = Reader::find(&running.process())?;
    let (said, read) = running.both(&reader);
    same(said, read);
    // Another program in its place.
    fs::copy(env::current_exe()?, &program)?;
    let reader = Reader::find(&running.process())?;
    let (said, read) = running.both(&reader);
    same(said, read);
    Ok(())
}

fn unknown(toolchain: &Toolchain, form: Form) -> Outcome {
    let known = format!("go{}", toolchain.version);
    // As long.
    let other = known.replacen("go1.", "go9.", 1);
    let running = Running::start(&toolchain.build(form));
    let mut process = running.process();
    let mut bytes = fs::read(toolchain.build(form))?;
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, &known).collect();
    for place in places {
        bytes[place..place + other.len()].copy_from_slice(other.as_bytes());
    }
    process.image = Some(bytes);
    assert_eq!(version(&process)?, Some(other));
    let error = Reader::find(&process).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("only DWARF can say"), "{error}");
    Ok(())
}

/// Whatever bytes of the file are wrong: either the figures are what the program says, or there are none.
fn damaged(toolchain: &Toolchain, form: Form) -> Outcome {
    let program = toolchain.build(form);
    let mut running = Running::start(&program);
    running.says();
    let memory = running.memory();
    let whole = fs::read(program)?;
    let mut process = running.process();
    let (said, _) = running.both(&Reader::find(&process)?);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let (mut refused, mut read) = (0, 0);
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 3 {
            // Many bytes; the headers; cut.
            0 => (0..20_000).for_each(|_| bytes[next(whole.len())] = next(256) as u8),
            1 => (0..4).for_each(|_| bytes[next(0x400)] = next(256) as u8),
            _ => bytes.truncate(next(whole.len())),
        }
        process.image = Some(bytes);
        let _ = version(&process);
        match Reader::find(&process).and_then(|reader| reader.read(&memory)) {
            Ok(figures) => {
                read += 1;
                same(said, figures);
            }
            Err(_) => refused += 1,
        }
    }
    eprintln!("{refused} refused, {read} read");
    assert!(refused > 0);
    Ok(())
}
