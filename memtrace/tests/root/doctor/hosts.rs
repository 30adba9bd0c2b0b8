//! Hosts that differ, as their files show them.

use std::{fs, os::unix::fs::symlink};

use memtrace::{
    doctor::{Check, Facts, Files, Report, State, TraceMode, Trials, Tried, examine},
    model::{CallName, HookKind},
    probe::{Attempt, Hook, OwnLedger, Way},
    view,
};
use tempfile::TempDir;

const BPF: u64 = 1 << 39;
const PERFMON: u64 = 1 << 38;
const ALL: u64 = 0x1ff_ffff_ffff;

/// A host: its files, and what trying came to.
struct Host {
    root: TempDir,
    facts: Facts,
    trials: Trials,
}

impl Host {
    /// A server as distributions install it: everything works.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let facts = Facts {
            files: Files::below(root.path()),
            release: "6.12.1-amd64".into(),
            arch: "x86_64".into(),
            page_size: 4096,
            cpus: (8, 8),
            provenance:
                "rustc: rustc 1.96.0 (x)\nrustc-llvm: 22.1.8\nbpf-linker: bpf-linker 0.13.0\n\
                         sources-sha256: 0123456789abcdef\nobject-sha256: fedcba9876543210\n"
                    .into(),
            invoker: None,
            own_lockdown: None,
            own_tracefs: None,
        };
        let attempts = attempts(None, None);
        let host = Self {
            root,
            facts,
            trials: Trials {
                own: Tried::Done(own(HookKind::Fentry)),
                hooks: Tried::Done(attempts),
            },
        };
        for (path, text) in [
            ("/sys/kernel/btf/vmlinux", "btf"),
            (
                "/sys/kernel/security/lockdown",
                "[none] integrity confidentiality\n",
            ),
            ("/proc/sys/kernel/unprivileged_bpf_disabled", "2\n"),
            ("/proc/sys/kernel/bpf_stats_enabled", "0\n"),
            ("/proc/sys/kernel/perf_event_paranoid", "2\n"),
            ("/proc/sys/kernel/ftrace_enabled", "1\n"),
            ("/proc/sys/net/core/bpf_jit_enable", "1\n"),
            ("/proc/sys/net/core/bpf_jit_harden", "0\n"),
            ("/proc/self/uid_map", "         0          0 4294967295\n"),
            (
                "/proc/self/limits",
                "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608              8388608              bytes\n",
            ),
            (
                "/proc/self/smaps_rollup",
                "Rss: 4 kB\nLazyFree:              0 kB\n",
            ),
            (
                "/proc/self/mountinfo",
                "22 1 0:20 / /proc rw - proc proc rw\n\
                 23 1 0:21 / /sys rw - sysfs sysfs rw\n\
                 24 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n\
                 25 23 0:23 / /sys/kernel/tracing rw - tracefs tracefs rw\n",
            ),
            ("/sys/kernel/tracing/events/enable", "0\n"),
            ("/proc/self/cgroup", "0::/user.slice\n"),
            (
                "/sys/fs/cgroup/cgroup.controllers",
                "cpuset cpu io memory hugetlb pids\n",
            ),
            (
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "[always] madvise never\n",
            ),
            ("/sys/kernel/mm/ksm/run", "0\n"),
            ("/proc/sys/vm/swappiness", "60\n"),
            (
                "/proc/swaps",
                "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
            ),
            (
                "/proc/meminfo",
                "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n",
            ),
        ] {
            host.write(path, text);
        }
        fs::create_dir_all(host.root.path().join("proc/self/ns")).unwrap();
        host.link("/proc/self/ns/pid", "pid:[4026531836]");
        host.status(ALL, ALL, 0);
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    /// `/proc/self/status` of a process with these capabilities.
    fn status(&self, effective: u64, bounding: u64, seccomp: u32) {
        let uid = if effective == 0 { 1000 } else { 0 };
        self.write(
            "/proc/self/status",
            &format!(
                "Name:\tmemtrace\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapInh:\t0000000000000000\n\
                 CapPrm:\t{effective:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\n\
                 NoNewPrivs:\t0\nSeccomp:\t{seccomp}\nSeccomp_filters:\t{seccomp}\n"
            ),
        );
    }

    fn fail(&mut self, why: &str) {
        self.trials = Trials {
            hooks: Tried::Failed(why.into()),
            own: Tried::Failed(why.into()),
        };
    }

    fn examine(&self) -> Report {
        let report = examine(&self.facts, &self.trials);
        for check in &report.checks {
            assert!(!check.found.is_empty(), "{check:?}");
            // What is limited or missing says what that costs, or stands beside what does.
            let names_cost = check.cost.is_some() || check.found.contains("user namespace");
            assert!(
                names_cost || !matches!(check.state, State::Limited | State::Missing),
                "{check:?}"
            );
        }
        let mut ids: Vec<&str> = report.checks.iter().map(|check| &*check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), report.checks.len(), "an id is there twice");
        report
    }
}

