//! The groups of mappings, against real ones.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is not as expected is a test that fails"
)]

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::Path,
    process::Command,
    ptr, thread,
    time::{Duration, Instant},
};

use memtrace::{
    model::{MappingGroup, MappingKind},
    observe::{Mappings, MappingsError, MappingsFile, Sampler, mappings},
    proc::{self, OTHERS, ProcDir, Stat},
};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::alone::alone;

const MIB: usize = 1 << 20;

/// Maps memory, writes it, and leaves it until the process ends.
fn mapped(bytes: usize, flags: i32, file: Option<&File>) -> *mut u8 {
    let fd = file.map_or(-1, |file| file.as_raw_fd());
    // SAFETY: a new mapping, of a file that is large enough.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(ptr::null_mut(), bytes, access, flags, fd, 0);
        assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        ptr::write_bytes(at.cast::<u8>(), 7, bytes);
        at.cast()
    }
}

fn own() -> Mappings {
    mappings(&ProcDir::own().unwrap(), false).unwrap()
}

#[track_caller]
fn named<'a>(found: &'a Mappings, part: &str) -> &'a MappingGroup {
    let mut groups = found
        .groups
        .iter()
        .filter(|group| group.name.raw().contains(part));
    groups
        .next()
        .unwrap_or_else(|| panic!("{part}: {found:#?}"))
}

#[test]
fn memory_is_found_under_its_name_and_kind() {
    if !alone(
        "mappings::memory_is_found_under_its_name_and_kind",
        Path::new("."),
    ) {
        return;
    }
    const BYTES: usize = 4 * MIB;
    let memfd = File::from(memfd_create(c"telling", MFdFlags::MFD_CLOEXEC).unwrap());
    memfd.set_len(BYTES as u64).unwrap();
    mapped(BYTES, libc::MAP_SHARED, Some(&memfd));
    mapped(BYTES, libc::MAP_SHARED | libc::MAP_ANONYMOUS, None);
    let tmpfs = tempfile::NamedTempFile::with_prefix_in("telling-tmpfs", "/dev/shm").unwrap();
    tmpfs.as_file().set_len(BYTES as u64).unwrap();
    mapped(BYTES, libc::MAP_SHARED, Some(tmpfs.as_file()));
    let file = tempfile::NamedTempFile::with_prefix_in("telling-file", "/var/tmp").unwrap();
    file.as_file().set_len(BYTES as u64).unwrap();
    // Written copies of a file's pages are anonymous.
    mapped(BYTES, libc::MAP_PRIVATE, Some(file.as_file()));
    let before = own();
    let lazy = mapped(2 * BYTES, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None);
    // SAFETY: the mapping was just made, and nobody reads it.
    let result = unsafe { libc::madvise(lazy.cast(), BYTES, libc::MADV_FREE) };
    assert_eq!(result, 0);
    let found = own();

    let bytes = BYTES as u64;
    for (part, kind, anon) in [
        ("/memfd:telling", MappingKind::Shmem, 0),
        ("/dev/zero (deleted)", MappingKind::Shmem, 0),
        ("telling-tmpfs", MappingKind::Shmem, 0),
        ("telling-file", MappingKind::File, bytes),
    ] {
        let group = named(&found, part);
        assert_eq!(
            (
                group.kind,
                group.rss_bytes,
                group.anon_bytes,
                group.mappings
            ),
            (kind, bytes, anon, 1),
            "{group:?}"
        );
    }
    let anon = |mappings: &Mappings| {
        let group = mappings
            .groups
            .iter()
            .find(|group| group.kind == MappingKind::Anon && group.name.is_empty());
        group.cloned().unwrap()
    };
    let (before, after) = (anon(&before), anon(&found));
    assert!(after.rss_bytes >= before.rss_bytes + 2 * bytes, "{after:?}");
    // A page that is in another CPU's batch is freed lazily a little later.
    assert!(after.lazyfree_bytes >= bytes * 9 / 10, "{after:?}");
    assert!(
        found
            .groups
            .iter()
            .any(|group| group.kind == MappingKind::Stack || group.name == OTHERS)
    );
}

#[test]
fn the_sums_are_those_of_smaps_rollup() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = ProcDir::open(child.id()).unwrap();
    let rests = |stat: Stat| stat.comm == "sleep" && stat.state == b'S';
    while !rests(proc::read(&process, "stat", proc::stat).unwrap()) {
        thread::sleep(Duration::from_millis(1));
    }
    let found = mappings(&process, false).unwrap();
    let rollup = Sampler::open(child.id()).unwrap().smaps().unwrap();
    assert_eq!(
        (found.rss, found.lazy_free, found.anon_huge, found.swap),
        (rollup.rss, rollup.lazy_free, rollup.anon_huge, rollup.swap)
    );
    assert_eq!(
        found
            .groups
            .iter()
            .map(|group| group.rss_bytes)
            .sum::<u64>(),
        rollup.rss
    );
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    assert_eq!(found.mappings, maps.lines().count() as u64);

    let mut file = MappingsFile::open(&process).unwrap();
    assert_eq!(file.read(false).unwrap().0, found);
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = file.read(false);
    assert!(
        matches!(ended, Err(MappingsError::NoMemory | MappingsError::Read(_))),
        "{ended:?}"
    );
    assert!(mappings(&process, false).is_err());
}

/// `cargo test -p memtrace --test it mappings::price -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn price_of_a_reading() {
    if !alone("mappings::price_of_a_reading", Path::new(".")) {
        return;
    }
    let least = |name: &str| {
        let process = ProcDir::own().unwrap();
        let mut file = MappingsFile::open(&process).unwrap();
        let mut sampler = Sampler::open(std::process::id()).unwrap();
        let mut took = Duration::MAX;
        let mut rollup = Duration::MAX;
        let mut count = 0;
        for _ in 0..5 {
            let (found, time) = file.read(false).unwrap();
            took = took.min(time);
            count = found.mappings;
            rollup = rollup.min(sampler.smaps().unwrap().took);
        }
        eprintln!("{name}: {count} mappings, {took:?}; smaps_rollup {rollup:?}");
        took
    };
    least("as it is");
    let begun = Instant::now();
    let at = mapped(1024 * MIB, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None);
    least(&format!("with a GiB, written in {:?}", begun.elapsed()));
    // SAFETY: the mapping was just made.
    unsafe { libc::munmap(at.cast(), 1024 * MIB) };
    // Every second page of another access, so that none is merged with its neighbour.
    const MAPPINGS: usize = 60_000;
    let at = mapped(
        MAPPINGS * 4096,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        None,
    );
    for page in (0..MAPPINGS).step_by(2) {
        // SAFETY: a page of the mapping.
        unsafe { libc::mprotect(at.add(page * 4096).cast(), 4096, libc::PROT_READ) };
    }
    least("with 60,000 mappings");
}
