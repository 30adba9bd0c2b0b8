//! Go's own figures against those that are read from outside: programs of every version that the table knows, in every form that
//! a linker gives them. Toolchains come from `cargo xtask golang`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is not as expected is a case that fails"
)]

mod cases;
mod process;
mod toolchain;

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Each grows to 200 MiB, and the machine may be small.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, cases::all()).exit();
}
