//! The memory cgroup that the process is in.
//!
//! Its files are opened once, while memtrace may open everything, and read again by `pread`: the kernel asks for privileges when they are
//! opened. Measured on 6.18 with v1: a reading takes 21 µs in the kernel. v1 adds up all cgroups below, and v2 may make the kernel
//! bring statistics of all CPUs together, so readings go by [`Pace`].

mod location;
mod pace;

use std::{
    collections::{BTreeSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::fstatfs;

pub use location::{Location, Nowhere, locations};
pub use pace::Pace;

use crate::{
    model::{CgroupFigures, CgroupInfo, Missing},
    proc::{
        Stat,
        cgroup::{Version, keyed, limit, membership, memory_stat, single, working_set},
    },
};

/// Between two readings; a little less than the interval of ticks that most captures have, which is a second.
const LEAST: Duration = Duration::from_millis(900);
/// More than any file of a cgroup that memtrace reads at once; `memory.stat` of 6.18 is 2 KiB.
const MOST: usize = 64 << 10;
/// A file that lists mounts, or a process's cgroups, is read up to here.
const MOST_LIST: u64 = 8 << 20;
/// Cgroups above that are looked at for limits.
const MOST_LEVELS: usize = 64;
/// Cgroups below that are looked at for processes.
const MOST_BELOW: usize = 4096;
/// Processes that are counted.
const MOST_PROCESSES: usize = 100_000;
/// `f_type` of both versions' file systems (include/uapi/linux/magic.h).
const HIERARCHIES: [u64; 2] = [0x0027_e0eb, 0x6367_7270];

/// Why there is no memory cgroup to read, or a part of it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// memtrace sees no memory cgroup of the process.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// Neither this cgroup nor any above it has the memory controller.
    #[error(
        "neither the cgroup {0} nor any above it has the memory controller; the kernel may have been started with cgroup_disable=memory"
    )]
    NoController(String),
    /// The kernel refuses a file.
    #[error("{what}: {source}")]
    Io {
        /// The file, and what cannot be done with it.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There are more processes, or cgroups, than are counted.
    #[error("there are more than {0}")]
    TooMany(String),
}

impl CgroupError {
    fn unreadable(path: impl std::fmt::Display) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            what: format!("{path} cannot be read"),
            source,
        }
    }
}

/// A process's memory cgroup.
#[derive(Debug)]
pub struct Cgroup {
    pid: u32,
    version: Version,
    /// Its path in the hierarchy.
    path: String,
    directory: PathBuf,
    /// `/proc/PID/cgroup`, and the path that it showed.
    membership: File,
    raw_path: Vec<u8>,
    usage: io::Result<File>,
    stat: File,
    /// `memory.events`; in v1 `memory.oom_control`.
    events: Option<File>,
    swap: Option<File>,
    kernel: Option<File>,
    /// Itself, and what is above it.
    levels: Vec<Level>,
    /// Where hits of the limit are counted: whose limit it was when this was opened.
    hits: usize,
    /// Whether there are cgroups above that memtrace does not see.
    hidden_above: bool,
    /// Why its figures are no longer the process's.
    left: Option<String>,
    pace: Pace,
    buffer: Vec<u8>,
}

/// A cgroup that may have a limit.
#[derive(Debug)]
struct Level {
    path: String,
    max: Option<File>,
    high: Option<File>,
    /// `memory.events`; in v1 `memory.failcnt`.
    hits: Option<File>,
}

