//! What a case needs of the host: settings that are put back, a swap device, a memory cgroup, a file.

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount, umount},
    sys::statfs::{TMPFS_MAGIC, statfs},
};
use tempfile::TempDir;

use crate::cases::Skip;

pub const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const KSM: &str = "/sys/kernel/mm/ksm";
const ZRAM: &str = "/sys/class/zram-control";

/// Waits until no other run of these tests is under way: each would put back the other's settings as the host's own.
pub fn alone() -> fs::File {
    let lock = fs::File::create(std::env::temp_dir().join("memtrace-kernel-tests.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// How many things could not be put back as they were.
static LEFT_OVER: AtomicUsize = AtomicUsize::new(0);

fn left_over(what: &str) {
    LEFT_OVER.fetch_add(1, Relaxed);
    eprintln!("{what}");
}

/// How many things of this run's could not be put back as they were: settings, mounts, devices, cgroups.
pub fn things_left_over() -> usize {
    LEFT_OVER.load(Relaxed)
}

/// A value in sysfs or /proc/sys, put back at the end.
pub struct Setting {
    path: PathBuf,
    old: String,
}

impl Setting {
    /// Sets a value; `None` where this kernel has no such setting.
    pub fn set(path: impl Into<PathBuf>, value: &str) -> Option<Self> {
        let path = path.into();
        let text = fs::read_to_string(&path).ok()?;
        // A choice shows all that there are, the one in force in brackets.
        let old = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or(text.trim(), |(chosen, _)| chosen)
            .to_owned();
        write(&path, value);
        Some(Self { path, old })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.old) {
            left_over(&format!(
                "{} is not {} again: {error}",
                self.path.display(),
                self.old
            ));
        }
    }
}

#[track_caller]
fn write(path: &Path, value: &str) {
    if let Err(error) = fs::write(path, value) {
        panic!("{} does not take {value}: {error}", path.display());
    }
}

/// Huge pages where they are asked for, and nowhere else; khugepaged sleeps.
pub fn huge_pages() -> Result<Vec<Setting>, Skip> {
    let enabled = Setting::set(format!("{THP}/enabled"), "madvise")
        .ok_or(Skip::Absent("transparent huge pages".into()))?;
    let bytes = fs::read_to_string(format!("{THP}/hpage_pmd_size"))
        .map_err(|_| Skip::Absent("huge pages of one page table's size".into()))?;
    let kib = bytes.trim().parse::<u64>().unwrap() >> 10;
    Ok([
        Some(enabled),
        // Since 6.8.
        Setting::set(format!("{THP}/hugepages-{kib}kB/enabled"), "inherit"),
        Setting::set(format!("{THP}/khugepaged/scan_sleep_millisecs"), "3600000"),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Huge pages everywhere, asked for or not, if memory must be moved for them.
pub fn huge_pages_always() -> Result<Vec<Setting>, Skip> {
    let mut settings = huge_pages()?;
    for name in ["defrag", "enabled"] {
        settings.extend(Setting::set(format!("{THP}/{name}"), "always"));
    }
    settings.reverse();
    Ok(settings)
}

/// khugepaged at work, without a pause.
pub fn khugepaged() -> Result<Vec<Setting>, Skip> {
    let mut settings = huge_pages()?;
    for (name, value) in [
        ("max_ptes_none", "511"),
        ("pages_to_scan", "8192"),
        ("scan_sleep_millisecs", "10"),
    ] {
        settings.extend(Setting::set(format!("{THP}/khugepaged/{name}"), value));
    }
    // Taken back in the order in which they are dropped, so the youngest value of a setting must go first.
    settings.reverse();
    Ok(settings)
}

/// ksmd at work, merging pages that hold nothing but zeros with the zero page.
pub fn ksm() -> Result<Vec<Setting>, Skip> {
    let absent = || Skip::Absent("KSM".into());
    let mut settings = Vec::new();
    // Since 6.7, and pages that merged nowhere are passed over then.
    settings.extend(Setting::set(format!("{KSM}/smart_scan"), "0"));
    for (name, value) in [
        ("use_zero_pages", "1"),
        ("pages_to_scan", "10000"),
        ("sleep_millisecs", "10"),
        ("run", "1"),
    ] {
        settings.push(Setting::set(format!("{KSM}/{name}"), value).ok_or_else(absent)?);
    }
    settings.reverse();
    Ok(settings)
}

/// Whether this kernel knows an advice: it looks at that before it finds that there is nothing to do.
pub fn knows_advice(advice: i32) -> bool {
    // SAFETY: no length, so nothing is touched.
    unsafe { libc::madvise(ptr::null_mut(), 0, advice) == 0 }
}

/// Whether this kernel takes an advice from a process to itself through `process_madvise`.
pub fn knows_process_advice(advice: i32) -> bool {
    // SAFETY: no vectors, so nothing is touched.
    unsafe {
        let own = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        let result = libc::syscall(
            libc::SYS_process_madvise,
            own,
            ptr::null::<libc::iovec>(),
            0,
            advice,
            0,
        );
        libc::close(own as i32);
        result == 0
    }
}

/// A swap device in memory, used before any other.
pub struct Swap {
    id: String,
    device: CString,
    on: bool,
}

impl Swap {
    pub fn on() -> Result<Self, Skip> {
        const BYTES: u64 = 256 << 20;
        // Reading makes a new device.
        let id = fs::read_to_string(format!("{ZRAM}/hot_add"))
            .map_err(|_| Skip::Absent("zram".into()))?
            .trim()
            .to_owned();
        let device = format!("/dev/zram{id}");
        let mut swap = Self {
            id,
            device: CString::new(device.clone()).unwrap(),
            on: false,
        };
        write(&swap.attribute("disksize"), &BYTES.to_string());
        let page = memtrace::proc::page_size();
        fs::write(
            &device,
            swap_header(page as usize, (BYTES / page - 1) as u32),
        )
        .unwrap();
        // `SWAP_FLAG_PREFER` and the highest priority (`SWAP_FLAG_PRIO_MASK`), `include/linux/swap.h`.
        let flags = 0x8000 | 0x7fff;
        // SAFETY: a path that ends with 0.
        if unsafe { libc::swapon(swap.device.as_ptr(), flags) } != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ENOSYS) {
                return Err(Skip::Absent("swap".into()));
            }
            panic!("swapon {device}: {error}");
        }
        swap.on = true;
        Ok(swap)
    }

    /// Brings everything back, and takes the device out of use.
    pub fn off(&mut self) {
        // SAFETY: a path that ends with 0.
        let result = unsafe { libc::swapoff(self.device.as_ptr()) };
        assert_eq!(result, 0, "swapoff: {}", io::Error::last_os_error());
        self.on = false;
    }

    fn attribute(&self, name: &str) -> PathBuf {
        format!("/sys/block/zram{}/{name}", self.id).into()
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if self.on {
            // SAFETY: a path that ends with 0.
            unsafe { libc::swapoff(self.device.as_ptr()) };
        }
        // Somebody may be looking at a device that has just appeared.
        let removed = until(|| fs::write(self.attribute("reset"), "1").is_ok())
            && until(|| fs::write(format!("{ZRAM}/hot_remove"), &self.id).is_ok());
        if !removed {
            left_over(&format!("zram{} is left over", self.id));
        }
    }
}

/// `union swap_header` of `include/linux/swap.h`: the first page of a swap device.
fn swap_header(page: usize, last_page: u32) -> Vec<u8> {
    const BOOT_BYTES: usize = 1024;
    const MAGIC: &[u8] = b"SWAPSPACE2";
    let mut header = vec![0; page];
    header[BOOT_BYTES..BOOT_BYTES + 4].copy_from_slice(&1u32.to_ne_bytes());
    header[BOOT_BYTES + 4..BOOT_BYTES + 8].copy_from_slice(&last_page.to_ne_bytes());
    header[page - MAGIC.len()..].copy_from_slice(MAGIC);
    header
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        let is_done = done();
        if !is_done {
            thread::sleep(Duration::from_millis(10));
        }
        is_done
    })
}

/// A mount of our own, in a directory of our own.
struct Mount(TempDir);

impl Mount {
    fn new(kind: &str, options: Option<&str>) -> nix::Result<Self> {
        let dir = TempDir::new().unwrap();
        mount(
            Some("none"),
            dir.path(),
            Some(kind),
            MsFlags::empty(),
            options,
        )?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = umount(self.path()) {
            left_over(&format!("{} stays mounted: {error}", self.path().display()));
        }
    }
}

/// A memory cgroup.
pub struct Cgroup {
    dir: PathBuf,
    unified: bool,
    /// Where the memory controller was passed down for this case alone.
    passed_down: Option<PathBuf>,
    _mount: Option<Mount>,
}

impl Cgroup {
    pub fn new() -> Result<Self, Skip> {
        let (root, unified, own) = Self::root().ok_or(Skip::Absent("the memory cgroup".into()))?;
        let mut passed_down = None;
        if unified {
            let control = root.join("cgroup.subtree_control");
            if !has_memory(&control) {
                write(&control, "+memory");
                passed_down = Some(control);
            }
        }
        let dir = root.join(format!("memtrace-kernel-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Ok(Self {
            dir,
            unified,
            passed_down,
            _mount: own,
        })
    }

    /// The hierarchy that has the memory controller, whether it is version 2, and the mount where it had none.
    fn root() -> Option<(PathBuf, bool, Option<Mount>)> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
                return Some((at.into(), false, None));
            }
            if kind == "cgroup2" && has_memory(&Path::new(at).join("cgroup.controllers")) {
                return Some((at.into(), true, None));
            }
        }
        if let Ok(own) = Mount::new("cgroup2", None)
            && has_memory(&own.path().join("cgroup.controllers"))
        {
            return Some((own.path().into(), true, Some(own)));
        }
        let own = Mount::new("cgroup", Some("memory")).ok()?;
        Some((own.path().into(), false, Some(own)))
    }

    /// Whether it is of version 2.
    pub const fn is_unified(&self) -> bool {
        self.unified
    }

    /// Its path in the hierarchy.
    pub fn path(&self) -> String {
        format!("/{}", self.dir.file_name().unwrap().to_str().unwrap())
    }

    /// Lets it be throttled above so many bytes; of version 2 alone.
    pub fn high(&self, bytes: u64) {
        write(&self.dir.join("memory.high"), &bytes.to_string());
    }

    /// Moves a process in. What it touches from then on is charged to this cgroup, what it had touched stays where it was.
    pub fn enter(&self, pid: u32) {
        write(&self.dir.join("cgroup.procs"), &pid.to_string());
    }

    /// Allows so many bytes. Without swap, whoever wants more of what cannot be reclaimed is killed.
    pub fn limit(&self, bytes: u64) {
        self.limit_memory(bytes);
        let (file, value) = if self.unified {
            ("memory.swap.max", 0)
        } else {
            ("memory.memsw.limit_in_bytes", bytes)
        };
        let path = self.dir.join(file);
        // It is there where the kernel accounts for swap.
        if path.exists() {
            write(&path, &value.to_string());
        }
    }

    /// Allows so many bytes in memory; what is beyond goes to swap, where there is any.
    pub fn limit_memory(&self, bytes: u64) {
        let file = if self.unified {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        write(&self.dir.join(file), &bytes.to_string());
    }

    /// Reclaims what can be reclaimed of this cgroup.
    pub fn reclaim(&self) {
        if !self.unified {
            // Busy: not all of it could be.
            let _ = fs::write(self.dir.join("memory.force_empty"), "0");
            return;
        }
        let reclaim = self.dir.join("memory.reclaim");
        if reclaim.exists() {
            // EAGAIN: less than asked for.
            let _ = fs::write(reclaim, "1G");
        } else {
            write(&self.dir.join("memory.high"), "0");
            write(&self.dir.join("memory.high"), "max");
        }
    }
}

