//! Ctrl-C: cases change settings of the host, so they are not cut short but come to an end of their own.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static CAME: AtomicBool = AtomicBool::new(false);

/// From now on a signal that would end this program is only noted.
pub fn note() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(i32) = noted;
        // SAFETY: the handler does nothing but store a flag. Programs that are started do not inherit it.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

extern "C" fn noted(_: i32) {
    CAME.store(true, Relaxed);
}

/// Whether one came.
pub fn came() -> bool {
    CAME.load(Relaxed)
}
