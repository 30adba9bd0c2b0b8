//! The allocator behind `malloc`: found as the dynamic linker finds it, and told by the symbols that it defines.

use super::words;
use super::{
    InspectError,
    elf::{Elf, Symbol},
    loaded::{Loaded, Number},
};

/// An allocator, and what says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    pub kind: Option<Kind>,
    pub version: Option<String>,
    /// Why there is no version, where there is none.
    pub version_missing: Option<String>,
    /// Why there is no allocator, where there is none.
    pub missing: Option<String>,
    pub evidence: Vec<String>,
}

/// The allocators that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Glibc,
    Musl,
    Jemalloc,
    /// Google's TCMalloc, <https://github.com/google/tcmalloc>.
    Tcmalloc,
    /// The older one, <https://github.com/gperftools/gperftools>: `libtcmalloc.so`.
    Gperftools,
    Mimalloc,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Jemalloc => "jemalloc",
            Self::Tcmalloc => "tcmalloc",
            Self::Gperftools => "gperftools",
            Self::Mimalloc => "mimalloc",
        }
    }
}

/// Symbols that only this allocator defines, each of them enough.
///
/// `mallctl` is jemalloc's, also with the prefix that it was built with: `je_` is upstream's own, `_rjem_` is that of the Rust crate
/// tikv-jemallocator. `MallocExtension_Internal_*` are google/tcmalloc's, in its tcmalloc.cc; `tc_malloc` is in gperftools' tcmalloc.h.
const MARKS: [(Kind, &[&str]); 6] = [
    (Kind::Mimalloc, &["mi_version", "mi_malloc"]),
    (Kind::Gperftools, &["tc_version", "tc_malloc"]),
    (
        Kind::Tcmalloc,
        &[
            "MallocExtension_Internal_GetNumericProperty",
            "MallocExtension_Internal_GetStats",
        ],
    ),
    (Kind::Jemalloc, &["mallctl", "je_mallctl", "_rjem_mallctl"]),
    // glibc's own, in malloc/malloc.c, and the function that tells its version.
    (Kind::Glibc, &["gnu_get_libc_version", "_int_malloc"]),
    // musl's, in ldso/dynlink.c and src/malloc.
    (
        Kind::Musl,
        &[
            "__dls2b",
            "__libc_malloc_impl",
            "__malloc_donate",
            "__simple_malloc",
        ],
    ),
];

/// Names by which libraries of allocators go, to say that one is there and not used.
const LIBRARIES: [&str; 4] = ["jemalloc", "tcmalloc", "mimalloc", "libhoard"];

/// Longest name of a preloaded library that is shown, in bytes.
const LONGEST_NAME: usize = 256;

/// Finds it. `preloaded` are the names in `LD_PRELOAD` and `/etc/ld.so.preload`; `None` where they could not be had.
pub fn find(
    executable: &mut Elf,
    loaded: &mut Loaded<'_>,
    preloaded: Option<&[Vec<u8>]>,
) -> Allocator {
    let own = Own::of(executable);
    if executable.is_static() {
        return own.of_static(executable);
    }
    if let Some(found) = own.of_dynamic(executable) {
        return found;
    }
    let mut found = of_libraries(executable, loaded, preloaded);
    if found.missing.is_none()
        && let Some(error) = own.error
    {
        found.evidence.push(format!(
            "an allocator of the executable's own was not sought: {error}"
        ));
    }
    found
}

/// What the executable itself defines.
struct Own {
    symbols: std::collections::BTreeMap<&'static str, Symbol>,
    error: Option<String>,
}

impl Own {
    fn of(executable: &mut Elf) -> Self {
        let mut names: Vec<&'static str> = MARKS
            .iter()
            .flat_map(|(_, marks)| marks.iter().copied())
            .collect();
        names.push("malloc");
        let (mut symbols, error) = match executable.own_symbols(&names) {
            Ok(symbols) => (symbols, None),
            Err(error) => (std::collections::BTreeMap::new(), Some(error.to_string())),
        };
        for name in names {
            if let Some(symbol) = executable.exported(name) {
                symbols.insert(name, symbol);
            }
        }
        Self { symbols, error }
    }

