//! Whose the capture file is, and what it is never written through.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use memtrace::privilege::Capabilities;
use serde_json::Value;

use super::who::{
    ALICE, BOB, Guard, Held, Installed, Running, fails_with, needed_for_reading, needs_root, root,
    text, user, whole,
};

const PRECIOUS: &str = "precious";

fn sudo_as(uid: Option<u32>) -> Command {
    let mut command = root().command(env!("CARGO_BIN_EXE_memtrace"));
    if let Some(uid) = uid {
        command
            .env("SUDO_UID", uid.to_string())
            .env("SUDO_GID", uid.to_string());
    }
    command
}

fn trace_into(command: &mut Command, target: &Guard, file: &Path) -> Output {
    command
        .args([
            "--pid",
            &target.0.id().to_string(),
            "-d",
            "100ms",
            "-q",
            "-o",
        ])
        .arg(file)
        .output()
        .unwrap()
}

#[track_caller]
fn written(output: &Output, file: &Path, owner: u32) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found = fs::symlink_metadata(file).unwrap();
    assert!(found.is_file());
    assert_eq!((found.uid(), found.gid()), (owner, owner));
    whole(&serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap());
}

/// Nothing of memtrace's own is left beside the file.
#[track_caller]
fn tidy(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with(".memtrace-") || name.ends_with(".partial")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_file_belongs_to_who_typed_it_wherever_it_lies() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let target = user(ALICE).sleeper();
    let own = installed.folder_of("own", ALICE, 0o700);
    let roots = installed.folder_of("roots", 0, 0o700);
    let bobs = installed.folder_of("bobs", BOB, 0o755);
    let shared = installed.folder_of("shared", BOB, 0o1777);
    for folder in [&own, &roots, &bobs, &shared] {
        let file = folder.join("capture.json");
        for (typed_by, owner) in [(Some(ALICE), ALICE), (None, 0)] {
            // The second time around, there is a file of this name.
            for _ in 0..2 {
                written(
                    &trace_into(&mut sudo_as(typed_by), &target, &file),
                    &file,
                    owner,
                );
            }
            fs::remove_file(&file).unwrap();
        }
        tidy(folder);
    }
    // A user with capabilities is no more than this user.
    let alice = user(ALICE).with(Capabilities::BPF | Capabilities::PERFMON);
    for folder in [&own, &shared] {
        let file = folder.join("capture.json");
        written(
            &trace_into(&mut installed.memtrace(&alice), &target, &file),
            &file,
            ALICE,
        );
    }
    let more =
        user(ALICE).with(Capabilities::BPF | Capabilities::PERFMON | Capabilities::DAC_READ_SEARCH);
    for folder in [&roots, &bobs] {
        let output = trace_into(
            &mut installed.memtrace(&more),
            &target,
            &folder.join("x.json"),
        );
        fails_with(&output, &["cannot write", &format!("user {ALICE} may not")]);
    }
    // Not even whether a file is there.
    fs::write(roots.join("there"), "").unwrap();
    for name in ["there/x.json", "not-there/x.json"] {
        let output = trace_into(&mut installed.memtrace(&more), &target, &roots.join(name));
        fails_with(&output, &[&format!("user {ALICE} may not (EACCES")]);
    }
}

#[test]
fn root_keeps_the_right_to_write_only_where_who_typed_it_has_none() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let target = user(ALICE).sleeper();
    let own = installed.folder_of("own", ALICE, 0o700);
    let roots = installed.folder_of("roots", 0, 0o700);
    let sticky = installed.folder_of("sticky", BOB, 0o1770);
    let write = Capabilities::DAC_OVERRIDE;
    for (folder, kept) in [
        (&own, Capabilities::empty()),
        (&roots, write),
        (&sticky, write),
    ] {
        let file = folder.join("capture.json");
        let mut command = sudo_as(Some(ALICE));
        command
            .args(["--pid", &target.0.id().to_string(), "-o"])
            .arg(&file);
        let running = Running::start(&mut command);
        for Held { permitted, .. } in running.threads() {
            assert_eq!(permitted, kept | needed_for_reading());
        }
        let journal = fs::symlink_metadata(folder.join("capture.json.partial")).unwrap();
        assert_eq!((journal.uid(), journal.gid()), (ALICE, ALICE));
        running.end();
        assert_eq!(fs::metadata(&file).unwrap().uid(), ALICE);
        tidy(folder);
    }
}