impl Cgroup {
    /// Finds and opens the memory cgroup of a process.
    ///
    /// # Errors
    ///
    /// If there is none, or memtrace does not see it: any [`CgroupError`] but [`CgroupError::TooMany`].
    pub fn open(pid: u32) -> Result<Self, CgroupError> {
        let file = format!("/proc/{pid}/cgroup");
        let cannot = CgroupError::unreadable(&file);
        let mut membership_file = File::open(&file).map_err(&cannot)?;
        let mut bytes = read_list(&membership_file).map_err(&cannot)?;
        if membership(&bytes).memory == Some(b"/")
            && exits(&format!("/proc/{pid}"))
            && let Some(other) = living_thread(pid)
        {
            bytes = read_list(&other).map_err(&cannot)?;
            membership_file = other;
        }
        let mountinfo = File::open("/proc/self/mountinfo")
            .and_then(|file| read_list(&file))
            .map_err(CgroupError::unreadable("/proc/self/mountinfo"))?;
        let membership = membership(&bytes);
        let locations = locations(&membership, &mountinfo)?;
        let mut error = CgroupError::Nowhere(Nowhere::NoHierarchy);
        for location in &locations {
            match opened(location) {
                Ok(found) => return Ok(Self::of(pid, location, found, membership_file)),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    fn of(pid: u32, location: &Location, found: Opened, membership: File) -> Self {
        let Opened { up, stat } = found;
        let directory = location.directory(up);
        let usage = open(&directory.join(match location.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        }));
        let open = |name: &str| open(&directory.join(name)).ok();
        let (events, swap, kernel) = match location.version {
            Version::V1 => (
                open("memory.oom_control"),
                None,
                open("memory.kmem.usage_in_bytes"),
            ),
            Version::V2 => (open("memory.events"), open("memory.swap.current"), None),
        };
        let (levels, hidden_above) = levels(location, up);
        let hits = lowest(&levels, |level| level.max.as_ref()).map_or(0, |(index, _)| index);
        Self {
            pid,
            version: location.version,
            path: location.path(up),
            directory,
            membership,
            raw_path: location.path.clone(),
            usage,
            stat,
            events,
            swap,
            kernel,
            levels,
            hits,
            hidden_above,
            left: None,
            pace: Pace::new(LEAST),
            buffer: vec![0; MOST],
        }
    }

    /// Its figures now; `None` where the last reading was too short a time ago, by [`Pace`]. `now` is since any fixed moment.
    pub fn at_tick(&mut self, now: Duration) -> Option<CgroupFigures> {
        if !self.pace.allows(now) {
            return None;
        }
        let begun = Instant::now();
        let figures = self.figures();
        self.pace.spent(now, begun.elapsed());
        Some(figures)
    }

    /// Its figures now. All `None` once the process is in another cgroup, or this one was removed: [`Self::info`] says so then.
    pub fn figures(&mut self) -> CgroupFigures {
        let mut buffer = std::mem::take(&mut self.buffer);
        let figures = self.read(&mut buffer);
        self.buffer = buffer;
        figures
    }

    fn read(&mut self, bytes: &mut [u8]) -> CgroupFigures {
        self.look_whether_it_left(bytes);
        if self.left.is_some() {
            return CgroupFigures::default();
        }
        let stat = match read_at_once(&self.stat, bytes) {
            Ok(stat) => stat,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                self.left = Some(format!("the cgroup {} was removed", self.path));
                return CgroupFigures::default();
            }
            Err(_) => return CgroupFigures::default(),
        };
        let mut figures = memory_stat(self.version, stat);
        let mut number = |file: Option<&File>, parse: fn(&[u8]) -> Option<u64>| {
            parse(read_at_once(file?, bytes).ok()?)
        };
        figures.usage_bytes = number(self.usage.as_ref().ok(), single);
        figures.oom_kills = number(self.events.as_ref(), |bytes| keyed(bytes, b"oom_kill"));
        if self.version == Version::V2 {
            figures.swap_bytes = number(self.swap.as_ref(), single);
        } else {
            figures.kernel_bytes = number(self.kernel.as_ref(), single);
        }
        if let Some(level) = self.levels.get(self.hits) {
            figures.limit_hits = number(
                level.hits.as_ref(),
                match self.version {
                    Version::V1 => single,
                    Version::V2 => |bytes| keyed(bytes, b"max"),
                },
            );
        }
        figures.working_set_bytes = figures
            .usage_bytes
            .zip(figures.inactive_file_bytes)
            .map(|(usage, inactive)| working_set(usage, inactive));
        figures
    }

    /// What is known of it now: `start` and `end` are left to whoever has read them. Also what became of it since it was opened.
    #[must_use]
    pub fn info(&self) -> CgroupInfo {
        let mut missing = self.missing();
        let mut limit = lowest(&self.levels, |level| level.max.as_ref()).map(|(index, bytes)| {
            (
                self.levels.get(index).map(|level| level.path.clone()),
                bytes,
            )
        });
        let high = lowest(&self.levels, |level| level.high.as_ref()).map(|(_, bytes)| bytes);
        if self.version == Version::V1 {
            // The kernel's own reckoning, with what is above of what memtrace sees.
            let mut bytes = vec![0; MOST];
            let hierarchical = read_at_once(&self.stat, &mut bytes)
                .ok()
                .and_then(|bytes| keyed(bytes, b"hierarchical_memory_limit"));
            if let Some(bytes) = hierarchical
                && let Some(Some(bytes)) = self::limit(bytes.to_string().as_bytes())
                && limit.as_ref().is_none_or(|(_, known)| bytes < *known)
            {
                limit = Some((None, bytes));
                missing.push(Missing::new(
                    "cgroup.limit_path",
                    "the limit is that of a cgroup above what memtrace sees; run memtrace on the host, outside of the container",
                ));
            }
        } else if self.hidden_above {
            missing.push(Missing::new(
                "cgroup.limit_bytes",
                "limits of cgroups above what memtrace sees are not known; run memtrace on the host, outside of the container",
            ));
        }
        let processes = processes(&self.directory);
        if let Err(why) = &processes {
            missing.push(Missing::new("cgroup.processes", why.to_string()));
        }
        let (limit_path, limit_bytes) =
            limit.map_or((None, None), |(path, bytes)| (path, Some(bytes)));
        CgroupInfo {
            version: match self.version {
                Version::V1 => 1,
                Version::V2 => 2,
            },
            path: self.path.clone().into(),
            limit_bytes,
            limit_path: limit_path.map(Into::into),
            high_bytes: high,
            processes: processes.ok(),
            start: None,
            end: None,
            missing,
        }
    }

    fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut add =
            |what: &str, why: &str| missing.push(Missing::new(format!("cgroup.{what}"), why));
        if let Some(why) = &self.left {
            add("end", why);
        }
        if let Err(error) = &self.usage {
            let why = if self.version == Version::V2 && error.kind() == io::ErrorKind::NotFound {
                "the process is in the root cgroup, for which cgroup v2 has no memory.current"
                    .to_owned()
            } else {
                format!("the file of its usage cannot be opened: {error}")
            };
            for what in ["usage_bytes", "working_set_bytes"] {
                add(what, &why);
            }
        }
        match self.version {
            Version::V1 => {
                for what in ["pglazyfree", "pglazyfreed"] {
                    add(what, "cgroup v1 does not count it");
                }
                add("high_bytes", "cgroup v1 has no memory.high");
                if self.kernel.is_none() {
                    add("kernel_bytes", "there is no memory.kmem.usage_in_bytes");
                }
            }
            Version::V2 => {
                let mut bytes = vec![0; MOST];
                let has_kernel = read_at_once(&self.stat, &mut bytes)
                    .is_ok_and(|bytes| keyed(bytes, b"kernel").is_some());
                if !has_kernel {
                    add(
                        "kernel_bytes",
                        "memory.stat has no such line: that needs Linux 5.18",
                    );
                }
                if self.swap.is_none() && self.usage.is_ok() {
                    add(
                        "swap_bytes",
                        "there is no memory.swap.current: the kernel does not account for swap",
                    );
                }
            }
        }
        missing
    }