    fn kind(&self) -> Option<(Kind, &'static str)> {
        MARKS.iter().find_map(|(kind, marks)| {
            let mark = marks
                .iter()
                .find(|mark| self.symbols.contains_key(**mark))?;
            Some((*kind, *mark))
        })
    }

    /// Of a program without libraries: what is in it is what it uses.
    fn of_static(&self, executable: &mut Elf) -> Allocator {
        if let Some((kind, mark)) = self.kind() {
            let evidence = format!("the executable is static, and defines {mark}");
            return self.with_version(executable, kind, evidence);
        }
        match by_text(executable) {
            Some((kind, text)) => {
                let evidence = format!("the executable is static, and holds the text {text:?}");
                self.with_version(executable, kind, evidence)
            }
            None => Allocator {
                missing: Some(match &self.error {
                    Some(error) => format!("the executable is static; {error}"),
                    None if self.symbols.contains_key("malloc") => {
                        "the executable is static, and its malloc is none that memtrace knows".to_owned()
                    }
                    None => "the executable is static, and neither its symbols nor its texts tell: it was stripped, or has no malloc".to_owned(),
                }),
                ..Allocator::default()
            },
        }
    }

    /// Of a program with libraries: an allocator that it brings along itself comes before every library.
    fn of_dynamic(&self, executable: &mut Elf) -> Option<Allocator> {
        let offers_malloc = executable.exported("malloc").is_some();
        // A C library that only says that it is there is not an allocator.
        let kind = self
            .kind()
            .filter(|(kind, _)| offers_malloc || !matches!(kind, Kind::Glibc | Kind::Musl));
        match kind {
            Some((kind, mark)) if offers_malloc => {
                let evidence = format!("the executable defines malloc, and {mark}");
                Some(self.with_version(executable, kind, evidence))
            }
            Some((kind, mark)) => {
                let evidence = format!(
                    "the executable defines {mark}: its own code allocates there, though malloc is a library's"
                );
                Some(self.with_version(executable, kind, evidence))
            }
            None => match by_text(executable) {
                Some((kind, text)) if kind != Kind::Glibc => {
                    let evidence = format!(
                        "the executable holds the text {text:?}: the allocator is linked into it"
                    );
                    Some(self.with_version(executable, kind, evidence))
                }
                _ if offers_malloc => Some(Allocator {
                    missing: Some(
                        "malloc is the executable's own, and none that memtrace knows".to_owned(),
                    ),
                    ..Allocator::default()
                }),
                _ => None,
            },
        }
    }

    fn with_version(&self, elf: &mut Elf, kind: Kind, evidence: String) -> Allocator {
        let version = version(elf, kind, self.symbols.get("mi_version").copied());
        Allocator::new(kind, version, evidence)
    }
}

impl Allocator {
    fn new(kind: Kind, version: Result<String, InspectError>, evidence: String) -> Self {
        let (version, version_missing) = match version {
            Ok(version) => (Some(version), None),
            Err(why) => (None, Some(why.to_string())),
        };
        Self {
            kind: Some(kind),
            version,
            version_missing,
            missing: None,
            evidence: vec![evidence],
        }
    }
}

