//! The binary: everything is in the library.

#[global_allocator]
static ALLOCATOR: memtrace::cli::Allocator = memtrace::cli::Allocator;

fn main() -> std::process::ExitCode {
    memtrace::cli::main()
}
