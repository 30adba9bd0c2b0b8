//! What guests run: memtrace and its real-kernel tests, with the libraries that they are linked to.
//!
//! Measured on 2 CPUs: linked statically, and so with every dependency built once more, this takes 380 s; as it is here, behind a
//! `cargo test`, 130 s. What `cargo test` itself builds takes nothing, and then each guest takes nearly twice as long (6.12: 727 s, not
//! 372), with storms too small for their bounds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use object::{
    Endianness, elf,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::cargo::{USERSPACE, artifacts, cargo, read, run, target_dir};

/// memtrace and its real-kernel tests, without debug information.
pub struct Programs {
    pub memtrace: PathBuf,
    pub tests: PathBuf,
    /// What the two need beside them, at the paths where the host has it: the loader and the shared libraries.
    pub libraries: Vec<PathBuf>,
}

/// How what reads BTF and the maps is built, and nothing else. Without its checks the standard library's functions, of which reading
/// BTF makes millions of calls, are several times as fast.
const OPTIMIZED: [&str; 5] = [
    "opt-level=2",
    "codegen-units=16",
    "debug=false",
    "debug-assertions=false",
    "overflow-checks=false",
];

/// Builds them; what is made of that goes into `dir`.
pub fn build(root: &Path, dir: &Path) -> Result<Programs> {
    let mut command = cargo(root, ["test", "--no-run", "--locked", "--test", "kernel"]);
    // The selection of `cargo test`, so that dependencies have the features that they have there.
    command.args(USERSPACE).env("CARGO_INCREMENTAL", "0");
    // Cargo leaves each program at the same path, whatever it was built with, and other tests run the one that is there.
    command
        .arg("--target-dir")
        .arg(target_dir(root).join("guests"));
    // Cargo's default, thin LTO among the codegen units of one crate, takes half of the time of the build.
    command.args(["--config", "profile.dev.lto=\"off\""]);
    for setting in OPTIMIZED {
        command.args([
            "--config",
            &format!("profile.dev.package.memtrace-core.{setting}"),
        ]);
    }
    let built = artifacts(&mut command).context("the tests do not build")?;
    let package = root.join("memtrace");
    let small = |is_test: bool, target: &str| {
        let artifact = built
            .iter()
            .find(|artifact| {
                artifact.is_test == is_test
                    && artifact.package == package
                    && artifact.target == target
            })
            .with_context(|| format!("cargo built no {target}"))?;
        let stripped = dir.join(target);
        // 80 MiB less for an emulated CPU to unpack.
        run(Command::new("strip")
            .arg("--strip-debug")
            .arg("-o")
            .args([&stripped, &artifact.executable]))
        .context("strip belongs to what Rust links with; type: apt-get install binutils")?;
        Ok::<_, anyhow::Error>(stripped)
    };
    let memtrace = small(false, "memtrace")?;
    let tests = small(true, "kernel")?;
    let mut libraries = libraries(&memtrace)?;
    libraries.extend(self::libraries(&tests)?);
    libraries.sort();
    libraries.dedup();
    Ok(Programs {
        memtrace,
        tests,
        libraries,
    })
}

/// The loader and the shared libraries of a program, as the loader itself finds them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let Some(loader) = interpreter(&bytes)? else {
        return Ok(Vec::new());
    };
    let listed = read(Command::new(&loader).arg("--list").arg(program))?;
    let mut found = vec![loader];
    found.extend(paths(&listed)?);
    Ok(found)
}

/// The paths in what a loader lists. Libraries that have none are the kernel's own.
fn paths(listed: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in listed.lines() {
        ensure!(!line.contains("not found"), "{}", line.trim());
        if let Some((_, path)) = line.split_once(" => ") {
            let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
            paths.push(PathBuf::from(path.trim()));
        }
    }
    Ok(paths)
}

/// Whether a program runs where there are no libraries.
pub fn is_static(program: &[u8]) -> Result<bool> {
    Ok(interpreter(program)?.is_none())
}

/// The loader that a program names.
fn interpreter(program: &[u8]) -> Result<Option<PathBuf>> {
    let header = elf::FileHeader64::<Endianness>::parse(program)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, program)? {
        if let Some(name) = segment.interpreter(endian, program)? {
            let name = std::str::from_utf8(name).context("a loader without a readable name")?;
            return Ok(Some(name.into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn what_a_program_needs_is_there() {
        let own = env::current_exe().unwrap();
        assert!(!is_static(&fs::read(&own).unwrap()).unwrap());
        let needed = libraries(&own).unwrap();
        assert!(needed.len() > 1, "{needed:?}");
        assert!(
            needed
                .iter()
                .any(|path| path.to_string_lossy().contains("libc.")),
            "{needed:?}"
        );
        for path in needed {
            assert!(path.is_absolute() && path.is_file(), "{path:?}");
        }
    }

    #[test]
    fn a_library_that_is_missing_is_named() {
        let error = paths("\tlinux-vdso.so.1 (0x1)\n\tlibnone.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libnone.so.1"), "{error}");
    }
}