/// Everything taken, but for what the kernel says of `fentry` and of tracepoints.
fn attempts(fentry: Option<&str>, tracepoint: Option<&str>) -> Vec<Attempt> {
    let one = |hook, way, error: Option<&str>| Attempt {
        hook,
        way,
        error: error.map(str::to_owned),
    };
    let mut attempts: Vec<Attempt> = [
        "exit",
        "exec",
        "fork",
        "rss",
        "faults_user",
        "faults_kernel",
    ]
    .into_iter()
    .map(|hook| one(hook, Way::Hook(HookKind::TpBtf), None))
    .collect();
    for (kind, error) in [
        (HookKind::Fentry, fentry),
        (HookKind::Tracepoint, tracepoint),
    ] {
        attempts.extend(CallName::ALL.map(|call| one(call.name(), Way::Hook(kind), error)));
    }
    attempts.push(one("find_target", Way::Iterator, None));
    attempts
}

fn own(calls: HookKind) -> OwnLedger {
    OwnLedger {
        hooks: [("rss", HookKind::TpBtf), ("madvise", calls)]
            .map(|(name, kind)| Hook {
                name,
                kind: Some(kind),
                error: None,
                fallback: None,
            })
            .to_vec(),
        mapped_bytes: 4 << 20,
        seen_bytes: 4 << 20,
        slack_bytes: 0,
        no_ledger: None,
        asked_bytes: Some(4 << 20),
    }
}

#[track_caller]
fn check<'a>(report: &'a Report, id: &str) -> &'a Check {
    report
        .checks
        .iter()
        .find(|check| check.id == id)
        .unwrap_or_else(|| panic!("no check {id}"))
}

#[track_caller]
fn state(report: &Report, id: &str) -> State {
    check(report, id).state
}

fn text(report: &Report, width: usize) -> String {
    let text = anstream::adapter::strip_str(&view::doctor(report, width)).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= width.max(60), "{line}");
        assert_eq!(line, line.trim_end());
    }
    text
}

#[test]
fn where_everything_works_nothing_is_limited() {
    let report = Host::new().examine();
    let odd: Vec<&Check> = report
        .checks
        .iter()
        .filter(|check| !matches!(check.state, State::Ok | State::Info))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_eq!(report.verdict.mode, TraceMode::Exact);
    assert!(report.can_trace());
    let shown = text(&report, 80);
    assert!(shown.contains("\nverdict\na trace is exact: "), "{shown}");
    assert!(shown.ends_with("tp_btf: rss\nfentry: madvise\n"), "{shown}");
}

#[test]
fn every_check_is_documented() {
    let documented = include_str!("../../../../docs/schema.md");
    let mut host = Host::new();
    let mut checks = host.examine().checks;
    host.trials = Trials::none("nothing can be tried");
    checks.extend(host.examine().checks);
    for check in checks {
        let name = format!("`{}`", check.id);
        assert!(
            check.id.starts_with("hook_") || documented.contains(&name),
            "{name} is not in docs/schema.md"
        );
    }
}

#[test]
fn every_width_has_its_lines() {
    let mut host = Host::new();
    host.fail("a reason without spaces of its own: 0123456789012345678901234567890123456789012345678901234567890123456789");
    let report = host.examine();
    for width in [0, 60, 80, 100, 400] {
        text(&report, width);
    }
}

