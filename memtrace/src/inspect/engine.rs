//! The language runtime that a process runs: the JVM, .NET, Node, Python, Ruby. Each by a symbol that its host must find in it.

use std::io::Read;

use super::words;
use super::{
    InspectError, Process,
    elf::Elf,
    loaded::{Loaded, Number},
};

/// Most bytes of a JDK's `release` file; the longest has some KiB.
const MOST_RELEASE: u64 = 64 << 10;

/// A runtime, and what says so.
#[derive(Debug)]
pub struct Engine {
    pub name: &'static str,
    pub version: Result<String, InspectError>,
    pub evidence: Vec<String>,
}

/// How one of them is told.
struct Kind {
    name: &'static str,
    /// What the name of its library begins with.
    library: &'static str,
    /// What it exports: whoever embeds it calls that. The first is looked for in the executable too.
    symbols: &'static [&'static str],
    in_executable: &'static [&'static str],
}

/// A program that has several in it is called by the first.
///
/// Sources: jni.h; clr's coreclrhost.h, and `DotNetRuntimeInfo`, which a single-file program exports for debuggers, as does
/// `DotNetRuntimeDebugHeader` of one compiled ahead of time; node.h (`node::Start(int, char**)`); Python's pylifecycle.h;
/// ruby/version.h.
const KINDS: [Kind; 5] = [
    Kind {
        name: "jvm",
        library: "libjvm.so",
        symbols: &["JNI_CreateJavaVM"],
        in_executable: &[],
    },
    Kind {
        name: "dotnet",
        library: "libcoreclr.so",
        symbols: &["coreclr_initialize"],
        in_executable: &["DotNetRuntimeInfo", "DotNetRuntimeDebugHeader"],
    },
    Kind {
        name: "node",
        library: "libnode.so",
        symbols: &["_ZN4node5StartEiPPc"],
        in_executable: &["_ZN4node5StartEiPPc"],
    },
    Kind {
        name: "python",
        library: "libpython",
        symbols: &["Py_GetVersion"],
        in_executable: &["Py_GetVersion"],
    },
    Kind {
        name: "ruby",
        library: "libruby",
        symbols: &["ruby_version"],
        in_executable: &["ruby_version"],
    },
];

/// Finds it; `None` for a native program.
pub fn find(
    process: &dyn Process,
    executable: Option<&mut Elf>,
    loaded: &mut Loaded<'_>,
) -> Option<Engine> {
    let mut found: Option<Engine> = None;
    if let Some(executable) = executable {
        for kind in &KINDS {
            let symbols = kind.in_executable.iter();
            let Some(symbol) = symbols
                .copied()
                .find(|symbol| executable.exported(symbol).is_some())
            else {
                continue;
            };
            found = Some(Engine {
                name: kind.name,
                version: version(process, executable, kind.name, None),
                evidence: vec![format!("the executable defines {symbol}")],
            });
            break;
        }
    }
    for kind in &KINDS {
        for number in loaded.numbers() {
            let name = loaded.name(number);
            if !name.starts_with(kind.library) {
                continue;
            }
            let Some(engine) = of_library(process, loaded, number, kind) else {
                continue;
            };
            match &mut found {
                Some(found) if found.name == engine.name => {}
                Some(found) => found
                    .evidence
                    .push(format!("{name} ({}) is mapped too", engine.name)),
                None => found = Some(engine),
            }
            break;
        }
    }
    found
}

fn of_library(
    process: &dyn Process,
    loaded: &mut Loaded<'_>,
    number: Number,
    kind: &Kind,
) -> Option<Engine> {
    let name = loaded.name(number);
    let folder = loaded.file(number)?.folder().to_vec();
    let elf = match loaded.elf(number) {
        Ok(elf) => elf,
        Err(error) => {
            return Some(Engine {
                name: kind.name,
                version: Err(error),
                evidence: vec![format!(
                    "{name} is mapped, though it could not be looked at"
                )],
            });
        }
    };
    let symbol = kind
        .symbols
        .iter()
        .find(|symbol| elf.exported(symbol).is_some())?;
    Some(Engine {
        name: kind.name,
        version: version(process, elf, kind.name, Some(&folder)),
        evidence: vec![format!("{name} is mapped, and defines {symbol}")],
    })
}

fn version(
    process: &dyn Process,
    elf: &mut Elf,
    name: &str,
    folder: Option<&[u8]>,
) -> Result<String, InspectError> {
    let found = match name {
        "jvm" => folder
            .and_then(|folder| release_of_java(process, folder))
            .or_else(|| words::version_behind(elf, b" JRE (")),
        "dotnet" => folder
            .and_then(version_in_path)
            .or_else(|| dotnet_version(elf)),
        "node" => words::version_behind(elf, b"node.js/v"),
        "python" => python_version(elf),
        "ruby" => elf
            .exported("ruby_version")
            .and_then(|symbol| elf.text_at(symbol.address))
            .and_then(|text| String::from_utf8(text).ok())
            .filter(|version| words::numbers(version).is_some()),
        _ => None,
    };
    found.ok_or_else(|| "the file does not hold it in a form that memtrace knows".into())
}

