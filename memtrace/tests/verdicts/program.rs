//! A program that does what it is told, a line at a time, and stands still in between.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    cases::Skip,
    common::Guard,
    stage::{build_dir, owned},
    tools::{Build, go, program, sources},
};

/// This test binary, as a program whose memory comes of `malloc`.
pub fn native() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("__native");
    command
}

/// Go's service, of this release, or of the newest that is here.
pub fn go_service(release: Option<&str>) -> Result<Command, Skip> {
    let root = go(release)?;
    let name = format!("service-go{}", release.unwrap_or("-newest"));
    let built = Build::new(&root.join("bin/go"), "programs/service.go", &name)
        .env("GOROOT", &root)
        .run(&["build", "-o", "service", "service.go"]);
    Ok(Command::new(built.join("service")))
}

/// Python's service.
pub fn python_service() -> Result<Command, Skip> {
    let mut command = Command::new(program("python3", "python3")?);
    command.arg(sources().join("programs/service.py"));
    Ok(command)
}

/// Node's service.
pub fn node_service() -> Result<Command, Skip> {
    let mut command = Command::new(program("node", "nodejs")?);
    command.arg(sources().join("programs/service.js"));
    Ok(command)
}

/// Java's service.
pub fn java_service() -> Result<Command, Skip> {
    let package = "openjdk-17-jdk-headless";
    let compiler = program("javac", package)?;
    let built =
        Build::new(&compiler, "programs/Service.java", "service-java").run(&["Service.java"]);
    let mut command = Command::new(program("java", package)?);
    command.arg("-cp").arg(built).arg("Service");
    Ok(command)
}

/// The same program under another name: that of its file, which becomes the kernel's name of the process, and the one that it is told.
pub fn named(command: &Command, name: &str, argv0: &str) -> Command {
    let dir = build_dir().join("named");
    owned(&dir, |dir| fs::create_dir_all(dir));
    let file = dir.join(name);
    // A name of the file itself, not one that leads to another name.
    let whole = fs::canonicalize(command.get_program()).unwrap();
    let _ = fs::remove_file(&file);
    if fs::hard_link(&whole, &file).is_err() {
        fs::copy(&whole, &file).unwrap();
    }
    let mut other = Command::new(file);
    other.args(command.get_args()).arg0(argv0);
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            other.env(key, value);
        }
    }
    other
}

/// A program that runs.
pub struct Program {
    child: Guard,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts it, and waits until it is ready.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut program = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child: Guard(child),
        };
        assert_eq!(program.line(), "ready");
        program
    }

    pub fn pid(&self) -> u32 {
        let Guard(child): &Guard = &self.child;
        Child::id(child)
    }

    /// Has it do something, and waits until that is done.
    #[track_caller]
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        assert_eq!(self.line(), "done", "{command}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
