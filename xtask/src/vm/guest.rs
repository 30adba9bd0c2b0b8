//! One machine under QEMU, from its start to its end, in bounded time.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getpid, getppid},
};

use crate::{
    cargo::read,
    vm::{cpio::Cpio, version::numbers},
};

/// No KVM, which virtual machines rarely have: the same everywhere. Two CPUs, since what they do to each other is tested.
/// The plain CPU takes three quarters of the time that `max` takes; with cmpxchg16b a 6.12 kernel dies in QEMU 7.2.
const MACHINE: [&str; 13] = [
    "-cpu",
    "qemu64,cx16=off",
    "-smp",
    "2",
    "-m",
    "1024",
    "-nodefaults",
    "-display",
    "none",
    "-no-reboot",
    "-monitor",
    "none",
    "-append",
];

/// A panic or an oops ends the machine. Without `tsc=unstable` a boot may hang where the host's clock is emulated too.
const KERNEL_PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic quiet tsc=unstable";

/// From a guest's last word to QEMU's end.
const POWER_OFF: Duration = Duration::from_secs(20);

const INIT: &str = include_str!("init.sh");

/// Attaching changes the kernel's code while other CPUs run it. Before 8.1 QEMU may keep what it made of the old code
/// (<https://gitlab.com/qemu-project/qemu/-/commit/deba78709a>): the guest dies of a breakpoint that nobody has set, or a hook
/// is never called. There its CPUs take turns.
fn accelerator(version: &[u32]) -> &'static str {
    if version >= [8, 1].as_slice() {
        "tcg,thread=multi"
    } else {
        "tcg,thread=single"
    }
}

/// QEMU, as it is on this machine.
pub struct Emulator {
    program: PathBuf,
    accelerator: &'static str,
    /// As it prints it.
    pub version: String,
}

impl Emulator {
    /// Asks it for its version.
    pub fn find() -> Result<Self> {
        const QEMU: &str = "qemu-system-x86_64";
        let text = read(Command::new(QEMU).arg("--version"))
            .context("kernels are booted under QEMU; type: apt-get install qemu-system-x86")?;
        let version = version(&text).with_context(|| format!("{QEMU} --version says: {text}"))?;
        Ok(Self {
            program: QEMU.into(),
            accelerator: accelerator(&version),
            version: text,
        })
    }
}

/// 7, 2 and 22 of `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)`.
fn version(text: &str) -> Option<Vec<u32>> {
    let (_, rest) = text.split_once(" version ")?;
    let version = numbers(rest);
    (!version.is_empty()).then_some(version)
}

/// How long a guest may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Up to the first line of its init.
    pub boot: Duration,
    /// In all.
    pub total: Duration,
    /// Without a byte on either port.
    pub silence: Duration,
}

/// What a guest is made of.
pub struct Guest<'a> {
    pub emulator: &'a Emulator,
    pub vmlinuz: &'a Path,
    /// In the order in which they are loaded.
    pub modules: &'a [PathBuf],
    /// Programs for /bin, with their names there.
    pub programs: &'a [(String, PathBuf)],
    /// Their libraries, by absolute paths, which are the same in the guest.
    pub libraries: &'a [PathBuf],
    /// A shell script.
    pub job: &'a str,
    /// Where its files go: initramfs, console, results.
    pub dir: &'a Path,
}

/// How a guest ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Why it did not come to its end by itself.
    pub broken: Option<String>,
    /// Of the port for results.
    pub results: String,
    /// Of the console and of QEMU.
    pub console: String,
    pub seconds: f64,
}

