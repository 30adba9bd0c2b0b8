//! `breed`: children and threads by the thousand.

use std::{ptr, thread};

use super::{answer, lines};

/// `FORKS THREADS`: so many children, one after another, each of which writes a page and ends at once, and so many threads.
/// Answers once all have ended. `until`: children until the next line; answers their number.
pub fn main() {
    let mut page = vec![0u8; 8192];
    let mut input = lines();
    while let Some(line) = input.next() {
        if line == "until" {
            let mut forks = 0;
            while !is_told() {
                fork(&mut page);
                forks += 1;
            }
            input.next();
            answer(forks);
            continue;
        }
        let (forks, threads) = line.split_once(' ').unwrap();
        for _ in 0..forks.parse().unwrap() {
            fork(&mut page);
        }
        let threads: usize = threads.parse().unwrap();
        for first in (0..threads).step_by(50) {
            let wave = threads.min(first + 50) - first;
            let wave: Vec<_> = (0..wave)
                .map(|_| thread::spawn(|| vec![1u8; 64 << 10].len()))
                .collect();
            for thread in wave {
                thread.join().unwrap();
            }
        }
        answer("done");
    }
}

/// Whether a line is waiting to be read.
fn is_told() -> bool {
    let mut input = libc::pollfd {
        fd: 0,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor, asked about at once.
    unsafe { libc::poll(&raw mut input, 1, 0) > 0 }
}

fn fork(page: &mut [u8]) {
    // SAFETY: the child writes to memory of its own and ends; it calls nothing else.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "fork");
        if child == 0 {
            page.as_mut_ptr().add(4096).write_volatile(1);
            libc::_exit(0);
        }
        page.as_mut_ptr().write_volatile(1);
        libc::waitpid(child, ptr::null_mut(), 0);
    }
}
