//! What a case needs beside memtrace: interpreters, servers, libraries, compilers.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::{
    cases::Skip,
    stage::{build_dir, owned, target_dir},
};

/// Where the sources of the programs are.
pub fn sources() -> PathBuf {
    // The variable says where the package is now, should the tests have been carried to another machine.
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    PathBuf::from(package.unwrap_or(env!("CARGO_MANIFEST_DIR").into())).join("tests/verdicts")
}

fn missing(what: &str, package: &str) -> Skip {
    Skip::NotRun(format!("no {what}; type: apt-get install {package}"))
}

/// A program in `PATH`.
pub fn program(name: &str, package: &str) -> Result<PathBuf, Skip> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| missing(name, package))
}

/// A library, for `LD_PRELOAD`.
pub fn library(name: &str, package: &str) -> Result<PathBuf, Skip> {
    let arch = std::env::consts::ARCH;
    [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/lib64".into(),
        "/usr/lib".into(),
    ]
    .into_iter()
    .map(|dir| Path::new(&dir).join(name))
    .find(|file| file.is_file())
    .ok_or_else(|| missing(name, package))
}

/// A Go toolchain: its `GOROOT`. Of this release, or the newest that is here.
pub fn go(release: Option<&str>) -> Result<PathBuf, Skip> {
    let mut found = Vec::new();
    // What `cargo xtask golang` makes, and what Debian's packages do.
    for (place, prefix, depth) in [
        (target_dir().join("golang"), "", 4),
        ("/usr/lib".into(), "go-", 0),
    ] {
        for dir in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = dir.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix(prefix).map(version).unwrap_or_default();
            if !version.is_empty() {
                found.extend(goroot(&dir.path(), depth).map(|root| (version, root)));
            }
        }
    }
    found
        .into_iter()
        .filter(|(version, _)| release.is_none_or(|release| self::version(release) == *version))
        .max()
        .map(|(_, root)| root)
        .ok_or_else(|| {
            let what = release.map_or(String::new(), |release| format!(" {release}"));
            Skip::NotRun(format!("no Go{what}; type: cargo xtask golang"))
        })
}

/// A release, as numbers; none where it is something else.
fn version(text: &str) -> Vec<u32> {
    text.split('.')
        .map_while(|word| word.parse().ok())
        .collect()
}

/// The folder that has `bin/go`, at most so deep.
fn goroot(dir: &Path, depth: u32) -> Option<PathBuf> {
    if dir.join("bin/go").is_file() && dir.join("src/runtime").is_dir() {
        return Some(dir.to_owned());
    }
    let below = fs::read_dir(dir).ok().filter(|_| depth > 0)?;
    below
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| goroot(&entry.path(), depth - 1))
}

/// A program being built, by who owns the target directory, so that root owns nothing in it.
pub struct Build {
    command: Command,
    source: PathBuf,
    dir: PathBuf,
}

/// One at a time: what one builds the next one finds in the cache.
static BUILDING: Mutex<()> = Mutex::new(());

impl Build {
    /// With this compiler, from a file of this folder, in a folder of this name.
    pub fn new(compiler: &Path, source: &str, name: &str) -> Self {
        let cache = build_dir().join("cache");
        let mut command = Command::new(compiler);
        command
            .env("HOME", &cache)
            .env("GOCACHE", cache.join("go"))
            .env("GOPATH", cache.join("gopath"))
            .envs([
                ("GO111MODULE", "off"),
                ("GOPROXY", "off"),
                ("GOTOOLCHAIN", "local"),
                ("GOENV", "off"),
                ("GOFLAGS", ""),
                ("CGO_ENABLED", "0"),
            ]);
        Self {
            command,
            source: sources().join(source),
            dir: build_dir().join(name),
        }
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// The folder in which it was built.
    pub fn run(mut self, arguments: &[&str]) -> PathBuf {
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        owned(&build_dir().join("cache"), |dir| fs::create_dir_all(dir));
        owned(&self.dir, |dir| fs::create_dir_all(dir));
        let name: OsString = self.source.file_name().unwrap().into();
        owned(&self.dir.join(name), |file| fs::copy(&self.source, file));
        let owner = fs::metadata(&self.dir).unwrap();
        self.command.args(arguments).current_dir(&self.dir);
        if owner.uid() != 0 {
            self.command.uid(owner.uid()).gid(owner.gid());
        }
        let output = self.command.output().unwrap();
        assert!(
            output.status.success(),
            "{:?}: {}",
            self.command,
            String::from_utf8_lossy(&output.stderr)
        );
        self.dir
    }
}
