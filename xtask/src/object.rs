//! `cargo xtask build-ebpf` and `check-object`: the committed eBPF object.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    cargo::{cargo, read, root, run, target_dir},
    provenance::{Provenance, Sources, sha256},
    record::{Key, Records},
    strip::strip,
    toolchain::{self, Toolchain},
};

const OBJECT: &str = "memtrace/ebpf/memtrace.bpf.o";
const PROVENANCE: &str = "memtrace/ebpf/memtrace.bpf.txt";
const TARGET: &str = "bpfel-unknown-none";

/// BTF is made from debug information; `v3` has the atomic exchange.
const RUSTFLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];

/// Every setting of the release profile that shows in the object, so that neither the workspace's profile nor the user's
/// own configuration does. One codegen unit, since how code is split shows in what is inlined.
const PROFILE: [(&str, &str); 9] = [
    ("opt-level", "3"),
    ("lto", "thin"),
    ("codegen-units", "1"),
    ("debug", "2"),
    ("strip", "none"),
    ("panic", "abort"),
    ("overflow-checks", "false"),
    ("debug-assertions", "false"),
    ("incremental", "false"),
];

/// Builds the object and writes it, with its provenance.
pub fn build(toolchain: Option<&str>) -> Result<()> {
    let root = root()?;
    let toolchain = toolchain::find(toolchain)?;
    println!(
        "building with {}, {}",
        toolchain.versions.rustc, toolchain.versions.linker
    );
    let sources = Sources::read(&root)?;
    let object = build_with(&root, &toolchain)?;
    ensure!(
        Sources::read(&root)? == sources,
        "the sources changed while they were being built: run it again"
    );
    let provenance = Provenance {
        versions: toolchain.versions,
        rustflags: rustflags_text(),
        profile: profile_text(),
        crates: sources.crates,
        sources: sources.hash,
        object: sha256(&object),
    };
    write(&root.join(OBJECT), &object)?;
    write(&root.join(PROVENANCE), provenance.to_text().as_bytes())?;
    println!(
        "{OBJECT}: {} bytes, sha256 {}",
        object.len(),
        provenance.object
    );
    Ok(())
}

/// Replaces a file at once: a build that runs beside this one must not embed a half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    fs::create_dir_all(directory)?;
    let partial = path.with_extension("tmp");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The object, its sources, and the code that builds it.
const INPUTS: [&str; 10] = [
    "memtrace-ebpf",
    "memtrace-common/Cargo.toml",
    "memtrace-common/src",
    OBJECT,
    PROVENANCE,
    ".cargo",
    "rust-toolchain.toml",
    "xtask/src/object.rs",
    "xtask/src/strip.rs",
    "xtask/src/toolchain.rs",
];

/// The kind of records that say that the object was rebuilt and compared.
const COMPARED: &str = "object";

/// Whether the object must be rebuilt and compared byte for byte, with the reason.
pub enum Due {
    Yes(String),
    No(String),
}

impl Due {
    /// Decides by the records, and if there is none, by the main branch: its object was compared when it was merged.
    pub fn find(root: &Path) -> Result<Self> {
        if let Some(green) = Records::open(root).get(COMPARED, &key(root)?) {
            return Ok(Self::No(format!("compared: {}", green.trim_end())));
        }
        let Some(base) = base(root) else {
            return Ok(Self::Yes(
                "no comparison of it is on record, and there is no older main branch to say that it did not change"
                    .to_owned(),
            ));
        };
        let mut diff = Command::new("git");
        diff.current_dir(root)
            .args(["diff", "--quiet", &base, "--"])
            .args(INPUTS);
        // `git diff` ignores files that were never added.
        let mut status = Command::new("git");
        status
            .current_dir(root)
            .args(["status", "--porcelain", "--untracked-files=all", "--"])
            .args(INPUTS);
        let same = diff.status().is_ok_and(|status| status.success())
            && read(&mut status).is_ok_and(|text| text.is_empty());
        Ok(if same {
            Self::No(format!("neither it nor its sources changed since {base}"))
        } else {
            Self::Yes(format!("it or its sources changed since {base}"))
        })
    }
}

/// Returns the merge base with the main branch of the clone's origin. Returns none if it is this very commit: then git cannot tell what
/// the change is.
fn base(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let text = read(Command::new("git").current_dir(root).args(args)).ok()?;
        Some(text.trim().to_owned())
    };
    let main = ["origin/HEAD", "origin/main", "origin/master"]
        .into_iter()
        .find_map(|name| git(&["rev-parse", "--verify", "--quiet", name]))?;
    let base = git(&["merge-base", "HEAD", &main])?;
    (base != git(&["rev-parse", "HEAD"])?).then_some(base)
}

fn key(root: &Path) -> Result<String> {
    let mut key = Key::new(COMPARED);
    for path in INPUTS {
        key.add_tree(root, path)?;
    }
    // The versions of crates from elsewhere.
    key.add("crates", Sources::read(root)?.crates.as_bytes());
    Ok(key.finish())
}

