//! Running memtrace as somebody, and looking at what it holds.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
};

use memtrace::privilege::{Capabilities, NEEDS};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use rustix::{
    fs::{XattrFlags, setxattr},
    io::Errno,
    thread::{
        CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
        set_capabilities, set_keep_capabilities,
    },
};
use serde_json::Value;

use crate::common::copy_program;

/// Users that exist nowhere, so that nothing of the host is theirs.
pub const ALICE: u32 = 64_001;
pub const BOB: u32 = 64_002;

/// A process that ends with its test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says aloud that a test does not run here; fails where it must.
pub fn needs_root() -> bool {
    if Uid::effective().is_root() {
        return false;
    }
    not_run("needs root")
}

/// A skip for want of something that could be there.
pub fn not_run(reason: &str) -> bool {
    assert!(
        std::env::var_os("MEMTRACE_REQUIRE_KERNEL").is_none(),
        "this must run here, and cannot: {reason}"
    );
    eprintln!("skipped: {reason}");
    true
}

/// How a process is started.
#[derive(Clone, Debug)]
pub struct As {
    /// As this user; root without it.
    pub uid: Option<u32>,
    /// With these capabilities, from its first instruction.
    pub ambient: Capabilities,
    /// And without these, whatever it executes.
    pub withheld: Capabilities,
    /// In a mount namespace of its own, with these in it.
    pub mounts: Vec<Mount>,
}

#[derive(Clone, Copy, Debug)]
pub enum Mount {
    Tracefs,
    /// `/proc` that hides other users' processes.
    HiddenProc,
}

pub fn user(uid: u32) -> As {
    As {
        uid: Some(uid),
        ..root()
    }
}

pub fn root() -> As {
    As {
        uid: None,
        ambient: Capabilities::empty(),
        withheld: Capabilities::empty(),
        mounts: Vec::new(),
    }
}

impl As {
    pub fn with(mut self, ambient: Capabilities) -> Self {
        self.ambient = ambient;
        self
    }

    pub fn withheld(mut self, withheld: Capabilities) -> Self {
        self.withheld = withheld;
        self
    }

    pub fn seeing(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_remove("SUDO_UID")
            .env_remove("SUDO_GID")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        let who = self.clone();
        // SAFETY: the child is a copy of a thread that holds no lock of the allocator.
        unsafe { command.pre_exec(move || who.become_it()) };
        command
    }