#[test]
fn lockdown_confidentiality_closes_the_kernels_memory() {
    let mut host = Host::new();
    host.write(
        "/sys/kernel/security/lockdown",
        "none integrity [confidentiality]\n",
    );
    host.fail("cannot attach tp_btf/rss_stat, without which there is no ledger: EPERM");
    let report = host.examine();
    assert_eq!(state(&report, "lockdown"), State::Missing);
    assert_eq!(
        check(&report, "lockdown").value.as_deref(),
        Some("confidentiality")
    );
    assert_eq!(report.verdict.mode, TraceMode::None);
    assert!(report.verdict.reason.contains("tp_btf/rss_stat"));
    assert!(!report.can_trace());
    let shown = text(&report, 80);
    assert!(
        shown.contains("\nverdict\nno trace: cannot attach"),
        "{shown}"
    );
}

#[test]
fn lockdown_is_read_where_securityfs_is_not_mounted() {
    let mut host = Host::new();
    host.remove("/sys/kernel/security");
    host.facts.own_lockdown = Some(Ok("none [integrity] confidentiality\n".into()));
    assert_eq!(state(&host.examine(), "lockdown"), State::Ok);
    host.facts.own_lockdown = Some(Err("EPERM".into()));
    let report = host.examine();
    assert_eq!(state(&report, "lockdown"), State::Unknown);
    assert!(check(&report, "lockdown").found.contains("EPERM"));
    host.facts.own_lockdown = None;
    assert_eq!(state(&host.examine(), "lockdown"), State::Unknown);
    // A kernel without lockdown has other files there.
    host.write("/sys/kernel/security/lsm", "capability\n");
    assert_eq!(state(&host.examine(), "lockdown"), State::Ok);
}

#[test]
fn a_container_without_capabilities() {
    let mut host = Host::new();
    // Docker's own set has neither CAP_BPF nor CAP_PERFMON.
    host.status(0xa804_25fb, 0xa804_25fb, 2);
    host.link("/proc/self/ns/pid", "pid:[4026532621]");
    host.remove("/proc/sys/net/core/bpf_jit_enable");
    host.trials = Trials::none("this process lacks CAP_BPF and CAP_PERFMON");
    let report = host.examine();
    for id in ["cap_bpf", "cap_perfmon"] {
        assert_eq!(state(&report, id), State::Missing, "{id}");
        let advice = check(&report, id).advice.as_deref().unwrap();
        assert!(advice.contains("--cap-add"), "{advice}");
    }
    assert_eq!(state(&report, "cap_chown"), State::Ok);
    assert_eq!(state(&report, "cap_sys_ptrace"), State::Limited);
    assert_eq!(state(&report, "pid_namespace"), State::Info);
    assert_eq!(state(&report, "seccomp"), State::Info);
    // What was not tried is not known, and never "ok".
    for id in ["hooks", "bpf_load", "bpf_jit", "cap_sys_resource"] {
        assert_eq!(state(&report, id), State::Unknown, "{id}");
    }
    assert!(report.attempts.is_empty());
    assert_eq!(report.verdict.mode, TraceMode::None);
    assert_eq!(
        report.verdict.reason,
        "this process lacks CAP_BPF and CAP_PERFMON"
    );
}

#[test]
fn two_capabilities_are_enough_to_trace() {
    let host = Host::new();
    host.status(BPF | PERFMON, ALL, 0);
    let report = host.examine();
    assert!(report.can_trace());
    for (id, expected) in [
        ("cap_bpf", State::Ok),
        ("cap_perfmon", State::Ok),
        ("cap_sys_admin", State::Limited),
        ("cap_sys_ptrace", State::Limited),
        ("cap_sys_resource", State::Ok),
        ("perf_event_paranoid", State::Ok),
    ] {
        assert_eq!(state(&report, id), expected, "{id}");
    }
    let cost = check(&report, "cap_sys_ptrace").cost.as_deref().unwrap();
    assert!(cost.contains("LazyFree"), "{cost}");
    let advice = check(&report, "cap_sys_ptrace").advice.as_deref();
    assert_eq!(advice, Some("sudo memtrace …"));
}

