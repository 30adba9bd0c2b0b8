//! A process that these tests started, as the library sees one.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Cursor, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use memtrace::{
    inspect::{Image, InspectError, Process, go::Reader},
    model::GoFigures,
};

/// A running program of `program.go`.
pub struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            // No collection that was not asked for.
            .env("GOGC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub fn process(&self) -> Live {
        Live {
            dir: PathBuf::from(format!("/proc/{}", self.child.id())),
            image: None,
        }
    }

    pub fn memory(&self) -> File {
        File::open(format!("/proc/{}/mem", self.child.id())).unwrap()
    }

    /// Tells it a letter; its answer.
    pub fn tell(&mut self, letter: char) -> String {
        write!(self.input, "{letter}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the program ended at {letter}");
        line
    }

    /// What it says itself.
    pub fn says(&mut self) -> GoFigures {
        let line = self.tell('s');
        let figures: Vec<Option<u64>> = line
            .split_whitespace()
            .map(|word| Some(word.parse().unwrap()))
            .collect();
        GoFigures {
            sys_bytes: figures[0],
            heap_sys_bytes: figures[1],
            heap_alloc_bytes: figures[2],
            heap_inuse_bytes: figures[3],
            heap_released_bytes: figures[4],
            heap_idle_bytes: figures[5],
            stack_inuse_bytes: figures[6],
            num_gc: figures[7],
        }
    }

    /// What it says, and what is read from outside, at a moment at which nothing changes: what a background worker does in
    /// between is not held against either.
    pub fn both(&mut self, reader: &Reader) -> (GoFigures, GoFigures) {
        let memory = self.memory();
        let mut last = None;
        for _ in 0..50 {
            let said = self.says();
            let read = reader.read(&memory).unwrap();
            let again = self.says();
            if said == again {
                return (said, read);
            }
            last = Some((said, read));
        }
        last.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process by its directory in `/proc`.
pub struct Live {
    dir: PathBuf,
    /// In the place of its executable.
    pub image: Option<Vec<u8>>,
}

impl Process for Live {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        if let Some(image) = &self.image {
            return Ok(Box::new(Cursor::new(image.clone())));
        }
        let file = File::open(self.dir.join("exe")).map_err(|error| error.to_string())?;
        Ok(Box::new(file))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        Ok(fs::read(self.dir.join("maps")).map_err(|error| error.to_string())?)
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        Err("not needed".into())
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        Err("not needed".into())
    }

    fn file(&self, _: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        Err("not needed".into())
    }
}
