//! The executable and the libraries of a process, in the order in which the dynamic linker looks for a symbol in them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
};

use super::{InspectError, MappedFile, Process, elf::Elf};

/// Libraries that are looked at in all. A browser has some hundreds.
const MOST: usize = 1024;
/// Names of libraries that are looked for in all.
const MOST_NAMES: usize = 4096;

/// The files that make up the program. One library is open at a time: a program may have more of them than this process may have
/// open files.
pub struct Loaded<'p> {
    process: &'p dyn Process,
    files: Vec<MappedFile>,
    open: Option<(Number, Elf)>,
    /// By the names that others need them by; made once it is asked for.
    sonames: Option<HashMap<Vec<u8>, Number>>,
}

/// Number of a library in [`Loaded`].
pub type Number = usize;

impl<'p> Loaded<'p> {
    pub fn new(process: &'p dyn Process, mut files: Vec<MappedFile>) -> Self {
        files.truncate(MOST);
        Self {
            process,
            files,
            open: None,
            sonames: None,
        }
    }

    pub fn numbers(&self) -> Range<Number> {
        0..self.files.len()
    }

    /// The mapped file of that number.
    pub fn file(&self, number: Number) -> Option<&MappedFile> {
        self.files.get(number)
    }

    /// Its name, for people.
    pub fn name(&self, number: Number) -> String {
        self.file(number).map_or_else(String::new, |file| {
            String::from_utf8_lossy(file.name()).into_owned()
        })
    }

    /// Its content.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, or is no ELF file.
    pub fn elf(&mut self, number: Number) -> Result<&mut Elf, InspectError> {
        let elf = match self.open.take() {
            Some((open, elf)) if open == number => elf,
            _ => {
                let file = self.files.get(number).ok_or("there is no such library")?;
                Elf::open(self.process.mapped(file)?)?
            }
        };
        let (_, elf) = self.open.insert((number, elf));
        Ok(elf)
    }

    /// The library that is asked for by this name or path, as one of those that are mapped.
    pub fn find(&mut self, wanted: &[u8]) -> Option<Number> {
        let name = wanted.rsplit(|&byte| byte == b'/').next()?;
        let by = |is_it: &dyn Fn(&MappedFile) -> bool| self.files.iter().position(is_it);
        // The name that is asked for is often a link to one that goes on: libmimalloc.so.2 to libmimalloc.so.2.0.
        let goes_on = |file: &MappedFile| {
            file.name()
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(b"."))
        };
        by(&|file| file.path == wanted)
            .or_else(|| by(&|file| file.name() == name))
            .or_else(|| by(&goes_on))
            .or_else(|| self.by_soname(name))
    }

    fn by_soname(&mut self, name: &[u8]) -> Option<Number> {
        if self.sonames.is_none() {
            let mut sonames = HashMap::new();
            for number in self.numbers() {
                if let Some(soname) = self.elf(number).ok().and_then(Elf::soname) {
                    sonames.entry(soname).or_insert(number);
                }
            }
            self.sonames = Some(sonames);
        }
        self.sonames.as_ref()?.get(name).copied()
    }

    /// The first library that offers `symbol`, in the order in which the dynamic linker looks: those that were preloaded, then what the
    /// executable needs, then what these need, level by level. What was opened later, by `dlopen`, is not among them.
    pub fn first_with(
        &mut self,
        symbol: &str,
        preloaded: &[Vec<u8>],
        executable: &mut Elf,
    ) -> First {
        let mut first = First::default();
        let mut seen = HashSet::new();
        let mut asked = HashSet::new();
        let mut wanted: VecDeque<Vec<u8>> = preloaded.iter().cloned().collect();
        wanted.extend(executable.needed());
        // With musl the dynamic linker is the C library, and programs may need it by a name that no file has.
        let mut last = executable.interpreter();
        while let Some(name) = wanted.pop_front().or_else(|| last.take()) {
            if asked.len() >= MOST_NAMES {
                break;
            }
            if !asked.insert(name.clone()) {
                continue;
            }
            let Some(number) = self.find(&name).filter(|&number| seen.insert(number)) else {
                continue;
            };
            match self.elf(number) {
                Ok(elf) => {
                    if elf.exported(symbol).is_some() {
                        first.number = Some(number);
                        break;
                    }
                    wanted.extend(elf.needed());
                }
                Err(error) => first.unseen.push(error),
            }
        }
        first
    }
}

/// Who offers a symbol.
#[derive(Debug, Default)]
pub struct First {
    /// The library; `None` where none of them does.
    pub number: Option<Number>,
    /// Why some that come before it could not be looked at: one of these may be it.
    pub unseen: Vec<InspectError>,
}
