//! `memtrace demo`: the same binary, run again as the workload, and traced.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    ptr, thread,
    time::Duration,
};

use anyhow::bail;

use super::{
    FailOn,
    args::{DemoArgs, Options, Scenario, WantedMode},
    event_options::EventOptions,
    output, privileges, trace, usage,
};

const MIB: usize = 1 << 20;
/// What the workloads move: large enough to be seen, small enough for any host.
const BYTES: usize = 200 * MIB;
/// Time between the steps of a workload.
const PAUSE: Duration = Duration::from_millis(1200);

/// Traces a workload.
pub fn run(demo: DemoArgs) -> anyhow::Result<ExitCode> {
    let DemoArgs {
        scenario,
        interval,
        json,
        html,
        svg,
        plain,
        web,
        color,
    } = demo;
    let options = Options {
        duration: None,
        interval,
        json,
        html,
        svg,
        events: EventOptions::default(),
        quiet: false,
        plain,
        web,
        no_smaps: false,
        // The demo's own workload may be looked at as often as its size allows.
        smaps_limit: Duration::from_secs(1),
        mode: WantedMode::Best,
        no_syscalls: false,
        no_faults: false,
        no_runtime: false,
        fail_on: FailOn::default(),
        color,
        bpf_log: false,
        self_stats: false,
    };
    usage::outputs(Some("demo"), &options);
    privileges::check(&format!("memtrace demo {}", scenario.name()))?;
    output::say(story(scenario));
    let command: [OsString; 3] = [
        "/proc/self/exe".into(),
        "__workload".into(),
        scenario.name().into(),
    ];
    trace::start(&command, &options, true)
}

const fn story(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::LazyFree => {
            "demo: a program fills 200 MiB and gives it back with MADV_FREE.\n\
             RSS stays flat: is it a leak? Watch LazyFree, and at the end the row madvise\n\
             FREE: it asked for 200 MiB, and moved nothing yet."
        }
        Scenario::Dontneed => {
            "demo: a program fills 200 MiB, gives it back with MADV_DONTNEED, twice, and\n\
             touches half of it again."
        }
        Scenario::Leak => {
            "demo: a program takes 20 MiB more at every step, and gives nothing back."
        }
        Scenario::Populate => {
            "demo: a program brings in 200 MiB with MAP_POPULATE and MADV_POPULATE_WRITE:\n\
             RSS rises without page faults."
        }
        Scenario::All => "demo: all scenarios, one after the other.",
    }
}

/// The workload itself.
pub fn workload(scenario: Scenario) -> anyhow::Result<ExitCode> {
    // A process group of its own: should memtrace be killed, the group is orphaned, and the kernel hangs up on what is
    // stopped in it.
    // SAFETY: changes this process's name and group.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"memtrace-demo".as_ptr());
        libc::setpgid(0, 0);
    }
    thread::sleep(PAUSE / 2);
    match scenario {
        Scenario::LazyFree => lazy_free()?,
        Scenario::Dontneed => dontneed()?,
        Scenario::Leak => leak()?,
        Scenario::Populate => populate()?,
        Scenario::All => {
            lazy_free()?;
            dontneed()?;
            leak()?;
            populate()?;
        }
    }
    // Done, and at rest: what is left is what the report is about.
    // SAFETY: stops this process, until memtrace ends it.
    unsafe { libc::raise(libc::SIGSTOP) };
    Ok(ExitCode::SUCCESS)
}

fn step(text: &str) {
    let _ = writeln!(io::stderr(), "         demo: {text}");
}

fn lazy_free() -> anyhow::Result<()> {
    let region = Region::map(BYTES, 0)?;
    region.touch(BYTES);
    step("filled 200 MiB");
    thread::sleep(PAUSE);
    region.advise(libc::MADV_FREE)?;
    step("gave it back with MADV_FREE");
    thread::sleep(PAUSE);
    Ok(())
}

fn dontneed() -> anyhow::Result<()> {
    let region = Region::map(BYTES, 0)?;
    region.touch(BYTES);
    step("filled 200 MiB");
    thread::sleep(PAUSE);
    region.advise(libc::MADV_DONTNEED)?;
    region.advise(libc::MADV_DONTNEED)?;
    step("gave it back with MADV_DONTNEED, twice");
    thread::sleep(PAUSE);
    region.touch(BYTES / 2);
    step("wrote to half of it again");
    thread::sleep(PAUSE);
    Ok(())
}

fn leak() -> anyhow::Result<()> {
    for _ in 0..5 {
        Region::map(BYTES / 10, 0)?.touch(BYTES / 10);
        step("took 20 MiB more");
        thread::sleep(PAUSE / 2);
    }
    Ok(())
}

fn populate() -> anyhow::Result<()> {
    Region::map(BYTES / 2, libc::MAP_POPULATE)?;
    step("mapped 100 MiB with MAP_POPULATE");
    thread::sleep(PAUSE);
    Region::map(BYTES / 2, 0)?.advise(libc::MADV_POPULATE_WRITE)?;
    step("brought in 100 MiB with MADV_POPULATE_WRITE");
    thread::sleep(PAUSE);
    Ok(())
}

/// Anonymous memory of the workload's own. It is never unmapped: what is there at the end is what the report is about.
struct Region {
    base: *mut u8,
    bytes: usize,
}

impl Region {
    fn map(bytes: usize, flags: i32) -> anyhow::Result<Self> {
        // SAFETY: a fresh mapping.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            bail!(
                "the demo's workload cannot map {} MiB: {}",
                bytes / MIB,
                io::Error::last_os_error()
            );
        }
        Ok(Self {
            base: base.cast(),
            bytes,
        })
    }

    fn touch(&self, bytes: usize) {
        for at in (0..bytes.min(self.bytes)).step_by(4096) {
            // SAFETY: inside the mapping.
            unsafe { self.base.add(at).write_volatile(1) };
        }
    }

    fn advise(&self, advice: i32) -> anyhow::Result<()> {
        // SAFETY: the whole mapping, whose contents nobody relies on.
        let result = unsafe { libc::madvise(self.base.cast(), self.bytes, advice) };
        if result != 0 {
            bail!(
                "the demo's workload cannot give advice {advice}: {}; the kernel may be older than it",
                io::Error::last_os_error()
            );
        }
        Ok(())
    }
}
