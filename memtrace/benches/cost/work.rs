//! The workload: a process of its own, so that it can be traced. It does what standard input says, a line at a time, and
//! answers each line with one line of JSON.

use std::{
    hint::black_box,
    io::{self, BufRead as _, Write as _},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::report::{Operation, Pauses};

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;

/// Reads lines until there are no more.
pub fn run() -> Result<()> {
    let mut storm = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["measure", name, millis] => {
                let operation = Operation::named(name).context("no such operation")?;
                measure(operation, Duration::from_millis(millis.parse()?))
            }
            ["hold", bytes] => hold(bytes.parse()?).map(|()| "true".to_owned()),
            ["storm", threads] => {
                storm = Some(Storm::start(threads.parse()?));
                Ok("true".to_owned())
            }
            ["pauses", millis] => pauses(Duration::from_millis(millis.parse()?)),
            _ => bail!("not understood: {line}"),
        };
        let answer = answer.unwrap_or_else(|error| {
            serde_json::json!({ "error": format!("{error:#}") }).to_string()
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    drop(storm);
    Ok(())
}

/// Keeps this process on one CPU: counters that are kept per CPU then do not depend on where it happens to run.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        .with_context(|| format!("cannot run on CPU {cpu} alone"))
}

/// Batches that there are at least, however long one takes.
const FEWEST: usize = 3;

/// ns per operation, of each batch that begins within so much time.
fn measure(operation: Operation, time: Duration) -> Result<String> {
    let mut batch: Box<dyn FnMut() -> Result<f64>> = match operation {
        Operation::Fault4k => {
            let area = Area::map(256 * PAGE, PAGE)?;
            area.advise(libc::MADV_NOHUGEPAGE)?;
            Box::new(move || {
                area.advise(libc::MADV_DONTNEED)?;
                Ok(area.touch(PAGE))
            })
        }
        Operation::FaultThp => {
            let area = Area::map(16 * HUGE, HUGE)?;
            area.advise(libc::MADV_HUGEPAGE)?;
            Box::new(move || {
                area.advise(libc::MADV_DONTNEED)?;
                let faults = faults();
                let took = area.touch(HUGE);
                area.touch(PAGE);
                let faults = self::faults() - faults;
                ensure!(
                    faults < 20,
                    "no huge pages to be had: {faults} faults for 16 of them"
                );
                Ok(took)
            })
        }
        Operation::Dontneed => advise_each(libc::MADV_DONTNEED)?,
        Operation::Free => advise_each(libc::MADV_FREE)?,
        Operation::MmapMunmap => Box::new(|| {
            timed(200, || {
                let area = Area::map(16 * PAGE, PAGE)?;
                drop(area);
                Ok(())
            })
        }),
        Operation::Brk => Box::new(|| {
            let page = PAGE as isize;
            timed(200, || {
                // SAFETY: grows the heap by a page that nobody uses, and gives it back.
                let moved = unsafe {
                    libc::sbrk(page) != usize::MAX as *mut _
                        && libc::sbrk(-page) != usize::MAX as *mut _
                };
                ensure!(moved, "brk failed");
                Ok(())
            })
        }),
        Operation::Getppid => Box::new(|| {
            timed(2000, || {
                black_box(std::os::unix::process::parent_id());
                Ok(())
            })
        }),
        Operation::FileRead => {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::open("/proc/self/exe")?;
            let mut bytes = [0; PAGE];
            Box::new(move || {
                timed(1000, || {
                    file.read_exact_at(&mut bytes, 0)?;
                    black_box(&bytes);
                    Ok(())
                })
            })
        }
    };
    // The first one warms up.
    batch()?;
    let begun = Instant::now();
    let mut figures = Vec::new();
    while figures.len() < FEWEST || begun.elapsed() < time {
        figures.push(batch()?);
    }
    Ok(serde_json::to_string(&figures)?)
}

/// One call for each of 256 pages that are there.
fn advise_each(advice: i32) -> Result<Box<dyn FnMut() -> Result<f64>>> {
    let area = Area::map(256 * PAGE, PAGE)?;
    area.advise(libc::MADV_NOHUGEPAGE)?;
    Ok(Box::new(move || {
        area.touch(PAGE);
        let mut page = 0;
        timed(256, || {
            area.advise_part(page * PAGE, PAGE, advice)?;
            page += 1;
            Ok(())
        })
    }))
}

fn timed(times: u32, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..times {
        once()?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(times))
}

/// Minor faults of this process so far.
fn faults() -> i64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    usage.map_or(0, |usage| usage.minor_page_faults())
}

/// Touches so many bytes, in 4 KiB pages, and keeps them.
fn hold(bytes: usize) -> Result<()> {
    let area = Area::map(bytes, PAGE)?;
    area.advise(libc::MADV_NOHUGEPAGE)?;
    area.touch(PAGE);
    std::mem::forget(area);
    Ok(())
}

/// Threads that allocate and give back, some hundred times a second each.
struct Storm {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Storm {
    fn start(threads: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..threads)
            .map(|_| {
                let over = over.clone();
                thread::spawn(move || {
                    let area = Area::map(64 * PAGE, PAGE)?;
                    while !over.load(Relaxed) {
                        area.touch(PAGE);
                        area.advise(libc::MADV_DONTNEED)?;
                        drop(Area::map(PAGE, PAGE)?);
                        thread::sleep(Duration::from_millis(5));
                    }
                    Ok(())
                })
            })
            .collect();
        Self { over, threads }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How long single calls of mmap and munmap take together.
fn pauses(time: Duration) -> Result<String> {
    let begun = Instant::now();
    let mut took = Vec::with_capacity(8 << 20);
    while begun.elapsed() < time {
        for _ in 0..64 {
            let before = Instant::now();
            drop(Area::map(PAGE, PAGE)?);
            took.push(before.elapsed().as_nanos() as u64);
        }
    }
    took.sort_unstable();
    Ok(serde_json::to_string(&Pauses::of_sorted(&took))?)
}

/// Anonymous memory.
struct Area {
    address: *mut libc::c_void,
    at: *mut u8,
    mapped: usize,
    bytes: usize,
}

impl Area {
    fn map(bytes: usize, align: usize) -> Result<Self> {
        let mapped = if align > PAGE { bytes + align } else { bytes };
        // SAFETY: new memory, at no address in particular.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap");
        }
        let start = address.cast::<u8>();
        let at = start.wrapping_add((start as usize).next_multiple_of(align) - start as usize);
        Ok(Self {
            address,
            at,
            mapped,
            bytes,
        })
    }

    fn advise(&self, advice: i32) -> Result<()> {
        self.advise_part(0, self.bytes, advice)
    }

    fn advise_part(&self, offset: usize, bytes: usize, advice: i32) -> Result<()> {
        ensure!(offset + bytes <= self.bytes, "beyond the end");
        // SAFETY: a part of this area, whose contents nobody relies on.
        let result = unsafe { libc::madvise(self.at.wrapping_add(offset).cast(), bytes, advice) };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("madvise");
        }
        Ok(())
    }

    /// Writes one byte every so many bytes; ns for each of them.
    fn touch(&self, every: usize) -> f64 {
        let begun = Instant::now();
        for offset in (0..self.bytes).step_by(every) {
            // SAFETY: inside this area.
            unsafe { ptr::write_volatile(self.at.add(offset), 1) };
        }
        begun.elapsed().as_nanos() as f64 / (self.bytes / every) as f64
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more.
        unsafe { libc::munmap(self.address, self.mapped) };
    }
}