    /// One short read, no search.
    fn look_whether_it_left(&mut self, bytes: &mut [u8]) {
        if self.left.is_some() {
            return;
        }
        // A process that has ended is in no cgroup any more; this one's figures stay until it is removed.
        let Ok(list) = read_at_once(&self.membership, bytes) else {
            return;
        };
        let now = membership(list);
        let now = match self.version {
            Version::V1 => now.memory,
            Version::V2 => now.unified,
        };
        let Some(now) = now else { return };
        if now == self.raw_path || is_gone(now, &self.raw_path) || self.leader_exits(now) {
            return;
        }
        self.left = Some(format!(
            "the process was moved from the cgroup {} to {} while it was traced",
            self.path,
            String::from_utf8_lossy(now)
        ));
    }

    /// v1 shows a thread that exits in the root, and the leading thread may exit while others go on.
    fn leader_exits(&self, now: &[u8]) -> bool {
        self.version == Version::V1 && now == b"/" && exits(&format!("/proc/{}", self.pid))
    }
}

/// `PF_EXITING`, `include/linux/sched.h`.
const PF_EXITING: u32 = 0x4;

/// Returns true if a thread, by its directory, exits or has exited.
fn exits(thread: &str) -> bool {
    fs::read(format!("{thread}/stat"))
        .ok()
        .and_then(|bytes| crate::proc::stat(&bytes))
        .is_none_or(|stat| is_exiting(&stat))
}

