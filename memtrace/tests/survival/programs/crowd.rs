//! `crowd`: more threads inside `madvise` at the same time than memtrace keeps room for.
//!
//! Each asks for one page of a mapping whose faults nobody answers (userfaultfd), and sleeps in the call until they are.

use std::{
    mem::{MaybeUninit, zeroed},
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{answer, lines};

const PAGE: usize = 4096;
const STACK: usize = 16 << 10;

/// `include/uapi/linux/userfaultfd.h`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const REGISTER_MISSING: u64 = 1;

static BASE: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// `THREADS`: answers `inside` once so many threads are inside the call, or `absent` where the kernel has no userfaultfd. The
/// next line lets them go on; answers how many calls failed.
pub fn main() {
    let mut input = lines();
    let threads: usize = input.next().unwrap().parse().unwrap();
    let Some(faults) = unanswered(threads * PAGE) else {
        answer("absent");
        return;
    };
    let crowd: Vec<libc::pthread_t> = (0..threads).map(spawn).collect();
    while !all_asleep(threads) {
        thread::sleep(Duration::from_millis(20));
    }
    answer("inside");
    input.next();
    // SAFETY: the descriptor is this function's own; closing it lets the kernel answer the faults itself.
    unsafe { libc::close(faults) };
    for thread in crowd {
        // SAFETY: a thread that was made to be joined, once.
        unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    }
    answer(FAILED.load(Relaxed));
    input.next();
}

/// Maps so many bytes, whose faults go to a descriptor that nobody reads.
fn unanswered(bytes: usize) -> Option<i32> {
    // SAFETY: a fresh mapping, and structures of the kernel's interface that outlive the calls.
    unsafe {
        let base = libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(base, libc::MAP_FAILED);
        libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
        BASE.store(base as usize, Relaxed);
        let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as i32;
        let mut api = Api {
            api: UFFD_API,
            features: 0,
            ioctls: 0,
        };
        let mut register = Register {
            start: base as u64,
            length: bytes as u64,
            mode: REGISTER_MISSING,
            ioctls: 0,
        };
        let ready = fd >= 0
            && libc::ioctl(fd, UFFDIO_API, &raw mut api) == 0
            && libc::ioctl(fd, UFFDIO_REGISTER, &raw mut register) == 0;
        ready.then_some(fd)
    }
}

fn spawn(index: usize) -> libc::pthread_t {
    extern "C" fn ask(index: *mut libc::c_void) -> *mut libc::c_void {
        let page = BASE.load(Relaxed) + index as usize * PAGE;
        // SAFETY: a page of the mapping, which lives as long as this program.
        let result = unsafe {
            libc::madvise(
                ptr::without_provenance_mut(page),
                PAGE,
                libc::MADV_POPULATE_WRITE,
            )
        };
        if result != 0 {
            FAILED.fetch_add(1, Relaxed);
        }
        ptr::null_mut()
    }
    // SAFETY: attributes that are set up before their use; the thread gets a number, no pointer.
    unsafe {
        let mut attributes: libc::pthread_attr_t = zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        libc::pthread_attr_setguardsize(&raw mut attributes, 0);
        let mut thread = MaybeUninit::uninit();
        let index = ptr::without_provenance_mut(index);
        let result = libc::pthread_create(thread.as_mut_ptr(), &raw const attributes, ask, index);
        assert_eq!(result, 0, "pthread_create");
        thread.assume_init()
    }
}

/// Whether so many threads, and the first one, are there, and all but the first one sleep.
fn all_asleep(threads: usize) -> bool {
    let states: Vec<String> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .collect();
    let asleep = |stat: &&String| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['S', 'D']))
    };
    states.iter().filter(asleep).count() >= threads
}