#[test]
fn the_umask_decides_who_may_read_it() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let folder = installed.folder_of("alice", ALICE, 0o700);
    let target = user(ALICE).sleeper();
    for (umask, mode) in [("022", 0o644), ("077", 0o600)] {
        let file = folder.join(umask);
        let script = format!(
            "umask {umask}; exec {} -p {} -d 50ms -q -o {}",
            env!("CARGO_BIN_EXE_memtrace"),
            target.0.id(),
            file.display()
        );
        let status = root()
            .command("/bin/sh")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            mode
        );
    }
}

#[test]
fn the_journal_is_made_by_the_same_rules_as_the_file() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let folder = installed.folder_of("alice", ALICE, 0o700);
    let shared = installed.folder_of("shared", 0, 0o1777);
    let target = user(ALICE).sleeper();
    let partial = |folder: &Path| folder.join("capture.json.partial");
    let script = format!(
        "umask 077; exec {} -p {} -o {}",
        env!("CARGO_BIN_EXE_memtrace"),
        target.0.id(),
        folder.join("capture.json").display()
    );
    let mut command = root().command("/bin/sh");
    command
        .args(["-c", &script])
        .env("SUDO_UID", ALICE.to_string())
        .env("SUDO_GID", ALICE.to_string());
    let running = Running::start(&mut command);
    let found = fs::symlink_metadata(partial(&folder)).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!((found.uid(), found.gid()), (ALICE, ALICE));
    running.end();
    tidy(&folder);
    // What Bob has put there leads nowhere, and what he has left is neither read nor removed.
    let victim = folder.join("victim");
    fs::write(&victim, PRECIOUS).unwrap();
    symlink(&victim, partial(&shared)).unwrap();
    for typed_by in [Some(ALICE), None] {
        let output = trace_into(
            &mut sudo_as(typed_by),
            &target,
            &shared.join("capture.json"),
        );
        fails_with(&output, &["capture.json.partial", "not its own"]);
    }
    fs::remove_file(partial(&shared)).unwrap();
    fs::write(partial(&shared), "").unwrap();
    chown(partial(&shared), Some(BOB), Some(BOB)).unwrap();
    for typed_by in [Some(ALICE), None] {
        let output = trace_into(
            &mut sudo_as(typed_by),
            &target,
            &shared.join("capture.json"),
        );
        fails_with(&output, &["capture.json.partial", "not its own"]);
    }
    assert_eq!(fs::metadata(partial(&shared)).unwrap().uid(), BOB);
    assert_eq!(fs::read_to_string(&victim).unwrap(), PRECIOUS);
    // Her own one she may replace, where it is empty.
    chown(partial(&shared), Some(ALICE), Some(ALICE)).unwrap();
    let output = trace_into(
        &mut sudo_as(Some(ALICE)),
        &target,
        &shared.join("capture.json"),
    );
    written(&output, &shared.join("capture.json"), ALICE);
    tidy(&shared);
}

#[test]
fn no_link_is_written_through() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let shared = installed.folder_of("shared", 0, 0o1777);
    let alices = installed.folder_of("alices", ALICE, 0o700);
    let target = user(ALICE).sleeper();
    let victim = alices.join("victim");
    fs::write(&victim, PRECIOUS).unwrap();
    chown(&victim, Some(ALICE), Some(ALICE)).unwrap();
    let bobs_link = |name: &str, to: &Path| {
        let link = shared.join(name);
        symlink(to, &link).unwrap();
        nix::unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            &link,
            Some(BOB.into()),
            Some(BOB.into()),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .unwrap();
        link
    };
    let file_link = bobs_link("capture.json", &victim);
    let folder_link = bobs_link("folder", &alices);
    for typed_by in [Some(ALICE), None] {
        let output = trace_into(&mut sudo_as(typed_by), &target, &file_link);
        fails_with(&output, &["capture.json", "symbolic link"]);
        let output = trace_into(&mut sudo_as(typed_by), &target, &folder_link.join("victim"));
        fails_with(
            &output,
            &[
                &format!("{} is a link of user {BOB}", folder_link.display()),
                &format!("give the folder itself: {}", alices.display()),
            ],
        );
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), PRECIOUS);
    // Her own shortcut is hers to use.
    let shortcut = alices.join("shortcut");
    let elsewhere = installed.folder_of("elsewhere", ALICE, 0o700);
    symlink(&elsewhere, &shortcut).unwrap();
    let output = trace_into(
        &mut sudo_as(Some(ALICE)),
        &target,
        &shortcut.join("capture.json"),
    );
    written(&output, &elsewhere.join("capture.json"), ALICE);
    tidy(&alices);
    tidy(&shared);
}

