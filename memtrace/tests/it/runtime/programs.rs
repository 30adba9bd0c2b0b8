//! Programs as they are installed.

use memtrace::text::Foreign;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::started::{
    Started, WAITS, advice, command, compiled, folder, installed, left_out, waiting, why,
};

/// What a program says of its own version, cut out of its output.
fn says(program: &Path, arguments: &[&str], cut: fn(&str) -> Option<&str>) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    cut(&text).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn python_is_told_with_the_version_that_it_says() {
    let mut pythons: Vec<_> = ["python3", "/usr/bin/python3"]
        .iter()
        .filter_map(|name| installed(name))
        .collect();
    // Others that may be there, of which the older ones have no Py_Version.
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    pythons.extend(
        versions
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin/python")),
    );
    for python in pythons {
        let version = says(&python, &["--version"], |text| {
            text.trim().strip_prefix("Python ")
        });
        let started = Started::new(command(&python).args(["-c", "import time; time.sleep(1000)"]));
        let info = started.inspect();
        assert_eq!(
            info.name.as_ref().map(|it| it.raw()),
            Some("python"),
            "{python:?}: {info:?}"
        );
        assert_eq!(info.version, Some(version.into()), "{python:?}");
        assert_eq!(
            info.allocator.as_ref().map(|it| it.raw()),
            Some("glibc"),
            "{python:?}"
        );
        assert!(info.missing.is_empty(), "{:?}", info.missing);
    }
}

#[test]
fn node_is_told_with_its_options() {
    let Some(node) = installed("node") else {
        return;
    };
    let version = says(&node, &["--version"], |text| text.trim().strip_prefix('v'));
    let started = Started::new(
        command(&node)
            .env("NODE_OPTIONS", "--max-semi-space-size=8")
            .args([
                "--max-old-space-size=99",
                "-e",
                "setInterval(() => {}, 1e8)",
                "--",
                "--max-old-space-size=1",
            ]),
    );
    let info = started.inspect();
    assert_eq!(info.name.as_ref().map(|it| it.raw()), Some("node"));
    assert_eq!(info.version, Some(version.into()));
    assert_eq!(info.settings["--max-old-space-size"], "99");
    assert_eq!(info.settings["NODE_OPTIONS"], "--max-semi-space-size=8");
    assert_eq!(info.missing, []);
}

#[test]
fn java_is_told_with_its_options() {
    let Some(java) = installed("java") else {
        return;
    };
    let folder = folder();
    let source = folder.path().join("Waits.java");
    fs::write(
        &source,
        "public class Waits { public static void main(String[] a) throws Exception { Thread.sleep(1000000); } }",
    )
    .unwrap();
    let version = says(&java, &["-version"], |text| text.split('"').nth(1));
    let started = Started::new(
        command(&java)
            .env(
                "JAVA_TOOL_OPTIONS",
                "-Dpassword=secret -XX:MaxRAMPercentage=50",
            )
            .args(["-Xmx64m", "-XX:+UseSerialGC"])
            .arg(&source)
            .arg("-Xmx1g"),
    );
    let info = started.inspect();
    assert_eq!(info.name.as_ref().map(|it| it.raw()), Some("jvm"));
    assert_eq!(info.version, Some(version.into()));
    assert_eq!(info.settings["-Xmx"], "64m");
    assert_eq!(info.settings["-XX:UseSerialGC"], "true");
    assert_eq!(
        info.settings["JAVA_TOOL_OPTIONS"],
        "-XX:MaxRAMPercentage=50"
    );
    assert_eq!(info.allocator.as_ref().map(|it| it.raw()), Some("glibc"));
    assert!(!serde_json::to_string(&info).unwrap().contains("secret"));
}

#[test]
fn ruby_is_told() {
    let Some(ruby) = installed("ruby") else {
        return;
    };
    let version = says(&ruby, &["-e", "print RUBY_VERSION"], |text| Some(text));
    let started = Started::new(
        command(&ruby)
            .env("RUBY_GC_HEAP_GROWTH_FACTOR", "1.1")
            .args(["-e", "sleep 1000"]),
    );
    let info = started.inspect();
    assert_eq!(info.name.as_ref().map(|it| it.raw()), Some("ruby"));
    assert_eq!(info.version, Some(version.into()));
    assert_eq!(info.settings["RUBY_GC_HEAP_GROWTH_FACTOR"], "1.1");
}

