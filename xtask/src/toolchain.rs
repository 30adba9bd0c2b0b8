//! What can build the kernel side: a Rust compiler that has its library's sources, and bpf-linker.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{
    Endianness, elf,
    read::elf::{Dyn as _, FileHeader as _},
};

use crate::cargo::{program, read};

/// The compiler of the distribution: not rustup's, so it is never in question which one is meant.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// What to type where nothing was found.
const ADVICE: &str = "\
To get a compiler, on Debian:
    apt-get install rustc-web rust-web-src
or elsewhere:
    rustup toolchain install nightly --component rust-src
To get bpf-linker, on Debian:
    apt-get install llvm-22-dev libzstd-dev zlib1g-dev
    LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 LLVM_PREFIX=/usr/lib/llvm-22 PATH=/usr/lib/llvm-22/bin:$PATH \\
        cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22 --locked
Elsewhere see https://github.com/aya-rs/bpf-linker; its LLVM must not be older than the compiler's.";

/// A compiler and a linker that fit together.
#[derive(Debug)]
pub struct Toolchain {
    /// `system`, or rustup's name.
    pub name: String,
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    /// Where the library's sources lie: the directory that holds `library/`.
    pub sources: PathBuf,
    pub linker: PathBuf,
    pub versions: Versions,
}

/// What two builds must agree in to give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The first line of `rustc -vV`.
    pub rustc: String,
    /// The compiler's LLVM.
    pub llvm: String,
    /// What `bpf-linker --version` prints.
    pub linker: String,
    /// The linker's LLVM: that of the shared library, `built in` where it brings its own.
    pub linker_llvm: String,
}

/// The toolchain of this name, or the first that can build.
pub fn find(name: Option<&str>) -> Result<Toolchain> {
    let mut found = String::new();
    for candidate in candidates(name) {
        match look(&candidate) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => found += &format!("    {candidate}: {error:#}\n"),
        }
    }
    bail!(
        "memtrace-ebpf needs a Rust compiler with its library's sources, and bpf-linker. Found:\n{found}{ADVICE}"
    )
}

/// Every toolchain that can build, and why the others cannot.
pub fn all() -> (Vec<Toolchain>, Vec<String>) {
    let mut toolchains = Vec::new();
    let mut reasons = Vec::new();
    for candidate in candidates(None) {
        match look(&candidate) {
            Ok(toolchain) => toolchains.push(toolchain),
            Err(error) => reasons.push(format!("{candidate}: {error:#}")),
        }
    }
    (toolchains, reasons)
}

fn candidates(name: Option<&str>) -> Vec<String> {
    name.map_or_else(
        || vec!["system".to_owned(), "nightly".to_owned()],
        |name| vec![name.to_owned()],
    )
}

fn look(name: &str) -> Result<Toolchain> {
    let (rustc, cargo) = if name == "system" {
        (PathBuf::from(SYSTEM_RUSTC), program())
    } else {
        (which(name, "rustc")?, which(name, "cargo")?)
    };
    ensure!(rustc.exists(), "there is no {}", rustc.display());
    let version = read(Command::new(&rustc).arg("-vV"))?;
    let llvm = field(&version, "LLVM version")
        .context("a compiler without LLVM")?
        .to_owned();
    let rustc_line = version.lines().next().unwrap_or_default().to_owned();

    let sysroot = read(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    ensure!(
        sources.join("library/core/src/lib.rs").exists(),
        "{rustc_line} without its library's sources ({})",
        if name == "system" {
            "Debian's package rust-web-src brings them"
        } else {
            "rustup's component rust-src brings them"
        }
    );

    let linker = linker()?;
    let linker_version = read(Command::new(&linker).arg("--version"))?;
    let linker_llvm =
        shared_llvm(&linker).with_context(|| format!("cannot read {}", linker.display()))?;
    if let (Some(mine), Some(linkers)) = (major(&llvm), linker_llvm.as_deref().and_then(major)) {
        ensure!(
            linkers >= mine,
            "{rustc_line} has LLVM {llvm}, and {} has LLVM {linkers}: too old to read what the compiler writes",
            linker_version.trim()
        );
    }
    Ok(Toolchain {
        name: name.to_owned(),
        rustc,
        cargo,
        sources,
        linker,
        versions: Versions {
            rustc: rustc_line,
            llvm,
            linker: linker_version.trim().to_owned(),
            linker_llvm: linker_llvm.unwrap_or_else(|| "built in".to_owned()),
        },
    })
}

/// A program of one of rustup's toolchains.
fn which(toolchain: &str, program: &str) -> Result<PathBuf> {
    let path = read(
        Command::new("rustup")
            .args(["which", "--toolchain", toolchain, program])
            // Looking for a toolchain must not install it.
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )?;
    Ok(PathBuf::from(path.trim()))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// bpf-linker from PATH, or from where `cargo install` puts it, which need not be in PATH.
fn linker() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home().map(|home| home.join("bin")))
        .map(|directory| directory.join("bpf-linker"))
        .find(|file| file.is_file())
        .context("there is no bpf-linker in PATH")
}

pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// `22.1` for a program that needs libLLVM.so.22.1. The linker itself does not say which LLVM it has.
fn shared_llvm(program: &Path) -> Result<Option<String>> {
    let file = fs::read(program)?;
    let data = file.as_slice();
    let header = elf::FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let Some((entries, strings)) = sections.dynamic(endian, data)? else {
        return Ok(None);
    };
    let strings = sections.strings(endian, data, strings)?;
    for entry in entries {
        if entry.tag(endian) == elf::DT_NEEDED {
            let name = entry.string(endian, strings)?;
            if let Some(version) = name.strip_prefix(b"libLLVM.so.") {
                return Ok(Some(String::from_utf8_lossy(version).into_owned()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn the_compilers_llvm_is_found() {
        assert_eq!(field(VERSION, "LLVM version"), Some("22.1.8"));
        assert_eq!(field(VERSION, "LLVM"), None);
    }

    #[test]
    fn a_major_version_is_a_number() {
        assert_eq!(major("22.1.8"), Some(22));
        assert_eq!(major("23"), Some(23));
        assert_eq!(major("built in"), None);
    }

    #[test]
    fn a_program_without_llvm_needs_none() {
        let own = env::current_exe().unwrap();
        assert_eq!(shared_llvm(&own).unwrap(), None);
    }
}
