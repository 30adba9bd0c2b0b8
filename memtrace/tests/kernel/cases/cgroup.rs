//! The memory cgroup's own figures, of whichever version this kernel has. They need no ledger.

use memtrace::{
    model::CgroupFigures,
    observe::{Cgroup as Figures, Sampler, mappings},
    proc::ProcDir,
};

use super::{Case, FREE, Outcome};
use crate::{
    harness::{Workload, wait_for},
    host::Cgroup,
};

pub const CASES: &[Case] = &[
    ("cgroup_limits_are_whose_they_are", limits),
    ("cgroup_counts_what_is_freed_lazily", lazily_freed),
    ("cgroup_that_the_process_left", left),
    ("mappings_show_what_is_freed_lazily", mapped),
];

const MIB: u64 = 1 << 20;

fn limits() -> Outcome {
    let cgroup = Cgroup::new()?;
    let workload = Workload::start();
    cgroup.enter(workload.pid());
    let figures = Figures::open(workload.pid()).unwrap();
    let info = figures.info();
    assert_eq!(info.version, if cgroup.is_unified() { 2 } else { 1 });
    assert_eq!(info.path.raw(), cgroup.path());
    assert_eq!(info.processes, Some(1));
    assert_eq!((info.limit_bytes, info.limit_path), (None, None));
    cgroup.limit(300 * MIB);
    let info = figures.info();
    assert_eq!(info.limit_bytes, Some(300 * MIB));
    assert_eq!(info.limit_path, Some(cgroup.path().into()));
    assert_eq!(info.high_bytes, None);
    if cgroup.is_unified() {
        cgroup.high(200 * MIB);
        assert_eq!(figures.info().high_bytes, Some(200 * MIB));
    }
    Ok(())
}

fn lazily_freed() -> Outcome {
    const PAGES: u64 = 4096;
    let cgroup = Cgroup::new()?;
    let mut workload = Workload::start();
    cgroup.enter(workload.pid());
    let page = memtrace::proc::page_size();
    let mut figures = Figures::open(workload.pid()).unwrap();
    let begin = figures.figures();
    workload.ok(&format!("map a {PAGES}"));
    workload.ok(&format!("write a 0 {PAGES}"));
    workload.ok("drain");
    let full = near(&mut figures, |now| {
        now.anon_bytes >= begin.anon_bytes.map(|bytes| bytes + PAGES * page * 9 / 10)
    });
    assert!(full.usage_bytes >= full.anon_bytes, "{full:?}");
    workload.ok(&format!("madvise a 0 {PAGES} {FREE}"));
    workload.ok("drain");
    // What was freed lazily is still anonymous memory, on the list of inactive file pages.
    let freed = near(&mut figures, |now| {
        now.inactive_file_bytes
            >= full
                .inactive_file_bytes
                .map(|bytes| bytes + PAGES * page * 9 / 10)
    });
    assert_eq!(
        freed.working_set_bytes,
        Some(freed.usage_bytes.unwrap() - freed.inactive_file_bytes.unwrap())
    );
    assert!(freed.working_set_bytes.unwrap() + PAGES * page / 2 < full.working_set_bytes.unwrap());
    assert!(
        freed.anon_bytes.unwrap() >= PAGES * page * 9 / 10,
        "{freed:?}"
    );
    let mut sampler = Sampler::open(workload.pid()).unwrap();
    let lazy = sampler.smaps().unwrap().lazy_free;
    assert!(lazy >= PAGES * page * 9 / 10, "{lazy}");
    cgroup.reclaim();
    let gone = lazy - sampler.smaps().unwrap().lazy_free;
    assert!(gone > 0, "nothing was reclaimed");
    if cgroup.is_unified() {
        // Of a count, as it was to be.
        let kept = kept_by_cpus();
        let is = |count: u64, expected: u64| count <= expected && count + kept >= expected;
        let counted = near(&mut figures, |now| {
            let since = now.pglazyfreed.unwrap() - begin.pglazyfreed.unwrap();
            is(since, gone / page)
        });
        let advised = counted.pglazyfree.unwrap() - begin.pglazyfree.unwrap();
        assert!(is(advised, PAGES), "{counted:?}");
    } else {
        let after = figures.figures();
        assert_eq!((after.pglazyfree, after.pglazyfreed), (None, None));
    }
    assert_eq!(figures.figures().oom_kills, Some(0));
    assert!(figures.figures().limit_hits.is_some());
    Ok(())
}

/// What CPUs keep of a count to themselves, and never bring together: before 5.13 up to 32 pages each (`MEMCG_CHARGE_BATCH`, in
/// `__count_memcg_events` of mm/memcontrol.c).
fn kept_by_cpus() -> u64 {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    if version < (Some(5), Some(13)) {
        32 * cpus
    } else {
        0
    }
}

/// Waits until the figures are so: the kernel brings them together every few seconds at the latest.
fn near(figures: &mut Figures, so: impl Fn(&CgroupFigures) -> bool) -> CgroupFigures {
    wait_for("the cgroup's figures", || {
        let now = figures.figures();
        so(&now).then_some(now)
    })
}

fn left() -> Outcome {
    let cgroup = Cgroup::new()?;
    let mut workload = Workload::start();
    let home = Figures::open(workload.pid());
    cgroup.enter(workload.pid());
    let mut figures = Figures::open(workload.pid()).unwrap();
    // It may have been in the root cgroup, whose usage v2 does not count.
    if let Ok(mut home) = home {
        assert_eq!(home.figures(), CgroupFigures::default());
        assert!(
            home.info()
                .missing
                .iter()
                .any(|one| one.why.raw().contains("was moved"))
        );
    }
    assert!(figures.figures().usage_bytes.is_some());
    workload.kill();
    assert!(figures.figures().usage_bytes.is_some());
    drop(cgroup);
    assert_eq!(figures.figures(), CgroupFigures::default());
    assert!(
        figures
            .info()
            .missing
            .iter()
            .any(|one| one.why.raw().contains("was removed"))
    );
    Ok(())
}

fn mapped() -> Outcome {
    let mut workload = Workload::start();
    workload.ok("map a 700");
    workload.ok("write a 0 700");
    workload.ok("drain");
    workload.ok(&format!("madvise a 0 600 {FREE}"));
    workload.ok("drain");
    let process = ProcDir::open(workload.pid()).unwrap();
    let found = mappings(&process, false).unwrap();
    let rollup = Sampler::open(workload.pid()).unwrap().smaps().unwrap();
    assert_eq!(
        (found.rss, found.lazy_free, found.anon_huge, found.swap),
        (rollup.rss, rollup.lazy_free, rollup.anon_huge, rollup.swap)
    );
    assert_eq!(found.lazy_free, 600 * memtrace::proc::page_size());
    Ok(())
}