/// Debian's is linked with libjemalloc. It also writes a title over its arguments and its environment.
#[test]
fn an_allocator_that_is_linked_is_told() {
    let Some(redis) = installed("redis-server") else {
        return;
    };
    let folder = folder();
    let socket = folder.path().join("socket");
    let started = Started::new(
        command(&redis)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path()),
    );
    let info = started.inspect();
    assert_eq!(info.name, None);
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc"),
        "{info:?}"
    );
    assert!(info.allocator_version.is_some());
    assert_eq!(advice(&info, "jemalloc"), ["MADV_DONTNEED"]);
}

#[test]
fn a_preloaded_allocator_comes_before_the_c_library() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    for (library, allocator, version) in [
        ("libjemalloc.so.2", "jemalloc", "5."),
        ("libtcmalloc.so.4", "gperftools", "2."),
        ("libtcmalloc_minimal.so.4", "gperftools", "2."),
        ("libmimalloc.so.2", "mimalloc", "2."),
    ] {
        let started = Started::new(command(&waits).env("LD_PRELOAD", library));
        let info = started.inspect();
        if info.allocator.as_ref().map(|it| it.raw()) == Some("glibc") {
            let said = format!("{library} was to be preloaded, and is not mapped under that name");
            assert!(
                info.evidence.iter().any(|it| *it == said.as_str()),
                "{info:?}"
            );
            left_out(library);
            continue;
        }
        assert_eq!(
            info.allocator.as_ref().map(|it| it.raw()),
            Some(allocator),
            "{info:?}"
        );
        let found = info.allocator_version.unwrap();
        assert!(found.raw().starts_with(version), "{library}: {found}");
        assert_eq!(info.settings["LD_PRELOAD"], library);
        assert_eq!(info.missing, []);
    }
}

#[test]
fn settings_of_the_allocator_change_what_is_expected() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let started = Started::new(
        command(&waits)
            .env("LD_PRELOAD", "libjemalloc.so.2")
            .env("MALLOC_CONF", "muzzy_decay_ms:1000"),
    );
    let info = started.inspect();
    if info.allocator.as_ref().map(|it| it.raw()) == Some("glibc") {
        return left_out("libjemalloc.so.2");
    }
    assert_eq!(advice(&info, "jemalloc"), ["MADV_DONTNEED", "MADV_FREE"]);
}

/// It is mapped, and the program still allocates with the C library.
#[test]
fn an_allocator_that_was_opened_later_is_not_used() {
    let folder = folder();
    let source = format!(
        "#include <dlfcn.h>\n{}",
        WAITS.replace(
            "char *memory",
            "dlopen(\"libtcmalloc_minimal.so.4\", RTLD_NOW); char *memory"
        )
    );
    let Some(opens) = compiled(folder.path(), "opens", "cc", &source, &["-ldl"]) else {
        return;
    };
    let info = Started::new(&mut command(&opens)).inspect();
    assert_eq!(info.allocator.as_ref().map(|it| it.raw()), Some("glibc"));
    let said = |evidence: &Foreign| {
        evidence.raw().starts_with("libtcmalloc_minimal.so.4")
            && evidence
                .raw()
                .ends_with(" is mapped, and its malloc is not the one that is used")
    };
    if !info.evidence.iter().any(said) {
        left_out("libtcmalloc_minimal.so.4");
    }
}

#[test]
fn the_c_library_is_told_with_its_version() {
    let folder = folder();
    let Some(waits) = waiting(folder.path()) else {
        return;
    };
    let info = Started::new(&mut command(&waits)).inspect();
    assert_eq!(info.name, None);
    assert_eq!(info.allocator.as_ref().map(|it| it.raw()), Some("glibc"));
    let says = says(Path::new("ldd"), &["--version"], |text| {
        text.lines().next()?.rsplit(' ').next()
    });
    assert_eq!(info.allocator_version, Some(says.into()));
    assert_eq!(info.missing, []);
}

#[test]
fn the_c_library_of_a_static_program_is_told_also_when_stripped() {
    let folder = folder();
    for (name, options) in [
        ("static", &["-static"][..]),
        ("stripped", &["-static", "-s"]),
    ] {
        let Some(program) = compiled(folder.path(), name, "cc", WAITS, options) else {
            return;
        };
        let info = Started::new(&mut command(&program)).inspect();
        assert_eq!(
            info.allocator.as_ref().map(|it| it.raw()),
            Some("glibc"),
            "{info:?}"
        );
        assert!(
            why(&info.missing, "runtime.allocator_version")
                .unwrap()
                .contains("static")
        );
    }
}

