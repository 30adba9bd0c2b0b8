//! The soak, `cargo xtask soak`: targets that storm, execute, fork and die, again and again, and memtrace attached through it
//! all.
//!
//! Two observers are attached to each target at the same time: a session in this process, held against the kernel's own
//! figures whenever the target stands still, and the program `memtrace`, of which the capture, the exit code, the memory and
//! the descriptors are looked at. One target, the veteran, lives as long as the soak, and one `memtrace` with it; many others
//! die in the meantime. What is done, and in which order, follows from a seed.

mod deaths;
mod figures;
mod ids;
mod stage;
mod tool;
mod veteran;
mod watch;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{cases::Skip, host};
use figures::Figures;
use stage::Stage;
use veteran::Veteran;
use watch::{Verdict, Watch};

type Outcome = Result<(), Skip>;
type Scene = fn(&mut Stage, &mut Veteran) -> Outcome;

/// Everything that happens, in an order that changes from lap to lap: each lap has every scene once.
const SCENES: &[(&str, Scene)] = &[
    ("storm of small pages", veteran::small),
    ("storm of huge pages", veteran::huge),
    ("storm of small and huge pages", veteran::mixed),
    ("storm while THP is switched", veteran::thp_switched),
    ("execs", veteran::execs),
    ("execs in a storm", veteran::execs_in_a_storm),
    ("forks", veteran::forks),
    ("swap", veteran::swap),
    ("memtraces come and go in a storm", veteran::visitors),
    ("memtrace stopped in a storm", veteran::stopped),
    ("killed in a storm", deaths::killed),
    ("exits in a storm", deaths::exits),
    ("killed without its leader", deaths::without_leader),
    ("exits while its memory is shared", deaths::shared),
    ("a chain of execs", deaths::chain),
    (
        "a chain of execs with memtrace stopped",
        deaths::chain_unread,
    ),
    ("reclaim in a storm", deaths::reclaimed),
    ("dies while memtrace attaches", deaths::at_the_attach),
];

/// Set by Ctrl-C and SIGTERM: the soak ends after the scene.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Relaxed);
}

/// `__soak MILLISECONDS SEED`
pub fn main() -> ! {
    let mut words = std::env::args().skip(2).map(|word| word.parse::<u64>());
    let (Some(Ok(time)), Some(Ok(seed))) = (words.next(), words.next()) else {
        eprintln!("usage: __soak MILLISECONDS SEED; `cargo xtask soak` starts it");
        std::process::exit(2);
    };
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("the soak needs root");
        std::process::exit(1);
    }
    // SAFETY: a handler that stores to an atomic; and orphans of the targets become this process's children.
    unsafe {
        let handler = stop as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::signal(libc::SIGINT, handler);
        libc::signal(libc::SIGTERM, handler);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    let sound = run(Duration::from_millis(time), seed);
    std::process::exit(i32::from(!sound));
}

/// Where the soak is, for whoever says that it failed.
#[derive(Default)]
struct Place {
    round: u64,
    scene: &'static str,
}

fn run(time: Duration, seed: u64) -> bool {
    let begun = Instant::now();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "soak of {}, seed {seed}; Linux {}, {} CPUs",
        humantime::format_duration(time),
        release.trim(),
        stage::cpus()
    );
    let figures = Arc::new(Mutex::new(Figures::default()));
    let place = Mutex::new(Place::default());
    let mut verdicts = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        verdicts = soak(begun, time, seed, &figures, &place);
    }));
    let figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\n{figures}");
    for verdict in &verdicts {
        println!("{verdict}");
    }
    let left = nothing_left();
    println!("{:<36}{left}", "left over");
    let place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if result.is_err() {
        if STOP.load(Relaxed) {
            println!("stopped by hand in round {}, {}", place.round, place.scene);
        } else {
            println!(
                "FAILED in round {}, {}, after {:.1} s: the reason is above; the same order again: --seed {seed}",
                place.round,
                place.scene,
                begun.elapsed().as_secs_f64()
            );
        }
        return false;
    }
    let sound = verdicts.iter().all(Verdict::is_sound) && left == 0;
    println!("{}", if sound { "soak: ok" } else { "soak: FAILED" });
    sound
}

fn soak(
    begun: Instant,
    time: Duration,
    seed: u64,
    figures: &Arc<Mutex<Figures>>,
    place: &Mutex<Place>,
) -> Vec<Verdict> {
    let mut stage = Stage::new(seed, Arc::clone(figures));
    let mut veteran = Veteran::enter(&mut stage);
    let watch = Watch::start(begun, time, veteran.tool.pid(), Arc::clone(figures));
    let mut scenes: Vec<usize> = (0..SCENES.len()).collect();
    let over = || begun.elapsed() >= time || STOP.load(Relaxed);
    'soak: loop {
        stage.random.shuffle(&mut scenes);
        for &scene in &scenes {
            if over() {
                break 'soak;
            }
            let (name, play) = SCENES[scene];
            {
                let mut place = place.lock().unwrap();
                place.round += 1;
                place.scene = name;
            }
            stage.count(|figures| figures.rounds += 1);
            match play(&mut stage, &mut veteran) {
                Ok(()) => stage.count(|figures| figures.played(name)),
                Err(Skip::Absent(what) | Skip::NotRun(what)) => {
                    stage.count(|figures| figures.left_out(name, &what));
                }
            }
            veteran.canary(&mut stage);
            stage.nothing_stays_loaded();
            give_memory_back();
        }
        watch.all_seen();
    }
    place.lock().unwrap().scene = "the end";
    let verdicts = watch.stop();
    veteran.leave(&mut stage);
    stage.nothing_stays_loaded();
    stage.count(|figures| figures.judge(SCENES.iter().map(|(name, _)| *name)));
    verdicts
}

/// So that what is held is what is in use, and growth shows.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number of bytes to keep, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Things of the soak's that are still there: settings, mounts, devices, cgroups, processes.
fn nothing_left() -> usize {
    let mut left = host::things_left_over();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        // SAFETY: asks for any child that has ended.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            0 if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            0 => {
                eprintln!("children are left: {}", children());
                left += 1;
                break;
            }
            -1 => break,
            _ => {}
        }
    }
    left
}

fn children() -> String {
    std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .collect()
}
