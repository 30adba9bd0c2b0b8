//! How memtrace treats its own memory: it may stay beside its target for days, so it holds what it uses and little else. And how it
//! ends where it gets none.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{self, Write as _},
};

use rustix::process::{Resource, getrlimit};

use super::exit;

/// Asked of the allocator before there is a second thread. Without it, each thread that looks at files leaves an arena of its own
/// behind, 1.1 MiB with the buffers of the largest file that it saw: glibc raises the size from which on it maps a buffer by
/// itself, and keeps what is below (mallopt(3), `M_MMAP_THRESHOLD`).
pub fn hold_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers, and is called while there is one thread. Where it refuses, all works as before.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Attaching reads all of the kernel's type information. What was freed of it is given back now.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number of bytes to keep, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The system's allocator, except that memory that is refused ends memtrace with a line that says so, not with SIGABRT.
pub struct Allocator;

// SAFETY: each call goes to the system's allocator as it is. Of what it returns, a null pointer alone is not passed on.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        granted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        granted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        granted(unsafe { System.realloc(block, layout, size) }, size)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

fn granted(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        refused(size);
    }
    block
}

/// Says what was refused, without an allocation, and ends. A journal keeps what was captured: each of its lines is written at once.
#[cold]
fn refused(size: usize) -> ! {
    let mut line = [0; 320];
    let mut rest = line.as_mut_slice();
    let _ = write!(
        rest,
        "memtrace: out of memory: the kernel refused {size} bytes"
    );
    let limits = [(Resource::As, "AS", "as"), (Resource::Data, "DATA", "data")];
    for (resource, name, option) in limits {
        if let Some(limit) = getrlimit(resource).current {
            let _ = write!(
                rest,
                "; RLIMIT_{name} is {limit} bytes, type: sudo prlimit --pid $$ --{option}=unlimited"
            );
        }
    }
    let _ = writeln!(rest);
    let left = rest.len();
    let _ = rustix::io::write(io::stderr(), &line[..line.len() - left]);
    // SAFETY: ends the process at once: destructors might ask for more memory.
    unsafe { libc::_exit(i32::from(exit::ERROR)) }
}
