//! The programs: those of other languages, in the files beside this one, and those that are this test binary, run again.

pub mod native;
