//! What the target has where memtrace looks: file systems that never answer, an executable made to be parsed for ever, a user of its own.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Case, Outcome, Skip};
use crate::{
    bomb::{debug_information, program},
    common::Guard,
    programs::hung::{BEHIND_A_LINK, COVERED, Hung},
    tracing::{Ended, Tracing, wait_for},
};

pub const CASES: &[Case] = &[
    ("etc_on_a_file_system_that_hangs", covered),
    ("a_link_to_a_file_system_that_hangs_made_by_nobody", linked),
    ("an_executable_to_be_parsed_for_ever", bombs),
    (
        "an_exec_of_an_executable_to_be_parsed_for_ever",
        bomb_by_exec,
    ),
    ("the_settings_of_a_service_with_a_user_of_its_own", service),
    (
        "a_library_of_a_service_that_only_its_user_may_read",
        library,
    ),
];

/// An end is on time if it comes long before any file system's time-out.
const ON_TIME: Duration = Duration::from_secs(60);

/// Traces for three seconds.
fn traced(pid: u32) -> Ended {
    let begun = Instant::now();
    let ended = Tracing::start(pid, &["-d", "3s", "-i", "100ms"]).end();
    assert!(begun.elapsed() < ON_TIME, "{:?}", begun.elapsed());
    ended.whole()
}

fn missing<'c>(capture: &'c Value, what: &str) -> Option<&'c str> {
    let missing = capture["target"]["runtime"]["missing"].as_array().unwrap();
    let item = missing.iter().find(|item| item["what"] == what)?;
    item["why"].as_str()
}

/// What is left of a look for which a file system did not answer: the executable's.
fn is_known_without_the_files(ended: &Ended) {
    let runtime = &ended.capture["target"]["runtime"];
    assert_eq!(missing(&ended.capture, "runtime"), None, "{runtime}");
    assert_eq!(missing(&ended.capture, "executable"), None, "{runtime}");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn hung(way: &str) -> Result<(tempfile::TempDir, Hung), Skip> {
    if !Path::new("/dev/fuse").exists() {
        return Err(Skip::Absent("/dev/fuse".to_owned()));
    }
    let folder = folder();
    let hung = Hung::start(way, folder.path());
    Ok((folder, hung))
}

fn covered() -> Outcome {
    let (_folder, hung) = hung(COVERED)?;
    let ended = traced(hung.target);
    is_known_without_the_files(&ended);
    assert_eq!(ended.capture["target"]["cmdline"][1], "1000");
    Ok(())
}

fn linked() -> Outcome {
    if !is_allowed_to_mount() {
        return Err(Skip::Absent("user namespaces for everybody".to_owned()));
    }
    let (_folder, hung) = hung(BEHIND_A_LINK)?;
    wait_for("the target", || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", hung.target)).unwrap();
        (comm == "sleep\n").then_some(())
    });
    is_known_without_the_files(&traced(hung.target));
    Ok(())
}

fn is_allowed_to_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-Urm", "true"]).uid(1234).gid(1234);
    command.status().is_ok_and(|status| status.success())
}

/// Writes one that may be executed.
fn bomb(folder: &Path, step: u64) -> std::path::PathBuf {
    let path = folder.join("bomb");
    fs::write(&path, program(&debug_information(15 << 20, step, 200_000))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn bombs() -> Outcome {
    for (step, size) in [(1, 15 << 20), (2, 15 << 20), (1, 3 << 20), (2, 60 << 10)] {
        let folder = folder();
        let path = folder.path().join("bomb");
        fs::write(&path, program(&debug_information(size, step, 200_000))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let target = Guard(Command::new(&path).spawn().unwrap());
        let ended = traced(target.0.id());
        let runtime = &ended.capture["target"]["runtime"];
        if runtime["name"] == "go" {
            assert!(missing(&ended.capture, "go").is_some(), "{runtime}");
        } else {
            assert!(missing(&ended.capture, "runtime").is_some(), "{runtime}");
        }
    }
    Ok(())
}

fn bomb_by_exec() -> Outcome {
    let folder = folder();
    let bomb = bomb(folder.path(), 2);
    let script = format!("read line; exec {}", bomb.display());
    let mut target = Command::new("sh");
    target
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped());
    let mut target = Guard(target.spawn().unwrap());
    let tracing = Tracing::attach(target.0.id(), &["-i", "100ms"]);
    drop(target.0.stdin.take());
    tracing.wait_for("bomb");
    tracing.wait_for_lines(10);
    let begun = Instant::now();
    let ended = tracing.stop().whole();
    assert!(begun.elapsed() < ON_TIME, "{:?}", begun.elapsed());
    assert_eq!(ended.capture["target"]["comm"], "bomb");
    Ok(())
}

/// A library of another user's, in a folder that is nobody else's business, and which has been removed since.
fn library() -> Outcome {
    let library = Path::new("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2");
    if !library.exists() {
        return Err(Skip::NotRun("libjemalloc2 is not installed".to_owned()));
    }
    for is_removed in [false, true] {
        let folder = folder();
        let own = folder.path().join("libjemalloc.so.2");
        fs::copy(library, &own).unwrap();
        for (path, mode) in [(&*own, 0o600), (folder.path(), 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            chown(path, Some(1234), Some(1234)).unwrap();
        }
        let mut target = Command::new("sleep");
        target.arg("1000").env("LD_PRELOAD", &own);
        target.uid(1234).gid(1234).current_dir("/");
        let target = Guard(target.spawn().unwrap());
        let pid = target.0.id();
        wait_for("the library", || {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            maps.contains("libjemalloc").then_some(())
        });
        if is_removed {
            fs::remove_file(&own).unwrap();
        }
        let ended = traced(pid);
        let runtime = &ended.capture["target"]["runtime"];
        assert_eq!(runtime["allocator"], "jemalloc", "{runtime}");
    }
    Ok(())
}

fn service() -> Outcome {
    let folder = folder();
    let mut target = Command::new("sleep");
    target.arg("1000").env("MALLOC_ARENA_MAX", "3");
    target.uid(1234).gid(1234).current_dir(folder.path());
    let target = Guard(target.spawn().unwrap());
    let ended = traced(target.0.id());
    let runtime = &ended.capture["target"]["runtime"];
    assert_eq!(runtime["settings"]["MALLOC_ARENA_MAX"], "3", "{runtime}");
    assert_eq!(missing(&ended.capture, "environ"), None);
    Ok(())
}
