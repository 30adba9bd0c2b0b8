//! Which kernels an archive's `Packages` files offer, and which packages each is made of.

use std::collections::BTreeMap;

use crate::vm::version::{Pattern, compare};

/// The flavour for virtual machines: the smallest, and nothing of it is missing here.
const FLAVOUR: &str = "-cloud-amd64";

/// A package, as the archive describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Of the package's file.
    pub sha256: String,
    /// Bytes of the package's file.
    pub size: u64,
    depends: String,
}

impl Package {
    /// One line that tells it from every other.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.name, self.version, self.sha256)
    }
}

/// A kernel, with the packages that hold its image and its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` prints it.
    pub release: String,
    pub suite: String,
    pub packages: Vec<Package>,
}

/// The packages of a `Packages` file whose names are wanted.
pub fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Package> {
    text.split("\n\n")
        .filter(|stanza| {
            let first = stanza.lines().next().unwrap_or_default();
            first.strip_prefix("Package: ").is_some_and(&wanted)
        })
        .filter_map(|stanza| {
            let field = |name: &str| {
                stanza.lines().find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    (key == name).then_some(value)
                })
            };
            Some(Package {
                name: field("Package")?.to_owned(),
                version: field("Version")?.to_owned(),
                sha256: field("SHA256")?.to_owned(),
                size: field("Size")?.parse().ok()?,
                depends: field("Depends").unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// Whether a package is part of a kernel.
pub fn is_kernel(package: &str) -> bool {
    release(package).is_some()
}

/// The newest package of this name.
pub fn newest<'a>(suites: &'a [(String, Vec<Package>)], name: &str) -> Option<&'a Package> {
    suites
        .iter()
        .flat_map(|(_, packages)| packages)
        .filter(|package| package.name == name)
        .max_by(|left, right| compare(&left.version, &right.version))
}

/// The release of a package that is part of a kernel.
fn release(package: &str) -> Option<&str> {
    let release = [
        "linux-image-",
        "linux-binary-unsigned-",
        "linux-binary-",
        "linux-modules-",
    ]
    .iter()
    .find_map(|prefix| package.strip_prefix(prefix))?;
    let release = release.strip_suffix("-unsigned").unwrap_or(release);
    (release.starts_with(|first: char| first.is_ascii_digit()) && release.ends_with(FLAVOUR))
        .then_some(release)
}

/// Every kernel that can be had whole from these suites, the oldest first. Old kernels linger in an archive in parts.
pub fn kernels(suites: &[(String, Vec<Package>)]) -> Vec<Kernel> {
    let mut found: Vec<Kernel> = Vec::new();
    for (suite, packages) in suites {
        let mut releases: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        for package in packages {
            if let Some(release) = release(&package.name) {
                releases.entry(release).or_default().push(package);
            }
        }
        for (release, packages) in releases {
            if let Some(packages) = whole(release, &packages) {
                found.push(Kernel {
                    release: release.to_owned(),
                    suite: suite.clone(),
                    packages,
                });
            }
        }
    }
    found.sort_by(|left, right| {
        compare(left.version(), right.version()).then_with(|| left.release.cmp(&right.release))
    });
    // The same in two suites.
    found.dedup_by(|later, earlier| {
        let same = later.release == earlier.release;
        if same {
            *earlier = later.clone();
        }
        same
    });
    found
}

impl Kernel {
    /// Of its packages, which are built together.
    fn version(&self) -> &str {
        self.packages
            .first()
            .map_or("", |package| package.version.as_str())
    }

    /// Bytes to be downloaded.
    pub fn size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).sum()
    }
}

/// The packages that hold image and modules of a release: one up to 6.18, two since.
fn whole(release: &str, packages: &[&Package]) -> Option<Vec<Package>> {
    let named = |name: String| {
        packages
            .iter()
            .filter(|package| package.name == name)
            .max_by(|left, right| compare(&left.version, &right.version))
            .map(|package| (*package).clone())
    };
    if let Some(image) = named(format!("linux-image-{release}-unsigned")) {
        return Some(vec![image]);
    }
    let modules = format!("linux-modules-{release}");
    if let Some(modules) = named(modules.clone()) {
        let image = ["linux-binary-unsigned", "linux-binary"]
            .into_iter()
            .filter_map(|kind| named(format!("{kind}-{release}")))
            .find(|image| image.version == modules.version);
        if let Some(image) = image {
            return Some(vec![image, modules]);
        }
    }
    // It holds both, or nothing and depends on those that do.
    let image = named(format!("linux-image-{release}"))?;
    (!image.depends.contains(&modules)).then(|| vec![image])
}

