//! Watching memory, descriptors and threads of memtrace, and of this process, which holds its library; and saying how far the
//! soak is.
//!
//! The rule: memory is what it needs at the least, so of each quarter of the time the lowest figure counts. The first quarter is
//! for warming up; the last one must not be above the second by more than a bound. What leaks a little at each tick, exec or
//! attach is above it in minutes.

use std::{
    fmt, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::figures::Figures;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines of progress.
const LINE: Duration = Duration::from_secs(5);
/// What memtrace's anonymous memory may grow by, KiB. Its ticks come each 10 ms, so that a tick that was kept would need 100 times
/// its own size in each second.
const TOOL_KIB: u64 = 128;
/// The same of this process, which keeps the soak's own books.
const OWN_KIB: u64 = 512;

/// A process at one moment, or the least of several.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rss_kib: u64,
    anon_kib: u64,
    highest_kib: u64,
    threads: u64,
    descriptors: u64,
}

impl Sample {
    fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            rss_kib: number("VmRSS:")?,
            anon_kib: number("RssAnon:")?,
            highest_kib: number("VmHWM:")?,
            threads: number("Threads:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        })
    }

    fn least(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.min(other.rss_kib),
            anon_kib: self.anon_kib.min(other.anon_kib),
            highest_kib: self.highest_kib.max(other.highest_kib),
            threads: self.threads.min(other.threads),
            descriptors: self.descriptors.min(other.descriptors),
        }
    }
}

/// The least of each quarter of the time.
#[derive(Clone, Copy, Default)]
struct Quarters([Option<Sample>; 4]);

impl Quarters {
    fn note(&mut self, share: f64, sample: Sample) {
        let quarter = &mut self.0[((share * 4.0) as usize).min(3)];
        *quarter = Some(quarter.map_or(sample, |least| least.least(sample)));
    }
}

/// Whether a process has grown.
pub struct Verdict {
    name: &'static str,
    second: Option<Sample>,
    last: Option<Sample>,
    bound_kib: u64,
}

impl Verdict {
    const fn of(name: &'static str, quarters: &Quarters, bound_kib: u64) -> Self {
        Self {
            name,
            second: quarters.0[1],
            last: quarters.0[3],
            bound_kib,
        }
    }

    pub fn is_sound(&self) -> bool {
        let (Some(second), Some(last)) = (self.second, self.last) else {
            // Ended by hand, so nothing is claimed.
            return true;
        };
        last.anon_kib <= second.anon_kib + self.bound_kib
            && last.descriptors <= second.descriptors
            && last.threads <= second.threads
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            second,
            last,
            bound_kib,
        } = self;
        let (Some(second), Some(last)) = (second, last) else {
            return write!(f, "{name:<36}not known: stopped too early");
        };
        write!(
            f,
            "{name:<36}{} KiB anonymous in the second quarter, {} KiB in the last one ({bound_kib} more are allowed); \
             RSS {} and {} KiB, at most {} KiB; descriptors {} and {}; threads {} and {}{}",
            second.anon_kib,
            last.anon_kib,
            second.rss_kib,
            last.rss_kib,
            last.highest_kib,
            second.descriptors,
            last.descriptors,
            second.threads,
            last.threads,
            if self.is_sound() { "" } else { ": IT GROWS" }
        )
    }
}

/// The thread that looks.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<[Quarters; 2]>>,
}

impl Watch {
    /// Watches this process, and the process `tool`.
    pub fn start(begun: Instant, time: Duration, tool: u32, figures: Arc<Mutex<Figures>>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut all = [Quarters::default(); 2];
            let mut next_line = begun + LINE;
            while !told.load(Relaxed) {
                let share = begun.elapsed().as_secs_f64() / time.as_secs_f64();
                let samples = [tool, std::process::id()].map(Sample::of);
                for (quarters, sample) in all.iter_mut().zip(samples) {
                    if let Some(sample) = sample {
                        quarters.note(share, sample);
                    }
                }
                if Instant::now() >= next_line {
                    next_line += LINE;
                    if let (Some(tool), Ok(figures)) = (samples[0], figures.lock()) {
                        progress(begun.elapsed(), &figures, tool);
                    }
                }
                thread::sleep(LOOK);
            }
            all
        });
        Self {
            over,
            thread: Some(thread),
        }
    }

    /// Ends it, and says what it has seen.
    pub fn stop(mut self) -> Vec<Verdict> {
        self.over.store(true, Relaxed);
        let [tool, own] = self.thread.take().unwrap().join().unwrap();
        vec![
            Verdict::of("the long-lived memtrace", &tool, TOOL_KIB),
            Verdict::of("this process, with the library", &own, OWN_KIB),
        ]
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

fn progress(elapsed: Duration, figures: &Figures, tool: Sample) {
    let seconds = elapsed.as_secs();
    println!(
        "{:>3}:{:02}  round {}: {} storms, {} execs, {} forks, {} deaths, {} memtraces; {:.1} M pages, {:.1} M events; \
         unexplained 0 at {} stand-stills; memtrace {} KiB RSS, {} anonymous, {} descriptors",
        seconds / 60,
        seconds % 60,
        figures.rounds,
        figures.storms,
        figures.execs,
        figures.forks,
        figures.deaths,
        figures.memtraces,
        figures.pages as f64 / 1e6,
        figures.events as f64 / 1e6,
        figures.stand_stills + figures.ends,
        tool.rss_kib,
        tool.anon_kib,
        tool.descriptors,
    );
}
