//! A bound on the work that one look at a process may take: whoever runs the process chooses its files.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

use super::{Image, InspectError, MappedFile, Process};

/// Bytes that may be read, unpacked or parsed in one look. An unstripped Go program of 100 MB takes some 100 MiB, everything else less.
pub const MOST_WORK: u64 = 256 << 20;

/// The work that is left of a look. Its clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<u64>>);

impl Default for Budget {
    fn default() -> Self {
        Self(Rc::new(Cell::new(MOST_WORK)))
    }
}

impl Budget {
    /// Takes `bytes` of work from what is left.
    ///
    /// # Errors
    ///
    /// [`InspectError::Budget`] if less is left. Nothing is left from then on.
    pub fn spend(&self, bytes: u64) -> Result<(), InspectError> {
        match self.0.get().checked_sub(bytes) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                Err(InspectError::Budget)
            }
        }
    }

    fn left(&self) -> u64 {
        self.0.get()
    }

    /// Returns the bytes of work that were spent.
    #[must_use]
    pub fn spent(&self) -> u64 {
        MOST_WORK.saturating_sub(self.0.get())
    }
}

/// A process whose files are read within a budget.
pub struct Metered<'p> {
    process: &'p dyn Process,
    budget: Budget,
}

impl<'p> Metered<'p> {
    /// Gives the looks at `process` a budget of [`MOST_WORK`] together.
    #[must_use]
    pub fn new(process: &'p dyn Process) -> Self {
        Self {
            process,
            budget: Budget::default(),
        }
    }

    fn image(&self, image: Box<dyn Image>) -> Box<dyn Image> {
        Box::new(Charged {
            image,
            budget: self.budget.clone(),
        })
    }
}

impl Process for Metered<'_> {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        Ok(self.image(self.process.executable()?))
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        let maps = self.process.maps()?;
        self.budget.spend(maps.len() as u64)?;
        Ok(maps)
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        self.process.environ()
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        self.process.arguments()
    }

    fn file(&self, path: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        Ok(self.image(self.process.file(path)?))
    }

    fn mapped(&self, file: &MappedFile) -> Result<Box<dyn Image>, InspectError> {
        Ok(self.image(self.process.mapped(file)?))
    }

    fn budget(&self) -> Budget {
        self.budget.clone()
    }
}

/// A process of whose files only the executable is looked at: what lies in its root, or was mapped from there, may be on a file system that
/// does not answer.
pub struct Shallow<'p>(pub &'p dyn Process);

impl Process for Shallow<'_> {
    fn executable(&self) -> Result<Box<dyn Image>, InspectError> {
        self.0.executable()
    }

    fn maps(&self) -> Result<Vec<u8>, InspectError> {
        self.0.maps()
    }

    fn environ(&self) -> Result<Vec<u8>, InspectError> {
        self.0.environ()
    }

    fn arguments(&self) -> Result<Vec<u8>, InspectError> {
        self.0.arguments()
    }

    fn file(&self, _path: &[u8]) -> Result<Box<dyn Image>, InspectError> {
        Err(InspectError::Skipped)
    }
}

/// A file whose bytes are charged as they are read.
struct Charged {
    image: Box<dyn Image>,
    budget: Budget,
}

impl Read for Charged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // At least 1: a file that has nothing more to give is not asked without end.
        self.budget.spend(1).map_err(io::Error::other)?;
        let most = usize::try_from(self.budget.left()).unwrap_or(usize::MAX);
        let most = most.saturating_add(1).min(buffer.len());
        let read = self
            .image
            .read(buffer.get_mut(..most).unwrap_or_default())?;
        let more = read.saturating_sub(1) as u64;
        self.budget.spend(more).map_err(io::Error::other)?;
        Ok(read)
    }
}

impl Seek for Charged {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.image.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::inspect::ElfError;

    #[test]
    fn all_files_of_a_look_share_one_budget() {
        let budget = Budget::default();
        let mut files = [0; 2].map(|_| Charged {
            image: Box::new(Cursor::new(vec![0; 1000])),
            budget: budget.clone(),
        });
        budget.spend(MOST_WORK - 1500).unwrap();
        files[0].read_exact(&mut [0; 1000]).unwrap();
        let error = files[1].read_exact(&mut [0; 1000]).unwrap_err();
        assert!(error.to_string().contains("256 MiB"), "{error}");
        // The kind outlasts the I/O error that carried it.
        let error = InspectError::from(ElfError::Read(error));
        assert!(matches!(error, InspectError::Budget), "{error:?}");
        // It stays used up.
        assert!(matches!(budget.spend(1), Err(InspectError::Budget)));
        assert_eq!(budget.spent(), MOST_WORK);
    }
}
