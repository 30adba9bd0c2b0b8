//! The workload: a program that does what it is told, one line at a time, and nothing else.
//!
//! It is this test binary, run again. A command comes on standard input, the answer goes to standard output once the command
//! is done; in between the program stands still in `read`. It allocates nothing after its start, so that every page that
//! moves is one that a command moved. Commands name regions by a letter and count in pages.

use std::{
    ffi::CStr,
    io,
    mem::{MaybeUninit, zeroed},
    ptr, thread,
    time::Duration,
};

use crate::{
    harness::kernel_release,
    storm::{self, Kind},
};

const REGIONS: usize = 26;

#[derive(Clone, Copy)]
struct Region {
    base: *mut u8,
    pages: usize,
}

struct Workload {
    page: usize,
    regions: [Region; REGIONS],
    child: libc::pid_t,
    /// The CPUs that this program was started with. Of these it keeps to one: pages that the kernel collects in a batch per
    /// CPU, before it moves them between its lists, are then all in the one batch that `drain` empties.
    cpus: libc::cpu_set_t,
    /// Before 6.2: a file of shared memory, mapped, see `settle`.
    settling: Option<i32>,
}

/// Runs commands until the input ends.
pub fn main() -> ! {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let mut workload = Workload {
        page,
        regions: [Region {
            base: ptr::null_mut(),
            pages: 0,
        }; REGIONS],
        child: 0,
        cpus: cpus(),
        settling: None,
    };
    workload.pin(0);
    if kernel_release() < (6, 2) {
        workload.settling = Some(map_settling(page));
    }
    workload.serve()
}

/// A file of two pages, mapped; the first one is touched, so that there is a page table.
fn map_settling(page: usize) -> i32 {
    // SAFETY: a mapping of its own, of the file's length.
    unsafe {
        let fd = libc::memfd_create(c"settling".as_ptr(), libc::MFD_CLOEXEC);
        libc::ftruncate(fd, 2 * page as i64);
        let base = libc::mmap(
            ptr::null_mut(),
            2 * page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        base.cast::<u8>().write_volatile(1);
        fd
    }
}

/// The CPUs that the calling thread may run on.
fn cpus() -> libc::cpu_set_t {
    // SAFETY: a set of bits, for which all 0 is a value; the kernel fills it.
    unsafe {
        let mut cpus: libc::cpu_set_t = zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut cpus);
        cpus
    }
}

fn run_on(cpus: &libc::cpu_set_t) -> i64 {
    // SAFETY: passes a set of that size.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), ptr::from_ref(cpus)) };
    if result == 0 { 0 } else { -errno() }
}

/// Reads one line into `line`; its length without the line's end, or `None` at the end of the input.
fn read_line(line: &mut [u8; 256]) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut byte = 0u8;
        // SAFETY: one byte into one byte.
        let got = unsafe { libc::read(0, (&raw mut byte).cast(), 1) };
        if got <= 0 {
            return None;
        }
        if byte == b'\n' {
            return Some(length);
        }
        line[length] = byte;
        length += 1;
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

/// Takes the next line: `exec` and `exit` are done here and now, whatever else is under way; anything else ends the waiting.
fn wait_to_be_told() {
    let mut line = [0; 256];
    let length = read_line(&mut line).unwrap_or(0);
    match &line[..length] {
        b"exec" => {
            exec(c"/proc/self/exe", c"__workload");
        }
        // SAFETY: ends the process at once, without clean-up that would move memory.
        b"exit" => unsafe { libc::_exit(0) },
        _ => {}
    }
}