/// Prints whether the object would be rebuilt.
pub fn say_whether_due() -> Result<()> {
    match Due::find(&root()?)? {
        Due::Yes(why) => println!("due: {why}"),
        Due::No(why) => println!("not due: {why}"),
    }
    Ok(())
}

/// When [`check`] rebuilds an object whose hashes are right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    Always,
    IfDue,
}

/// Fails where the committed object is not what its sources give.
pub fn check(rebuild: Rebuild) -> Result<()> {
    let root = root()?;
    let text = fs::read_to_string(root.join(PROVENANCE))
        .with_context(|| format!("cannot read {PROVENANCE}"))?;
    let provenance = Provenance::parse(&text)
        .with_context(|| format!("{PROVENANCE} is broken: run `cargo xtask build-ebpf`"))?;
    let object = fs::read(root.join(OBJECT)).with_context(|| format!("cannot read {OBJECT}"))?;
    let sources = Sources::read(&root)?;

    let stale = [
        (
            "sources-sha256",
            sources.hash == provenance.sources,
            "was built from other sources",
        ),
        (
            "crates",
            sources.crates == provenance.crates,
            "was built with other crates",
        ),
        (
            "rustflags",
            rustflags_text() == provenance.rustflags,
            "was built with other flags",
        ),
        (
            "profile",
            profile_text() == provenance.profile,
            "was built with another profile",
        ),
        (
            "object-sha256",
            sha256(&object) == provenance.object,
            "is not the one that was built",
        ),
    ]
    .into_iter()
    .filter(|(_, holds, _)| !holds)
    .map(|(key, _, what)| format!("{OBJECT} {what}: {key} differs"))
    .collect::<Vec<_>>();
    ensure!(
        stale.is_empty(),
        "{}\nrun `cargo xtask build-ebpf`",
        stale.join("\n")
    );
    println!("{OBJECT} belongs to its sources");
    if rebuild == Rebuild::IfDue {
        match Due::find(&root)? {
            Due::Yes(why) => println!("{why}"),
            Due::No(why) => {
                println!("not rebuilt: {why}");
                return Ok(());
            }
        }
    }

    let (toolchains, mut others) = toolchain::all();
    for toolchain in toolchains {
        if toolchain.versions == provenance.versions {
            return compare(&root, &toolchain, &object);
        }
        let versions = &toolchain.versions;
        others.push(format!(
            "{}: {} (LLVM {}), {} (LLVM {})",
            toolchain.name, versions.rustc, versions.llvm, versions.linker, versions.linker_llvm
        ));
    }
    let versions = &provenance.versions;
    println!(
        "NOT REBUILT: the toolchain that built it is not at hand, so its bytes were not compared.\n    \
         needed: {} (LLVM {}), {} (LLVM {})\n    found {}",
        versions.rustc,
        versions.llvm,
        versions.linker,
        versions.linker_llvm,
        others.join("\n    found ")
    );
    Ok(())
}

fn compare(root: &Path, toolchain: &Toolchain, committed: &[u8]) -> Result<()> {
    println!(
        "rebuilding it with {}, {}",
        toolchain.versions.rustc, toolchain.versions.linker
    );
    let rebuilt = build_with(root, toolchain)?;
    if rebuilt != committed {
        let kept = target_dir(root).join("ebpf/memtrace.bpf.o");
        write(&kept, &rebuilt)?;
        bail!(
            "{OBJECT} differs from what its toolchain makes of its sources, which is now in {}: run `cargo xtask \
             build-ebpf`",
            kept.display()
        );
    }
    println!("rebuilt: the same {} bytes", rebuilt.len());
    let text = format!(
        "{}, {}",
        toolchain.versions.rustc, toolchain.versions.linker
    );
    Records::open(root).put(COMPARED, &key(root)?, &text)
}

/// The stripped object, in memory.
fn build_with(root: &Path, toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target_dir = target_dir(root).join("ebpf");
    let mut remaps = vec![
        (root.to_owned(), "/memtrace"),
        (target_dir.clone(), "/target"),
    ];
    remaps.extend(
        registries(root)?
            .into_iter()
            .map(|path| (path, "/registry")),
    );
    // The compiler may speak of its sources by either name, where one is a link to the other.
    let real = toolchain.sources.canonicalize()?;
    remaps.extend([(toolchain.sources.clone(), "/rust"), (real, "/rust")]);

    // Cargo does not know that the linker is an input, so it must not take the last result for the present one.
    let package = [
        "--release",
        "--target",
        TARGET,
        "--package",
        "memtrace-ebpf",
    ];
    let mut clean = cargo_with(root, toolchain, &remaps, &target_dir)?;
    run(clean.args(["clean", "--quiet", "--locked"]).args(package))?;
    let mut build = cargo_with(root, toolchain, &remaps, &target_dir)?;
    run(build
        .args(["build", "--locked", "-Zbuild-std=core"])
        .args(package))?;

    let linked = target_dir.join(TARGET).join("release/memtrace-ebpf");
    let linked = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let object = strip(&linked)?;
    refuse_paths(&object, &remaps)?;
    Ok(object)
}