fn has_memory(list: &Path) -> bool {
    fs::read_to_string(list).is_ok_and(|text| text.split_whitespace().any(|word| word == "memory"))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !until(|| fs::remove_dir(&self.dir).is_ok()) {
            left_over(&format!("{} is left over", self.dir.display()));
        }
        if let Some(control) = &self.passed_down {
            let _ = fs::write(control, "-memory");
        }
    }
}

/// A file whose pages are in the page cache, clean, and count as file pages.
pub struct Scratch {
    path: PathBuf,
    _dir: TempDir,
    _mount: Option<Mount>,
}

impl Scratch {
    pub fn new(pages: u64) -> Result<Self, Skip> {
        let exe = std::env::current_exe().unwrap();
        let places = [
            exe.parent().unwrap_or(Path::new("/")),
            Path::new("/var/tmp"),
        ];
        let real = places.into_iter().find(|place| {
            // tmpfs counts as shmem.
            statfs(*place).is_ok_and(|stat| stat.filesystem_type() != TMPFS_MAGIC)
        });
        let mut own = None;
        let place = match real {
            Some(place) => place,
            None => {
                // It keeps its pages in the page cache, as file pages.
                let mount = Mount::new("ramfs", None)
                    .map_err(|_| Skip::Absent("a filesystem other than tmpfs".into()))?;
                &own.insert(mount).path().to_owned()
            }
        };
        let dir = TempDir::new_in(place).unwrap();
        let path = dir.path().join("scratch");
        let file = fs::File::create(&path).unwrap();
        io::Write::write_all(
            &mut &file,
            &vec![7; (pages * memtrace::proc::page_size()) as usize],
        )
        .unwrap();
        // A page that is being written back may be locked, and then a fault leaves it out.
        file.sync_all().unwrap();
        Ok(Self {
            path,
            _dir: dir,
            _mount: own,
        })
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Resident bytes of the mapping that begins at `base`.
pub fn resident_at(pid: u32, base: u64) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut lines = smaps
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{base:x}-")));
    let rss = lines
        .find_map(|line| line.strip_prefix("Rss:"))
        .expect("the mapping");
    rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Writes into another process's memory.
pub fn write_into(pid: u32, base: u64, bytes: usize) {
    let data = vec![9u8; bytes];
    let local = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: bytes,
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(base as usize),
        iov_len: bytes,
    };
    // SAFETY: reads `data`, and writes into the other process alone.
    let written = unsafe {
        libc::process_vm_writev(pid as i32, &raw const local, 1, &raw const remote, 1, 0)
    };
    assert_eq!(written, bytes as isize, "{}", io::Error::last_os_error());
}

/// Advises on another process's memory.
pub fn advise(pid: u32, base: u64, bytes: usize, advice: i32) {
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(base as usize),
        iov_len: bytes,
    };
    // SAFETY: system calls with valid arguments; the memory is another process's.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let advised = libc::syscall(
            libc::SYS_process_madvise,
            process,
            &raw const remote,
            1,
            advice,
            0,
        );
        let error = io::Error::last_os_error();
        libc::close(process as i32);
        assert_eq!(advised, bytes as i64, "{error}");
    }
}
