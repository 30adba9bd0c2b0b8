//! The module structure: imports run one way, and aya stays in `probe/`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which may panic as tests do"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// All modules of `memtrace-core` and of `memtrace`, the ground floor first. A module may import only from those before it.
const FLOORS: [&str; 18] = [
    "text",
    "model",
    "ledger",
    "privilege",
    "probe",
    "proc",
    "process",
    "inspect",
    "observe",
    "dump",
    "timeline",
    "verdict",
    "diff",
    "capture",
    "doctor",
    "view",
    "export",
    "cli",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns each source file with its top-level module and its text, without comments and without its own tests.
fn modules() -> Vec<(PathBuf, String, String)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = [package.join("core/src"), package.join("src")];
    let mut files = Vec::new();
    for root in &roots {
        sources(root, &mut files);
    }
    let parts = files.into_iter().filter_map(|path| {
        let mut inside = roots.iter().map(|root| path.strip_prefix(root));
        let inside = inside.find_map(Result::ok).unwrap();
        let first = inside.iter().next()?.to_str()?;
        let module = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next()?;
        let lines = code.lines().map(|line| line.split("//").next());
        let code = lines.map(Option::unwrap_or_default).collect::<Vec<_>>();
        Some((inside.to_owned(), module, code.join("\n")))
    });
    parts
        .filter(|(_, module, _)| module != "lib" && module != "main")
        .collect()
}

/// Returns the first segments of all paths below `crate`, those in nested braces included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| -> String {
            let name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
            text.trim_start().chars().take_while(name).collect()
        };
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, letter) in group.char_indices() {
            if begins && depth == 0 && letter.is_alphanumeric() {
                found.insert(word(&group[at..]));
            }
            begins = begins && letter.is_whitespace();
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' => begins = true,
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_module_imports_only_from_those_below_it() {
    let floor = |module: &str| FLOORS.iter().position(|name| *name == module);
    let mut upward = Vec::new();
    for (path, module, code) in modules() {
        let here = floor(&module)
            .unwrap_or_else(|| panic!("{module} has no floor: add it to FLOORS in this test"));
        for import in imports(&code) {
            if floor(&import).is_some_and(|there| there > here) {
                upward.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn aya_is_named_in_probe_alone() {
    let names = |code: &str| {
        code.match_indices("aya").any(|(at, _)| {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            let after = code[at + 3..].chars().next().unwrap_or(' ');
            !before.is_alphanumeric() && before != '_' && (after == ':' || after == '_')
        })
    };
    let elsewhere: Vec<_> = modules()
        .into_iter()
        .filter(|(_, module, code)| module != "probe" && names(code))
        .map(|(path, ..)| path)
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn nested_imports_are_found() {
    let code = "use crate::{\n    a::{b, c::{d}},\n    e,\n    f::g,\n};\ncrate::h::i();";
    let expected = ["a", "e", "f", "h"].map(str::to_owned);
    assert_eq!(imports(code), BTreeSet::from(expected));
}
