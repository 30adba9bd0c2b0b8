//! Processes that are not what they seem, or are not to be seen.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::Path,
    process::Command,
    thread,
};

use memtrace::inspect::{InspectError, LiveProcess, MappedFile, Process, inspect};

use super::started::{
    Started, WAITS, command, compiled, folder, installed, left_out, waiting, why,
};

const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";

fn needs_root() -> bool {
    if nix::unistd::Uid::effective().is_root() {
        return false;
    }
    left_out("root");
    true
}

#[test]
fn a_program_that_is_called_java_is_not_java() {
    let folder = folder();
    let Some(java) = compiled(folder.path(), "java", "cc", WAITS, &[]) else {
        return;
    };
    let started = Started::new(command(&java).arg("-Xmx1g"));
    let info = started.inspect();
    assert_eq!(info.name, None);
    assert!(info.settings.is_empty(), "{info:?}");
}

#[test]
fn an_executable_that_was_replaced_is_still_the_one_that_runs() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let started = Started::new(&mut command(&waits));
    let before = started.inspect();
    fs::remove_file(&waits).unwrap();
    fs::write(&waits, b"\x7fELF garbage").unwrap();
    assert_eq!(started.inspect(), before);
    fs::remove_file(&waits).unwrap();
    assert_eq!(started.inspect(), before);
}

#[test]
fn a_library_that_was_replaced_is_the_one_that_is_mapped_or_none() {
    if !Path::new(JEMALLOC).exists() {
        return left_out(JEMALLOC);
    }
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let library = folder.path().join("liballoc.so");
    fs::copy(JEMALLOC, &library).unwrap();
    let started = Started::new(command(&waits).env("LD_PRELOAD", &library));
    assert_eq!(
        started.inspect().allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc")
    );
    // Another one of the same name, without a malloc.
    fs::remove_file(&library).unwrap();
    fs::copy("/bin/true", &library).unwrap();
    let info = started.inspect();
    match info.allocator.as_ref().map(|it| it.raw()) {
        Some("jemalloc") => {}
        None => assert!(
            why(&info.missing, "runtime.allocator")
                .unwrap()
                .contains("replaced")
        ),
        other => panic!("{other:?}: {info:?}"),
    }
}

#[test]
fn a_library_in_a_folder_with_a_strange_name_is_found() {
    if !Path::new(JEMALLOC).exists() {
        return left_out(JEMALLOC);
    }
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let strange = folder.path().join("a\nb\\012\u{1b}[31m");
    fs::create_dir(&strange).unwrap();
    let library = strange.join("liballoc.so");
    fs::copy(JEMALLOC, &library).unwrap();
    let started = Started::new(command(&waits).env("LD_PRELOAD", &library));
    assert_eq!(
        started.inspect().allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc")
    );
}

/// Of the test itself: a mapped file by its path and what `maps` says of it.
fn mapped(path: &[u8], like: &Path) -> MappedFile {
    let metadata = fs::metadata(like).unwrap();
    MappedFile {
        path: path.to_vec(),
        device: (
            rustix::fs::major(metadata.dev()),
            rustix::fs::minor(metadata.dev()),
        ),
        inode: metadata.ino(),
        // Where nothing is mapped: so the path is all that there is.
        start: 0x1000,
        end: 0x2000,
    }
}

#[test]
fn a_path_is_believed_only_where_it_leads_to_the_very_file() {
    let own = LiveProcess::open(std::process::id()).unwrap();
    let folder = folder();
    let file = |name: &str| {
        folder
            .path()
            .join(OsString::from_vec(name.as_bytes().to_vec()))
    };
    let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    for name in ["plain", "a\nb", "a\\012b", "gone (deleted)"] {
        let path = file(name);
        fs::write(&path, name).unwrap();
        let shown = String::from_utf8(bytes(&path))
            .unwrap()
            .replace('\n', "\\012");
        let mut found = String::new();
        own.mapped(&mapped(shown.as_bytes(), &path))
            .unwrap_or_else(|error| panic!("{name:?}: {error}"))
            .read_to_string(&mut found)
            .unwrap();
        assert_eq!(found, name);
    }
    let other = file("other");
    fs::write(&other, "other").unwrap();
    let error = own
        .mapped(&mapped(&bytes(&file("plain")), &other))
        .err()
        .unwrap();
    assert!(error.to_string().contains("replaced"), "{error}");
    let error = own
        .mapped(&mapped(&bytes(&file("nothing")), &other))
        .err()
        .unwrap();
    assert!(error.to_string().contains("removed"), "{error}");
    // Opening it would block.
    let fifo = file("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = own.mapped(&mapped(&bytes(&fifo), &fifo)).err().unwrap();
    assert!(error.to_string().contains("no regular file"), "{error}");
    for path in ["/dev/zero", "/"] {
        let error = own.file(path.as_bytes()).err().unwrap();
        assert!(
            error.to_string().contains("no regular file"),
            "{path}: {error}"
        );
    }
    let error = own.file(b"/no\0such").err().unwrap();
    assert!(error.to_string().contains("/no"), "{error}");
}

/// Links of a container's lead into it, not into the host.
#[test]
fn links_lead_nowhere_outside_of_the_processs_root() {
    if needs_root() {
        return;
    }
    let folder = folder();
    let Some(waits) = compiled(folder.path(), "waits", "cc", WAITS, &["-static"]) else {
        return;
    };
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::copy(&waits, root.join("waits")).unwrap();
    fs::write(root.join("etc/hostname"), "inside").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.join("link")).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc/passwd", root.join("up")).unwrap();
    let mut chroot = Command::new("chroot");
    let started = Started::new(chroot.arg(&root).arg("/waits"));
    let process = started.look();
    let mut found = String::new();
    process
        .file(b"/link")
        .unwrap()
        .read_to_string(&mut found)
        .unwrap();
    assert_eq!(found, "inside");
    assert!(process.file(b"/up").is_err());
    assert_eq!(
        started.inspect().allocator.as_ref().map(|it| it.raw()),
        Some("glibc")
    );
}