#[test]
fn a_hard_link_loses_its_name_and_its_file_is_untouched() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let folder = installed.folder_of("folder", ALICE, 0o777);
    let victim = folder.join("victim");
    fs::write(&victim, PRECIOUS).unwrap();
    let name = folder.join("capture.json");
    fs::hard_link(&victim, &name).unwrap();
    let target = user(ALICE).sleeper();
    written(
        &trace_into(&mut sudo_as(Some(ALICE)), &target, &name),
        &name,
        ALICE,
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), PRECIOUS);
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
}

#[test]
fn in_a_shared_folder_nothing_of_somebody_elses_is_replaced() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let shared = installed.folder_of("shared", 0, 0o1777);
    let name = shared.join("capture.json");
    let target = user(ALICE).sleeper();
    fs::write(&name, PRECIOUS).unwrap();
    chown(&name, Some(BOB), Some(BOB)).unwrap();
    let output = trace_into(&mut sudo_as(Some(ALICE)), &target, &name);
    fails_with(
        &output,
        &[&format!("belongs to user {BOB}"), "another name"],
    );
    assert_eq!(fs::read_to_string(&name).unwrap(), PRECIOUS);
    tidy(&shared);
}

#[test]
fn in_a_sticky_folder_root_replaces_nothing_of_somebody_elses() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let sticky = installed.folder_of("sticky", 0, 0o1777);
    let target = user(ALICE).sleeper();
    let capture = sticky.join("own.json");
    written(
        &trace_into(&mut sudo_as(None), &target, &capture),
        &capture,
        0,
    );
    // Root's own file is root's to replace.
    written(
        &trace_into(&mut sudo_as(None), &target, &capture),
        &capture,
        0,
    );
    let name = sticky.join("bobs");
    fs::write(&name, PRECIOUS).unwrap();
    chown(&name, Some(BOB), Some(BOB)).unwrap();
    let pid = target.0.id().to_string();
    let (bobs, capture) = (name.to_str().unwrap(), capture.to_str().unwrap());
    let trace = |option| ["--pid", &pid, "-d", "100ms", "-q", option, bobs];
    let outputs: [&[&str]; 6] = [
        &trace("--json"),
        &trace("--events"),
        &trace("--html"),
        &trace("--svg"),
        &["report", capture, "--html", bobs],
        &["export", capture, "--to", "csv", "-o", bobs],
    ];
    for arguments in outputs {
        let output = sudo_as(None).args(arguments).output().unwrap();
        fails_with(
            &output,
            &[&format!("belongs to user {BOB}"), "another name"],
        );
        assert_eq!(fs::read_to_string(&name).unwrap(), PRECIOUS);
        assert_eq!(fs::metadata(&name).unwrap().uid(), BOB);
    }
    // A journal of Bob's is in the way of a capture, and stays.
    let journal = sticky.join("c.json.partial");
    fs::write(&journal, "").unwrap();
    chown(&journal, Some(BOB), Some(BOB)).unwrap();
    let output = trace_into(&mut sudo_as(None), &target, &sticky.join("c.json"));
    fails_with(&output, &["not its own", "remove it"]);
    assert!(journal.exists());
}

#[test]
fn in_a_sticky_folder_root_replaces_nothing_that_came_meanwhile() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let sticky = installed.folder_of("sticky", 0, 0o1777);
    let name = sticky.join("capture.json");
    let target = user(ALICE).sleeper();
    let mut trace = sudo_as(None);
    let pid = target.0.id().to_string();
    trace.args(["--pid", &pid, "-d", "1s", "-i", "10ms", "-q", "-o"]);
    let running = trace.arg(&name).stderr(Stdio::piped()).spawn().unwrap();
    let partial = sticky.join("capture.json.partial");
    while !fs::metadata(&partial).is_ok_and(|found| found.len() > 0) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fs::write(&name, PRECIOUS).unwrap();
    chown(&name, Some(BOB), Some(BOB)).unwrap();
    let output = running.wait_with_output().unwrap();
    fails_with(
        &output,
        &[&format!("a file of user {BOB}"), "it is whole, as"],
    );
    assert_eq!(fs::read_to_string(&name).unwrap(), PRECIOUS);
}