#[test]
fn musl_is_told() {
    let folder = folder();
    let Some(waits) = compiled(folder.path(), "musl", "musl-gcc", WAITS, &[]) else {
        return;
    };
    let info = Started::new(&mut command(&waits)).inspect();
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("musl"),
        "{info:?}"
    );
    assert!(info.allocator_version.unwrap().raw().starts_with("1."));
    let bound = compiled(folder.path(), "bound", "musl-gcc", WAITS, &["-static"]).unwrap();
    let info = Started::new(&mut command(&bound)).inspect();
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("musl"),
        "{info:?}"
    );
}

/// As Rust's tikv-jemallocator has it: with a prefix, beside the C library's malloc.
#[test]
fn an_allocator_with_a_prefix_of_its_own_is_told() {
    let folder = folder();
    let source = format!("int _rjem_mallctl(void) {{ return 0; }}\n{WAITS}");
    let Some(own) = compiled(folder.path(), "own", "cc", &source, &[]) else {
        return;
    };
    let info = Started::new(&mut command(&own)).inspect();
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("jemalloc"),
        "{info:?}"
    );
    assert_eq!(info.allocator_version, None);
    assert!(why(&info.missing, "runtime.allocator_version").is_some());
}

#[test]
fn a_malloc_of_the_programs_own_is_not_taken_for_another() {
    let folder = folder();
    let source = "
        #include <stddef.h>
        #include <unistd.h>
        static char memory[1 << 20]; static size_t used;
        void *malloc(size_t size) { used = (used + size + 15) & ~15UL; return memory + used - size; }
        void free(void *pointer) { (void)pointer; }
        int main(void) { malloc(10); for (;;) sleep(1000); }
    ";
    let Some(own) = compiled(folder.path(), "malloc", "cc", source, &["-fno-builtin"]) else {
        return;
    };
    let info = Started::new(&mut command(&own)).inspect();
    assert_eq!(info.allocator, None, "{info:?}");
    assert!(
        why(&info.missing, "runtime.allocator")
            .unwrap()
            .contains("the executable's own")
    );
}

const GO: &str = "/usr/lib/go-1.19/bin/go";

/// A Go program, built; `None`, said aloud, where there is no Go.
fn go(folder: &Path, name: &str, source: &str, options: &[&str]) -> Option<PathBuf> {
    let go = installed(GO)?;
    let file = folder.join(format!("{name}.go"));
    fs::write(&file, source).unwrap();
    let program = folder.join(name);
    let done = Command::new(go)
        .args(["build", "-o"])
        .arg(&program)
        .args(options)
        .arg(&file)
        .env("GOCACHE", folder.join("cache"))
        .env("GO111MODULE", "off")
        .status()
        .unwrap();
    assert!(done.success());
    Some(program)
}

const GO_WAITS: &str = "package main\nimport \"time\"\nfunc main() { time.Sleep(time.Hour) }\n";

#[test]
fn go_is_told_and_godebug_changes_what_is_expected() {
    let folder = folder();
    for (name, options, setting, expected) in [
        ("plain", &[][..], "gctrace=0", "MADV_DONTNEED"),
        (
            "stripped",
            &["-ldflags=-s -w"],
            "madvdontneed=0",
            "MADV_FREE",
        ),
        (
            "pie",
            &["-buildmode=pie"],
            "madvdontneed=1",
            "MADV_DONTNEED",
        ),
    ] {
        let Some(program) = go(folder.path(), name, GO_WAITS, options) else {
            return;
        };
        let started = Started::new(command(&program).env("GODEBUG", setting).env("GOGC", "50"));
        let info = started.inspect();
        assert_eq!(
            info.name.as_ref().map(|it| it.raw()),
            Some("go"),
            "{name}: {info:?}"
        );
        assert!(
            info.version
                .as_ref()
                .map(|it| it.raw())
                .unwrap()
                .starts_with("go1.19"),
            "{name}"
        );
        assert_eq!(
            info.allocator.as_ref().map(|it| it.raw()),
            Some("go"),
            "{name}"
        );
        assert_eq!(info.settings["GOGC"], "50");
        assert_eq!(advice(&info, "go"), [expected], "{name}");
        assert_eq!(info.missing, [], "{name}");
    }
}

#[test]
fn go_with_c_has_the_c_librarys_allocator_too() {
    let folder = folder();
    let source = GO_WAITS
        .replace("import", "// #include <stdlib.h>\nimport \"C\"\nimport")
        .replace("{ time", "{ C.free(C.malloc(10)); time");
    let Some(program) = go(folder.path(), "c", &source, &[]) else {
        return;
    };
    let info = Started::new(&mut command(&program)).inspect();
    assert_eq!(info.name.as_ref().map(|it| it.raw()), Some("go"));
    assert_eq!(
        info.allocator.as_ref().map(|it| it.raw()),
        Some("glibc"),
        "{info:?}"
    );
}
