//! The memory cgroup's figures, against cgroups that are made for it. Needs root, and a host with the memory controller; where
//! there is none, that is said aloud.

#![expect(
    clippy::unwrap_used,
    reason = "what is not as expected is a test that fails"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use memtrace::observe::{Cgroup, CgroupError};

const MIB: u64 = 1 << 20;

/// The host's hierarchy with the memory controller, and whether it is v2.
fn hierarchy() -> Option<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let point = PathBuf::from(words[1]);
        let has = |list: &str, separator| list.split(separator).any(|word| word == "memory");
        match words[2] {
            "cgroup" if has(words[3], ',') => Some((point, false)),
            "cgroup2" => {
                let control = point.join("cgroup.subtree_control");
                let control = fs::read_to_string(control).ok()?;
                has(control.trim(), ' ').then_some((point, true))
            }
            _ => None,
        }
    })
}

/// Cgroups of a test's own: one in another.
struct Made {
    outer: PathBuf,
    inner: PathBuf,
    /// The path of the outer one in the hierarchy.
    path: String,
    v2: bool,
}

impl Made {
    /// `None`, said aloud, where there is nothing to make them in.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("NOT TESTED: cgroups are made by root");
            return None;
        }
        let Some((root, v2)) = hierarchy() else {
            eprintln!("NOT TESTED: no hierarchy of cgroups has the memory controller");
            return None;
        };
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("memtrace-cgroup-{}-{number}", std::process::id());
        let outer = root.join(&name);
        let inner = outer.join("inner");
        if let Err(error) = fs::create_dir(&outer) {
            eprintln!("NOT TESTED: {} cannot be made: {error}", outer.display());
            return None;
        }
        if v2 {
            fs::write(outer.join("cgroup.subtree_control"), "+memory").unwrap();
        }
        fs::create_dir(&inner).unwrap();
        Some(Self {
            outer,
            inner,
            path: format!("/{name}"),
            v2,
        })
    }

    fn limit(&self, directory: &Path, bytes: u64) {
        let file = if self.v2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        fs::write(directory.join(file), bytes.to_string()).unwrap();
    }

    fn usage(&self, directory: &Path) -> u64 {
        let file = if self.v2 {
            "memory.current"
        } else {
            "memory.usage_in_bytes"
        };
        let text = fs::read_to_string(directory.join(file)).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in [&self.inner, &self.outer] {
            for _ in 0..200 {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        thread::sleep(Duration::from_millis(10));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn enter(directory: &Path, pid: u32) {
    fs::write(directory.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// A process that holds as much memory as it is told to, in MiB.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let script = r#"while read size; do held=$(head -c "${size}M" /dev/zero | tr '\0' x); echo done; done"#;
        let child = Command::new("bash")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn hold(&mut self, mib: u64) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{mib}").unwrap();
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "done\n");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel shows may lag behind by what each CPU has not yet handed in.
#[track_caller]
fn near(found: Option<u64>, expected: u64, bound: u64) {
    let found = found.unwrap();
    assert!(found.abs_diff(expected) <= bound, "{found}, not {expected}");
}

#[test]
fn usage_and_limits_are_what_was_set() {
    let Some(made) = Made::new() else { return };
    made.limit(&made.outer, 200 * MIB);
    let mut holder = Holder::start();
    enter(&made.inner, holder.pid());
    let mut cgroup = Cgroup::open(holder.pid()).unwrap();
    let before = cgroup.figures();
    holder.hold(60);
    let after = cgroup.figures();
    assert!(after.anon_bytes.unwrap() >= before.anon_bytes.unwrap() + 55 * MIB);
    near(after.usage_bytes, made.usage(&made.inner), 4 * MIB);
    let working_set = after.usage_bytes.unwrap() - after.inactive_file_bytes.unwrap();
    assert_eq!(after.working_set_bytes, Some(working_set));
    assert_eq!(after.oom_kills, Some(0));

    let info = cgroup.info();
    assert_eq!(info.version, if made.v2 { 2 } else { 1 });
    assert!(
        info.path.raw().ends_with(&format!("{}/inner", made.path)),
        "{info:?}"
    );
    assert_eq!(info.processes, Some(1));
    assert_eq!(info.limit_bytes, Some(200 * MIB));
    let whose = info.limit_path.unwrap();
    assert!(whose.raw().ends_with(&made.path), "{whose}");
    // Its own, which is lower, is the one that counts, also where it was set later.
    made.limit(&made.inner, 100 * MIB);
    let info = cgroup.info();
    assert_eq!(info.limit_bytes, Some(100 * MIB));
    assert_eq!(
        info.limit_path.as_ref().map(|it| it.raw()),
        Some(info.path.raw())
    );
    if made.v2 {
        assert!(after.pglazyfree.is_some() && after.pglazyfreed.is_some());
    } else {
        assert_eq!((after.pglazyfree, after.pglazyfreed), (None, None));
        assert!(
            info.missing
                .iter()
                .any(|missing| missing.what == "cgroup.pglazyfree")
        );
    }
}

#[test]
fn hits_of_the_limit_are_counted_where_the_limit_is() {
    let Some(made) = Made::new() else { return };
    made.limit(&made.outer, 40 * MIB);
    let mut holder = Holder::start();
    enter(&made.inner, holder.pid());
    let mut cgroup = Cgroup::open(holder.pid()).unwrap();
    assert_eq!(cgroup.figures().limit_hits, Some(0));
    // Page cache beyond the limit: it is reclaimed, and nobody is killed.
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    let script = format!(
        "head -c 80M /dev/zero > {0}; cat {0} > /dev/null",
        file.path().display()
    );
    let mut writer = Command::new("bash")
        .args(["-c", &format!("read line; {script}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    enter(&made.inner, writer.id());
    assert_eq!(cgroup.info().processes, Some(2));
    writer.stdin.take().unwrap().write_all(b"\n").unwrap();
    writer.wait().unwrap();
    let figures = cgroup.figures();
    assert!(figures.limit_hits.unwrap() > 0, "{figures:?}");
    assert!(figures.file_bytes.unwrap() > 10 * MIB, "{figures:?}");
    assert!(figures.working_set_bytes < figures.usage_bytes);
    holder.hold(1);
}

#[test]
fn a_process_that_is_moved_is_missed() {
    let Some(made) = Made::new() else { return };
    let elsewhere = Made::new().unwrap();
    let holder = Holder::start();
    enter(&made.inner, holder.pid());
    let mut cgroup = Cgroup::open(holder.pid()).unwrap();
    assert!(cgroup.figures().usage_bytes.is_some());
    enter(&elsewhere.inner, holder.pid());
    assert_eq!(cgroup.figures(), Default::default());
    let missing = cgroup.info().missing;
    let why = &missing
        .iter()
        .find(|one| one.what == "cgroup.end")
        .unwrap()
        .why;
    assert!(
        why.raw().contains("moved") && why.raw().contains(&elsewhere.path),
        "{why}"
    );
    // It does not come back with other figures between.
    enter(&made.inner, holder.pid());
    assert_eq!(cgroup.figures(), Default::default());
}

/// v1 shows the leading thread in the root as soon as it exits.
#[test]
fn a_process_that_loses_its_leader_stays_where_it_is() {
    let Some(made) = Made::new() else { return };
    let script = "import ctypes, threading, time\n\
        threading.Thread(target=lambda: (print('there', flush=True), time.sleep(1000))).start()\n\
        time.sleep(0.1)\n\
        ctypes.CDLL(None).pthread_exit(None)";
    let child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(child) = child else {
        eprintln!("NOT TESTED: there is no python3");
        return;
    };
    let mut holder = Holder(child);
    let mut output = BufReader::new(holder.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    enter(&made.inner, holder.pid());
    let mut before = Cgroup::open(holder.pid()).unwrap();
    let stat = format!("/proc/{}/stat", holder.pid());
    let end = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        assert!(Instant::now() < end, "the leader does not exit");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(before.figures().usage_bytes.is_some());
    let mut after = Cgroup::open(holder.pid()).unwrap();
    assert_eq!(after.info().path, before.info().path);
    assert!(after.figures().usage_bytes.is_some());
}

#[test]
fn a_cgroup_that_is_removed_is_missed() {
    let Some(made) = Made::new() else { return };
    let holder = Holder::start();
    enter(&made.inner, holder.pid());
    let mut cgroup = Cgroup::open(holder.pid()).unwrap();
    drop(holder);
    // The process has ended, and its cgroup is still there.
    assert!(cgroup.figures().usage_bytes.is_some());
    drop(made);
    assert_eq!(cgroup.figures(), Default::default());
    let missing = cgroup.info().missing;
    assert!(
        missing.iter().any(|one| one.why.raw().contains("removed")),
        "{missing:?}"
    );
}

#[test]
fn readings_keep_their_pace() {
    let mut cgroup = match Cgroup::open(std::process::id()) {
        Ok(cgroup) => cgroup,
        Err(why) => {
            eprintln!("NOT TESTED: {why}");
            return;
        }
    };
    assert!(cgroup.at_tick(Duration::ZERO).is_some());
    assert!(cgroup.at_tick(Duration::from_millis(10)).is_none());
    assert!(cgroup.at_tick(Duration::from_secs(600)).is_some());
}

#[test]
fn no_process_no_cgroup() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let why = Cgroup::open(child.id()).unwrap_err();
    assert!(matches!(why, CgroupError::Io { .. }), "{why}");
    assert!(why.to_string().contains("cannot be read"), "{why}");
}

/// `cargo test -p memtrace --test root cgroup::price -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn price_of_a_reading() {
    const READINGS: u32 = 10_000;
    let mut cgroup = Cgroup::open(std::process::id()).unwrap();
    let mut least = Duration::MAX;
    let begun = Instant::now();
    for _ in 0..READINGS {
        let begun = Instant::now();
        assert!(cgroup.figures().anon_bytes.is_some());
        least = least.min(begun.elapsed());
    }
    eprintln!("{:?} each, the least {least:?}", begun.elapsed() / READINGS);
}
