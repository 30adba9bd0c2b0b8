//! What built the object, and from what.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::toolchain::Versions;

/// The lines of memtrace.bpf.txt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    pub versions: Versions,
    /// How the compiler was called, without the paths of the machine that did it.
    pub rustflags: String,
    pub profile: String,
    /// The crates from elsewhere that the sources call, by name and version.
    pub crates: String,
    pub sources: String,
    pub object: String,
}

const RUSTC: &str = "rustc";
const LLVM: &str = "rustc-llvm";
const LINKER: &str = "bpf-linker";
const LINKER_LLVM: &str = "bpf-linker-llvm";
const RUSTFLAGS: &str = "rustflags";
const PROFILE: &str = "profile";
const CRATES: &str = "crates";
const SOURCES: &str = "sources-sha256";
const OBJECT: &str = "object-sha256";

impl Provenance {
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in [
            (RUSTC, &self.versions.rustc),
            (LLVM, &self.versions.llvm),
            (LINKER, &self.versions.linker),
            (LINKER_LLVM, &self.versions.linker_llvm),
            (RUSTFLAGS, &self.rustflags),
            (PROFILE, &self.profile),
            (CRATES, &self.crates),
            (SOURCES, &self.sources),
            (OBJECT, &self.object),
        ] {
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line
                .split_once(": ")
                .with_context(|| format!("not a `key: value` line: {line:?}"))?;
            if values.insert(key, value).is_some() {
                bail!("{key} is there twice");
            }
        }
        let mut take = |key: &str| {
            values
                .remove(key)
                .map(str::to_owned)
                .with_context(|| format!("there is no line {key}"))
        };
        let provenance = Self {
            versions: Versions {
                rustc: take(RUSTC)?,
                llvm: take(LLVM)?,
                linker: take(LINKER)?,
                linker_llvm: take(LINKER_LLVM)?,
            },
            rustflags: take(RUSTFLAGS)?,
            profile: take(PROFILE)?,
            crates: take(CRATES)?,
            sources: take(SOURCES)?,
            object: take(OBJECT)?,
        };
        if let Some(key) = values.keys().next() {
            bail!("the line {key} is unknown");
        }
        Ok(provenance)
    }
}

/// What an object is built from.
#[derive(Debug, PartialEq, Eq)]
pub struct Sources {
    pub hash: String,
    pub crates: String,
}

impl Sources {
    pub fn read(root: &Path) -> Result<Self> {
        let mut paths = vec![
            PathBuf::from("memtrace-ebpf/Cargo.toml"),
            PathBuf::from("memtrace-common/Cargo.toml"),
        ];
        rust_files(root, Path::new("memtrace-ebpf"), &mut paths)?;
        rust_files(root, Path::new("memtrace-common/src"), &mut paths)?;
        let mut files = paths
            .into_iter()
            .map(|path| {
                let bytes = fs::read(root.join(&path))
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.to_str().context("a source whose name is not text")?;
                Ok((path.to_owned(), bytes))
            })
            .collect::<Result<Vec<_>>>()?;
        let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let crates = kernel_crates(&lock).join(", ");
        Ok(Self {
            hash: hash(&mut files, &crates),
            crates,
        })
    }
}

