//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a bounded time.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::{cargo, root, run as run_command, target_dir};

/// The version that CI installs.
const VERSION: &str = "0.13.2";
/// A single input that takes longer than this is a finding.
const SLOWEST: Duration = Duration::from_secs(10);
/// More memory than this is a finding, in MiB.
const MEMORY: u32 = 1024;

/// Runs the targets that are named, or all, each for `seconds`. Stops at the first that finds something.
pub fn run(targets: &[String], seconds: u64) -> Result<()> {
    let root = root()?;
    let known = targets_of(&root)?;
    let chosen = choose(&known, targets)?;
    ensure!(
        seconds > 0,
        "0 seconds are without an end to libFuzzer; give 1 or more"
    );
    is_there()?;
    let fuzz = root.join("fuzz");
    is_locked(&root)?;
    let build = target_dir(&root).join("fuzz");
    // Parsers without `unsafe` need no sanitizer, and without one stable Rust is enough.
    let options = |work: &str| {
        let mut command = cargo(&root, ["fuzz", work, "--sanitizer", "none", "--target-dir"]);
        command.arg(&build);
        command
    };
    run_command(&mut options("build"))?;
    for target in chosen {
        println!("\n-- {target}, {seconds} s");
        let corpus = fuzz.join("corpus").join(target);
        fs::create_dir_all(&corpus).context("cannot make the corpus's folder")?;
        let mut command = options("run");
        // New inputs go into the first folder, which git ignores; the seeds stay as they are.
        command
            .arg(target)
            .arg(corpus)
            .arg(fuzz.join("seeds").join(target))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={}", SLOWEST.as_secs()))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .args(["-print_final_stats=1", "-print_funcs=0", "-verbosity=0"]);
        run_command(&mut command).with_context(|| {
            format!(
                "{target} broke a promise; the input is in fuzz/artifacts/{target}: mend it, and move the input to fuzz/found/{target}, where `cargo test` keeps asking"
            )
        })?;
    }
    Ok(())
}

/// Fails where the fuzz targets' own lock file is not that of memtrace's dependencies.
pub fn is_locked(root: &Path) -> Result<()> {
    let locked = ["metadata", "--locked", "--format-version", "1"];
    let mut locked = cargo(&root.join("fuzz"), locked);
    let output = locked.output().context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "fuzz/Cargo.lock does not belong to memtrace's dependencies; type: cargo update --workspace --manifest-path fuzz/Cargo.toml\n{}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}

/// The names of all targets, in order.
fn targets_of(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "fuzz/ has no targets");
    Ok(names)
}

fn choose<'a>(known: &'a [String], wanted: &[String]) -> Result<Vec<&'a String>> {
    if wanted.is_empty() {
        return Ok(known.iter().collect());
    }
    wanted
        .iter()
        .map(|name| {
            known.iter().find(|known| *known == name).with_context(|| {
                format!(
                    "there is no fuzz target {name}; there are {}",
                    known.join(", ")
                )
            })
        })
        .collect()
}

fn is_there() -> Result<()> {
    let found = Command::new(crate::cargo::program())
        .args(["fuzz", "--version"])
        .output()
        .context("cannot start cargo")?;
    if !found.status.success() {
        bail!(
            "cargo-fuzz is not installed; type: cargo install cargo-fuzz --version {VERSION} --locked"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_or_those_that_are_named() {
        let known = ["btf".to_owned(), "capture".to_owned(), "stat".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap().len(), 3);
        let some = ["stat".to_owned(), "btf".to_owned()];
        assert_eq!(choose(&known, &some).unwrap(), ["stat", "btf"]);
        let error = choose(&known, &["stats".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("btf, capture, stat"), "{error}");
    }

    #[test]
    fn every_target_has_seeds_and_the_other_way_round() {
        let root = root().unwrap();
        for target in targets_of(&root).unwrap() {
            let seeds = root.join("fuzz/seeds").join(&target);
            assert!(fs::read_dir(seeds).unwrap().count() > 0, "{target}");
        }
        for entry in fs::read_dir(root.join("fuzz/seeds")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(targets_of(&root).unwrap().contains(&name), "{name}");
        }
    }

    #[test]
    fn ci_installs_the_version_that_is_named_here() {
        let script = fs::read_to_string(root().unwrap().join(".ci/run")).unwrap();
        assert!(script.contains(&format!("fuzz={VERSION}\n")), "{VERSION}");
    }
}