fn of_libraries(
    executable: &mut Elf,
    loaded: &mut Loaded<'_>,
    preloaded: Option<&[Vec<u8>]>,
) -> Allocator {
    let first = loaded.first_with("malloc", preloaded.unwrap_or_default(), executable);
    if let Some(error) = first.unseen.first() {
        return Allocator {
            missing: Some(format!(
                "a library that may have brought it could not be looked at: {error}"
            )),
            ..Allocator::default()
        };
    }
    let Some(number) = first.number else {
        return Allocator {
            missing: Some("no library that the executable needs offers malloc".to_owned()),
            ..Allocator::default()
        };
    };
    let name = loaded.name(number);
    let others = unused(loaded, number);
    if preloaded.is_none()
        && let Some(other) = others.first()
    {
        return Allocator {
            missing: Some(format!(
                "malloc is {name}'s, unless {other}, which offers it too, was preloaded; what was preloaded could not be had"
            )),
            ..Allocator::default()
        };
    }
    let mut found = match loaded.elf(number) {
        Ok(elf) => of_library(elf, &name),
        Err(error) => Allocator {
            missing: Some(error.to_string()),
            ..Allocator::default()
        },
    };
    for wanted in preloaded.unwrap_or_default() {
        match loaded.find(wanted) {
            Some(preloaded) if preloaded == number => {
                found.evidence.push(format!("{name} was preloaded"));
            }
            Some(_) => {}
            None => found.evidence.push(format!(
                "{} was to be preloaded, and is not mapped under that name",
                shown(wanted)
            )),
        }
    }
    found.evidence.extend(
        others
            .into_iter()
            .map(|other| format!("{other} is mapped, and its malloc is not the one that is used")),
    );
    found
}

fn of_library(elf: &mut Elf, name: &str) -> Allocator {
    let kind = MARKS.iter().find_map(|(kind, marks)| {
        let mark = marks.iter().find(|mark| elf.exported(mark).is_some())?;
        Some((*kind, *mark))
    });
    match kind {
        Some((kind, mark)) => {
            let mi_version = elf.exported("mi_version");
            let version = version(elf, kind, mi_version);
            let evidence =
                format!("{name} is mapped and comes first with malloc, and defines {mark}");
            Allocator::new(kind, version, evidence)
        }
        None => Allocator {
            missing: Some(format!(
                "malloc is that of {name}, which memtrace does not know"
            )),
            ..Allocator::default()
        },
    }
}

/// A name from outside, at a length that can be shown.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name.get(..LONGEST_NAME).unwrap_or(name)).into_owned()
}

/// Libraries with the name of an allocator that offer a malloc which is not the one that is used.
fn unused(loaded: &mut Loaded<'_>, used: Number) -> Vec<String> {
    loaded
        .numbers()
        .filter(|&number| number != used)
        .filter(|&number| {
            let name = loaded.name(number);
            LIBRARIES.iter().any(|library| name.contains(library))
                && loaded
                    .elf(number)
                    .is_ok_and(|elf| elf.exported("malloc").is_some())
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|number| loaded.name(number))
        .collect()
}

/// By texts that are the allocator's own, for an executable that was stripped. Each mark is put together here, so that memtrace's own
/// executable does not hold it.
fn by_text(executable: &mut Elf) -> Option<(Kind, String)> {
    if executable.has_symbols() {
        return None;
    }
    let marks: [(Kind, [&str; 2]); 4] = [
        (Kind::Jemalloc, ["<jemalloc>: ", "Error"]),
        (Kind::Mimalloc, ["mimalloc: ", "warning: "]),
        (Kind::Gperftools, ["gperftools ", "2."]),
        (Kind::Glibc, ["malloc(): ", "corrupted top size"]),
    ];
    let marks = marks.map(|(kind, parts)| (kind, parts.concat()));
    let found = words::first_of(
        executable,
        &marks.each_ref().map(|(_, mark)| mark.as_bytes()),
    )?;
    marks.into_iter().nth(found)
}

fn version(elf: &mut Elf, kind: Kind, mi_version: Option<Symbol>) -> Result<String, InspectError> {
    let found = match kind {
        Kind::Glibc => words::around(elf, b"GNU C Library", |text| {
            let (_, version) = text.split_once(" version ")?;
            let version = version.split_whitespace().next()?.trim_end_matches('.');
            words::numbers(version).map(|_| version.to_owned())
        }),
        Kind::Musl => words::around(elf, b"musl libc (", |_| Some(()))
            .and_then(|()| words::only_version(elf, |version| version.starts_with("1."))),
        Kind::Jemalloc => words::around(elf, b"-g", jemalloc_version),
        Kind::Gperftools => words::version_behind(elf, b"gperftools "),
        Kind::Mimalloc => mi_version.and_then(|symbol| mimalloc_version(elf, symbol)),
        Kind::Tcmalloc => {
            return Err("google/tcmalloc has no versions".into());
        }
    };
    found.ok_or_else(|| match kind {
        Kind::Glibc | Kind::Musl if elf.is_static() => {
            format!("a static program need not hold {}'s version", kind.name()).into()
        }
        _ => "the file does not hold it in a form that memtrace knows".into(),
    })
}

/// `5.3.0-0-g54eaed1d…`: `JEMALLOC_VERSION`, made by `git describe --long`; the one that Redis brings along says `5.3.0-0-g0`.
fn jemalloc_version(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '-');
    let version = parts.next()?;
    let commits = parts.next()?;
    let commit = parts.next()?.strip_prefix('g')?;
    let is_it = words::numbers(version)?.len() == 3
        && commits.bytes().all(|byte| byte.is_ascii_digit())
        && !commit.is_empty()
        && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
        // What is built without its git repository has this.
        && version != "0.0.0";
    is_it.then(|| version.to_owned())
}