/// Cargo with this toolchain, and with nothing that the user's environment would add.
fn cargo_with(
    root: &Path,
    toolchain: &Toolchain,
    remaps: &[(PathBuf, &str)],
    target_dir: &Path,
) -> Result<Command> {
    let mut flags = RUSTFLAGS.map(str::to_owned).to_vec();
    for (path, virtual_path) in remaps {
        let path = path
            .to_str()
            .with_context(|| format!("{} is not text", path.display()))?;
        flags.push(format!("--remap-path-prefix={path}={virtual_path}"));
    }
    let mut command = Command::new(&toolchain.cargo);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        // Set by the cargo and the rustup that run this, which may not be the ones meant here.
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PROFILE_") || name.starts_with("CARGO_PKG_") {
            command.env_remove(name.as_ref());
        }
    }
    for name in [
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_MANIFEST_DIR",
    ] {
        command.env_remove(name);
    }
    for (key, value) in PROFILE {
        let key = key.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    command
        .env("RUSTC", &toolchain.rustc)
        // A stable compiler builds its own library only when told that it may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .env("CARGO_TARGET_DIR", target_dir);
    Ok(command)
}

/// Where the sources of crates from elsewhere lie: cargo's registry, a mirror, or a vendor directory.
fn registries(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let metadata = read(&mut cargo(
        root,
        ["metadata", "--locked", "--format-version=1"],
    ))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo prints broken JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo lists no packages")?;
    Ok(packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| {
            Path::new(package["manifest_path"].as_str()?)
                .ancestors()
                .nth(2)
        })
        .map(Path::to_owned)
        .collect())
}

/// The object must not depend on, nor tell, where it was built.
fn refuse_paths(object: &[u8], remaps: &[(PathBuf, &str)]) -> Result<()> {
    let homes = [env::home_dir(), toolchain::cargo_home()];
    let paths = remaps.iter().map(|(path, _)| path.clone());
    for path in paths.chain(homes.into_iter().flatten()) {
        // A tree that lies where the remapped one pretends to lie gives nothing away.
        let is_virtual = remaps
            .iter()
            .any(|(_, name)| Path::new(name).starts_with(&path));
        let bytes = path.as_os_str().as_encoded_bytes();
        if !is_virtual && object.windows(bytes.len()).any(|window| window == bytes) {
            bail!("the object has the path {} in it", path.display());
        }
    }
    Ok(())
}

fn rustflags_text() -> String {
    let remaps = [
        ("workspace", "/memtrace"),
        ("target", "/target"),
        ("registry", "/registry"),
        ("sysroot", "/rust"),
    ]
    .map(|(what, name)| format!("--remap-path-prefix=<{what}>={name}"));
    let flags = RUSTFLAGS.map(str::to_owned).into_iter();
    flags.chain(remaps).collect::<Vec<_>>().join(" ")
}

fn profile_text() -> String {
    PROFILE
        .map(|(key, value)| format!("{key}={value}"))
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loader looks for these in the whole file.
    #[test]
    fn what_the_loader_fills_in_is_found_in_programs_and_nowhere_else() {
        use memtrace_common::config::{CAST, MOVE, NUMBER};
        use object::{
            build::elf::{Builder, SectionData},
            elf::SHF_EXECINSTR,
        };

        let is_filled_in = |bytes: &[u8; 8]| {
            let word = u64::from_le_bytes(*bytes);
            let number = (word >> 32) as u32;
            word == CAST || (word as u32 & 0xffff_f0ff == MOVE && number >> 16 == NUMBER >> 16)
        };
        let count = |bytes: &[u8]| {
            let words = bytes.as_chunks().0;
            words.iter().filter(|word| is_filled_in(word)).count()
        };
        let object = fs::read(root().unwrap().join(OBJECT)).unwrap();
        let builder = Builder::read(&*object).unwrap();
        let programs = builder
            .sections
            .iter()
            .filter(|section| section.sh_flags & u64::from(SHF_EXECINSTR) != 0);
        let in_programs: usize = programs
            .map(|section| match &section.data {
                SectionData::Data(bytes) => count(bytes),
                _ => 0,
            })
            .sum();
        assert!(in_programs > 0);
        assert_eq!(count(&object), in_programs);
    }

    #[test]
    fn a_path_of_the_building_machine_is_refused() {
        let remaps = [(PathBuf::from("/somewhere/memtrace"), "/memtrace")];
        assert!(refuse_paths(b"\0/memtrace/src/main.rs\0", &remaps).is_ok());
        assert!(refuse_paths(b"\0/somewhere/memtrace/src/main.rs\0", &remaps).is_err());
    }

    #[test]
    fn a_tree_at_the_virtual_path_is_not_refused() {
        let remaps = [(PathBuf::from("/memtrace"), "/memtrace")];
        assert!(refuse_paths(b"\0/memtrace/src/main.rs\0", &remaps).is_ok());
    }
}