#[test]
fn who_typed_sudo_needs_three_more() {
    let mut host = Host::new();
    host.facts.invoker = Some((1000, Some("alice".into())));
    let without = ALL & !(1 | 1 << 6 | 1 << 7);
    host.status(without, without, 0);
    let report = host.examine();
    for id in ["cap_chown", "cap_setgid", "cap_setuid"] {
        assert_eq!(state(&report, id), State::Limited, "{id}");
    }
    assert!(check(&report, "user").found.contains("alice (1000)"));
}

/// Sets as `/proc/self/status` shows them: what is permitted, in force, and in the bounding set.
#[test]
fn how_a_capability_is_absent_is_told_apart() {
    const SYS_ADMIN: u64 = 1 << 21;
    const DAC_OVERRIDE: u64 = 1 << 1;
    let found = |sets: [u64; 3], uid: u32, id: &str| {
        let mut host = Host::new();
        host.fail("not permitted");
        let [permitted, effective, bounding] = sets;
        host.write(
            "/proc/self/status",
            &format!(
                "Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapPrm:\t{permitted:x}\nCapEff:\t{effective:x}\nCapBnd:\t{bounding:x}\n"
            ),
        );
        check(&host.examine(), id).clone()
    };
    for (sets, uid, id, expected, text) in [
        ([0, 0, ALL], 1000, "cap_bpf", State::Missing, "absent"),
        (
            [BPF, 0, ALL],
            1000,
            "cap_bpf",
            State::Missing,
            "absent: permitted, and not raised",
        ),
        (
            [0, 0, ALL & !BPF],
            1000,
            "cap_bpf",
            State::Missing,
            "absent, and not to be had here: it is not in the bounding set",
        ),
        (
            [SYS_ADMIN, SYS_ADMIN, ALL],
            1000,
            "cap_perfmon",
            State::Ok,
            "absent; CAP_SYS_ADMIN stands for it",
        ),
        (
            [0, 0, ALL],
            1000,
            "cap_dac_read_search",
            State::Limited,
            "absent",
        ),
        (
            [DAC_OVERRIDE, DAC_OVERRIDE, ALL],
            1000,
            "cap_dac_read_search",
            State::Ok,
            "absent; CAP_DAC_OVERRIDE stands for it",
        ),
        (
            [0, 0, ALL],
            0,
            "cap_dac_read_search",
            State::Ok,
            "absent, and not needed: tracefs is root's",
        ),
        (
            [0, 0, ALL],
            1000,
            "cap_chown",
            State::Ok,
            "absent, and not needed: memtrace was not started by sudo",
        ),
        (
            [0, 0, ALL],
            1000,
            "cap_setuid",
            State::Ok,
            "absent, and not needed: memtrace was not started by sudo",
        ),
    ] {
        let check = found(sets, uid, id);
        assert_eq!(
            (check.state, check.found.as_str()),
            (expected, text),
            "{id}"
        );
    }
    let advice = |bounding| found([0, 0, bounding], 1000, "cap_perfmon").advice;
    assert_eq!(advice(ALL).as_deref(), Some("sudo memtrace …"));
    let withheld = advice(ALL & !PERFMON).unwrap();
    assert!(withheld.contains("--cap-add PERFMON"), "{withheld}");
}

#[test]
fn a_user_namespace_gives_capabilities_that_do_not_count() {
    let mut host = Host::new();
    host.write("/proc/self/uid_map", "0 1000 1\n");
    host.fail("failed to create map: EPERM");
    let report = host.examine();
    assert_eq!(state(&report, "user_namespace"), State::Missing);
    assert_eq!(state(&report, "cap_bpf"), State::Limited);
    assert_eq!(state(&report, "memlock"), State::Limited);
    assert_eq!(state(&report, "hooks"), State::Limited);
    assert_eq!(state(&report, "own_ledger"), State::Missing);
}

#[test]
fn an_old_kernel_without_btf() {
    let mut host = Host::new();
    host.remove("/sys/kernel/btf/vmlinux");
    host.remove("/sys/kernel/security");
    host.write("/sys/kernel/security/lsm", "capability\n");
    host.remove("/proc/self/smaps_rollup");
    host.remove("/sys/kernel/mm/ksm");
    host.fail("cannot read /sys/kernel/btf/vmlinux: No such file or directory");
    let report = host.examine();
    assert_eq!(state(&report, "btf"), State::Limited);
    assert_eq!(state(&report, "smaps_rollup"), State::Limited);
    assert_eq!(state(&report, "ksm"), State::Info);
    assert!(
        check(&report, "thp_sizes")
            .found
            .contains("before Linux 6.8")
    );
    assert_eq!(report.verdict.mode, TraceMode::None);
}