#[test]
fn a_process_of_another_user_says_what_is_needed() {
    if needs_root() {
        return;
    }
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let started = Started::new(command(&waits).env("GOGC", "50"));
    let pid = started.pid();
    let (info, memory) = thread::spawn(move || {
        // SAFETY: numbers only. The bare system call changes this thread alone, which ends here.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(changed, 0);
        let process = LiveProcess::open(pid).unwrap();
        (inspect(&process), process.open_memory().map(drop))
    })
    .join()
    .unwrap();
    assert_eq!((info.name, info.allocator), (None, None));
    assert!(info.settings.is_empty());
    for what in ["maps", "executable", "environ"] {
        let why = why(&info.missing, what).unwrap();
        assert!(
            why.contains(&format!("CAP_SYS_PTRACE; type: sudo memtrace --pid {pid}")),
            "{why}"
        );
    }
    let refused = memory.unwrap_err();
    assert!(matches!(refused, InspectError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("CAP_SYS_PTRACE"), "{refused}");
}

#[test]
fn memory_that_was_opened_can_be_read() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let started = Started::new(&mut command(&waits));
    let process = started.look();
    let files = memtrace::inspect::code_files(&process.maps().unwrap());
    let memory = process.open_memory().unwrap();
    let mut bytes = [0; 16];
    memtrace::inspect::Memory::read(&memory, files[0].start, &mut bytes).unwrap();
    assert_ne!(bytes, [0; 16]);
}

#[test]
fn a_leading_thread_that_has_exited_hides_nothing() {
    let folder = folder();
    let source = "
        #include <pthread.h>
        #include <unistd.h>
        static void *other(void *nothing) { (void)nothing; for (;;) sleep(1000); }
        int main(void) { pthread_t thread; pthread_create(&thread, 0, other, 0); pthread_exit(0); }
    ";
    let Some(program) = compiled(folder.path(), "leader", "cc", source, &["-pthread"]) else {
        return;
    };
    // The leader is a zombie, which `Started` takes for the end of it.
    let mut child = command(&program)
        .env("MALLOC_ARENA_MAX", "1")
        .spawn()
        .unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    while !stat().contains(") Z ") {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    let process = LiveProcess::open(child.id()).unwrap();
    let info = inspect(&process);
    let memory = process.open_memory();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("glibc"),
        "{info:?}"
    );
    assert_eq!(info.settings["MALLOC_ARENA_MAX"], "1");
    assert_eq!(info.missing, []);
    memory.unwrap();
    // And now it is all gone.
    let info = inspect(&process);
    assert!(
        why(&info.missing, "maps").unwrap().contains("ended"),
        "{info:?}"
    );
    let gone = process.open_memory().unwrap_err();
    assert!(matches!(gone, InspectError::Io { .. }), "{gone}");
    assert!(gone.to_string().contains("ended"), "{gone}");
}

#[test]
fn an_environment_of_long_and_strange_lines_is_cut() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    // The longest that the kernel takes, with the name and the zero byte.
    let long = "\u{1b}]0;x\u{7}".repeat((128 << 10) / 8);
    let mut program = command(&waits);
    program
        .env("MALLOC_CONF", &long)
        .env("GODEBUG", OsString::from_vec(vec![0xff, b'\n', b'=']));
    for number in 0..20 {
        program.env(format!("SECRET_{number}"), &long);
    }
    let info = Started::new(&mut program).inspect();
    assert!(info.settings["MALLOC_CONF"].raw().contains("(cut: "));
    assert_eq!(info.settings["GODEBUG"], "\u{fffd}\n=");
    assert!(serde_json::to_string(&info).unwrap().len() < 16 << 10);
}

#[test]
fn many_mappings_are_gone_through() {
    let folder = folder();
    let source = "
        #include <sys/mman.h>
        #include <unistd.h>
        int main(void) {
            for (int i = 0; i < 60000; i++)
                mmap(0, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for (;;) sleep(1000);
        }
    ";
    let Some(program) = compiled(folder.path(), "maps", "cc", source, &[]) else {
        return;
    };
    let started = Started::new(&mut command(&program));
    let begun = std::time::Instant::now();
    let info = started.inspect();
    eprintln!(
        "{} mappings: {:?}",
        fs::read_to_string(format!("/proc/{}/maps", started.pid()))
            .unwrap()
            .lines()
            .count(),
        begun.elapsed()
    );
    assert_eq!(info.allocator.as_ref().map(|it| it.raw()), Some("glibc"));
    assert_eq!(info.missing, []);
}

/// Runs only to be seen: how long it takes on the largest programs.
#[test]
fn the_largest_programs_take_little_time() {
    for (name, arguments) in [
        ("node", vec!["-e", "setInterval(() => {}, 1e8)"]),
        ("python3", vec!["-c", "import time; time.sleep(1000)"]),
    ] {
        let Some(program) = installed(name) else {
            continue;
        };
        let started = Started::new(command(&program).args(arguments));
        let process = started.look();
        let _ = inspect(&process);
        let begun = std::time::Instant::now();
        let _ = inspect(&process);
        let took = begun.elapsed();
        eprintln!("{name}: {took:?}");
        // Without optimization, on a machine that does other things too.
        assert!(took.as_secs() < 5, "{name}: {took:?}");
    }
}
