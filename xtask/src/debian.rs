//! Debian packages, unpacked without root into directories of their own: what tests need of other programs.
//!
//! A directory is made beside its place, and renamed: where there is one, it is whole. Its file `packages` names what it was
//! made from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cargo::target_dir,
    vm::{
        archive::{Archive, Suites},
        packages::{Package, newest},
        store::{Store, unpack_package},
    },
};

/// Debian's archive, and what of it is here already.
pub struct Debian {
    /// Locks the lists.
    store: Store,
    /// The archive given, where it is not the machine's own.
    uri: Option<String>,
    dir: PathBuf,
}

impl Debian {
    /// What is unpacked goes below `name` in the target directory.
    pub fn open(root: &Path, name: &str, uri: Option<&str>) -> Result<Self> {
        let dir = target_dir(root).join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            store: Store::open(root)?,
            uri: uri.map(str::to_owned),
            dir,
        })
    }

    /// Where the packages of `place` are unpacked, once they are.
    pub fn place(&self, place: &str) -> PathBuf {
        self.dir.join(place)
    }

    /// Whether packages are unpacked there.
    pub fn has(&self, place: &str) -> bool {
        self.place(place).join("packages").exists()
    }

    /// Unpacks the newest packages of these names into `place`, unless that was done before: for tests, any build will do, and
    /// what is here needs no archive.
    pub fn fetch(&self, place: &str, names: &[&str]) -> Result<PathBuf> {
        if !self.has(place) {
            self.make(place, names)
                .with_context(|| format!("cannot fetch {}", names.join(", ")))?;
        }
        Ok(self.place(place))
    }

    fn make(&self, place: &str, names: &[&str]) -> Result<()> {
        let archive = Archive::open(self.store.lists(), self.uri.as_deref())?;
        let (suites, missing) = archive.packages(|name| names.contains(&name))?;
        let packages = choose(&suites, names, &missing)?;
        let bytes: u64 = packages.iter().map(|package| package.size).sum();
        println!(
            "fetching {}: {:.0} MB",
            names.join(", "),
            bytes as f64 / 1e6
        );
        // What an earlier run left when it was stopped.
        let work = self.dir.join(".new");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        let (files, made) = (work.join("files"), work.join("made"));
        for dir in [&files, &made] {
            fs::create_dir_all(dir)?;
        }
        let mut lines = String::new();
        for package in packages {
            let file = archive.download(package, &files)?;
            unpack_package(&file, &made)?;
            fs::remove_file(file)?;
            lines += &(package.line() + "\n");
        }
        fs::write(made.join("packages"), lines)?;
        let place = self.place(place);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(&made, &place)?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }
}

/// The newest package of each name.
fn choose<'a>(suites: &'a Suites, names: &[&str], missing: &[String]) -> Result<Vec<&'a Package>> {
    names
        .iter()
        .map(|name| {
            newest(suites, name).with_context(|| {
                let without = match missing {
                    [] => String::new(),
                    missing => format!(", of which {} could not be had", missing.join(", ")),
                };
                format!("the archive has no {name}{without}")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::packages::parse;

    fn suite(name: &str, packages: &[(&str, &str)]) -> (String, Vec<Package>) {
        let text: Vec<String> = packages
            .iter()
            .map(|(name, version)| {
                format!("Package: {name}\nVersion: {version}\nSize: 1\nSHA256: 0\n")
            })
            .collect();
        let wanted = |name: &str| name.starts_with("golang");
        (name.to_owned(), parse(&text.join("\n"), wanted))
    }

    #[test]
    fn of_each_name_the_newest_is_chosen() {
        let suites = vec![
            suite(
                "old",
                &[
                    ("golang-1.19-go", "1.19.8-2"),
                    ("golang-1.19-src", "1.19.13-1"),
                ],
            ),
            suite("new", &[("golang-1.19-go", "1.19.13-1"), ("hello", "9")]),
        ];
        let chosen = choose(&suites, &["golang-1.19-go", "golang-1.19-src"], &[]).unwrap();
        let versions: Vec<_> = chosen.iter().map(|package| &package.version).collect();
        assert_eq!(versions, ["1.19.13-1", "1.19.13-1"]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_suites_that_are() {
        let suites = vec![suite("old", &[("golang-1.19-go", "1.19.8-2")])];
        let error = choose(&suites, &["golang-1.27-go"], &["new".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the archive has no golang-1.27-go, of which new could not be had"
        );
    }
}
