//! Who is advised: the runtime, the allocator, their versions and settings.

use crate::model::RuntimeInfo;
use crate::text::Foreign;

/// A version: three numbers, 0 where there is none.
pub type Version = (u32, u32, u32);

/// What advice is chosen by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    runtime: Option<&'a RuntimeInfo>,
}

impl<'a> Who<'a> {
    /// Of what was found; nothing was, perhaps.
    #[must_use]
    pub const fn new(runtime: Option<&'a RuntimeInfo>) -> Self {
        Self { runtime }
    }

    /// `go`, `jvm` …; empty where it is not known.
    #[must_use]
    pub fn name(&self) -> &'a str {
        let name = self
            .runtime
            .and_then(|runtime| runtime.name.as_ref().map(Foreign::raw));
        name.unwrap_or("")
    }

    /// `glibc`, `jemalloc` …; empty where it is not known.
    #[must_use]
    pub fn allocator(&self) -> &'a str {
        let name = self
            .runtime
            .and_then(|runtime| runtime.allocator.as_ref().map(Foreign::raw));
        name.unwrap_or("")
    }

    /// Whether `malloc` matters: not in a program that has a heap of its own.
    #[must_use]
    pub fn mallocs(&self, allocator: &str) -> bool {
        self.allocator() == allocator && matches!(self.name(), "" | "python" | "ruby")
    }

    /// Go's version; `None` where it is no Go, or not known.
    #[must_use]
    pub fn go(&self) -> Option<Version> {
        self.version_of("go", "go")
    }

    /// The JDK's; 8 for what calls itself 1.8.
    #[must_use]
    pub fn jdk(&self) -> Option<Version> {
        match self.version_of("jvm", "")? {
            (1, minor, patch) => Some((minor, patch, 0)),
            version => Some(version),
        }
    }

    /// The allocator's, where it is the one of this name.
    #[must_use]
    pub fn allocator_version(&self, name: &str) -> Option<Version> {
        let runtime = self.runtime?;
        (self.allocator() == name).then_some(())?;
        version(runtime.allocator_version.as_ref().map(Foreign::raw)?)
    }

    /// Whether it is mimalloc before 2.1, whose switches have other names.
    #[must_use]
    pub fn is_early_mimalloc(&self) -> bool {
        self.allocator_version("mimalloc")
            .is_some_and(|version| version < (2, 1, 0))
    }

    /// Whether it is mimalloc with today's switches, as far as that is known.
    #[must_use]
    pub fn is_mimalloc(&self) -> bool {
        self.allocator() == "mimalloc" && !self.is_early_mimalloc()
    }

    fn version_of(&self, name: &str, before: &str) -> Option<Version> {
        let runtime = self.runtime?;
        if runtime.name.as_ref().map(Foreign::raw) != Some(name) {
            return None;
        }
        let text = runtime.version.as_ref().map(Foreign::raw)?;
        let digits = match text.find(before) {
            Some(place) => text.get(place + before.len()..)?,
            None => text,
        };
        version(digits)
    }

    /// A setting's value.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        self.runtime?.settings.get(name).map(Foreign::raw)
    }

    /// Whether a setting that is a list, such as `GODEBUG` or `MALLOC_CONF`, holds an item.
    #[must_use]
    pub fn has(&self, setting: &str, item: &str) -> bool {
        let value = self.setting(setting).unwrap_or("");
        value.split(',').any(|found| found.trim() == item)
    }

    /// Whether a setting is there by its name, whatever it is called on the command line: `-Xmx` and `-Xmx512m` alike.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.named(name).is_some()
    }

    /// The first setting whose name begins so: name and value.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(&'a str, &'a str)> {
        let settings = &self.runtime?.settings;
        let mut found = settings
            .iter()
            .filter(|(key, _)| key.raw().starts_with(name));
        found.next().map(|(key, value)| (key.raw(), value.raw()))
    }
}

/// The numbers that a text begins with.
fn version(text: &str) -> Option<Version> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let mut numbers = text.get(..end)?.split('.').map(|part| part.parse().ok());
    let major = numbers.next()??;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    Some((major, next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, version: &str) -> RuntimeInfo {
        RuntimeInfo {
            name: Some(name.into()),
            version: Some(version.into()),
            ..RuntimeInfo::default()
        }
    }

    #[test]
    fn versions_are_read_as_their_runtimes_write_them() {
        for (name, text, wanted) in [
            ("go", "go1.15.15", Some((1, 15, 15))),
            ("go", "go1.22", Some((1, 22, 0))),
            ("go", "go1.23rc1", Some((1, 23, 0))),
            ("go", "devel go1.25-6f2a", Some((1, 25, 0))),
            ("go", "weekly", None),
            ("go", "", None),
            ("go", "go99999999999999.1", None),
        ] {
            assert_eq!(Who::new(Some(&info(name, text))).go(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1.8.0_292", Some((8, 0, 0))),
            ("11.0.2", Some((11, 0, 2))),
            ("17.0.15+6", Some((17, 0, 15))),
            ("21-ea", Some((21, 0, 0))),
        ] {
            assert_eq!(Who::new(Some(&info("jvm", text))).jdk(), wanted, "{text}");
        }
        assert_eq!(Who::new(Some(&info("jvm", "17"))).go(), None);
        assert_eq!(Who::default().go(), None);
    }

    #[test]
    fn an_allocator_is_told_apart_by_its_version() {
        let mimalloc = |version: Option<&str>| RuntimeInfo {
            allocator: Some("mimalloc".into()),
            allocator_version: version.map(str::to_owned).map(Into::into),
            ..RuntimeInfo::default()
        };
        for (version, early) in [(Some("2.0.9"), true), (Some("2.1.2"), false), (None, false)] {
            let info = mimalloc(version);
            let who = Who::new(Some(&info));
            assert_eq!(who.is_early_mimalloc(), early, "{version:?}");
            assert_eq!(who.is_mimalloc(), !early, "{version:?}");
        }
    }

    #[test]
    fn settings_are_found_in_lists() {
        let mut info = info("go", "go1.22");
        let value = "gctrace=1, madvdontneed=0".to_owned();
        info.settings.insert("GODEBUG".into(), value.into());
        info.settings.insert("-Xmx512m".into(), "".into());
        let who = Who::new(Some(&info));
        assert!(who.has("GODEBUG", "madvdontneed=0"));
        assert!(!who.has("GODEBUG", "madvdontneed=1"));
        assert!(who.is_set("-Xmx"));
        assert!(!who.is_set("-Xms"));
    }
}
