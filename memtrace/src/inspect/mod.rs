//! What the process is: which runtime and allocator, in which version and with which settings, and what they are expected to do
//! with memory that they do not need. And Go's own figures, from outside.
//!
//! Decided from the executable, the mapped files, the environment and the command line, never from a name that the process chose.
//! All of that is input from outside: it is parsed as bytes, and what cannot be had is named.

mod allocator;
mod budget;
mod elf;
mod engine;
mod error;
mod expect;
mod findings;
pub mod go;
mod live;
mod loaded;
mod maps;
mod process;
mod runtime;
mod settings;
mod words;

pub use budget::{Budget, MOST_WORK, Metered, Shallow};
pub use elf::Error as ElfError;
pub use error::InspectError;
pub use findings::Findings;
pub use live::{LiveMemory, LiveProcess};
pub use maps::{MappedFile, code_files};
pub use process::{Image, Memory, Process};
pub use runtime::inspect;
