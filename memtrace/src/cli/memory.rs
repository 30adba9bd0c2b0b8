//! How memtrace treats its own memory: it may stay beside its target for days, so it holds what it uses and little else.

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
