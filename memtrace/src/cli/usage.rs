//! What is wrong with a command line beyond what clap finds: exit code 2, before anything is opened.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use clap::{
    CommandFactory as _,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    args::{Cli, Options},
    shared::is_stdout,
};
use crate::{export::journal::partial_of, text::format::sanitized};

/// Says it, with the usage of this command, or of memtrace itself, and ends.
pub fn wrong(command: Option<&str>, kind: ErrorKind, text: &str) -> ! {
    let mut memtrace = Cli::command();
    memtrace.build();
    let text = sanitized(text, 2000);
    let of = command.and_then(|name| memtrace.find_subcommand_mut(name));
    match of {
        Some(command) => command.error(kind, text).exit(),
        None => memtrace.error(kind, text).exit(),
    }
}

/// Adds what was probably meant, where a process or a capture file is named without saying what to do with it.
#[must_use]
pub fn unknown(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    if error.kind() != ErrorKind::UnknownArgument
        || std::env::args_os().nth(1).as_deref() != Some(found.as_ref())
    {
        return error;
    }
    if let Some(tip) = meant(found) {
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

fn meant(found: &str) -> Option<String> {
    let shown = sanitized(found, 200);
    if !found.is_empty() && found.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(format!(
            "to trace this process, type: memtrace --pid {shown}"
        ));
    }
    if Path::new(found).is_file() {
        return Some(format!(
            "to read a capture file, type: memtrace report {shown}; to start a program: memtrace -- {shown}"
        ));
    }
    (!found.starts_with('-')).then(|| format!("to start a program, type: memtrace -- {shown}"))
}

/// Ends where two outputs of a trace would be in each other's way.
pub fn outputs(command: Option<&str>, options: &Options) {
    let outputs = [
        ("--json", options.json.as_deref()),
        ("--events", options.events.events.as_deref()),
        ("--html", options.html.as_deref()),
        ("--svg", options.svg.as_deref()),
    ];
    let given: Vec<(&str, &Path)> = outputs
        .into_iter()
        .filter_map(|(option, path)| Some((option, path?)))
        .collect();
    if let Some(text) = clash(&given) {
        wrong(command, ErrorKind::ArgumentConflict, &text);
    }
}

/// What is in whose way: of options and what they name.
fn clash(given: &[(&str, &Path)]) -> Option<String> {
    let mut piped = given.iter().filter(|(_, path)| is_stdout(path));
    match (piped.next(), piped.next()) {
        (Some((one, _)), Some((other, _))) => {
            return Some(format!(
                "{one} - and {other} - both want standard output: give one of them a FILE"
            ));
        }
        (Some((option @ ("--html" | "--svg"), _)), None) => {
            return Some(format!(
                "{option} -: standard output has the table; give a FILE, or make it of a capture file: memtrace report FILE {option} -"
            ));
        }
        _ => {}
    }
    let files: Vec<(&str, &Path)> = given
        .iter()
        .copied()
        .filter(|(_, path)| !is_stdout(path) && !is_device(path))
        .collect();
    let pairs = files
        .iter()
        .enumerate()
        .flat_map(|(at, one)| files.iter().skip(at + 1).map(move |other| (one, other)));
    for ((one, path), (other, same)) in pairs {
        if is_same(path, same) {
            return Some(format!(
                "{one} and {other} both name {}: only one of them would be left; give each a FILE of its own",
                same.display()
            ));
        }
        // The capture file is always the first.
        if *one == "--json" && is_same(&partial_of(path), same) {
            return Some(format!(
                "{other} names {}, where --json keeps the capture while it lasts; give another FILE",
                same.display()
            ));
        }
    }
    None
}

/// A device takes everything, and keeps nothing of it: /dev/null.
fn is_device(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

/// Whether two names lead to the same one of the same folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| -> Option<(PathBuf, OsString)> {
        let path = std::path::absolute(path).ok()?;
        let folder = path.parent()?;
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        Some((folder, path.file_name()?.to_owned()))
    };
    place(one).is_some_and(|found| Some(found) == place(other))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn clashes(given: &[(&str, &str)]) -> Option<String> {
        let given: Vec<(&str, &Path)> = given
            .iter()
            .map(|&(option, path)| (option, Path::new(path)))
            .collect();
        clash(&given)
    }

    #[test]
    fn one_output_may_have_standard_output() {
        assert_eq!(clashes(&[]), None);
        assert_eq!(clashes(&[("--json", "-")]), None);
        assert_eq!(clashes(&[("--events", "-"), ("--html", "x")]), None);
        let said = clashes(&[("--json", "-"), ("--events", "-")]).unwrap();
        assert!(said.contains("--json - and --events -"), "{said}");
        let said = clashes(&[("--json", "-"), ("--svg", "-")]).unwrap();
        assert!(said.contains("--json - and --svg -"), "{said}");
        for option in ["--html", "--svg"] {
            let said = clashes(&[("--json", "x"), (option, "-")]).unwrap();
            assert!(said.contains("the table"), "{said}");
        }
    }

    #[test]
    fn one_file_is_for_one_output() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let name = |folder: &Path, name: &str| folder.join(name).to_str().unwrap().to_owned();
        let x = name(&real, "x");
        let same = [
            name(&real, "./x"),
            name(&real, "../real/x"),
            name(&link, "x"),
        ];
        for same in &same {
            let said = clashes(&[("--json", &x), ("--html", same)]).unwrap();
            assert!(said.contains("--json and --html both name"), "{said}");
        }
        assert_eq!(
            clashes(&[("--json", &x), ("--html", &name(&real, "y"))]),
            None
        );
        assert_eq!(
            clashes(&[("--json", &x), ("--html", &name(dir.path(), "x"))]),
            None
        );
        let partial = name(&link, "x.partial");
        let said = clashes(&[("--json", &x), ("--svg", &partial)]).unwrap();
        assert!(said.contains("while it lasts"), "{said}");
        // Without a capture file, it is a name as any other.
        assert_eq!(clashes(&[("--html", &x), ("--svg", &partial)]), None);
        // Where the folder is missing, it is said later that it is.
        assert!(clashes(&[("--json", "no/x"), ("--svg", "no/./x")]).is_some());
    }

    #[test]
    fn a_device_takes_everything() {
        assert_eq!(
            clashes(&[("--json", "/dev/null"), ("--events", "/dev/null")]),
            None
        );
    }
}
