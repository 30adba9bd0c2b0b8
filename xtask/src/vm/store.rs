//! Kernels that were downloaded, unpacked to what booting one takes.
//!
//! A kernel's directory holds `vmlinuz`, the modules in the order in which they are loaded (`modules/00-….ko`), and
//! `packages`, which names what it was made from. It is made beside its place, and renamed: where there is one, it is whole.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cargo::{run, target_dir},
    vm::{archive::Archive, modules, packages::Kernel},
};

/// Swap in memory, and what kernels before 6.12 compress it with by way of the crypto layer, which names no module.
const MODULES: [&str; 2] = ["lzo_rle", "zram"];

/// Where kernels and apt's lists are kept.
pub struct Store {
    dir: PathBuf,
    /// Held while anything is changed: by one `cargo xtask vm` at a time.
    _lock: fs::File,
}

/// A kernel that can be booted.
pub struct Stored {
    pub release: String,
    pub vmlinuz: PathBuf,
    /// In the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

impl Store {
    /// In the user's cache, which outlives a clone, or below the target directory where there is none.
    pub fn open(root: &Path) -> Result<Self> {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|dir| dir.is_absolute())
        };
        let dir = absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .map_or_else(
                || target_dir(root).join("vm-kernels"),
                |dir| dir.join("memtrace/vm"),
            );
        fs::create_dir_all(dir.join("kernels"))
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let lock = super::lock(&dir)?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where apt's lists are.
    pub fn lists(&self) -> PathBuf {
        self.dir.join("apt")
    }

    /// Whether this very build of a kernel is there.
    pub fn has(&self, kernel: &Kernel) -> bool {
        fs::read_to_string(self.place(&kernel.release).join("packages"))
            .is_ok_and(|made_from| made_from == lines(kernel))
    }

    /// The releases that are there.
    pub fn releases(&self) -> Result<Vec<String>> {
        let mut releases: Vec<String> = fs::read_dir(self.dir.join("kernels"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        releases.sort();
        Ok(releases)
    }

    /// A kernel that is there.
    pub fn open_kernel(&self, release: &str) -> Result<Stored> {
        let place = self.place(release);
        let mut modules: Vec<PathBuf> = fs::read_dir(place.join("modules"))
            .with_context(|| format!("{} is broken; remove it", place.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        modules.sort();
        Ok(Stored {
            release: release.to_owned(),
            vmlinuz: place.join("vmlinuz"),
            modules,
        })
    }

    /// Downloads a kernel, unless this build of it is there.
    pub fn fetch(&self, kernel: &Kernel, archive: &Archive) -> Result<Stored> {
        if !self.has(kernel) {
            println!(
                "fetching {} from {}: {:.0} MB",
                kernel.release,
                kernel.suite,
                kernel.size() as f64 / 1e6
            );
            self.make(kernel, archive)
                .with_context(|| format!("cannot fetch {}", kernel.release))?;
        }
        self.open_kernel(&kernel.release)
    }

    fn place(&self, release: &str) -> PathBuf {
        self.dir.join("kernels").join(release)
    }

    fn make(&self, kernel: &Kernel, archive: &Archive) -> Result<()> {
        // What an earlier run left when it was stopped.
        let work = self.dir.join("kernels/.new");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        let (files, unpacked, made) =
            (work.join("files"), work.join("unpacked"), work.join("made"));
        for dir in [&files, &unpacked, &made.join("modules")] {
            fs::create_dir_all(dir)?;
        }
        for package in &kernel.packages {
            unpack_package(&archive.download(package, &files)?, &unpacked)?;
        }
        let release = &kernel.release;
        let modules = [
            format!("usr/lib/modules/{release}"),
            format!("lib/modules/{release}"),
        ]
        .map(|dir| unpacked.join(dir));
        let image = [&unpacked.join("boot")]
            .into_iter()
            .chain(&modules)
            .find_map(|dir| image(dir))
            .context("the packages hold no vmlinuz")?;
        fs::copy(image, made.join("vmlinuz"))?;
        let tree = modules
            .iter()
            .find(|dir| dir.join("kernel").is_dir())
            .context("the packages hold no modules")?;
        copy_modules(tree, &made.join("modules"))?;
        fs::write(made.join("packages"), lines(kernel))?;

        let place = self.place(release);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(&made, &place)?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }
}

/// Unpacks a package's files into a directory.
pub fn unpack_package(file: &Path, into: &Path) -> Result<()> {
    run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(into))
        .context("what is fetched are Debian packages, and dpkg-deb unpacks them; type: apt-get install dpkg")
}

fn lines(kernel: &Kernel) -> String {
    kernel
        .packages
        .iter()
        .map(|package| package.line() + "\n")
        .collect()
}

/// `vmlinuz-RELEASE` in /boot, or `vmlinuz` or `vmlinuz.unsigned` beside the modules since 7.2.
fn image(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.is_file()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
}

/// Copies the modules that are wanted, and those that they need, unpacked.
fn copy_modules(tree: &Path, to: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    find_modules(tree, &mut files)?;
    // What is not a module is built in, or this kernel does without.
    let wanted: Vec<String> = MODULES
        .into_iter()
        .filter(|name| files.contains_key(*name))
        .map(str::to_owned)
        .collect();
    let mut contents = BTreeMap::new();
    let ordered = modules::order(&wanted, |name| {
        let file = files
            .get(name)
            .with_context(|| format!("there is no module {name}"))?;
        let content = unpack(file)?;
        let needs =
            modules::needs(&content).with_context(|| format!("cannot read {}", file.display()))?;
        contents.insert(name.to_owned(), content);
        Ok(needs)
    })?;
    for (index, name) in ordered.iter().enumerate() {
        fs::write(to.join(format!("{index:02}-{name}.ko")), &contents[name])?;
    }
    Ok(())
}

fn find_modules(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_modules(&entry.path(), files)?;
        } else if let Some(name) = modules::name(&entry.file_name().to_string_lossy()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

fn unpack(file: &Path) -> Result<Vec<u8>> {
    let applet = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(file)?),
        Some("xz") => "xzcat",
        Some("gz") => "zcat",
        _ => bail!(
            "{} is packed in a way that is not known here",
            file.display()
        ),
    };
    let output = Command::new(super::busybox()?)
        .arg(applet)
        .arg(file)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "busybox {applet} {}: {}",
        file.display(),
        output.status
    );
    Ok(output.stdout)
}
