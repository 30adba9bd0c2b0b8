//! Whether a run of the tests in a guest was good: nothing failed, nothing is missing, and nothing was left out that this
//! kernel has.

use std::collections::BTreeMap;

use crate::vm::{
    results::{Outcome, Results},
    version::numbers,
};

/// What a test may miss, and the kernel since which it may not. Whatever else a test misses is missing in the guest.
const YOUNG: [(&str, [u32; 2]); 8] = [
    ("what a ledger rests on", [5, 15]),
    ("MADV_POPULATE_READ", [5, 14]),
    ("MADV_POPULATE_WRITE", [5, 14]),
    ("MADV_DONTNEED_LOCKED", [5, 18]),
    ("MADV_COLLAPSE", [6, 1]),
    ("bpf_rdonly_cast", [6, 2]),
    ("MADV_GUARD_INSTALL", [6, 13]),
    ("process_madvise of MADV_DONTNEED on oneself", [6, 13]),
];

/// The hooks of system calls.
const CALLS: [&str; 6] = [
    "mmap",
    "munmap",
    "mremap",
    "brk",
    "madvise",
    "process_madvise",
];

/// What is wrong with a run: one line each.
pub fn problems(results: &Results, release: &str, expected: &[String]) -> Vec<String> {
    let mut problems = results.trouble.clone();
    match results.release.as_deref() {
        Some(booted) if booted == release => {}
        Some(booted) => problems.push(format!("this is {booted}")),
        None => {}
    }
    for (name, outcome) in &results.tests {
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed(message) => {
                let message = message.lines().next().unwrap_or("no message");
                problems.push(format!("{name}: {message}"));
            }
            Outcome::Skipped(reason) if may_miss(reason, release) => {}
            Outcome::Skipped(reason) => {
                problems.push(format!("{name} must run here, and did not: {reason}"));
            }
        }
    }
    let missing: Vec<&str> = expected
        .iter()
        .filter(|name| !results.tests.contains_key(*name))
        .map(String::as_str)
        .collect();
    if let Some(first) = missing.first() {
        problems.push(match missing.len() {
            1 => format!("{first} has no result"),
            count => format!("{count} tests have no result, {first} first"),
        });
    }
    if !results.closed {
        problems.push("the tests ended early".to_owned());
    } else if results.code != Some(0) && results.count(is_failed) == 0 {
        problems.push(match results.code {
            Some(code) => format!("the tests ended with {code}"),
            None => "the tests' end was not reached".to_owned(),
        });
    }
    problems.extend(hook_problem(results));
    problems
}

pub fn is_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

/// Details may follow what is missing.
fn may_miss(reason: &str, release: &str) -> bool {
    let Some(missing) = reason.strip_prefix("this kernel does not have ") else {
        return false;
    };
    let missing = missing.split(": ").next();
    YOUNG
        .iter()
        .any(|(what, since)| missing == Some(what) && numbers(release).as_slice() < since)
}

/// Debian's kernels let fentry attach to system calls: this is where that path is proven.
fn hook_problem(results: &Results) -> Option<String> {
    let by_fentry = hooks(results)?.remove("fentry").unwrap_or_default();
    let others: Vec<&str> = CALLS
        .into_iter()
        .filter(|call| !by_fentry.contains(call))
        .collect();
    (!others.is_empty()).then(|| format!("not hooked by fentry: {}", others.join(" ")))
}

/// The hooks of the guest's capture, by kind; those that are missing by `missing`.
pub fn hooks(results: &Results) -> Option<BTreeMap<&str, Vec<&str>>> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for hook in results.capture.as_ref()?["capture"]["hooks"].as_array()? {
        let kind = hook["kind"].as_str().unwrap_or("missing");
        kinds.entry(kind).or_default().push(hook["name"].as_str()?);
    }
    Some(kinds)
}

