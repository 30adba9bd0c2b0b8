//! `cargo xtask golang`: Go toolchains, without root, from Debian's archive.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{cargo::root, debian::Debian};

/// Each is in one of the archive's suites: bullseye, bookworm, bookworm-backports, trixie, trixie-backports.
pub const VERSIONS: [&str; 5] = ["1.15", "1.19", "1.23", "1.24", "1.27"];

/// Below the target directory.
const DIR: &str = "golang";

#[derive(Args, Default)]
pub struct Options {
    /// Which, such as 1.19; all that the tests use, where none is given.
    versions: Vec<String>,
    /// Debian's archive [default: the one that this machine's apt uses]
    #[arg(long, value_name = "URI")]
    archive: Option<String>,
}

/// A toolchain that is here.
pub struct Toolchain {
    /// Such as `1.19`.
    pub version: String,
    /// Its `GOROOT`.
    pub root: PathBuf,
}

/// Prints a line for each toolchain: its version and its `GOROOT`. Fails where one cannot be had, after the others.
pub fn run(options: &Options) -> Result<()> {
    let versions = match &options.versions[..] {
        [] => VERSIONS.map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    let (toolchains, missing) = toolchains(&root()?, &versions, options.archive.as_deref())?;
    for toolchain in toolchains {
        println!("{} {}", toolchain.version, toolchain.root.display());
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// The toolchains of `versions` (as `1.19`), fetched where they are not here, and why each of the others cannot be had. From the
/// machine's own archive, where none is given.
pub fn toolchains<S: AsRef<str>>(
    root: &Path,
    versions: &[S],
    archive: Option<&str>,
) -> Result<(Vec<Toolchain>, Vec<String>)> {
    let debian = Debian::open(root, DIR, archive)?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for version in versions {
        match fetch(&debian, version.as_ref()) {
            Ok(toolchain) => found.push(toolchain),
            Err(error) => missing.push(format!("{error:#}")),
        }
    }
    Ok((found, missing))
}

fn fetch(debian: &Debian, version: &str) -> Result<Toolchain> {
    // It becomes part of a path.
    if !version
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        bail!("{version:?} is no version of Go such as 1.19");
    }
    let [go, source] = ["go", "src"].map(|part| format!("golang-{version}-{part}"));
    let place = debian.fetch(version, &[&go, &source])?;
    let root = place.join(format!("usr/lib/go-{version}"));
    // Its links to the sources are relative, so they hold here, too.
    ensure!(
        root.join("bin/go").is_file() && root.join("src/runtime").is_dir(),
        "{} is broken; remove it",
        place.display()
    );
    Ok(Toolchain {
        version: version.to_owned(),
        root: root
            .canonicalize()
            .with_context(|| format!("no {}", root.display()))?,
    })
}
