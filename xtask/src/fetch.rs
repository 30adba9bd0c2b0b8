//! `cargo xtask fetch`: what the tests need of Debian's archive. It can be done while something else is compiled, since it mostly waits.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo::{root, target_dir},
    golang, vm,
};

/// Fetches Go toolchains and the kernels of the matrix, unless they are here. Where one cannot be had, all others are fetched all the
/// same.
pub fn run() -> Result<()> {
    let mut troubles = Vec::new();
    for result in [golang::run(&golang::Options::default()), vm::fetch_all()] {
        if let Err(error) = result {
            troubles.push(format!("{error:#}"));
        }
    }
    ensure!(troubles.is_empty(), "{}", troubles.join("\n"));
    Ok(())
}

/// The same in a process of its own, which is killed where this is dropped. What it prints is kept until it has ended.
pub struct Ahead {
    child: Child,
    log: PathBuf,
}

impl Ahead {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let target = target_dir(&root()?);
        fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        // The program at our own path may be another one soon: what follows builds it.
        Self::start_with(
            Command::new("/proc/self/exe").arg("fetch"),
            target.join("fetch.log"),
        )
    }

    fn start_with(command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start fetching")?;
        Ok(Self { child, log })
    }

    /// Waits for its end; what it has printed. Fails where it failed, with what it has printed.
    pub fn finish(mut self) -> Result<String> {
        let status = self.child.wait()?;
        let printed =
            fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        ensure!(status.success(), "{printed}fetching ended with {status}");
        Ok(printed)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn start(script: &str) -> (Ahead, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let ahead =
            Ahead::start_with(command.args(["-c", script]), dir.path().join("log")).unwrap();
        (ahead, dir)
    }

    #[test]
    fn what_it_prints_is_kept_for_its_end_also_where_it_fails() {
        let (ahead, _dir) = start("echo one; echo two >&2");
        assert_eq!(ahead.finish().unwrap(), "one\ntwo\n");
        let (ahead, _dir) = start("echo no such thing; exit 3");
        let error = ahead.finish().unwrap_err().to_string();
        assert!(error.starts_with("no such thing\n"), "{error}");
        assert!(error.ends_with("exit status: 3"), "{error}");
    }

    #[test]
    fn it_does_not_outlive_what_started_it() {
        let (ahead, _dir) = start("exec sleep 60");
        let begun = Instant::now();
        drop(ahead);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