impl Guest<'_> {
    /// Boots it, and waits for its end. `progress` is given all results up to now whenever there are more.
    pub fn run(&self, limits: Limits, mut progress: impl FnMut(&str)) -> Result<Ended> {
        fs::create_dir_all(self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        fs::write(self.file("initramfs"), self.initramfs()?)?;
        let ended = self.start_and_wait(limits, &mut progress)?;
        if ended.broken.is_none() || ended.results.contains("@memtrace-vm") {
            return Ok(ended);
        }
        // Emulated machines hang in their boot now and then. Nothing of memtrace ran yet.
        println!(
            "{}: {}; once more",
            self.dir.file_name().unwrap_or_default().display(),
            ended.broken.as_deref().unwrap_or_default()
        );
        self.start_and_wait(limits, &mut progress)
    }

    fn start_and_wait(&self, limits: Limits, progress: &mut impl FnMut(&str)) -> Result<Ended> {
        let begin = Instant::now();
        let mut qemu = self.start()?;
        let mut results = Port::open(&self.file("results"))?;
        let mut console = Port::open(&self.file("console"))?;
        let mut last_word = Instant::now();
        let mut ended_at = None;
        let broken = loop {
            let status = qemu.0.try_wait()?;
            let more = results.read()?;
            if more {
                let text = results.text();
                progress(&text);
                if ended_at.is_none() && text.contains("@memtrace-vm end ") {
                    ended_at = Some(Instant::now());
                }
            }
            if console.read()? || more {
                last_word = Instant::now();
            }
            if let Some(status) = status {
                break self.why_ended(status, ended_at.is_some(), &console.text());
            }
            match ended_at {
                // All results are there.
                Some(at) if at.elapsed() > POWER_OFF => break None,
                Some(_) => {}
                None => {
                    let (run, still) = (begin.elapsed(), last_word.elapsed());
                    if results.bytes.is_empty() && run > limits.boot {
                        break Some(format!("not up after {} s", limits.boot.as_secs()));
                    }
                    if run > limits.total {
                        break Some(format!("not done after {} s", limits.total.as_secs()));
                    }
                    if still > limits.silence {
                        break Some(format!("silent for {} s", limits.silence.as_secs()));
                    }
                }
            }
            thread::sleep(Duration::from_millis(50));
        };
        drop(qemu);
        let own = fs::read(self.file("qemu")).unwrap_or_default();
        Ok(Ended {
            broken,
            results: results.text(),
            console: console.text() + &String::from_utf8_lossy(&own),
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    fn why_ended(&self, status: ExitStatus, done: bool, console: &str) -> Option<String> {
        let panic = console.lines().find_map(|line| {
            let at = line.find("Kernel panic")?;
            Some(line[at..].trim().to_owned())
        });
        if panic.is_some() {
            return panic;
        }
        if !status.success() {
            return Some(format!("QEMU ended with {status}"));
        }
        (!done).then(|| "the machine ended before the job did".to_owned())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn start(&self) -> Result<Qemu> {
        let port = |name| {
            let mut port = std::ffi::OsString::from("file:");
            // QEMU takes a comma for the end of a name.
            port.push(self.file(name).to_string_lossy().replace(',', ",,"));
            port
        };
        for name in ["console", "results"] {
            fs::write(self.file(name), "")?;
        }
        let log = fs::File::create(self.file("qemu"))?;
        let parent = getpid();
        // A matrix is long, and what waits beside it has little to do, but has it to do at once.
        let mut command = Command::new("nice");
        command
            .args(["-n", "5"])
            .arg(&self.emulator.program)
            .args(["-accel", self.emulator.accelerator])
            .args(MACHINE)
            .arg(KERNEL_PARAMETERS)
            .arg("-serial")
            .arg(port("console"))
            .arg("-serial")
            .arg(port("results"))
            .arg("-kernel")
            .arg(self.vmlinuz)
            .arg("-initrd")
            .arg(self.file("initramfs"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // SAFETY: only system calls, between fork and exec.
        unsafe {
            command.pre_exec(move || end_with(parent));
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.emulator.program.display()))?;
        Ok(Qemu(child))
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let bytes =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut cpio = Cpio::default();
        for dir in [
            "bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp", "var", "var/tmp",
        ] {
            cpio.directory(dir);
        }
        // What init prints before /dev is there.
        cpio.device("dev/console", 5, 1);
        cpio.file("init", 0o755, INIT.as_bytes());
        cpio.file("job", 0o644, self.job.as_bytes());
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        cpio.file("etc/passwd", 0o644, users.as_bytes());
        cpio.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
        cpio.file("bin/busybox", 0o755, &bytes(&super::busybox()?)?);
        for (name, path) in self.programs {
            cpio.file(&format!("bin/{name}"), 0o755, &bytes(path)?);
        }
        for path in self.libraries {
            let name = path.to_string_lossy();
            cpio.path(name.trim_start_matches('/'), 0o755, &bytes(path)?);
        }
        for path in self.modules {
            let name = path.file_name().context("a module without a name")?;
            cpio.file(
                &format!("modules/{}", name.to_string_lossy()),
                0o644,
                &bytes(path)?,
            );
        }
        Ok(cpio.finish())
    }
}

/// Makes the kernel kill this process when the one that started it ends, in whatever way.
fn end_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == parent {
        Ok(())
    } else {
        Err(io::Error::other("whoever wanted this has ended"))
    }
}

/// Killed where it is dropped.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that grows.
struct Port {
    file: fs::File,
    bytes: Vec<u8>,
}

impl Port {
    fn open(path: &Path) -> Result<Self> {
        let file =
            fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            file,
            bytes: Vec::new(),
        })
    }

    /// Whether there was more.
    fn read(&mut self) -> io::Result<bool> {
        // QEMU empties the file when it opens it.
        self.file.seek(SeekFrom::Start(self.bytes.len() as u64))?;
        Ok(self.file.read_to_end(&mut self.bytes)? > 0)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);
    const LIMITS: Limits = Limits {
        boot: LONG,
        total: LONG,
        silence: LONG,
    };

    /// Runs a guest under a script instead of QEMU, whose ports are `$console` and `$results`.
    fn run(script: &str, limits: Limits) -> Ended {
        let dir = tempfile::tempdir().unwrap();
        let emulator = dir.path().join("emulator");
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in file:*console) console=${{word#file:}};; file:*results) results=${{word#file:}};; esac; done\n{script}\n"
        );
        fs::write(&emulator, script).unwrap();
        fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)).unwrap();
        let guest = Guest {
            emulator: &Emulator {
                program: emulator,
                accelerator: "none",
                version: String::new(),
            },
            vmlinuz: Path::new("vmlinuz"),
            modules: &[],
            programs: &[],
            libraries: &[],
            job: "true",
            dir: &dir.path().join("guest"),
        };
        fs::create_dir(guest.dir).unwrap();
        guest.start_and_wait(limits, &mut |_| ()).unwrap()
    }

    #[test]
    fn cpus_take_turns_where_qemu_is_old() {
        let chosen = |text: &str| accelerator(&version(text).unwrap());
        assert_eq!(
            chosen("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"),
            "tcg,thread=single"
        );
        assert_eq!(chosen("QEMU emulator version 8.1.0\n"), "tcg,thread=multi");
        assert_eq!(chosen("QEMU emulator version 10.0.2"), "tcg,thread=multi");
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn a_guest_that_comes_to_its_end_is_not_broken() {
        let ended = run(
            "echo '@memtrace-vm end 3' >$results; echo up >$console",
            LIMITS,
        );
        assert_eq!(ended.broken, None);
        assert_eq!(ended.results, "@memtrace-vm end 3\n");
        assert_eq!(ended.console, "up\n");
    }

    #[test]
    fn a_panic_is_named() {
        let panic = "echo '[1.5] Kernel panic - not syncing: Fatal exception' >$console";
        let ended = run(panic, LIMITS);
        assert_eq!(
            ended.broken.as_deref(),
            Some("Kernel panic - not syncing: Fatal exception")
        );
    }

    #[test]
    fn a_machine_that_ends_early_is_broken() {
        let ended = run("echo '@memtrace-vm release 6.1' >$results", LIMITS);
        assert_eq!(
            ended.broken.as_deref(),
            Some("the machine ended before the job did")
        );
        let ended = run("echo no such machine >&2; exit 1", LIMITS);
        assert!(ended.broken.unwrap().ends_with("exit status: 1"));
        assert_eq!(ended.console, "no such machine\n");
    }

    #[test]
    fn a_guest_that_hangs_is_killed() {
        let boot = Limits {
            boot: SHORT,
            ..LIMITS
        };
        let ended = run("exec sleep 60", boot);
        assert_eq!(ended.broken.as_deref(), Some("not up after 0 s"));

        let silence = Limits {
            silence: SHORT,
            ..LIMITS
        };
        let ended = run("echo x >$results; exec sleep 60", silence);
        assert_eq!(ended.broken.as_deref(), Some("silent for 0 s"));

        let total = Limits {
            total: SHORT,
            ..LIMITS
        };
        let chatter = "while :; do echo x >>$results; sleep 0.02; done";
        let ended = run(chatter, total);
        assert_eq!(ended.broken.as_deref(), Some("not done after 0 s"));
    }
}
