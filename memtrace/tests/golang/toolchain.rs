//! Go toolchains, and what they build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// As `cargo xtask golang` fetches them.
pub const VERSIONS: [&str; 5] = ["1.15", "1.19", "1.23", "1.24", "1.27"];

/// More of them: `GOROOT`s, with colons between.
const MORE: &str = "MEMTRACE_GOROOTS";

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golang/program.go");

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub pie: bool,
    /// For the linker.
    pub flags: &'static str,
}

impl Form {
    /// Such as `_pie_s`.
    pub fn suffix(self) -> String {
        let pie = if self.pie { "_pie" } else { "" };
        let flags = self.flags.replace(['-', '=', ' '], "_");
        format!("{pie}{flags}")
    }

    /// Whether C's linker links it, with C code: it puts things elsewhere than Go's.
    pub fn has_c(self) -> bool {
        self.flags.contains("external")
    }

    /// Whether it has no symbols.
    pub fn is_stripped(self) -> bool {
        self.flags.ends_with("-s")
    }
}

/// A toolchain.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// As its file VERSION says, without `go`: such as `1.19.8`.
    pub version: String,
    root: PathBuf,
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// The toolchains that are here, and the versions that should be and are not.
pub fn all() -> (Vec<Toolchain>, Vec<&'static str>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for version in VERSIONS {
        let root = target().join(format!("golang/{version}/usr/lib/go-{version}"));
        match Toolchain::at(root) {
            Some(toolchain) => found.push(toolchain),
            None => missing.push(version),
        }
    }
    for root in env::var(MORE).unwrap_or_default().split(':') {
        if !root.is_empty() {
            found.push(Toolchain::at(root.into()).unwrap_or_else(|| panic!("no Go in {root}")));
        }
    }
    (found, missing)
}

impl Toolchain {
    fn at(root: PathBuf) -> Option<Self> {
        let text = fs::read_to_string(root.join("VERSION")).ok()?;
        Some(Self {
            version: text.lines().next()?.strip_prefix("go")?.to_owned(),
            root,
        })
    }

    /// Such as `1.19`.
    pub fn minor(&self) -> &str {
        let mut dots = self.version.match_indices('.').map(|(at, _)| at);
        let end = dots.nth(1).unwrap_or(self.version.len());
        &self.version[..end]
    }

    /// The test program in a form; it is built once.
    pub fn build(&self, form: Form) -> PathBuf {
        let dir = target().join("golang/programs");
        fs::create_dir_all(&dir).unwrap();
        let mode = if form.pie { "pie" } else { "exe" };
        let program = dir.join(format!("go{}{}", self.version, form.suffix()));
        let mut command = Command::new(self.root.join("bin/go"));
        command
            .args(["build", "-o"])
            .arg(&program)
            .arg(format!("-buildmode={mode}"))
            .arg(format!("-ldflags={}", form.flags))
            .arg(PROGRAM)
            .current_dir(&dir)
            .env("GOROOT", &self.root)
            .env("GOCACHE", target().join("golang/cache"))
            .env("GOPATH", target().join("golang/path"))
            .env("GOFLAGS", "-mod=mod")
            .env("GO111MODULE", "off")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", if form.has_c() { "1" } else { "0" });
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{} does not build: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        program
    }
}
