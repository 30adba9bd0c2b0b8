//! Running cargo, and other programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// What every chore selects, and what it leaves out: this crate builds for the kernel's target only. The features of a dependency are those
/// that all selected packages ask for, so what selects `memtrace` alone builds aya and all above it once more, which takes 100 s.
pub const USERSPACE: [&str; 3] = ["--workspace", "--exclude", "memtrace-ebpf"];

/// The workspace's directory.
pub fn root() -> Result<PathBuf> {
    // Cargo's variable first: a target directory may serve several copies of the tree.
    let own = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = own.parent().context("xtask lies outside a workspace")?;
    root.canonicalize()
        .with_context(|| format!("no workspace at {}", root.display()))
}

/// Where cargo puts what it builds.
pub fn target_dir(root: &Path) -> PathBuf {
    // Relative to the present directory, as cargo takes it.
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root.join("target"),
        |dir| env::current_dir().unwrap_or_default().join(dir),
    )
}

/// The cargo that runs this, or the first in PATH.
pub fn program() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A cargo command in the workspace.
pub fn cargo<S: AsRef<OsStr>>(root: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program());
    command.current_dir(root).args(args);
    command
}

/// Runs a command whose output goes where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", line(command)))?;
    ensure!(status.success(), "{} failed: {status}", line(command));
    Ok(())
}

/// Runs a command for its standard output.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} prints something other than text", line(command)))
}

/// A command as one would type it.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    [name]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Something that cargo built and that can be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The package's directory.
    pub package: PathBuf,
    pub target: String,
    /// Of the target: `bin`, `test`, `lib` …
    pub kind: String,
    /// Whether this is the target's test runner.
    pub is_test: bool,
    pub executable: PathBuf,
}

/// Runs a cargo command that builds, for what it built; the compiler's messages go to standard error.
pub fn artifacts(command: &mut Command) -> Result<Vec<Artifact>> {
    command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let messages = read(command)?;
    messages
        .lines()
        .filter_map(|message| artifact(message).transpose())
        .collect()
}

/// One of cargo's messages, where it is about something that can be run.
fn artifact(message: &str) -> Result<Option<Artifact>> {
    // Build scripts and runners may print lines of their own.
    if !message.starts_with('{') {
        return Ok(None);
    }
    let message: Value = serde_json::from_str(message).context("cargo prints broken JSON")?;
    let Some(executable) = message["executable"].as_str() else {
        return Ok(None);
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("cargo's message lacks something: {message}"))
    };
    let manifest = PathBuf::from(text(&message["manifest_path"])?);
    Ok(Some(Artifact {
        package: manifest
            .parent()
            .context("a manifest without a directory")?
            .to_owned(),
        target: text(&message["target"]["name"])?,
        kind: text(&message["target"]["kind"][0])?,
        is_test: message["profile"]["test"] == true,
        executable: executable.into(),
    }))
}

/// Whether this runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A program as root: as it is where this is root already, else by sudo, after saying so.
pub fn as_root(program: &Path, variables: &[(&str, &OsStr)]) -> Command {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(variables.iter().copied());
        return command;
    }
    println!(
        "{} needs root: sudo may ask for your password",
        program.display()
    );
    by_sudo(program, variables)
}

/// The variables are set inside of sudo, since many a sudoers file drops those of the caller in spite of `-E`.
fn by_sudo(program: &Path, variables: &[(&str, &OsStr)]) -> Command {
    let mut command = Command::new("sudo");
    command.args(["-E", "env"]);
    for (name, value) in variables {
        let mut pair = OsString::from(name);
        pair.push("=");
        pair.push(value);
        command.arg(pair);
    }
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_read_from_cargos_message() {
        let message = r#"{"reason":"compiler-artifact","manifest_path":"/w/memtrace/Cargo.toml",
            "target":{"kind":["test"],"name":"kernel"},"profile":{"test":true},
            "executable":"/t/debug/deps/kernel-1"}"#
            .replace('\n', "");
        assert_eq!(
            artifact(&message).unwrap(),
            Some(Artifact {
                package: "/w/memtrace".into(),
                target: "kernel".into(),
                kind: "test".into(),
                is_test: true,
                executable: "/t/debug/deps/kernel-1".into(),
            })
        );
    }

    #[test]
    fn other_messages_are_no_artifacts() {
        for message in [
            r#"{"reason":"build-finished","success":true}"#,
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "something else",
        ] {
            assert_eq!(artifact(message).unwrap(), None);
        }
    }

    #[test]
    fn a_command_is_shown_without_its_directory() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(line(&command), "cargo fmt --all");
    }

    #[test]
    fn sudo_passes_the_variables_on() {
        let variables = [("A", OsStr::new("1")), ("B", OsStr::new("x y"))];
        let command = by_sudo(Path::new("/t/kernel"), &variables);
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(command.get_program(), "sudo");
        assert_eq!(args, ["-E", "env", "A=1", "B=x y", "/t/kernel"]);
    }
}