/// A JDK has a file `release` in its home; the library is in `lib/server` of it, and before Java 9 in `lib/amd64/server` of the
/// `jre` within it.
fn release_of_java(process: &dyn Process, folder: &[u8]) -> Option<String> {
    ["../..", "../../..", "../../../.."].iter().find_map(|up| {
        let path = [folder, b"/", up.as_bytes(), b"/release"].concat();
        let mut content = Vec::new();
        process
            .file(&path)
            .ok()?
            .take(MOST_RELEASE)
            .read_to_end(&mut content)
            .ok()?;
        java_version(&content)
    })
}

fn java_version(release: &[u8]) -> Option<String> {
    let version = release
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"JAVA_VERSION="))?;
    let version = std::str::from_utf8(version).ok()?.trim().trim_matches('"');
    // `17.0.15`, and `1.8.0_412`.
    let known = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'_';
    (!version.is_empty() && version.len() <= 32 && version.bytes().all(known))
        .then(|| version.to_owned())
}

/// .NET lies in a folder with its version's name: `…/shared/Microsoft.NETCore.App/8.0.4`.
fn version_in_path(folder: &[u8]) -> Option<String> {
    let (rest, version) = rsplit(folder)?;
    let (_, family) = rsplit(rest)?;
    let version = std::str::from_utf8(version).ok()?;
    (family == b"Microsoft.NETCore.App" && words::numbers(version)?.len() == 3)
        .then(|| version.to_owned())
}

fn rsplit(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    Some((path.get(..slash)?, path.get(slash + 1..)?))
}

/// `@(#)Version 8.0.424.16909 @Commit: …`: the third number is a hundred times the patch, and the day's build.
fn dotnet_version(elf: &mut Elf) -> Option<String> {
    words::around(elf, b"@(#)Version ", |text| {
        let version = text.split_whitespace().nth(1)?;
        let [major, minor, build, _] = *words::numbers(version)?.as_slice() else {
            return None;
        };
        Some(format!("{major}.{minor}.{}", build / 100))
    })
}

/// `Py_Version` is `0x030b02f0` for 3.11.2 (Include/pymacro.h); it is there since 3.11. What is older holds its version as text, and
/// the versions of other things as well: the one that fits the library's name is taken.
fn python_version(elf: &mut Elf) -> Option<String> {
    if let Some(symbol) = elf.exported("Py_Version") {
        let bytes = elf.bytes_at(symbol.address, 4)?.try_into().ok()?;
        return python_number(u32::from_le_bytes(bytes));
    }
    let minor = elf
        .soname()
        .and_then(|soname| series(&soname))
        .or_else(|| words::version_behind(elf, b"python"))?;
    let series = format!("{minor}.");
    words::only_version(elf, |version| version.starts_with(&series))
}

/// `libpython3.9.so.1.0`, `libpython3.6m.so.1.0`: `3.9`, `3.6`.
fn series(soname: &[u8]) -> Option<String> {
    let rest = soname.strip_prefix(b"libpython")?;
    let end = rest
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let series = std::str::from_utf8(rest.get(..end)?)
        .ok()?
        .trim_end_matches('.');
    (words::numbers(series)?.len() == 2).then(|| series.to_owned())
}

fn python_number(number: u32) -> Option<String> {
    let [major, minor, micro, level] = number.to_be_bytes();
    let kind = match level >> 4 {
        0xa => "a",
        0xb => "b",
        0xc => "rc",
        0xf => return Some(format!("{major}.{minor}.{micro}")),
        _ => return None,
    };
    Some(format!("{major}.{minor}.{micro}{kind}{}", level & 0xf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_number_is_its_version() {
        assert_eq!(python_number(0x030b_02f0).as_deref(), Some("3.11.2"));
        assert_eq!(python_number(0x030e_00c2).as_deref(), Some("3.14.0rc2"));
        assert_eq!(python_number(0x030e_0000), None);
        assert_eq!(series(b"libpython3.6m.so.1.0").as_deref(), Some("3.6"));
        assert_eq!(series(b"libpython3.so"), None);
    }

    #[test]
    fn javas_release_file_tells_its_version() {
        let release = b"IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\nLIBC=\"gnu\"\n";
        assert_eq!(java_version(release).as_deref(), Some("17.0.15"));
        assert_eq!(
            java_version(b"JAVA_VERSION=\"1.8.0_412\"").as_deref(),
            Some("1.8.0_412")
        );
        assert_eq!(java_version(b"JAVA_VERSION=\"1\x1b[31m\""), None);
        assert_eq!(java_version(b"JAVA_VERSION=\"\""), None);
    }

    #[test]
    fn dotnets_folder_is_its_version() {
        let of = |folder: &str| version_in_path(folder.as_bytes());
        let found = of("/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.4");
        assert_eq!(found.as_deref(), Some("8.0.4"));
        assert_eq!(of("/opt/app/8.0.4"), None);
        assert_eq!(of("/8.0.4"), None);
    }
}
