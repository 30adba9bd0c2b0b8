//! A native program, whose memory comes of the `malloc` that it finds: one line of input at a time.

use std::{
    ffi::CString,
    io::{BufRead, Write},
    mem, ptr,
    sync::{Arc, Barrier},
    thread,
};

const MIB: usize = 1 << 20;
const PAGE: usize = 4 << 10;
/// Sizes of blocks as a program has them: below what `malloc` maps one by one.
const BLOCKS: [usize; 6] = [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 24 << 10];

/// A buffer so large that glibc maps it on its own.
const BUFFER: usize = 4 * MIB;

/// Blocks that `malloc` gave.
#[derive(Default)]
struct Blocks(Vec<usize>);

impl Blocks {
    /// Takes so many bytes, and writes to all of them.
    fn take(&mut self, bytes: usize) {
        let mut left = bytes;
        for size in BLOCKS.into_iter().cycle() {
            self.0.push(block(size));
            left = left.saturating_sub(size);
            if left == 0 {
                return;
            }
        }
    }

    fn free(&mut self) {
        for block in mem::take(&mut self.0) {
            // SAFETY: a block that `malloc` gave, and that nobody looks at.
            unsafe { libc::free(ptr::with_exposed_provenance_mut(block)) };
        }
    }
}

/// A block, written.
fn block(size: usize) -> usize {
    // SAFETY: a fresh block of that size; where there is none the program ends.
    unsafe {
        let block = libc::malloc(size).cast::<u8>();
        assert!(!block.is_null());
        block.write_bytes(0x5a, size);
        block.expose_provenance()
    }
}

/// Runs commands until the input ends.
pub fn main() -> ! {
    let mut blocks = Blocks::default();
    let mut gate = None;
    say("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["nothing"] => {}
            ["take", mib] => blocks.take(bytes(mib)),
            ["free"] => blocks.free(),
            ["serve"] => serve(),
            ["burst", threads, mib] => gate = Some(burst(threads.parse().unwrap(), bytes(mib))),
            ["calm"] => {
                let gate = gate.take().expect("a burst");
                gate.wait();
                gate.wait();
            }
            ["trim"] => {
                // SAFETY: a call of glibc's, which takes its own locks.
                unsafe { libc::malloc_trim(0) };
            }
            ["lazy", mib] => lazy(bytes(mib)),
            ["populate", mib] => {
                map(bytes(mib), libc::MAP_PRIVATE | libc::MAP_POPULATE);
            }
            ["churn", mib] => churn(bytes(mib)),
            ["shared", mib] => {
                let bytes = bytes(mib);
                touch(map(bytes, libc::MAP_SHARED), bytes);
            }
            ["file", path] => read_mapped(path),
            _ => panic!("{line}"),
        }
        say("done");
    }
    std::process::exit(0);
}

/// Warms up, and then waits for a signal.
pub fn start() -> ! {
    map(128 * MIB, libc::MAP_PRIVATE | libc::MAP_POPULATE);
    let mut cache = Blocks::default();
    cache.take(32 * MIB);
    loop {
        thread::park();
    }
}

fn bytes(mib: &str) -> usize {
    mib.parse::<usize>().unwrap() * MIB
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").unwrap();
    out.flush().unwrap();
}

/// A little of the daily work: some blocks, and all of them freed.
fn serve() {
    let mut blocks = Blocks::default();
    blocks.take(MIB);
    blocks.free();
}

/// Threads in a busy minute: each has so many bytes in blocks, and a large buffer. At the `gate` they are done with that: each keeps one
/// small thing that it made last, gives all the rest back to `malloc`, comes to the gate again, and waits for more work.
fn burst(threads: usize, bytes: usize) -> Arc<Barrier> {
    let gate = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let gate = Arc::clone(&gate);
        thread::spawn(move || {
            let mut blocks = Blocks::default();
            blocks.take(bytes);
            blocks.0.push(block(BUFFER));
            block(BLOCKS[0]);
            gate.wait();
            gate.wait();
            blocks.free();
            gate.wait();
            loop {
                thread::park();
            }
        });
    }
    gate.wait();
    gate
}

/// A fresh mapping that can be written.
fn map(bytes: usize, flags: i32) -> *mut u8 {
    // SAFETY: a fresh mapping.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            flags | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED);
    base.cast()
}

fn touch(base: *mut u8, bytes: usize) {
    for at in (0..bytes).step_by(PAGE) {
        // SAFETY: within a mapping of that length.
        unsafe { base.add(at).write_volatile(1) };
    }
}

/// Fills so many bytes, and gives them back lazily.
fn lazy(bytes: usize) {
    let base = map(bytes, libc::MAP_PRIVATE);
    touch(base, bytes);
    // SAFETY: a mapping of this program's own.
    let result = unsafe { libc::madvise(base.cast(), bytes, libc::MADV_FREE) };
    assert_eq!(result, 0);
}

/// A buffer for one request. It is larger than anything that `malloc` keeps, so each one is mapped, and unmapped.
fn churn(bytes: usize) {
    let buffer = block(bytes);
    // SAFETY: as in `Blocks::free`.
    unsafe { libc::free(ptr::with_exposed_provenance_mut(buffer)) };
}

/// Maps a file, and reads a byte of each of its pages.
fn read_mapped(path: &str) {
    let bytes = std::fs::metadata(path).unwrap().len() as usize;
    let path = CString::new(path).unwrap();
    // SAFETY: a mapping of the file's length, which nobody shortens.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY);
        let base = libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file,
            0,
        );
        assert_ne!(base, libc::MAP_FAILED);
        for at in (0..bytes).step_by(PAGE) {
            base.cast::<u8>().add(at).read_volatile();
        }
    }
}