/// The newest kernel that matches.
pub fn pick<'a>(kernels: &'a [Kernel], pattern: &Pattern) -> Option<&'a Kernel> {
    kernels
        .iter()
        .rev()
        .find(|kernel| pattern.matches(&kernel.release))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, depends: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nInstalled-Size: 9\nDepends: {depends}\nDescription: a kernel\n with: colons\nSize: 7\nSHA256: {name}\n"
        )
    }

    fn suite(name: &str, stanzas: &[(&str, &str, &str)]) -> (String, Vec<Package>) {
        let text: Vec<String> = stanzas
            .iter()
            .map(|(name, version, depends)| stanza(name, version, depends))
            .collect();
        (name.to_owned(), parse(&text.join("\n"), is_kernel))
    }

    fn archive() -> Vec<Kernel> {
        kernels(&[
            suite(
                "trixie-backports",
                &[
                    (
                        "linux-image-6.18.15+deb13-cloud-amd64",
                        "6.18.15-1~bpo13+1",
                        "kmod",
                    ),
                    // Its modules are gone.
                    (
                        "linux-image-6.19.14+deb13-cloud-amd64",
                        "6.19.14-1~bpo13+1",
                        "linux-binary-6.19.14+deb13-cloud-amd64, linux-modules-6.19.14+deb13-cloud-amd64",
                    ),
                    (
                        "linux-binary-6.19.14+deb13-cloud-amd64",
                        "6.19.14-1~bpo13+1",
                        "x",
                    ),
                    (
                        "linux-binary-7.3.4+deb13-cloud-amd64",
                        "7.3.4-1~bpo13+1",
                        "x",
                    ),
                    (
                        "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
                        "7.3.4-1~bpo13+1",
                        "x",
                    ),
                    (
                        "linux-modules-7.3.4+deb13-cloud-amd64",
                        "7.3.4-1~bpo13+1",
                        "x",
                    ),
                    ("linux-image-cloud-amd64", "7.3.4-1~bpo13+1", "x"),
                    ("linux-modules-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "x"),
                ],
            ),
            suite(
                "bookworm",
                &[
                    (
                        "linux-image-6.1.0-50-cloud-amd64-unsigned",
                        "6.1.176-1",
                        "x",
                    ),
                    ("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", "x"),
                    ("linux-image-6.1.0-9-cloud-amd64-unsigned", "6.1.27-1", "x"),
                    ("linux-image-6.1.0-50-cloud-amd64-dbg", "6.1.176-1", "x"),
                ],
            ),
        ])
    }

    #[test]
    fn kernels_that_are_whole_are_listed_the_oldest_first() {
        let kernels = archive();
        let listed: Vec<(&str, Vec<&str>)> = kernels
            .iter()
            .map(|kernel| {
                let packages = kernel.packages.iter();
                (
                    kernel.release.as_str(),
                    packages.map(|package| package.name.as_str()).collect(),
                )
            })
            .collect();
        assert_eq!(
            listed,
            [
                (
                    "6.1.0-9-cloud-amd64",
                    vec!["linux-image-6.1.0-9-cloud-amd64-unsigned"]
                ),
                (
                    "6.1.0-50-cloud-amd64",
                    vec!["linux-image-6.1.0-50-cloud-amd64-unsigned"]
                ),
                (
                    "6.18.15+deb13-cloud-amd64",
                    vec!["linux-image-6.18.15+deb13-cloud-amd64"]
                ),
                (
                    "7.3.4+deb13-cloud-amd64",
                    vec![
                        "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
                        "linux-modules-7.3.4+deb13-cloud-amd64"
                    ]
                ),
            ]
        );
        assert_eq!(kernels[3].size(), 14);
        assert_eq!(kernels[3].suite, "trixie-backports");
    }

    #[test]
    fn the_newest_that_matches_is_picked() {
        let kernels = archive();
        let picked = |pattern: &str| {
            pick(&kernels, &pattern.parse().unwrap()).map(|kernel| kernel.release.as_str())
        };
        assert_eq!(picked("6.1"), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(picked("6.16-6.19"), Some("6.18.15+deb13-cloud-amd64"));
        assert_eq!(picked("newest"), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(picked("6.1.0-9-cloud-amd64"), Some("6.1.0-9-cloud-amd64"));
        assert_eq!(picked("6.12"), None);
    }

    #[test]
    fn of_a_release_in_two_suites_the_newer_build_counts() {
        let kernels = kernels(&[
            suite(
                "new",
                &[("linux-image-6.1.0-50-cloud-amd64", "6.1.177-1", "x")],
            ),
            suite(
                "old",
                &[("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", "x")],
            ),
        ]);
        assert_eq!(kernels.len(), 1);
        assert_eq!(kernels[0].suite, "new");
    }
}