#[test]
fn where_there_can_be_no_ledger_a_trace_is_approximate() {
    let mut host = Host::new();
    host.remove("/sys/kernel/btf/vmlinux");
    let why = "cannot read /sys/kernel/btf/vmlinux: No such file or directory";
    host.trials = Trials {
        hooks: Tried::Failed(why.into()),
        own: Tried::Done(OwnLedger {
            no_ledger: Some(why.into()),
            seen_bytes: 0,
            ..own(HookKind::Tracepoint)
        }),
    };
    let report = host.examine();
    assert_eq!(report.verdict.mode, TraceMode::Approximate);
    assert!(report.can_trace());
    for id in ["btf", "bpf_load", "hooks"] {
        let check = check(&report, id);
        assert_eq!(check.state, State::Limited, "{check:?}");
        assert!(check.cost.as_ref().unwrap().contains("RSS is sampled"));
    }
    assert_eq!(state(&report, "own_ledger"), State::Ok);
    let shown = text(&report, 80);
    assert!(
        shown.contains("\na trace is approximate: RSS is sampled"),
        "{shown}"
    );
    // Where the ledger's programs are refused, those of a trace without one may still be taken.
    host.trials.hooks = Tried::Done(attempts(Some("unknown func"), Some("unknown func")));
    host.trials.own = Tried::Done(OwnLedger {
        no_ledger: Some(why.into()),
        ..own(HookKind::Fentry)
    });
    let report = host.examine();
    assert_eq!(state(&report, "hook_madvise"), State::Ok);
    assert_eq!(check(&report, "hook_madvise").found, "by fentry");
    assert_eq!(state(&report, "fentry"), State::Ok);
    // A session whose hook sees nothing of what was asked for is no trace either.
    host.trials.own = Tried::Done(OwnLedger {
        no_ledger: Some(why.into()),
        asked_bytes: Some(0),
        ..own(HookKind::Tracepoint)
    });
    assert_eq!(host.examine().verdict.mode, TraceMode::None);
}

#[test]
fn without_tracefs_and_without_fentry_calls_are_not_counted() {
    let mut host = Host::new();
    host.write(
        "/proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n",
    );
    host.trials.hooks = Tried::Done(attempts(Some("EPERM"), Some("tracefs is not mounted")));
    host.facts.own_tracefs = Some(Err("EPERM".into()));
    let report = host.examine();
    assert_eq!(state(&report, "tracefs"), State::Limited);
    assert_eq!(state(&report, "fentry"), State::Limited);
    for call in CallName::ALL.map(CallName::name) {
        let check = check(&report, &format!("hook_{call}"));
        assert_eq!(check.state, State::Limited);
        assert!(check.found.contains("tracefs") && check.found.contains("EPERM"));
        assert!(check.cost.as_deref().unwrap().contains(call));
    }
    assert!(report.can_trace());
    let refused = report.attempts.iter().filter(|attempt| !attempt.attached);
    assert_eq!(refused.count(), 12);
}

#[test]
fn without_tracefs_and_with_fentry_nothing_is_lost() {
    let mut host = Host::new();
    host.write(
        "/proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n",
    );
    host.trials.hooks = Tried::Done(attempts(None, Some("tracefs is not mounted")));
    host.facts.own_tracefs = Some(Err("EPERM".into()));
    let report = host.examine();
    for id in ["tracefs", "fentry", "hook_madvise"] {
        assert_eq!(state(&report, id), State::Ok, "{id}");
    }
}

#[test]
fn a_refused_fentry_falls_back_and_names_the_price() {
    let mut host = Host::new();
    host.trials = Trials {
        hooks: Tried::Done(attempts(Some("Operation not permitted (EPERM)"), None)),
        own: Tried::Done(own(HookKind::Tracepoint)),
    };
    let report = host.examine();
    let fentry = check(&report, "fentry");
    assert_eq!(fentry.state, State::Limited);
    assert!(fentry.found.contains("EPERM"));
    assert!(fentry.cost.as_deref().unwrap().contains("every process"));
    assert_eq!(state(&report, "hook_madvise"), State::Ok);
    assert_eq!(check(&report, "hook_madvise").found, "by tracepoint");
}

