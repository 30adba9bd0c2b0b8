//! The executable and the libraries of a process, in the order in which the dynamic linker looks for a symbol in them.

use std::collections::{HashSet, VecDeque};

use super::{Image, MappedFile, Process, elf::Elf};

/// Libraries that are looked at in all. A browser has some hundreds.
const MOST: usize = 1024;

/// The files that make up the program.
pub struct Loaded<'p> {
    process: &'p dyn Process,
    libraries: Vec<Library<'p>>,
}

struct Library<'p> {
    file: MappedFile,
    elf: Option<Result<Elf<'p>, String>>,
}

/// Number of a library in [`Loaded`].
pub type Number = usize;

impl<'p> Loaded<'p> {
    pub fn new(process: &'p dyn Process, files: Vec<MappedFile>) -> Self {
        let libraries = files
            .into_iter()
            .take(MOST)
            .map(|file| Library { file, elf: None })
            .collect();
        Self { process, libraries }
    }

    pub fn numbers(&self) -> std::ops::Range<Number> {
        0..self.libraries.len()
    }

    /// The mapped file of that number. An empty one where there is none.
    pub fn file(&self, number: Number) -> Option<&MappedFile> {
        self.libraries.get(number).map(|library| &library.file)
    }

    /// Its name, for people.
    pub fn name(&self, number: Number) -> String {
        self.file(number).map_or_else(String::new, |file| {
            String::from_utf8_lossy(file.name()).into_owned()
        })
    }

    /// Its content; opened at the first use.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, or is no ELF file.
    pub fn elf(&mut self, number: Number) -> Result<&mut Elf<'p>, String> {
        let process = self.process;
        let library = self
            .libraries
            .get_mut(number)
            .ok_or("there is no such library")?;
        let file = &library.file;
        library
            .elf
            .get_or_insert_with(|| {
                let image: Box<dyn Image> = process.mapped(file)?;
                Elf::open(image)
            })
            .as_mut()
            .map_err(|error| error.clone())
    }

    /// The library that is asked for by this name or path, as one of those that are mapped.
    pub fn find(&mut self, wanted: &[u8]) -> Option<Number> {
        let wanted_name = wanted.rsplit(|&byte| byte == b'/').next()?;
        let by = |is_it: &dyn Fn(&MappedFile) -> bool| {
            self.libraries
                .iter()
                .position(|library| is_it(&library.file))
        };
        // The name that is asked for is often a link to one that goes on: libmimalloc.so.2 to libmimalloc.so.2.0.
        let goes_on = |file: &MappedFile| {
            file.name()
                .strip_prefix(wanted_name)
                .is_some_and(|rest| rest.starts_with(b"."))
        };
        by(&|file| file.path == wanted)
            .or_else(|| by(&|file| file.name() == wanted_name))
            .or_else(|| by(&goes_on))
            .or_else(|| {
                self.numbers().find(|&number| {
                    self.elf(number)
                        .ok()
                        .and_then(Elf::soname)
                        .is_some_and(|soname| soname == wanted_name)
                })
            })
    }

    /// The first library that offers `symbol`, in the order in which the dynamic linker looks: those that were preloaded, then what the
    /// executable needs, then what these need, level by level. What was opened later, by `dlopen`, is not among them.
    pub fn first_with(
        &mut self,
        symbol: &str,
        preloaded: &[Vec<u8>],
        executable: &mut Elf<'_>,
    ) -> First {
        let mut first = First::default();
        let mut seen = HashSet::new();
        let mut asked = HashSet::new();
        let mut wanted: VecDeque<Vec<u8>> = preloaded.iter().cloned().collect();
        wanted.extend(executable.needed());
        // With musl the dynamic linker is the C library, and programs may need it by a name that no file has.
        let mut last = executable.interpreter();
        while let Some(name) = wanted.pop_front().or_else(|| last.take()) {
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
    pub unseen: Vec<String>,
}
