//! The eBPF object that the binary carries.
//!
//! It is built by `cargo xtask build-ebpf` and committed, so that building memtrace needs stable Rust and nothing else;
//! `cargo xtask ci` checks that it belongs to the sources.

/// Aligned as an ELF file wants to be read.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ebpf/memtrace.bpf.o"));

/// The object: one little-endian ELF file for x86-64 and arm64.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// What built the object, and from what: the lines of `memtrace.bpf.txt` beside it.
#[must_use]
pub fn provenance() -> &'static str {
    include_str!("../../ebpf/memtrace.bpf.txt")
}