/// Every Rust file below a directory, by its path from the root.
fn rust_files(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root.join(directory))
        .with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            rust_files(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Of paths and contents in the paths' order, each with its length before it, so that nothing can move between them.
fn hash(files: &mut [(String, Vec<u8>)], crates: &str) -> String {
    files.sort();
    let crates = ("Cargo.lock".to_owned(), crates.as_bytes().to_vec());
    let mut hasher = Sha256::new();
    for (path, bytes) in files.iter().chain([&crates]) {
        for part in [path.as_bytes(), bytes] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hex(&hasher.finalize())
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The crates in Cargo.lock whose code ends up in the object, as `name version`.
fn kernel_crates(lock: &str) -> Vec<String> {
    let value = |line: &str, key: &str| {
        let quoted = line.strip_prefix(key)?.strip_prefix(" = ")?;
        Some(quoted.trim_matches('"').to_owned())
    };
    let mut crates = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        if line == "[[package]]" {
            name = None;
        } else if let Some(text) = value(line, "name") {
            name = Some(text);
        } else if let (Some(name), Some(version)) = (&name, value(line, "version"))
            && (name.starts_with("aya-ebpf")
                || name.starts_with("aya-log-ebpf")
                || name == "aya-log-common")
        {
            crates.push(format!("{name} {version}"));
        }
    }
    crates.sort();
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            versions: Versions {
                rustc: "rustc 1.96.0 (ac68faa20 2026-05-25)".into(),
                llvm: "22.1.8".into(),
                linker: "bpf-linker 0.13.0".into(),
                linker_llvm: "22.1".into(),
            },
            rustflags: "-C debuginfo=2 --remap-path-prefix=<workspace>=/memtrace".into(),
            profile: "opt-level=3".into(),
            crates: "aya-ebpf 0.2.1".into(),
            sources: "00".into(),
            object: "ff".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = provenance().to_text();
        assert_eq!(Provenance::parse(&text).unwrap(), provenance());
    }

    #[test]
    fn a_broken_file_is_refused() {
        let text = provenance().to_text();
        for (broken, complaint) in [
            (
                text.replace("sources-sha256: 00\n", ""),
                "no line sources-sha256",
            ),
            (format!("{text}\n"), "not a `key: value` line"),
            (format!("{text}object-sha256: ff\n"), "twice"),
            (format!("{text}more: 1\n"), "unknown"),
            ("x\n".to_owned(), "not a `key: value` line"),
        ] {
            let error = Provenance::parse(&broken).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    fn file(path: &str, bytes: &str) -> (String, Vec<u8>) {
        (path.to_owned(), bytes.as_bytes().to_vec())
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order() {
        let (a, b) = (file("a.rs", "one"), file("b.rs", "two"));
        assert_eq!(hash(&mut [a.clone(), b.clone()], ""), hash(&mut [b, a], ""));
    }

    #[test]
    fn the_hash_depends_on_everything_else() {
        let base = hash(
            &mut [file("a.rs", "one"), file("b.rs", "two")],
            "aya-ebpf 1",
        );
        for (mut files, crates) in [
            ([file("a.rs", "One"), file("b.rs", "two")], "aya-ebpf 1"),
            ([file("c.rs", "one"), file("b.rs", "two")], "aya-ebpf 1"),
            ([file("a.rs", "oneb"), file(".rs", "two")], "aya-ebpf 1"),
            ([file("a.rs", "two"), file("b.rs", "one")], "aya-ebpf 1"),
            ([file("a.rs", "one"), file("b.rs", "two")], "aya-ebpf 2"),
        ] {
            assert_ne!(hash(&mut files, crates), base);
        }
    }

    #[test]
    fn a_known_digest() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_crates_are_read_from_the_lock_file() {
        let lock = "version = 4\n\n\
            [[package]]\nname = \"aya\"\nversion = \"0.14.0\"\ndependencies = [\n \"aya-obj\",\n]\n\n\
            [[package]]\nname = \"aya-log-ebpf\"\nversion = \"0.2.0\"\n\n\
            [[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\nsource = \"x\"\n";
        assert_eq!(
            kernel_crates(lock),
            ["aya-ebpf 0.2.1", "aya-log-ebpf 0.2.0"]
        );
    }

    #[test]
    fn sources_are_found_wherever_the_tree_lies() {
        let tree = |order: &[&str]| {
            let root = tempfile::tempdir().unwrap();
            for path in order {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
            }
            Sources::read(root.path()).unwrap()
        };
        let paths = [
            "memtrace-ebpf/Cargo.toml",
            "memtrace-ebpf/src/main.rs",
            "memtrace-ebpf/src/deeper/more.rs",
            "memtrace-common/Cargo.toml",
            "memtrace-common/src/lib.rs",
            "Cargo.lock",
        ];
        let mut turned = paths;
        turned.reverse();
        assert_eq!(tree(&paths), tree(&turned));
        // A test of memtrace-common is no source of the object.
        let with_test = [&paths[..], &["memtrace-common/tests/fold.rs"]].concat();
        assert_eq!(tree(&paths), tree(&with_test));
        let with_source = [&paths[..], &["memtrace-ebpf/src/new.rs"]].concat();
        assert_ne!(tree(&paths), tree(&with_source));
    }
}
