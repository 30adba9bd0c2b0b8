//! The memory cgroup: said beside the answer.

use memtrace::model::Verdict;

use super::scene::Scene;

fn finding<'a>(verdict: &'a Verdict, id: &str) -> Option<&'a memtrace::model::Finding> {
    verdict.also.iter().find(|finding| finding.id == id)
}

#[test]
fn a_full_cgroup_is_said_beside_the_answer() {
    let verdict = Scene::flat(60, 200).cgroup(2048, 1843, 300).judge();
    assert_eq!(verdict.id, "idle");
    let limit = finding(&verdict, "cgroup-limit").unwrap();
    assert_eq!(limit.title, "The cgroup is at 89% of its limit of 2.00G");
    assert!(
        limit.text.raw().contains("300.0M of it go first"),
        "{}",
        limit.text
    );
}

#[test]
fn a_cgroup_with_room_is_not_worth_a_word() {
    let verdict = Scene::flat(60, 200).cgroup(1000, 700, 10).judge();
    assert!(verdict.also.is_empty());
}

#[test]
fn an_oom_kill_is_said_whatever_is_left() {
    let verdict = Scene::flat(60, 200)
        .cgroup(1000, 300, 10)
        .with(|epoch| {
            let end = epoch.summary.cgroup.as_mut().unwrap().end.as_mut().unwrap();
            end.oom_kills = Some(4);
        })
        .judge();
    let limit = finding(&verdict, "cgroup-limit").unwrap();
    assert_eq!(
        limit.title,
        "The cgroup's OOM killer struck: 1 killed during the capture"
    );
}

#[test]
fn what_kubernetes_counts_is_not_usage() {
    let verdict = Scene::flat(60, 1200)
        .lazyfree(1024)
        .cgroup(4000, 1300, 1030)
        .judge();
    assert_eq!(verdict.id, "lazy-free");
    let scaling = finding(&verdict, "cgroup-scaling").unwrap();
    assert_eq!(
        scaling.title,
        "Kubernetes counts 270.0M, not the 1.27G of the cgroup's usage"
    );
    assert!(
        scaling.text.raw().contains("1.00G of lazily freed memory"),
        "{}",
        scaling.text
    );
}

#[test]
fn figures_that_do_not_fit_are_passed_over() {
    let verdict = Scene::flat(60, 200)
        .cgroup(1000, 700, 10)
        .with(|epoch| {
            let cgroup = epoch.summary.cgroup.as_mut().unwrap();
            let end = cgroup.end.as_mut().unwrap();
            end.usage_bytes = Some(u64::MAX);
            end.working_set_bytes = Some(0);
            end.oom_kills = Some(0);
            cgroup.limit_bytes = Some(0);
        })
        .judge();
    assert!(verdict.also.is_empty());
}