#[test]
fn pipes_devices_and_sockets() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let shared = installed.folder_of("shared", 0, 0o1777);
    let target = user(ALICE).sleeper();
    let pipe = |name: &str, owner: u32| {
        let path = shared.join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        path
    };
    let bobs = pipe("bobs", BOB);
    let reader = Guard(
        Command::new("cat")
            .arg(&bobs)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    for typed_by in [Some(ALICE), None] {
        let output = trace_into(&mut sudo_as(typed_by), &target, &bobs);
        fails_with(&output, &[&format!("belongs to user {BOB}")]);
    }
    drop(reader);
    let own = pipe("own", ALICE);
    fails_with(
        &trace_into(&mut sudo_as(Some(ALICE)), &target, &own),
        &["no program reads from this pipe"],
    );
    let mut reader = Command::new("cat")
        .arg(&own)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has opened the pipe once it waits for a writer, which memtrace must not be before.
    let output = loop {
        let output = trace_into(&mut sudo_as(Some(ALICE)), &target, &own);
        if !text(&output.stderr).contains("no program reads") {
            break output;
        }
    };
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut read = String::new();
    reader
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut read)
        .unwrap();
    reader.wait().unwrap();
    whole(&serde_json::from_str::<Value>(&read).unwrap());

    let socket = shared.join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = trace_into(&mut sudo_as(Some(ALICE)), &target, &socket);
    fails_with(&output, &["it is a socket"]);
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    let output = trace_into(&mut sudo_as(Some(ALICE)), &target, Path::new("/dev/null"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let above = installed.folder_of("above", BOB, 0o777);
    let folder = above.join("folder");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(ALICE), Some(ALICE)).unwrap();
    let elsewhere = installed.folder_of("elsewhere", ALICE, 0o700);
    fs::write(elsewhere.join("capture.json"), PRECIOUS).unwrap();
    let target = user(ALICE).sleeper();
    let mut command = sudo_as(Some(ALICE));
    command
        .args(["--pid", &target.0.id().to_string(), "-o"])
        .arg(folder.join("capture.json"));
    let running = Running::start(&mut command);
    let moved = above.join("moved");
    fs::rename(&folder, &moved).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    running.end();
    // Where it was to go when memtrace was started, whatever that is called now.
    assert_eq!(
        fs::read_to_string(elsewhere.join("capture.json")).unwrap(),
        PRECIOUS
    );
    let capture: Value =
        serde_json::from_reader(File::open(moved.join("capture.json")).unwrap()).unwrap();
    whole(&capture);
    tidy(&moved);
    tidy(&elsewhere);
}

#[test]
fn a_capture_that_cannot_get_its_name_is_not_lost() {
    if needs_root() {
        return;
    }
    let installed = Installed::new();
    let shared = installed.folder_of("shared", 0, 0o1777);
    let name = shared.join("capture.json");
    let target = user(ALICE).sleeper();
    let mut command = sudo_as(Some(ALICE));
    command
        .args(["--pid", &target.0.id().to_string(), "-d", "1s", "-o"])
        .arg(&name)
        .stderr(Stdio::piped());
    let running = Running::start(&mut command);
    // Bob takes the name.
    fs::write(&name, PRECIOUS).unwrap();
    chown(&name, Some(BOB), Some(BOB)).unwrap();
    let said = running.fails();
    assert!(said.contains("cannot give the capture the name"), "{said}");
    let whole_name = said.rsplit_once("it is whole, as ").unwrap().1.trim();
    whole(&serde_json::from_slice::<Value>(&fs::read(whole_name).unwrap()).unwrap());
    assert_eq!(fs::read_to_string(&name).unwrap(), PRECIOUS);
    fs::remove_file(whole_name).unwrap();
    tidy(&shared);
    // While it runs Bob may take the journal away, in a folder without the sticky bit. It is written and read all the same.
    let open = installed.folder_of("open", 0, 0o777);
    let name = open.join("capture.json");
    let mut command = sudo_as(Some(ALICE));
    command
        .args(["--pid", &target.0.id().to_string(), "-d", "1s", "-o"])
        .arg(&name);
    let running = Running::start(&mut command);
    assert_eq!(fs::read_dir(&open).unwrap().count(), 1);
    fs::remove_file(open.join("capture.json.partial")).unwrap();
    running.end();
    whole(&serde_json::from_slice::<Value>(&fs::read(&name).unwrap()).unwrap());
    assert_eq!(fs::read_dir(&open).unwrap().count(), 1);
}