/// Returns true if a thread exits or has exited. It leaves its cgroups before it is a zombie.
const fn is_exiting(stat: &Stat) -> bool {
    matches!(stat.state, b'Z' | b'X') || stat.flags & PF_EXITING != 0
}

/// `cgroup` of a thread that does not exit.
fn living_thread(pid: u32) -> Option<File> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads
        .flatten()
        .map(|thread| thread.path().display().to_string())
        .filter(|thread| !exits(thread))
        .find_map(|thread| File::open(format!("{thread}/cgroup")).ok())
}

/// v2 shows a removed cgroup, which has zombies alone in it, with these words.
fn is_gone(now: &[u8], before: &[u8]) -> bool {
    now.strip_suffix(b" (deleted)") == Some(before)
}

/// The files of a memory cgroup that exists.
struct Opened {
    /// How many levels it is above the cgroup that the process is in.
    up: usize,
    stat: File,
}

/// Opens `memory.stat` of the process's cgroup, or of the next one above that has the memory controller, which is where the process's
/// memory is charged to.
fn opened(location: &Location) -> Result<Opened, CgroupError> {
    let deepest = location.directory(0);
    fs::metadata(&deepest).map_err(|source| CgroupError::Io {
        what: format!(
            "the cgroup's directory {} cannot be looked at",
            deepest.display()
        ),
        source,
    })?;
    for up in 0..=location.names.len().min(MOST_LEVELS) {
        let path = location.directory(up).join("memory.stat");
        match open(&path) {
            Ok(stat) => return Ok(Opened { up, stat }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let what = format!("{} cannot be opened", path.display());
                return Err(CgroupError::Io { what, source });
            }
        }
    }
    Err(CgroupError::NoController(location.path(0)))
}

/// A file of a cgroup, and nothing that was put in its place.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    if !HIERARCHIES.contains(&(fstatfs(&file)?.f_type as u64)) {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it is no file of a cgroup",
        ));
    }
    Ok(file)
}

/// The cgroups from the one `up` levels above the process's to the top, as far as their limits hold for it, and whether there are more
/// that memtrace does not see.
fn levels(location: &Location, up: usize) -> (Vec<Level>, bool) {
    let mut levels = Vec::new();
    let last = location.names.len();
    for up in (up..=last).take(MOST_LEVELS) {
        let directory = location.directory(up);
        let open = |name: &str| open(&directory.join(name)).ok();
        if location.version == Version::V1 && !levels.is_empty() && !has_hierarchy(open) {
            break;
        }
        let (max, high, hits) = match location.version {
            Version::V1 => (open("memory.limit_in_bytes"), None, open("memory.failcnt")),
            Version::V2 => (
                open("memory.max"),
                open("memory.high"),
                open("memory.events"),
            ),
        };
        levels.push(Level {
            path: location.path(up),
            max,
            high,
            hits,
        });
    }
    // Every cgroup of v2 but the true root has this file.
    let hidden_above = location.version == Version::V2
        && (location.directory(last).join("cgroup.type").exists()
            || last.saturating_sub(up) >= MOST_LEVELS);
    (levels, hidden_above)
}

