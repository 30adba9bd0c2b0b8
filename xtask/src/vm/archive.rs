//! Debian's archive, by apt: with lists of its own, so that those of the machine stay as they are, and without root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    cargo::{is_root, read, run},
    vm::packages::{Kernel, Package, is_kernel, kernels, parse},
};

/// Where packages come from, the oldest suite first.
const SUITES: [&str; 5] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
];

/// Not for kernels: those that it has are built for trixie, too.
const NO_KERNELS: &str = "bookworm-backports";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Prints an apt list, however it is compressed.
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// Packages, each list with the name of its suite.
pub type Suites = Vec<(String, Vec<Package>)>;

/// How long lists are good for.
const FRESH: Duration = Duration::from_hours(24);

/// An archive's lists, in a directory of their own.
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Sets apt up below `dir`, for the archive at `uri`, or the one that this machine itself uses.
    pub fn open(dir: PathBuf, uri: Option<&str>) -> Result<Self> {
        ensure!(
            Path::new(HELPER).exists(),
            "what is fetched is Debian's, and comes by apt, which this machine does not have; there is what {} holds already",
            dir.parent().unwrap_or(&dir).display()
        );
        ensure!(
            Path::new(KEYRING).exists(),
            "there is no {KEYRING} to check Debian's archive with; type: apt-get install debian-archive-keyring"
        );
        let archive = Self { dir };
        let uri = match uri {
            Some(uri) => uri.to_owned(),
            None => own_uri()?,
        };
        archive.configure(&uri)?;
        Ok(archive)
    }

    /// Every kernel that can be had. Also what could not be had.
    pub fn kernels(&self) -> Result<(Vec<Kernel>, Vec<String>)> {
        let (mut suites, mut missing) = self.packages(is_kernel)?;
        suites.retain(|(suite, _)| suite != NO_KERNELS);
        missing.retain(|suite| suite != NO_KERNELS);
        Ok((kernels(&suites), missing))
    }

    /// The packages with wanted names, by suite; the lists are fetched anew where they are a day old. Also the suites that could
    /// not be had.
    pub fn packages(&self, wanted: impl Fn(&str) -> bool) -> Result<(Suites, Vec<String>)> {
        if !self.is_fresh() {
            self.update()?;
        }
        let targets = read(self.apt("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(FILENAME)",
            "Created-By: Packages",
        ]))?;
        let mut suites = Vec::new();
        let mut missing = Vec::new();
        for (suite, file) in targets.lines().filter_map(|line| line.split_once(' ')) {
            if Path::new(file).exists() {
                let text = read(Command::new(HELPER).arg("cat-file").arg(file))?;
                suites.push((suite.to_owned(), parse(&text, &wanted)));
            } else {
                missing.push(suite.to_owned());
            }
        }
        ensure!(
            !suites.is_empty(),
            "the archive has none of {}",
            SUITES.join(", ")
        );
        Ok((suites, missing))
    }

    /// Downloads a package into `dir`, and checks it against the archive's signed list.
    pub fn download(&self, package: &Package, dir: &Path) -> Result<PathBuf> {
        let wanted = format!("{}={}", package.name, package.version);
        let mut command = self.apt("apt-get");
        command.args(["--quiet", "download", &wanted]);
        run(command.current_dir(dir))?;
        let prefix = format!("{}_", package.name);
        let file = fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .with_context(|| format!("apt downloaded no {wanted}"))?;
        let hash = Sha256::digest(fs::read(&file)?);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(
            hash == package.sha256,
            "{} is not what the archive's list says: SHA-256 {hash}, not {}",
            file.display(),
            package.sha256
        );
        Ok(file)
    }

    fn is_fresh(&self) -> bool {
        let age = fs::metadata(self.stamp())
            .and_then(|metadata| metadata.modified())
            .map(|then| SystemTime::now().duration_since(then));
        matches!(age, Ok(Ok(age)) if age < FRESH)
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("updated")
    }

    fn update(&self) -> Result<()> {
        // It fails where one suite is missing, and still fetches the others.
        let result = run(self.apt("apt-get").args(["--quiet", "update"]));
        if result.is_ok() {
            fs::write(self.stamp(), "")?;
        }
        Ok(())
    }

    fn configure(&self, uri: &str) -> Result<()> {
        for dir in ["lists/partial", "cache/archives/partial"] {
            let dir = self.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let sources = sources(uri);
        let file = self.dir.join("sources.list");
        if fs::read_to_string(&file).unwrap_or_default() != sources {
            let _ = fs::remove_file(self.stamp());
            fs::write(&file, sources)?;
        }
        fs::write(self.dir.join("apt.conf"), configuration(&self.dir))?;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(self.dir.join("apt.conf"));
        command
    }
}

fn sources(uri: &str) -> String {
    SUITES
        .iter()
        .map(|suite| {
            format!("deb [arch=amd64 target=Packages signed-by={KEYRING}] {uri} {suite} main\n")
        })
        .collect()
}

/// On top of the machine's own configuration, which may name a proxy; its hooks are not for these lists.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let mut text = format!(
        "\
Dir::Etc::sourcelist \"{dir}/sources.list\";
Dir::Etc::sourceparts \"/dev/null\";
Dir::State::lists \"{dir}/lists\";
Dir::Cache \"{dir}/cache\";
APT::Architecture \"amd64\";
Acquire::Retries \"3\";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"
    );
    if is_root() {
        // The user that apt becomes otherwise need not be able to read these directories.
        text += "APT::Sandbox::User \"root\";\n";
    }
    text
}

/// The archive that this machine's own packages come from.
fn own_uri() -> Result<String> {
    let targets = read(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(COMPONENT) $(ORIGIN)/$(LABEL)",
        "Created-By: Packages",
    ]))?;
    match choose_uri(&targets) {
        Some(uri) => Ok(uri.to_owned()),
        None => bail!(
            "this machine's apt knows no archive of Debian's; type one: cargo xtask vm --archive URI, or golang"
        ),
    }
}

/// Of lines `URI component origin/label`. Before the machine's first `apt-get update` an archive's origin is not known.
fn choose_uri(targets: &str) -> Option<&str> {
    let main = || {
        targets.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (uri, component) = (words.next()?, words.next()?);
            (component == "main").then_some((uri, words.next().unwrap_or_default()))
        })
    };
    main()
        .find(|(_, origin)| *origin == "Debian/Debian")
        .or_else(|| main().find(|(uri, _)| uri.trim_end_matches('/').ends_with("/debian")))
        .map(|(uri, _)| uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_debians_own() {
        let targets = "\
https://example.org/node/ main Node/Node
http://example.org/debian-security/ main Debian/Debian-Security
http://mirror.example.org/pub/deb/ contrib Debian/Debian
http://mirror.example.org/pub/deb/ main Debian/Debian
";
        assert_eq!(
            choose_uri(targets),
            Some("http://mirror.example.org/pub/deb/")
        );
    }

    #[test]
    fn before_the_first_update_its_path_tells() {
        let unknown = "\
http://example.org/debian-security/ main $(ORIGIN)/$(LABEL)
http://example.org/linux/debian/ stable $(ORIGIN)/$(LABEL)
http://mirror.example.org/debian/ main $(ORIGIN)/$(LABEL)
";
        assert_eq!(
            choose_uri(unknown),
            Some("http://mirror.example.org/debian/")
        );
        assert_eq!(
            choose_uri("http://example.org/ubuntu/ main Ubuntu/Ubuntu"),
            None
        );
        assert_eq!(choose_uri(""), None);
    }
}