/// `mi_version` is a function that returns `MI_MALLOC_VERSION`, and nothing else says it: its code is read.
fn mimalloc_version(elf: &mut Elf, symbol: Symbol) -> Option<String> {
    /// `endbr64`, which may come first.
    const LANDING_X86: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    /// `bti c`, likewise.
    const LANDING_ARM: u32 = 0xd503_245f;
    let code = elf.bytes_at(symbol.address, 12)?;
    let number = match elf.machine {
        object::elf::EM_X86_64 => {
            let code = code.strip_prefix(&LANDING_X86).unwrap_or(&code);
            // mov eax, imm32; ret
            let [0xb8, a, b, c, d, 0xc3, ..] = *code else {
                return None;
            };
            u32::from_le_bytes([a, b, c, d])
        }
        object::elf::EM_AARCH64 => {
            let words: Vec<u32> = code
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| u32::from_le_bytes(*word))
                .collect();
            let words = words.strip_prefix(&[LANDING_ARM]).unwrap_or(&words);
            // mov w0, #imm16; ret
            let [mov, 0xd65f_03c0, ..] = *words else {
                return None;
            };
            if mov & 0xffe0_001f != 0x5280_0000 {
                return None;
            }
            (mov >> 5) & 0xffff
        }
        _ => return None,
    };
    mimalloc_number(number)
}

/// include/mimalloc.h: `209` is 2.0.9, `3010` is 3.0.10, `20401` is 2.4.1.
fn mimalloc_number(number: u32) -> Option<String> {
    let (major, minor, patch) = match number {
        100..=999 => (number / 100, number / 10 % 10, number % 10),
        1000..=9999 => (number / 1000, number / 100 % 10, number % 100),
        10000..=99999 => (number / 10000, number / 100 % 100, number % 100),
        _ => return None,
    };
    Some(format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_jemalloc_are_those_that_git_describes() {
        let of = |text| jemalloc_version(text);
        assert_eq!(of("5.3.0-0-g54eaed1d8b56b1aa").as_deref(), Some("5.3.0"));
        assert_eq!(of("5.3.0-0-g0").as_deref(), Some("5.3.0"));
        for wrong in [
            "0.0.0-0-g0",
            "5.3-0-g0",
            "5.3.0-0-x0",
            "5.3.0-0-g",
            "5.3.0-g0",
            "a-b-g",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn versions_of_mimalloc_have_three_forms() {
        let of = |number| mimalloc_number(number);
        assert_eq!(of(209).as_deref(), Some("2.0.9"));
        assert_eq!(of(3010).as_deref(), Some("3.0.10"));
        assert_eq!(of(3206).as_deref(), Some("3.2.6"));
        assert_eq!(of(20401).as_deref(), Some("2.4.1"));
        assert_eq!(of(7), None);
        assert_eq!(of(u32::MAX), None);
    }
}
