//! The cases, by toolchain.

use libtest_mimic::{Completion, Failed, Trial};
use memtrace::{
    runtime::go::{Reader, version},
    timeline::GoFigures,
};

use crate::{
    process::Running,
    toolchain::{self, Form, Toolchain},
};

/// Set where the tests must run: then what would be skipped fails.
const REQUIRE: [&str; 2] = ["MEMTRACE_REQUIRE_KERNEL", "CI"];

pub fn all() -> Vec<Trial> {
    let (found, missing) = toolchain::all();
    let mut trials = Vec::new();
    for toolchain in found {
        for pie in [false, true] {
            for flags in ["", "-w", "-s"] {
                let form = Form { pie, flags };
                let toolchain = toolchain.clone();
                let name = format!(
                    "go{}{}{}_says_what_is_read",
                    toolchain.version,
                    if pie { "_pie" } else { "" },
                    flags.replace('-', "_")
                );
                trials.push(Trial::test(name, move || agree(&toolchain, form)));
            }
        }
    }
    for version in missing {
        let name = format!("go{version}");
        trials.push(Trial::ignorable_test(name.clone(), move || {
            let reason = "no toolchain; type: cargo xtask golang";
            if REQUIRE.iter().any(|name| std::env::var_os(name).is_some()) {
                return Err(format!("this must run here, and did not: {reason}").into());
            }
            eprintln!("\nNOT TESTED: {name}: {reason}");
            Ok(Completion::ignored_with(reason))
        }));
    }
    trials
}

fn agree(toolchain: &Toolchain, form: Form) -> Result<(), Failed> {
    let mut running = Running::start(&toolchain.build(form));
    running.says();
    let process = running.process();
    assert_eq!(
        version(&process).unwrap(),
        Some(format!("go{}", toolchain.version))
    );
    let begin = std::time::Instant::now();
    let reader = Reader::find(&process)?;
    eprintln!("{:?} {}", begin.elapsed(), reader.source());
    for letter in ['s', 'g', 's', 'o', 'd', 'f', 'r', 'g'] {
        running.tell(letter);
        let (said, read) = running.both(&reader);
        eprintln!("{letter} {said:?}\n  {read:?}");
        assert_eq!(said.sys_bytes, read.sys_bytes);
        assert_eq!(said.num_gc, read.num_gc);
        for (said, read) in words(said).into_iter().zip(words(read)) {
            let (said, read) = (said.unwrap(), read.unwrap());
            let bound = (64 << 10).max(said / 1000);
            assert!(said.abs_diff(read) <= bound, "{said} is said, {read} read");
        }
    }
    Ok(())
}

fn words(figures: GoFigures) -> [Option<u64>; 6] {
    [
        figures.heap_sys_bytes,
        figures.heap_alloc_bytes,
        figures.heap_inuse_bytes,
        figures.heap_released_bytes,
        figures.heap_idle_bytes,
        figures.stack_inuse_bytes,
    ]
}
