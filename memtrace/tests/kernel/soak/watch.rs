//! Watching memory, descriptors and threads of memtrace, and of this process, which holds its library; and saying how far the
//! soak is.
//!
//! The rule: memory is what it needs at the least, so of a stretch of time the lowest figure counts. Warming up takes a quarter of the
//! time, and until everything has happened once, since what is done first may need memory that stays; the last quarter must not be
//! above what comes next by more than a bound. What leaks a little at each tick, exec or attach is above it in minutes.

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

/// The least of two stretches of the time.
#[derive(Clone, Copy, Default)]
struct Stretches {
    /// Where the first one begins, as a share of the time.
    warm_at: Option<f64>,
    first: Option<Sample>,
    last: Option<Sample>,
}

impl Stretches {
    /// Notes what a process holds at a share of the time; `all_seen`: each scene has been played.
    fn note(&mut self, share: f64, all_seen: bool, sample: Sample) {
        if !all_seen || share < 0.25 {
            return;
        }
        let warm_at = *self.warm_at.get_or_insert(share);
        let stretch = if share >= 0.75 {
            &mut self.last
        } else if share < (warm_at + 0.1).max(0.5) {
            &mut self.first
        } else {
            return;
        };
        *stretch = Some(stretch.map_or(sample, |least| least.least(sample)));
    }
}

/// Whether a process has grown.
pub struct Verdict {
    name: &'static str,
    first: Option<Sample>,
    last: Option<Sample>,
    bound_kib: u64,
}

impl Verdict {
    const fn of(name: &'static str, stretches: &Stretches, bound_kib: u64) -> Self {
        Self {
            name,
            first: stretches.first,
            last: stretches.last,
            bound_kib,
        }
    }

    pub fn is_sound(&self) -> bool {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            // Too short, or ended by hand: nothing is claimed, and it says so.
            return true;
        };
        last.anon_kib <= first.anon_kib + self.bound_kib
            && last.descriptors <= first.descriptors
            && last.threads <= first.threads
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            first,
            last,
            bound_kib,
        } = self;
        let (Some(first), Some(last)) = (first, last) else {
            return write!(
                f,
                "{name:<36}not known: it ended before everything had happened once"
            );
        };
        write!(
            f,
            "{name:<36}{} KiB anonymous once warm, {} KiB in the last quarter ({bound_kib} more are allowed); \
             RSS {} and {} KiB, at most {} KiB; descriptors {} and {}; threads {} and {}{}",
            first.anon_kib,
            last.anon_kib,
            first.rss_kib,
            last.rss_kib,
            last.highest_kib,
            first.descriptors,
            last.descriptors,
            first.threads,
            last.threads,
            if self.is_sound() { "" } else { ": IT GROWS" }
        )
    }
}

/// The thread that looks.
pub struct Watch {
    over: Arc<AtomicBool>,
    all_seen: Arc<AtomicBool>,
    thread: Option<JoinHandle<[Stretches; 2]>>,
}

impl Watch {
    /// Watches this process, and the process `tool`.
    pub fn start(begun: Instant, time: Duration, tool: u32, figures: Arc<Mutex<Figures>>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let all_seen = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&all_seen);
        let thread = thread::spawn(move || {
            let mut all = [Stretches::default(); 2];
            let mut next_line = begun + LINE;
            while !told.load(Relaxed) {
                let share = begun.elapsed().as_secs_f64() / time.as_secs_f64();
                let samples = [tool, std::process::id()].map(Sample::of);
                let seen = seen.load(Relaxed);
                for (stretches, sample) in all.iter_mut().zip(samples) {
                    if let Some(sample) = sample {
                        stretches.note(share, seen, sample);
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
            all_seen,
            thread: Some(thread),
        }
    }

    /// Each scene has been played once.
    pub fn all_seen(&self) {
        self.all_seen.store(true, Relaxed);
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