/// Before 5.11 a cgroup of v1 could be told not to bother about those below.
fn has_hierarchy(open: impl Fn(&str) -> Option<File>) -> bool {
    let Some(file) = open("memory.use_hierarchy") else {
        return true;
    };
    let mut bytes = [0; 64];
    read_at_once(&file, &mut bytes).ok().and_then(single) != Some(0)
}

/// The lowest limit, the nearest one of equals, and whose it is.
fn lowest(levels: &[Level], file: impl Fn(&Level) -> Option<&File>) -> Option<(usize, u64)> {
    let mut bytes = [0; 64];
    let mut found: Option<(usize, u64)> = None;
    for (index, level) in levels.iter().enumerate() {
        let limit = file(level)
            .and_then(|file| limit(read_at_once(file, &mut bytes).ok()?))
            .flatten();
        if let Some(limit) = limit
            && found.is_none_or(|(_, lowest)| limit < lowest)
        {
            found = Some((index, limit));
        }
    }
    found
}

/// How many processes are in a cgroup and in those below. A process whose threads are spread over them counts once.
fn processes(directory: &Path) -> Result<u64, CgroupError> {
    let mut found = BTreeSet::new();
    // Those of another namespace of processes have no number here; v2 shows them as 0.
    let mut nameless = 0;
    let mut waiting = VecDeque::from([directory.to_owned()]);
    let mut looked_at = 0;
    while let Some(directory) = waiting.pop_front() {
        looked_at += 1;
        if looked_at > MOST_BELOW {
            let most = format!("{MOST_BELOW} cgroups below it");
            return Err(CgroupError::TooMany(most));
        }
        let list = open(&directory.join("cgroup.procs")).and_then(|file| read_list(&file));
        match list {
            Ok(list) => {
                for line in list.split(|&byte| byte == b'\n') {
                    match single(line) {
                        Some(0) => nameless += 1,
                        Some(pid) => drop(found.insert(pid)),
                        None => {}
                    }
                }
            }
            // Of threads alone: their processes are shown by the cgroup above that is not. Or just removed.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::ENOENT | libc::ENODEV)
                ) => {}
            Err(error) => {
                let list = format!("{}/cgroup.procs", directory.display());
                return Err(CgroupError::unreadable(list)(error));
            }
        }
        if found.len() > MOST_PROCESSES {
            return Err(CgroupError::TooMany(MOST_PROCESSES.to_string()));
        }
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let below = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        // One more than is looked at is enough to say that there are more.
        let room = (MOST_BELOW + 1).saturating_sub(waiting.len());
        waiting.extend(below.map(|entry| entry.path()).take(room));
    }
    Ok(found.len() as u64 + nameless)
}

/// One look at a short file: the kernel writes it at once.
fn read_at_once<'a>(file: &File, bytes: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match file.read_at(bytes, 0) {
            Ok(length) if length < bytes.len() => {
                return Ok(bytes.get(..length).unwrap_or_default());
            }
            Ok(_) => return Err(io::ErrorKind::FileTooLarge.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_list(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST_LIST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_exits_before_it_is_a_zombie() {
        let stat = |state: &str, flags: u32| {
            let rest = "0 ".repeat(40);
            let line = format!("7 (x) {state} 1 7 7 0 -1 {flags} {rest}");
            crate::proc::stat(line.as_bytes()).unwrap()
        };
        assert!(!is_exiting(&stat("R", 0x40_0000)));
        assert!(is_exiting(&stat("R", 0x40_0004)));
        assert!(is_exiting(&stat("Z", 0)));
    }
}