#[test]
fn tracefs_may_lie_below_debugfs() {
    let host = Host::new();
    host.write(
        "/proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n26 23 0:7 / /sys/kernel/debug rw - debugfs debugfs rw\n",
    );
    host.write("/sys/kernel/debug/tracing/events/enable", "0\n");
    let report = host.examine();
    assert_eq!(
        check(&report, "tracefs").value.as_deref(),
        Some("/sys/kernel/debug/tracing")
    );
    assert_eq!(state(&report, "tracefs"), State::Ok);
}

#[test]
fn memory_cgroups_of_both_versions_and_none() {
    let host = Host::new();
    let version = |host: &Host| {
        let report = host.examine();
        let found = check(&report, "memory_cgroup");
        (found.value.clone().unwrap(), found.found.clone())
    };
    assert_eq!(version(&host).0, "v2");
    assert!(version(&host).1.contains("/user.slice"));
    // Both are mounted, and the memory controller is in the first one's hands.
    host.write(
        "/proc/self/cgroup",
        "4:memory:/docker/abc\n1:name=systemd:/\n0::/\n",
    );
    host.write(
        "/proc/self/mountinfo",
        "24 23 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
         25 23 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    );
    assert_eq!(version(&host).0, "v1");
    assert!(version(&host).1.contains("/sys/fs/cgroup/memory"));
    host.write("/proc/self/cgroup", "0::/\n");
    host.write("/sys/fs/cgroup/unified/cgroup.controllers", "cpu pids\n");
    assert_eq!(version(&host).0, "none");
    host.remove("/proc/self/cgroup");
    assert_eq!(version(&host).0, "none");
}

#[test]
fn a_proc_that_hides_processes() {
    let host = Host::new();
    let proc = "22 1 0:20 / /proc rw - proc proc rw,hidepid=invisible\n";
    host.write("/proc/self/mountinfo", proc);
    assert_eq!(state(&host.examine(), "proc"), State::Ok);
    host.status(BPF | PERFMON, ALL, 0);
    let report = host.examine();
    assert_eq!(state(&report, "proc"), State::Limited);
    assert_eq!(check(&report, "proc").value.as_deref(), Some("invisible"));
    host.remove("/proc/self/mountinfo");
    assert_eq!(state(&host.examine(), "proc"), State::Missing);
}

#[test]
fn sysctls_that_cost_something_say_what_to_type() {
    let mut host = Host::new();
    for (path, value, id, advice) in [
        (
            "net/core/bpf_jit_enable",
            "0",
            "bpf_jit",
            "net.core.bpf_jit_enable=1",
        ),
        (
            "kernel/bpf_stats_enabled",
            "1",
            "bpf_stats",
            "kernel.bpf_stats_enabled=0",
        ),
        (
            "kernel/ftrace_enabled",
            "0",
            "ftrace_enabled",
            "kernel.ftrace_enabled=1",
        ),
    ] {
        host.write(&format!("/proc/sys/{path}"), value);
        let report = host.examine();
        assert_eq!(state(&report, id), State::Limited, "{id}");
        let said = check(&report, id).advice.as_deref().unwrap();
        assert!(said.contains(advice), "{said}");
    }
    // A level of some distributions' own, which may refuse tracepoints.
    host.write("/proc/sys/kernel/perf_event_paranoid", "4\n");
    assert_eq!(state(&host.examine(), "perf_event_paranoid"), State::Ok);
    host.trials.hooks = Tried::Done(attempts(Some("EPERM"), Some("EACCES")));
    assert_eq!(
        state(&host.examine(), "perf_event_paranoid"),
        State::Limited
    );
}