fn answer(text: &[u8]) {
    // SAFETY: a valid buffer of that length.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

fn answer_number(value: i64) {
    let mut digits = [0u8; 24];
    let mut at = digits.len() - 1;
    digits[at] = b'\n';
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    answer(&digits[at..]);
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

fn errno() -> i64 {
    i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

impl Workload {
    fn serve(&mut self) -> ! {
        let mut line = [0u8; 256];
        while let Some(length) = read_line(&mut line) {
            let text = std::str::from_utf8(&line[..length]).expect("text");
            let mut words = [""; 8];
            let mut count = 0;
            for word in text.split(' ') {
                words[count] = word;
                count += 1;
            }
            let result = self.run(&words[..count]);
            self.settle();
            answer_number(result);
        }
        // SAFETY: ends the process at once, without clean-up that would move memory.
        unsafe { libc::_exit(0) }
    }

    /// Before 6.2 a thread keeps the pages of its last faults to itself, until it unmaps something: nothing, here.
    fn settle(&self) {
        if let Some(fd) = self.settling {
            let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            // SAFETY: a file of this program's own.
            unsafe { libc::fallocate(fd, hole, self.page as i64, self.page as i64) };
        }
    }

    fn region(&mut self, word: &str) -> &mut Region {
        &mut self.regions[(word.as_bytes()[0] - b'a') as usize]
    }

    fn span(&mut self, words: &[&str]) -> (*mut u8, usize) {
        let page = self.page;
        let region = self.region(words[1]);
        let (first, pages) = (number(words[2]), number(words[3]));
        assert!(first + pages <= region.pages);
        (region.base.wrapping_add(first * page), pages * page)
    }

    /// 0 or a positive result where the command succeeded, the negative errno where it failed.
    fn run(&mut self, words: &[&str]) -> i64 {
        match words[0] {
            "nothing" => 0,
            "map" => self.map(words),
            "file" => self.file(words),
            "write" => {
                let (base, bytes) = self.span(words);
                for at in (0..bytes).step_by(self.page) {
                    // SAFETY: inside a mapping of this workload.
                    unsafe { base.add(at).write_volatile(1) };
                }
                0
            }
            "read" => {
                let (base, bytes) = self.span(words);
                let mut sum = 0;
                for at in (0..bytes).step_by(self.page) {
                    // SAFETY: inside a mapping of this workload.
                    sum += i64::from(unsafe { base.add(at).read_volatile() });
                }
                sum
            }
            "madvise" => {
                let (base, bytes) = self.span(words);
                let advice = number(words[4]) as i32;
                // SAFETY: a system call on a mapping of this workload; nothing else lies in it.
                let result = unsafe { libc::madvise(base.cast(), bytes, advice) };
                if result == 0 { 0 } else { -errno() }
            }
            "advise_times" => {
                let base = self.region(words[1]).base;
                for _ in 0..number(words[2]) {
                    // SAFETY: a page of a mapping of this workload.
                    unsafe { libc::madvise(base.cast(), self.page, number(words[3]) as i32) };
                }
                0
            }
            "process_madvise" => self.process_madvise(words),
            "uring_madvise" => {
                let (base, bytes) = self.span(words);
                crate::uring::madvise(base, bytes, number(words[4]) as u32)
            }
            "where" => self.region(words[1]).base as i64,
            "pin" => self.pin(number(words[1])),
            "drain" => self.drain(),
            "mlock" => {
                let (base, bytes) = self.span(words);
                // SAFETY: locks pages of a mapping of this workload.
                let result = unsafe { libc::mlock(base.cast(), bytes) };
                if result == 0 { 0 } else { -errno() }
            }
            "hold" => self.hold(words),
            "unmap" | "unmap_unaligned" => {
                let (base, bytes) = self.span(words);
                let base = base.wrapping_add(usize::from(words[0] != "unmap"));
                // SAFETY: as above; where it is not aligned the kernel refuses it.
                let result = unsafe { libc::munmap(base.cast(), bytes) };
                if result == 0 { 0 } else { -errno() }
            }
            "map_nothing" => {
                // SAFETY: the kernel refuses a mapping of no length.
                unsafe {
                    libc::mmap(
                        ptr::null_mut(),
                        0,
                        libc::PROT_READ,
                        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                        -1,
                        0,
                    )
                };
                -errno()
            }
            "remap_unaligned" => {
                let region = *self.region(words[1]);
                let page = self.page;
                // SAFETY: the kernel refuses an address that is not aligned.
                unsafe { libc::mremap(region.base.add(1).cast(), page, 2 * page, 0) };
                -errno()
            }
            "remap" => self.remap(words),
            "fixed" => {
                let (base, bytes) = self.span(words);
                // SAFETY: replaces pages of a mapping of this workload.
                let result = unsafe {
                    libc::mmap(
                        base.cast(),
                        bytes,
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                        -1,
                        0,
                    )
                };
                if result == libc::MAP_FAILED {
                    -errno()
                } else {
                    0
                }
            }
            "brk" => self.brk(words),
            "zero_into" => {
                let (base, bytes) = self.span(words);
                // SAFETY: the kernel writes into a mapping of this workload.
                unsafe {
                    let fd = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
                    let got = libc::read(fd, base.cast(), bytes);
                    libc::close(fd);
                    if got == bytes as isize { 0 } else { -errno() }
                }
            }
            "fork" => self.fork(words),
            "reap" => {
                if self.child <= 0 {
                    return -i64::from(libc::ECHILD);
                }
                // SAFETY: the child of `fork` or `share`, which waits for a signal.
                unsafe {
                    libc::kill(self.child, libc::SIGKILL);
                    libc::waitpid(self.child, ptr::null_mut(), 0);
                }
                self.child = 0;
                0
            }
            "fork_loop" => self.fork_loop(words),
            "vfork_write" => self.vfork_write(words),
            "spawn" => self.spawn(),
            "share" => self.share(),
            "exec" => exec(c"/proc/self/exe", c"__workload"),
            "exec_missing" => exec(c"/proc/self/none", c"__workload"),
            // SAFETY: ends the process at once, without clean-up that would move memory.
            "exit" => unsafe { libc::_exit(0) },
            "leave_leader" => self.leave_leader(),
            "storm" => {
                run_on(&self.cpus);
                let wait = || match words[2] {
                    "told" => wait_to_be_told(),
                    seconds => thread::sleep(Duration::from_secs(number(seconds) as u64)),
                };
                let kind = Kind::named(words[3]);
                let result = storm::run(number(words[1]), kind, number(words[4]) as u64, wait);
                self.pin(0);
                result
            }
            other => panic!("unknown command {other}"),
        }
    }

    /// `pin N`: keeps to the CPU at place N among those that this program was started with, going round.
    fn pin(&self, place: usize) -> i64 {
        // SAFETY: indices below the set's size; a set that all 0 is a value of.
        let one = unsafe {
            let mut one: libc::cpu_set_t = zeroed();
            let place = place % libc::CPU_COUNT(&self.cpus) as usize;
            let cpu = (0..libc::CPU_SETSIZE as usize)
                .filter(|&cpu| libc::CPU_ISSET(cpu, &self.cpus))
                .nth(place);
            libc::CPU_SET(cpu.expect("a CPU"), &mut one);
            one
        };
        run_on(&one)
    }

    /// `drain`: has the kernel empty this CPU's batches of pages that wait to be moved between its lists, as lazily freed pages
    /// do; `MADV_COLD` begins with that.
    fn drain(&self) -> i64 {
        let page = self.page;
        // SAFETY: a fresh mapping that is never touched.
        unsafe {
            let scratch = libc::mmap(
                ptr::null_mut(),
                page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            let result = libc::madvise(scratch, page, libc::MADV_COLD);
            let error = errno();
            libc::munmap(scratch, page);
            if result == 0 { 0 } else { -error }
        }
    }

    /// `map R PAGES [populate] [shared] [huge] [aligned] [default]`
    fn map(&mut self, words: &[&str]) -> i64 {
        const HUGE: usize = 2 << 20;
        let page = self.page;
        let pages = number(words[2]);
        let mut flags = libc::MAP_ANONYMOUS;
        flags |= if words.contains(&"shared") {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        if words.contains(&"populate") {
            flags |= libc::MAP_POPULATE;
        }
        let huge = words.contains(&"huge");
        let aligned = huge || words.contains(&"aligned");
        let bytes = pages * page + if aligned { HUGE } else { 0 };
        // SAFETY: a fresh mapping.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return -errno();
        }
        let mut base = base.cast::<u8>();
        if aligned {
            base = base.wrapping_add(base.align_offset(HUGE));
        }
        if huge {
            // SAFETY: inside the mapping above.
            unsafe { libc::madvise(base.cast(), pages * page, libc::MADV_HUGEPAGE) };
        } else if !words.contains(&"default") {
            // A setting of THP=always must not turn page counts into guesses.
            // SAFETY: as above.
            unsafe { libc::madvise(base.cast(), pages * page, libc::MADV_NOHUGEPAGE) };
        }
        *self.region(words[1]) = Region { base, pages };
        0
    }

    /// `file R PAGES shared|private PATH`
    fn file(&mut self, words: &[&str]) -> i64 {
        let page = self.page;
        let pages = number(words[2]);
        let mut path = [0u8; 200];
        path[..words[4].len()].copy_from_slice(words[4].as_bytes());
        let flags = if words[3] == "shared" {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        // SAFETY: the path ends with 0; a fresh mapping.
        let base = unsafe {
            let fd = libc::open(path.as_ptr().cast(), libc::O_RDWR);
            if fd < 0 {
                return -errno();
            }
            let base = libc::mmap(
                ptr::null_mut(),
                pages * page,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            );
            libc::close(fd);
            base
        };
        if base == libc::MAP_FAILED {
            return -errno();
        }
        *self.region(words[1]) = Region {
            base: base.cast(),
            pages,
        };
        0
    }

    /// `hold R FIRST PAGES`: puts the pages themselves, not what is in them, into a pipe that nobody reads.
    fn hold(&mut self, words: &[&str]) -> i64 {
        let (base, bytes) = self.span(words);
        let vector = libc::iovec {
            iov_base: base.cast(),
            iov_len: bytes,
        };
        let mut pipe = [0i32; 2];
        // SAFETY: two descriptors into an array of two; one vector, of this workload's memory.
        let held = unsafe {
            libc::pipe(pipe.as_mut_ptr());
            libc::vmsplice(pipe[1], &raw const vector, 1, 0)
        };
        if held == bytes as isize { 0 } else { -errno() }
    }

    /// `remap R PAGES [move]`
    fn remap(&mut self, words: &[&str]) -> i64 {
        let page = self.page;
        let pages = number(words[2]);
        let away = words.contains(&"move");
        let region = self.region(words[1]);
        // SAFETY: a mapping of this workload, and for a move a place that was just reserved for it.
        let base = unsafe {
            if away {
                let place = libc::mmap(
                    ptr::null_mut(),
                    pages * page,
                    libc::PROT_NONE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                libc::mremap(
                    region.base.cast(),
                    region.pages * page,
                    pages * page,
                    libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                    place,
                )
            } else {
                libc::mremap(
                    region.base.cast(),
                    region.pages * page,
                    pages * page,
                    libc::MREMAP_MAYMOVE,
                )
            }
        };
        if base == libc::MAP_FAILED {
            return -errno();
        }
        *region = Region {
            base: base.cast(),
            pages,
        };
        0
    }

    /// `brk up|down PAGES`: moves the break, and touches what it gained.
    fn brk(&mut self, words: &[&str]) -> i64 {
        let pages = number(words[2]);
        // SAFETY: nothing else in this program uses the break while commands run.
        unsafe {
            let now = libc::syscall(libc::SYS_brk, 0);
            let up = words[1] == "up";
            let bytes = (pages * self.page) as i64;
            let wanted = if up { now + bytes } else { now - bytes };
            if libc::syscall(libc::SYS_brk, wanted) != wanted {
                return -1;
            }
            if up {
                // The old break may lie inside a page that is there already.
                let first = (now as usize).next_multiple_of(self.page);
                for at in (first..wanted as usize).step_by(self.page) {
                    (at as *mut u8).write_volatile(1);
                }
            }
        }
        0
    }

    fn process_madvise(&mut self, words: &[&str]) -> i64 {
        let (base, bytes) = self.span(words);
        let advice = number(words[4]);
        let vector = libc::iovec {
            iov_base: base.cast(),
            iov_len: bytes,
        };
        // SAFETY: system calls with valid arguments, on this process.
        unsafe {
            let own = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
            let result = libc::syscall(
                libc::SYS_process_madvise,
                own,
                &raw const vector,
                1,
                advice,
                0,
            );
            let error = errno();
            libc::close(own as i32);
            if result >= 0 { result } else { -error }
        }
    }

    /// `fork R FIRST PAGES`: forks a child that writes these pages and then waits to be killed. Answers its id.
    fn fork(&mut self, words: &[&str]) -> i64 {
        let (base, bytes) = self.span(words);
        let mut pipe = [0i32; 2];
        // SAFETY: the child touches this workload's mapping, says so, and waits.
        unsafe {
            libc::pipe(pipe.as_mut_ptr());
            let child = libc::fork();
            if child == 0 {
                for at in (0..bytes).step_by(self.page) {
                    base.add(at).write_volatile(2);
                }
                libc::write(pipe[1], b"x".as_ptr().cast(), 1);
                loop {
                    libc::pause();
                }
            }
            self.child = child;
            let mut byte = MaybeUninit::<u8>::uninit();
            libc::read(pipe[0], byte.as_mut_ptr().cast(), 1);
            libc::close(pipe[0]);
            libc::close(pipe[1]);
        }
        i64::from(self.child)
    }

    /// `fork_loop R FIRST PAGES`: children one after another, each of which writes these pages, as does this process while the
    /// child lives, until the next line comes. Answers how many there were.
    fn fork_loop(&mut self, words: &[&str]) -> i64 {
        let (base, bytes) = self.span(words);
        let mut forks = 0;
        while !is_told() {
            // SAFETY: the child touches this workload's mapping and exits; it calls nothing else.
            unsafe {
                let child = libc::fork();
                for at in (0..bytes).step_by(self.page) {
                    base.add(at).write_volatile(4);
                }
                if child == 0 {
                    libc::_exit(0);
                }
                libc::waitpid(child, ptr::null_mut(), 0);
            }
            forks += 1;
        }
        wait_to_be_told();
        forks
    }

    /// `vfork_write R FIRST PAGES`: a vfork child writes these pages, in this process's own memory.
    #[expect(deprecated, reason = "vfork is what is tested")]
    fn vfork_write(&mut self, words: &[&str]) -> i64 {
        let (base, bytes) = self.span(words);
        let page = self.page;
        // SAFETY: the child writes to a mapping and exits; it calls nothing else.
        unsafe {
            let child = libc::vfork();
            if child == 0 {
                let mut at = 0;
                while at < bytes {
                    base.add(at).write_volatile(3);
                    at += page;
                }
                libc::_exit(0);
            }
            libc::waitpid(child, ptr::null_mut(), 0);
        }
        0
    }

    /// `spawn`: a vfork child that executes another program, which ends at once: what `posix_spawn` does.
    #[expect(deprecated, reason = "vfork is what is tested")]
    fn spawn(&mut self) -> i64 {
        let argv = [
            c"/proc/self/exe".as_ptr(),
            c"__nothing".as_ptr(),
            ptr::null(),
        ];
        let mut status = 0;
        // SAFETY: valid arguments; the child executes or exits, and calls nothing else.
        unsafe {
            let child = libc::vfork();
            if child == 0 {
                libc::execv(argv[0], argv.as_ptr());
                libc::_exit(1);
            }
            libc::waitpid(child, &raw mut status, 0);
        }
        if status == 0 { 0 } else { -1 }
    }

    /// `share`: a child that shares this process's memory without being one of its threads, and that waits to be killed, or
    /// for this process's end. Answers its id.
    fn share(&mut self) -> i64 {
        const STACK: usize = 64 << 10;
        extern "C" fn wait(_: *mut libc::c_void) -> libc::c_int {
            // SAFETY: calls without pointers.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
        }
        // SAFETY: the child runs on a mapping of its own, and touches nothing else.
        unsafe {
            let stack = libc::mmap(
                ptr::null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            self.child = libc::clone(
                wait,
                stack.byte_add(STACK),
                libc::CLONE_VM | libc::SIGCHLD,
                ptr::null_mut(),
            );
        }
        i64::from(self.child)
    }

    /// The first thread ends; commands go on in another one.
    fn leave_leader(&mut self) -> i64 {
        extern "C" fn go_on(workload: *mut libc::c_void) -> *mut libc::c_void {
            // SAFETY: the first thread's stack outlives the thread, and it does not come back to it.
            let workload = unsafe { &mut *workload.cast::<Workload>() };
            answer_number(0);
            workload.serve()
        }
        // SAFETY: the thread gets a pointer that stays valid; the first thread ends without unwinding.
        unsafe {
            let mut thread = MaybeUninit::uninit();
            libc::pthread_create(
                thread.as_mut_ptr(),
                ptr::null(),
                go_on,
                ptr::from_mut(self).cast(),
            );
            libc::syscall(libc::SYS_exit, 0);
        }
        0
    }
}

/// Replaces this program; comes back only where that fails.
fn exec(path: &CStr, argument: &CStr) -> i64 {
    let argv = [path.as_ptr(), argument.as_ptr(), ptr::null()];
    // SAFETY: valid arguments; on success nothing of this program is left.
    unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
    -errno()
}
