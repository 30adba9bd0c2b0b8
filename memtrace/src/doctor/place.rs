//! Where memtrace runs: namespaces, and the filesystems that it reads.

use super::{
    Check, Facts, Files, Section, Text, Trials, Tried,
    files::{field, mounts, option},
    hooks,
};
use crate::{
    privilege::Capabilities,
    probe::{INITIAL_PID_NAMESPACE, TRACEFS},
    proc::cgroup::Version,
};

pub(super) fn checks(facts: &Facts, trials: &Trials) -> Vec<Check> {
    vec![
        pid_namespace(facts, trials),
        proc(&facts.files),
        smaps(&facts.files),
        tracefs(facts, trials),
        memory_cgroup(&facts.files),
    ]
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Section::Place, id, title)
}

fn mountinfo(files: &Files) -> Text {
    files.read("/proc/self/mountinfo")
}

fn pid_namespace(facts: &Facts, trials: &Trials) -> Check {
    let check = check("pid_namespace", "PID namespace");
    let Some(link) = facts.files.link("/proc/self/ns/pid") else {
        return check.unknown("/proc/self/ns/pid cannot be read");
    };
    if link == format!("pid:[{INITIAL_PID_NAMESPACE}]") {
        return check
            .value("initial")
            .ok("the initial one: PIDs are the host's");
    }
    let check = check.value("own");
    let found = "one of its own, as containers have";
    match &trials.own {
        Tried::Done(own) if own.is_right() => {
            check.ok(format!("{found}; --pid takes a PID of this one"))
        }
        Tried::Not(_) => check.info(found),
        _ => check
            .limited(found)
            .costs("a target cannot be found by its PID in here")
            .advise(
                "run memtrace on the host, with the host's PID; or in a container with --pid=host",
            ),
    }
}

fn proc(files: &Files) -> Check {
    let check = check("proc", "/proc");
    let Text::Here(text) = mountinfo(files) else {
        return check
            .missing("not mounted")
            .costs("everything: memtrace finds its target there")
            .advise("mount -t proc proc /proc");
    };
    let found = mounts(&text);
    // The last one lies over the others.
    let Some(proc) = found
        .iter()
        .rfind(|mount| mount.kind == b"proc" && mount.point == b"/proc")
    else {
        return check.unknown("readable, and in no list of mounts");
    };
    let hidden = option(proc, "hidepid").unwrap_or("0");
    if matches!(hidden, "0" | "off") {
        return check.value(hidden).ok("shows every process (hidepid off)");
    }
    let check = check.value(hidden);
    let found = format!("hides other users' processes (hidepid={hidden})");
    if super::privileges::allows(files, Capabilities::SYS_PTRACE) {
        check.ok(format!("{found}; CAP_SYS_PTRACE sees them"))
    } else {
        check
            .limited(found)
            .costs("other users' processes cannot be traced")
            .advise("sudo memtrace …")
    }
}

fn smaps(files: &Files) -> Check {
    let check = check("smaps_rollup", "smaps_rollup");
    let costs = "LazyFree, RSS - LazyFree; unexplained is held against statm alone";
    match files.read("/proc/self/smaps_rollup") {
        Text::Here(text) if field(&text, "LazyFree").is_some() => check.ok("there, with LazyFree"),
        Text::Here(_) => check.limited("there, without LazyFree").costs(costs),
        Text::Absent => check
            .limited("not in this kernel")
            .costs(costs)
            .advise("a kernel with CONFIG_PROC_PAGE_MONITOR=y"),
        Text::Unreadable(reason) => check.unknown(format!("cannot be read: {reason}")),
    }
}

/// Where tracefs is mounted.
pub(super) fn tracefs_mount(files: &Files) -> Option<String> {
    let text = mountinfo(files);
    let found = mounts(text.here()?);
    // debugfs mounts it by itself, once somebody looks there.
    let at = ["tracefs", "debugfs"].into_iter().find_map(|kind| {
        let mount = found.iter().rfind(|mount| mount.kind == kind.as_bytes())?;
        Some(String::from_utf8_lossy(&mount.point).into_owned())
    })?;
    Some(if at.ends_with("/debug") {
        format!("{at}/tracing")
    } else {
        at
    })
}

fn tracefs(facts: &Facts, trials: &Trials) -> Check {
    let check = check("tracefs", "tracefs");
    // Only the tracepoints need it.
    let costs = "where fentry is refused, the columns calls, failed, requested";
    let needed = !hooks::calls_are_hooked(trials);
    let limited = |check: Check, found: String| {
        if needed {
            check.limited(found).costs(costs)
        } else {
            check.ok(format!(
                "{found}; not needed: system calls are hooked without it"
            ))
        }
    };
    if let Some(at) = tracefs_mount(&facts.files) {
        let check = check.value(&at);
        return match facts.files.open_folder(&format!("{at}/events")) {
            Ok(()) => check.ok(format!("mounted at {at}")),
            Err(Text::Unreadable(reason)) => {
                limited(check, format!("mounted at {at}, and closed: {reason}"))
                    .advise("sudo memtrace …")
            }
            Err(_) => limited(check, format!("mounted at {at}, and without events"))
                .advise("a kernel with CONFIG_FTRACE_SYSCALLS=y"),
        };
    }
    match &facts.own_tracefs {
        Some(Ok(())) => {
            check.ok("not mounted; memtrace mounts it for itself alone, and that works")
        }
        Some(Err(why)) => limited(check, format!("not mounted, and cannot be: {why}")).advise(
            format!("as root, on the host: mount -t tracefs tracefs {TRACEFS}"),
        ),
        None => limited(
            check,
            "not mounted; to mount it for itself alone, memtrace lacks CAP_SYS_ADMIN".to_owned(),
        )
        .advise(format!(
            "sudo memtrace …; or as root: mount -t tracefs tracefs {TRACEFS}"
        )),
    }
}

fn memory_cgroup(files: &Files) -> Check {
    let check = check("memory_cgroup", "memory cgroup");
    let Text::Here(groups) = files.read("/proc/self/cgroup") else {
        return check.value("none").info("none: this kernel has no cgroups");
    };
    let mountinfo = mountinfo(files);
    let found = mounts(mountinfo.here().unwrap_or_default());
    let at = |version| {
        found
            .iter()
            .rfind(|mount| mount.is_memory_hierarchy(version))
            .map(|mount| String::from_utf8_lossy(&mount.point).into_owned())
    };
    // Lines are `number:controllers:path`; version 2 is number 0, without controllers.
    let group = |wanted: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(number, controllers).then(|| path.to_owned())
        })
    };
    let first = group(&|_, controllers| controllers.split(',').any(|name| name == "memory"));
    if let Some(path) = first {
        let place = at(Version::V1).map_or("not mounted".to_owned(), |at| format!("at {at}"));
        return check
            .value("v1")
            .info(format!("version 1, {place}; memtrace is in {path}"));
    }
    let second = group(&|number, controllers| number == "0" && controllers.is_empty());
    if let (Some(path), Some(at)) = (second, at(Version::V2)) {
        let controllers = files.read(&format!("{at}/cgroup.controllers"));
        let has_memory = controllers
            .here()
            .is_some_and(|text| text.split_whitespace().any(|name| name == "memory"));
        if has_memory {
            return check
                .value("v2")
                .info(format!("version 2, at {at}; memtrace is in {path}"));
        }
    }
    check
        .value("none")
        .info("none: no limit of a cgroup reclaims memory here")
}