#[test]
fn who_may_read_memory_is_shown_with_what_it_costs() {
    let host = Host::new();
    assert_eq!(state(&host.examine(), "ptrace_scope"), State::Info);
    let path = "/proc/sys/kernel/yama/ptrace_scope";
    for (value, with, without) in [
        ("0\n", State::Ok, State::Ok),
        ("1\n", State::Ok, State::Limited),
        ("2\n", State::Ok, State::Limited),
        ("3\n", State::Limited, State::Limited),
    ] {
        host.write(path, value);
        host.status(ALL, ALL, 0);
        assert_eq!(state(&host.examine(), "ptrace_scope"), with, "{value}");
        host.status(BPF | PERFMON, ALL, 0);
        let report = host.examine();
        assert_eq!(state(&report, "ptrace_scope"), without, "{value}");
        let cost = check(&report, "ptrace_scope").cost.as_deref();
        assert_eq!(cost.is_some(), without == State::Limited, "{value}");
    }
}

#[test]
fn memory_settings_are_shown_as_the_kernel_has_them() {
    let host = Host::new();
    let thp = "/sys/kernel/mm/transparent_hugepage";
    for (path, value) in [
        ("hugepages-64kB/enabled", "[always] inherit madvise never"),
        ("hugepages-2048kB/enabled", "always [inherit] madvise never"),
        ("hugepages-128kB/enabled", "always inherit madvise [never]"),
        ("khugepaged/max_ptes_none", "511"),
        ("khugepaged/scan_sleep_millisecs", "10000"),
    ] {
        host.write(&format!("{thp}/{path}"), value);
    }
    host.write("/sys/kernel/mm/ksm/run", "1\n");
    host.write(
        "/proc/swaps",
        "Filename Type Size Used Priority\n/dev/zram0 partition 1048576 1024 100\ncut\n",
    );
    host.write("/sys/block/zram0/disksize", "1073741824\n");
    host.write("/sys/block/zram0/comp_algorithm", "lzo [zstd]\n");
    let report = host.examine();
    let value = |id| check(&report, id).value.clone().unwrap();
    let found = |id| check(&report, id).found.clone();
    assert_eq!(value("thp_enabled"), "always");
    assert!(found("thp_enabled").contains("2 MiB"));
    assert_eq!(value("thp_sizes"), "64kB=always 128kB=never 2048kB=inherit");
    assert_eq!(
        found("thp_sizes"),
        "64K always, 2048K inherit; all others never"
    );
    assert_eq!(
        value("khugepaged"),
        "max_ptes_none=511 scan_sleep_millisecs=10000"
    );
    assert_eq!(value("ksm"), "1");
    assert_eq!(value("swap"), "1");
    assert_eq!(
        found("swap"),
        "/dev/zram0 (partition) 1.00G, 1024K used, priority 100"
    );
    assert_eq!(found("zram"), "zram0 1.00G zstd");
    assert_eq!(value("swappiness"), "60");
}

#[test]
fn a_session_that_sees_another_process_is_no_trace() {
    let mut host = Host::new();
    host.link("/proc/self/ns/pid", "pid:[4026532621]");
    host.trials.own = Tried::Done(OwnLedger {
        seen_bytes: 0,
        ..own(HookKind::Fentry)
    });
    let report = host.examine();
    assert_eq!(state(&report, "own_ledger"), State::Missing);
    assert_eq!(state(&report, "pid_namespace"), State::Limited);
    assert_eq!(report.verdict.mode, TraceMode::None);
    // Pages that a thread keeps to itself before 6.2 are no error.
    host.trials.own = Tried::Done(OwnLedger {
        seen_bytes: (4 << 20) - (64 << 12),
        slack_bytes: 65 << 12,
        ..own(HookKind::Fentry)
    });
    let report = host.examine();
    assert_eq!(report.verdict.mode, TraceMode::Exact);
    assert!(report.verdict.reason.contains("65 faults"));
    assert_eq!(state(&report, "pid_namespace"), State::Ok);
}

#[test]
fn a_host_that_shows_nothing_is_no_panic() {
    let mut host = Host::new();
    for folder in ["/proc", "/sys"] {
        host.remove(folder);
    }
    host.trials = Trials::none("nothing can be read");
    let report = host.examine();
    assert!(!report.can_trace());
    for check in &report.checks {
        assert_ne!(check.state, State::Ok, "{check:?}");
    }
    text(&report, 80);
}