/// The mode of the guest's capture.
pub fn mode(results: &Results) -> Option<&str> {
    results.capture.as_ref()?["capture"]["mode"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RELEASE: &str = "6.12.107+deb13-cloud-amd64";

    fn good() -> Results {
        let mut hooks = vec![json!({"name": "rss", "kind": "tp_btf"})];
        hooks.extend(CALLS.map(|call| json!({"name": call, "kind": "fentry"})));
        Results {
            release: Some(RELEASE.to_owned()),
            capture: Some(json!({"capture": {"mode": "exact", "hooks": hooks}})),
            tests: [("a", Outcome::Passed), ("b", skipped("MADV_GUARD_INSTALL"))]
                .map(|(name, outcome)| (name.to_owned(), outcome))
                .into(),
            closed: true,
            code: Some(0),
            ..Results::default()
        }
    }

    fn skipped(what: &str) -> Outcome {
        Outcome::Skipped(format!("this kernel does not have {what}"))
    }

    fn problems_of(results: &Results) -> Vec<String> {
        problems(results, RELEASE, &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn a_good_run_has_no_problem() {
        assert_eq!(problems_of(&good()), [""; 0]);
        assert_eq!(mode(&good()), Some("exact"));
    }

    #[test]
    fn a_failure_is_named_with_what_it_said() {
        let mut results = good();
        let outcome = Outcome::Failed("3 pages off\nmore".to_owned());
        results.tests.insert("a".to_owned(), outcome);
        results.code = Some(101);
        assert_eq!(problems_of(&results), ["a: 3 pages off"]);
    }

    #[test]
    fn what_a_kernel_has_must_run() {
        for missing in ["MADV_COLLAPSE", "zram", "the memory cgroup"] {
            let mut results = good();
            results.tests.insert("b".to_owned(), skipped(missing));
            assert_eq!(
                problems_of(&results),
                [format!(
                    "b must run here, and did not: this kernel does not have {missing}"
                )]
            );
        }
        let mut results = good();
        let outcome = Outcome::Skipped("needs root".to_owned());
        results.tests.insert("b".to_owned(), outcome);
        assert_eq!(problems_of(&results).len(), 1);
    }

    #[test]
    fn what_an_old_kernel_lacks_may_be_missing() {
        let reason = |what| format!("this kernel does not have {what}");
        let ledger = reason("what a ledger rests on: tp_btf/rss_stat: no such helper");
        assert!(may_miss(&ledger, "5.10.0-32-cloud-amd64"));
        assert!(!may_miss(&ledger, "5.15.0-1-cloud-amd64"));
        assert!(may_miss(&reason("MADV_COLLAPSE"), "5.15.0-1-cloud-amd64"));
        assert!(!may_miss(&reason("MADV_COLLAPSE"), "6.1.0-50-cloud-amd64"));
        assert!(!may_miss("MADV_COLLAPSE", "5.10.0-32-cloud-amd64"));
    }

    #[test]
    fn a_run_that_broke_off_is_no_good_run() {
        let mut results = good();
        results.tests.remove("b");
        assert_eq!(problems_of(&results), ["b has no result"]);
        results.tests.clear();
        results.closed = false;
        assert_eq!(
            problems_of(&results),
            ["2 tests have no result, a first", "the tests ended early"]
        );
        let mut results = good();
        results.code = Some(139);
        assert_eq!(problems_of(&results), ["the tests ended with 139"]);
    }

    #[test]
    fn fentry_must_have_attached() {
        let mut results = good();
        let hooks = &mut results.capture.as_mut().unwrap()["capture"]["hooks"];
        hooks[1]["kind"] = json!("tracepoint");
        hooks[2]["kind"] = json!(null);
        assert_eq!(problems_of(&results), ["not hooked by fentry: mmap munmap"]);
        assert_eq!(super::hooks(&results).unwrap()["missing"], ["munmap"]);
    }

    #[test]
    fn another_kernel_than_the_one_wanted_is_a_problem() {
        let mut results = good();
        results.release = Some("6.1.0-50-cloud-amd64".to_owned());
        assert_eq!(problems_of(&results), ["this is 6.1.0-50-cloud-amd64"]);
    }
}