    fn become_it(&self) -> io::Result<()> {
        if !self.mounts.is_empty() {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        }
        for kind in &self.mounts {
            let (kind, at, data) = match kind {
                Mount::Tracefs => ("tracefs", "/sys/kernel/tracing", None),
                Mount::HiddenProc => ("proc", "/proc", Some("hidepid=2")),
            };
            match mount(Some(kind), at, Some(kind), MsFlags::empty(), data) {
                // tracefs is one for the whole host, and there already.
                Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for bit in 0..u64::BITS {
            let capability = Capabilities::from_bits_retain(1 << bit);
            if self.withheld.contains(capability) {
                remove_capability_from_bounding_set(capability)?;
            }
        }
        let Some(uid) = self.uid else {
            return Ok(());
        };
        set_keep_capabilities(true)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let sets = CapabilitySets {
            effective: self.ambient,
            permitted: self.ambient,
            inheritable: self.ambient,
        };
        set_capabilities(None, sets)?;
        for need in &NEEDS {
            if self.ambient.contains(need.capability) {
                configure_capability_in_ambient_set(need.capability, true)?;
            }
        }
        Ok(())
    }

    /// A process that sleeps.
    pub fn sleeper(&self) -> Guard {
        Guard(self.command("/bin/sleep").arg("1000").spawn().unwrap())
    }
}

/// memtrace's own file, where everybody may execute it: where the build lies, others may not look.
pub struct Installed {
    dir: tempfile::TempDir,
}

impl Installed {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let installed = Self { dir };
        copy_program(env!("CARGO_BIN_EXE_memtrace"), installed.path());
        fs::set_permissions(installed.path(), fs::Permissions::from_mode(0o755)).unwrap();
        installed
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("memtrace")
    }

    /// A folder of this user's, beside the file.
    pub fn folder_of(&self, name: &str, uid: u32, mode: u32) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    /// Gives the file capabilities; the reason where its file system does not keep them.
    pub fn set_capabilities(&self, set: Capabilities, effective: bool) -> Result<(), String> {
        match setxattr(
            self.path(),
            "security.capability",
            &file_capabilities(set, effective),
            XattrFlags::empty(),
        ) {
            Ok(()) => Ok(()),
            Err(error @ (Errno::OPNOTSUPP | Errno::PERM)) => Err(format!(
                "the file system of {} keeps no capabilities: {error}",
                self.dir.path().display()
            )),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn memtrace(&self, who: &As) -> Command {
        who.command(self.path())
    }
}

/// `struct vfs_cap_data`, revision 2: what setcap writes.
pub fn file_capabilities(set: Capabilities, effective: bool) -> Vec<u8> {
    const REVISION_2: u32 = 0x0200_0000;
    let bits = set.bits();
    [
        REVISION_2 | u32::from(effective),
        bits as u32,
        0,
        (bits >> 32) as u32,
        0,
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A failure is one line on standard error, which starts with the tool's name, and nothing on standard output.
#[track_caller]
pub fn fails_with(output: &Output, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    assert!(error.starts_with("memtrace: "), "{error}");
    assert_eq!(text(&output.stdout), "", "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

/// The capture that memtrace printed, whole and adding up.
#[track_caller]
pub fn capture(output: &Output) -> Value {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let capture: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|wrong| panic!("{wrong}: {}{error}", text(&output.stdout)));
    whole(&capture);
    capture
}

#[track_caller]
pub fn whole(capture: &Value) {
    assert_eq!(capture["summary"]["unexplained_bytes"], 0, "{capture}");
    assert_eq!(capture["capture"]["lost_events"], 0, "{capture}");
}

/// A memtrace that has begun to capture.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it, and waits for its headline, which comes once everything is attached and given up.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        if !line.contains("RSS") {
            let output = child.wait_with_output().unwrap();
            panic!("{line}{}", text(&output.stderr));
        }
        Self { child, out }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What each of its threads holds.
    pub fn threads(&self) -> Vec<Held> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let held: Vec<Held> = tasks
            .flatten()
            .map(|task| Held::of(&task.path().join("status")))
            .collect();
        assert!(!held.is_empty());
        held
    }

    /// Ends the capture by a signal, and returns the report and what was said beside it.
    #[track_caller]
    pub fn end(mut self) -> (String, String) {
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let mut report = String::new();
        self.out.read_to_string(&mut report).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{report}{said}");
        (report, said)
    }

    /// Waits for its end, which is no good one, and returns what was said.
    #[track_caller]
    pub fn fails(mut self) -> String {
        let mut report = String::new();
        self.out.read_to_string(&mut report).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{report}{said}");
        said
    }

    /// Waits for a line that contains `part`.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "no {part:?}");
        }
    }
}

/// Credentials of a thread, as `/proc/PID/task/TID/status` shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub uids: Vec<u32>,
    pub gids: Vec<u32>,
    pub groups: Vec<u32>,
    pub inheritable: Capabilities,
    pub permitted: Capabilities,
    pub effective: Capabilities,
    pub bounding: Capabilities,
    pub ambient: Capabilities,
    pub no_new_privileges: bool,
}

impl Held {
    pub fn of(status: &Path) -> Self {
        let text = fs::read_to_string(status).unwrap();
        let field = |key: &str| -> &str {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
                .unwrap_or_else(|| panic!("no {key} in {text}"))
                .trim()
        };
        let ids = |key| -> Vec<u32> {
            field(key)
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect()
        };
        let set =
            |key| Capabilities::from_bits_retain(u64::from_str_radix(field(key), 16).unwrap());
        Self {
            uids: ids("Uid"),
            gids: ids("Gid"),
            groups: ids("Groups"),
            inheritable: set("CapInh"),
            permitted: set("CapPrm"),
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            ambient: set("CapAmb"),
            no_new_privileges: field("NoNewPrivs") == "1",
        }
    }
}

/// What a thread of this user with these capabilities alone can do: the kernel's own word on what is needed.
pub fn can(uid: u32, held: Capabilities, work: impl FnOnce() -> bool + Send) -> bool {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let (raw_uid, raw_gid) = (
                    rustix::fs::Uid::from_raw(uid),
                    rustix::fs::Gid::from_raw(uid),
                );
                set_keep_capabilities(true).unwrap();
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(raw_gid, raw_gid, raw_gid).unwrap();
                rustix::thread::set_thread_res_uid(raw_uid, raw_uid, raw_uid).unwrap();
                let sets = CapabilitySets {
                    effective: held,
                    permitted: held,
                    inheritable: Capabilities::empty(),
                };
                set_capabilities(None, sets).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

/// Whether `smaps_rollup` of a process opens for them.
pub fn can_read_memory(uid: u32, held: Capabilities, pid: u32) -> bool {
    can(uid, held, || {
        File::open(format!("/proc/{pid}/smaps_rollup")).is_ok()
    })
}

/// What bpf(2) asks of who only reads maps: `CAP_BPF` on kernels that refuse every command without it.
pub fn needed_for_reading() -> Capabilities {
    const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
    let refused = can(ALICE, Capabilities::empty(), || {
        let attributes = [0u8; 32];
        // SAFETY: looks up in descriptor 0, which is no map; the attributes are readable for their whole length.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_ELEM,
                attributes.as_ptr(),
                attributes.len(),
            )
        };
        assert_eq!(result, -1);
        io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    });
    if refused {
        Capabilities::BPF
    } else {
        Capabilities::empty()
    }
}
