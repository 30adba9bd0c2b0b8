//! Records of green results, in a folder that outlives a clone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{cargo::target_dir, provenance::hex};

/// A hash of everything that a result rests on.
pub struct Key(Sha256);

impl Key {
    /// Begins a key; keys of another `what` never match it.
    pub fn new(what: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.part(what.as_bytes());
        key
    }

    /// Adds bytes with their length, so that nothing can move between parts.
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.part(name.as_bytes());
        self.part(bytes);
    }

    /// Adds a file, or all files below a folder, with their paths below `root`. A missing file counts as such.
    pub fn add_tree(&mut self, root: &Path, path: &str) -> Result<()> {
        let mut files = Vec::new();
        find(&root.join(path), &mut files)?;
        files.sort();
        for file in files {
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(&file);
            self.add(&name.to_string_lossy(), &bytes);
        }
        self.add("end of", path.as_bytes());
        Ok(())
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in
            fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?
        {
            find(&entry?.path(), files)?;
        }
    } else if path.exists() {
        files.push(path.to_owned());
    }
    Ok(())
}

/// A folder of records.
pub struct Records(PathBuf);

impl Records {
    /// Opens `memtrace-ci` in the user's cache, or in the target directory if there is no cache.
    pub fn open(root: &Path) -> Self {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|folder| folder.is_absolute())
        };
        let cache = absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .unwrap_or_else(|| target_dir(root));
        Self(cache.join("memtrace-ci/green"))
    }

    #[cfg(test)]
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Returns the text of a green result.
    pub fn get(&self, kind: &str, key: &str) -> Option<String> {
        fs::read_to_string(self.0.join(kind).join(key)).ok()
    }

    /// Returns whether there is any record of this kind.
    pub fn any(&self, kind: &str) -> bool {
        fs::read_dir(self.0.join(kind)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Records a green result, with the time.
    pub fn put(&self, kind: &str, key: &str, text: &str) -> Result<()> {
        let folder = self.0.join(kind);
        fs::create_dir_all(&folder)
            .and_then(|()| {
                let now = humantime::format_rfc3339_seconds(SystemTime::now());
                let partial = folder.join(format!(".{key}"));
                fs::write(&partial, format!("green on {now}: {text}\n"))?;
                fs::rename(&partial, folder.join(key))
            })
            .with_context(|| format!("cannot keep a record in {}", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_names_contents_and_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let key = |paths: &[&str]| {
            let mut key = Key::new("a");
            for path in paths {
                key.add_tree(root.path(), path).unwrap();
            }
            key.finish()
        };
        write("a/one", "1");
        write("a/deeper/two", "2");
        let before = key(&["a"]);
        assert_eq!(key(&["a"]), before);
        assert_ne!(key(&["a", "b"]), before);
        write("a/one", "x");
        assert_ne!(key(&["a"]), before);
        write("a/one", "1");
        assert_eq!(key(&["a"]), before);
        write("a/three", "");
        assert_ne!(key(&["a"]), before);
    }

    #[test]
    fn a_record_is_found_by_its_kind_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path());
        assert!(!records.any("matrix"));
        records.put("matrix", "1", "all is well").unwrap();
        assert!(records.any("matrix") && !records.any("object"));
        assert_eq!(records.get("matrix", "2"), None);
        let text = records.get("matrix", "1").unwrap();
        assert!(text.starts_with("green on 2") && text.ends_with("Z: all is well\n"));
    }
}
