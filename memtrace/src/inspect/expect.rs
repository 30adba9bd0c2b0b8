//! How each runtime and allocator gives memory back to the kernel: which call, by version and settings.
//!
//! Each row names where it is from. What is not known of a version is left out: nothing is expected of it.

use super::words;
use std::collections::BTreeMap;

use crate::model::ExpectedRelease;

/// Settings, by name.
type Settings = BTreeMap<String, String>;

/// A way to give memory back.
struct Row {
    /// The runtime's or the allocator's name.
    by: &'static str,
    /// The versions that do it: from the first, and before the second.
    from: &'static [u32],
    before: &'static [u32],
    /// With which settings.
    when: fn(&Settings) -> bool,
    call: &'static str,
    advice: Option<&'static str>,
    why: &'static str,
}

const FREE: Option<&str> = Some("MADV_FREE");
const DONTNEED: Option<&str> = Some("MADV_DONTNEED");

/// Any version, also one that is not known.
const ANY: &[u32] = &[];

const ROWS: [Row; 29] = [
    // Go: src/runtime/mem_linux.go (sysUnused) of each release; the release notes of 1.12 and 1.16.
    Row {
        by: "go",
        from: &[1],
        before: &[1, 12],
        when: always,
        call: "madvise",
        advice: DONTNEED,
        why: "Go before 1.12 uses MADV_DONTNEED",
    },
    Row {
        by: "go",
        from: &[1, 12],
        before: &[1, 16],
        when: |settings| godebug(settings, "madvdontneed") == Some("1"),
        call: "madvise",
        advice: DONTNEED,
        why: "GODEBUG=madvdontneed=1 makes Go 1.12 to 1.15 use MADV_DONTNEED",
    },
    Row {
        by: "go",
        from: &[1, 12],
        before: &[1, 16],
        when: |settings| godebug(settings, "madvdontneed") != Some("1"),
        call: "madvise",
        advice: FREE,
        why: "Go 1.12 to 1.15 use MADV_FREE, and GODEBUG does not say madvdontneed=1",
    },
    Row {
        by: "go",
        from: &[1, 16],
        before: ANY,
        when: |settings| godebug(settings, "madvdontneed") == Some("0"),
        call: "madvise",
        advice: FREE,
        why: "GODEBUG=madvdontneed=0 makes Go since 1.16 use MADV_FREE",
    },
    Row {
        by: "go",
        from: &[1, 16],
        before: ANY,
        when: |settings| godebug(settings, "madvdontneed") != Some("0"),
        call: "madvise",
        advice: DONTNEED,
        why: "Go since 1.16 uses MADV_DONTNEED, unless GODEBUG says madvdontneed=0",
    },
    Row {
        by: "go",
        from: &[1, 18],
        before: ANY,
        when: |settings| godebug(settings, "harddecommit") == Some("1"),
        call: "mmap",
        advice: None,
        why: "GODEBUG=harddecommit=1 makes Go also map released memory anew, with PROT_NONE and MAP_FIXED",
    },
    // jemalloc: src/pages.c (pages_purge_lazy, pages_purge_forced), include/jemalloc/internal/arena_types.h; ChangeLog, 5.2.0: muzzy decay
    // is off by default.
    Row {
        by: "jemalloc",
        from: &[5],
        before: ANY,
        when: |settings| decay(settings, "dirty_decay_ms") != Some(-1),
        call: "madvise",
        advice: DONTNEED,
        why: "jemalloc 5 uses MADV_DONTNEED for pages that stay unused, by default after 10 s",
    },
    Row {
        by: "jemalloc",
        from: &[5],
        before: &[5, 2],
        when: |settings| decay(settings, "muzzy_decay_ms") != Some(0),
        call: "madvise",
        advice: FREE,
        why: "jemalloc 5.0 and 5.1 use MADV_FREE first (muzzy decay, by default 10 s), and MADV_DONTNEED after that",
    },
    Row {
        by: "jemalloc",
        from: &[5, 2],
        before: ANY,
        when: |settings| decay(settings, "muzzy_decay_ms").is_some_and(|decay| decay != 0),
        call: "madvise",
        advice: FREE,
        why: "muzzy_decay_ms is set and not 0: jemalloc uses MADV_FREE first",
    },
    Row {
        by: "jemalloc",
        from: &[5, 3, 1],
        before: ANY,
        when: |settings| {
            option(settings, "process_madvise_max_batch").is_some_and(|batch| batch != "0")
        },
        call: "process_madvise",
        advice: DONTNEED,
        why: "process_madvise_max_batch is set: jemalloc gives several ranges back with one process_madvise",
    },
    // google/tcmalloc: tcmalloc/internal/system_allocator.cc.
    Row {
        by: "tcmalloc",
        from: ANY,
        before: ANY,
        when: always,
        call: "madvise",
        advice: DONTNEED,
        why: "google/tcmalloc uses MADV_DONTNEED, and in the background only where the program asks for that (SetBackgroundReleaseRate)",
    },
    Row {
        by: "tcmalloc",
        from: ANY,
        before: ANY,
        when: always,
        call: "madvise",
        advice: Some("MADV_DONTNEED_LOCKED"),
        why: "google/tcmalloc uses MADV_DONTNEED_LOCKED where the kernel has it",
    },
    // gperftools: src/system-alloc.cc (TCMalloc_SystemRelease; without TCMALLOC_USE_MADV_FREE), src/page_heap.cc.
    Row {
        by: "gperftools",
        from: ANY,
        before: ANY,
        when: |settings| {
            settings
                .get("TCMALLOC_RELEASE_RATE")
                .is_none_or(|rate| !is_zero(rate))
        },
        call: "madvise",
        advice: DONTNEED,
        why: "gperftools uses MADV_DONTNEED, little by little as memory is freed (TCMALLOC_RELEASE_RATE, by default 1)",
    },
    // mimalloc: src/os.c of 2.0.9 (_mi_os_decommit), src/prim/unix/prim.c since 2.1 (_mi_prim_decommit, _mi_prim_reset), src/options.c.
    Row {
        by: "mimalloc",
        from: &[2],
        before: &[2, 1],
        when: |settings| !is_off(settings, &["MIMALLOC_ALLOW_DECOMMIT"]),
        call: "madvise",
        advice: DONTNEED,
        why: "mimalloc 2.0 uses MADV_DONTNEED, 25 ms after pages were freed (MIMALLOC_DECOMMIT_DELAY)",
    },
    Row {
        by: "mimalloc",
        from: &[2, 1],
        before: ANY,
        when: |settings| {
            purges(settings)
                && !is_off(
                    settings,
                    &["MIMALLOC_PURGE_DECOMMITS", "MIMALLOC_RESET_DECOMMITS"],
                )
        },
        call: "madvise",
        advice: DONTNEED,
        why: "mimalloc since 2.1 uses MADV_DONTNEED, some ms after pages were freed (MIMALLOC_PURGE_DELAY), unless MIMALLOC_PURGE_DECOMMITS is 0",
    },
    Row {
        by: "mimalloc",
        from: &[2, 1],
        before: ANY,
        when: |settings| {
            purges(settings)
                && is_off(
                    settings,
                    &["MIMALLOC_PURGE_DECOMMITS", "MIMALLOC_RESET_DECOMMITS"],
                )
        },
        call: "madvise",
        advice: FREE,
        why: "MIMALLOC_PURGE_DECOMMITS=0 makes mimalloc use MADV_FREE",
    },
    // glibc: malloc/malloc.c (systrim, munmap_chunk, mtrim), malloc/arena.c (shrink_heap).
    Row {
        by: "glibc",
        from: ANY,
        before: ANY,
        when: always,
        call: "brk",
        advice: None,
        why: "glibc shrinks the heap by brk where the top of it is free (MALLOC_TRIM_THRESHOLD_), never in the middle",
    },
    Row {
        by: "glibc",
        from: ANY,
        before: ANY,
        when: always,
        call: "munmap",
        advice: None,
        why: "glibc unmaps single large blocks (MALLOC_MMAP_THRESHOLD_)",
    },
    Row {
        by: "glibc",
        from: ANY,
        before: ANY,
        when: always,
        call: "madvise",
        advice: DONTNEED,
        why: "glibc uses MADV_DONTNEED where a thread's arena shrinks, and in malloc_trim; it never uses MADV_FREE",
    },
    // musl: src/malloc/mallocng/free.c, where MADV_FREE is turned off (USE_MADV_FREE in glue.h), src/malloc/oldmalloc/malloc.c.
    Row {
        by: "musl",
        from: ANY,
        before: ANY,
        when: always,
        call: "munmap",
        advice: None,
        why: "musl unmaps large blocks and groups of small ones that are all free",
    },
    // HotSpot: os_linux.cpp (os::pd_uncommit_memory), zPhysicalMemoryBacking_linux.cpp.
    Row {
        by: "jvm",
        from: ANY,
        before: ANY,
        when: |settings| !java_flag(settings, "UseZGC"),
        call: "mmap",
        advice: None,
        why: "HotSpot gives parts of the heap back by mapping them anew, with PROT_NONE and MAP_FIXED",
    },
    Row {
        by: "jvm",
        from: ANY,
        before: ANY,
        when: |settings| java_flag(settings, "UseZGC"),
        call: "fallocate",
        advice: None,
        why: "HotSpot's ZGC punches holes into its shared memory (-XX:ZUncommitDelay, by default 300 s)",
    },
    // .NET: src/coreclr/gc/unix/gcenv.unix.cpp (VirtualReset, VirtualDecommit).
    Row {
        by: "dotnet",
        from: ANY,
        before: ANY,
        when: always,
        call: "madvise",
        advice: FREE,
        why: ".NET's collector resets free memory with MADV_FREE",
    },
    Row {
        by: "dotnet",
        from: ANY,
        before: ANY,
        when: always,
        call: "mmap",
        advice: None,
        why: ".NET's collector decommits by mapping anew, with PROT_NONE and MAP_FIXED",
    },
    // V8: deps/v8/src/base/platform/platform-posix.cc (OS::DiscardSystemPages, OS::DecommitPages, OS::Free) in Node's repository: with
    // MADV_FREE in V8 7 and 8, which are those of Node 12 to 15, and with MADV_DONTNEED in Node 20 and later. In between is not tried.
    Row {
        by: "node",
        from: ANY,
        before: ANY,
        when: always,
        call: "munmap",
        advice: None,
        why: "V8 unmaps pages of the heap that are empty after a collection",
    },
    Row {
        by: "node",
        from: &[12],
        before: &[16],
        when: always,
        call: "madvise",
        advice: FREE,
        why: "the V8 of Node 12 to 15 discards free parts of pages with MADV_FREE",
    },
    Row {
        by: "node",
        from: &[20],
        before: ANY,
        when: always,
        call: "madvise",
        advice: DONTNEED,
        why: "the V8 of Node 20 and later discards free parts of pages with MADV_DONTNEED",
    },
    // CPython: Objects/obmalloc.c (arenas of 256 KiB, since 3.10 of 1 MiB).
    Row {
        by: "python",
        from: ANY,
        before: ANY,
        when: |settings| {
            settings
                .get("PYTHONMALLOC")
                .is_none_or(|malloc| !malloc.contains("malloc") || malloc.starts_with("pymalloc"))
        },
        call: "munmap",
        advice: None,
        why: "Python unmaps an arena once no object is left in it",
    },
    // Ruby: gc.c (heap_page_free), since 3.1 with mmap where the system has it.
    Row {
        by: "ruby",
        from: &[3, 1],
        before: ANY,
        when: always,
        call: "munmap",
        advice: None,
        why: "Ruby unmaps pages of its heap once no object is left in them",
    },
];

/// The settings in which the rows look for a part: where such a one was cut, nothing can be said.
pub fn looks_into(by: &str) -> &'static [&'static str] {
    match by {
        "go" => &["GODEBUG"],
        "jemalloc" => &JEMALLOC,
        "jvm" => &JAVA,
        _ => &[],
    }
}

const JEMALLOC: [&str; 3] = ["MALLOC_CONF", "JE_MALLOC_CONF", "_RJEM_MALLOC_CONF"];
const JAVA: [&str; 3] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];

/// What is expected of a runtime or an allocator, in this version, with these settings.
pub fn expected(by: &str, version: Option<&str>, settings: &Settings) -> Vec<ExpectedRelease> {
    let version = version.and_then(leading_numbers);
    ROWS.iter()
        .filter(|row| row.by == by && row.is_of(version.as_deref()) && (row.when)(settings))
        .map(|row| ExpectedRelease {
            by: row.by.into(),
            call: row.call.into(),
            advice: row.advice.map(Into::into),
            why: row.why.into(),
        })
        .collect()
}

impl Row {
    fn is_of(&self, version: Option<&[u32]>) -> bool {
        match version {
            Some(version) => {
                version >= self.from && (self.before.is_empty() || version < self.before)
            }
            None => self.from.is_empty() && self.before.is_empty(),
        }
    }
}

/// The numbers that a version begins with: `go1.21rc2`, `5.3.0`, `17.0.15+6`, `1.8.0_412`.
fn leading_numbers(version: &str) -> Option<Vec<u32>> {
    let version = version.strip_prefix("go").unwrap_or(version);
    let end = version
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(version.len());
    words::numbers(version.get(..end)?.trim_end_matches('.'))
}

fn always(_: &Settings) -> bool {
    true
}

/// A key of `GODEBUG`; of one that is there twice the last counts.
fn godebug<'s>(settings: &'s Settings, key: &str) -> Option<&'s str> {
    let parts = settings.get("GODEBUG")?.rsplit(',');
    parts
        .filter_map(|part| part.split_once('='))
        .find_map(|(name, value)| (name == key).then_some(value))
}

/// An option of jemalloc's; of one that is there twice the last counts.
fn option<'s>(settings: &'s Settings, key: &str) -> Option<&'s str> {
    JEMALLOC
        .iter()
        .filter_map(|name| settings.get(*name))
        .find_map(|value| {
            let mut parts = value.rsplit(',').filter_map(|part| part.split_once(':'));
            parts.find_map(|(name, value)| (name == key).then_some(value))
        })
}

fn decay(settings: &Settings, key: &str) -> Option<i64> {
    option(settings, key)?.parse().ok()
}

fn is_zero(number: &str) -> bool {
    number
        .trim()
        .parse::<f64>()
        .is_ok_and(|number| number == 0.0)
}

/// A switch of mimalloc's: the first of its names that is set.
fn is_off(settings: &Settings, names: &[&str]) -> bool {
    let value = names.iter().find_map(|name| settings.get(*name));
    value.is_some_and(|value| {
        ["0", "false", "no", "off"].contains(&value.trim().to_ascii_lowercase().as_str())
    })
}

/// A delay of -1 turns purging off.
fn purges(settings: &Settings) -> bool {
    ["MIMALLOC_PURGE_DELAY", "MIMALLOC_RESET_DELAY"]
        .iter()
        .find_map(|name| settings.get(*name))
        .is_none_or(|delay| delay.trim() != "-1")
}

/// A flag of the JVM's, from its command line or a variable with options.
fn java_flag(settings: &Settings, flag: &str) -> bool {
    let on = format!("-XX:+{flag}");
    settings
        .get(&format!("-XX:{flag}"))
        .is_some_and(|value| value == "true")
        || JAVA
            .iter()
            .filter_map(|name| settings.get(*name))
            .any(|options| options.split(' ').any(|option| option == on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(by: &str, version: &str, settings: &[(&str, &str)]) -> Vec<String> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        expected(by, Some(version), &settings.collect())
            .into_iter()
            .map(|release| release.advice.unwrap_or(release.call).to_string())
            .collect()
    }

    #[test]
    fn gos_advice_is_by_version_and_godebug() {
        let dontneed = ["MADV_DONTNEED"];
        let free = ["MADV_FREE"];
        assert_eq!(advice("go", "go1.11.13", &[]), dontneed);
        assert_eq!(advice("go", "go1.12", &[]), free);
        assert_eq!(advice("go", "go1.15.15", &[("GODEBUG", "gctrace=1")]), free);
        assert_eq!(
            advice("go", "go1.15.15", &[("GODEBUG", "madvdontneed=1")]),
            dontneed
        );
        assert_eq!(advice("go", "go1.16rc1", &[]), dontneed);
        assert_eq!(
            advice("go", "go1.27.0", &[("GODEBUG", "madvdontneed=0")]),
            free
        );
        // The last one counts.
        assert_eq!(
            advice(
                "go",
                "go1.27.0",
                &[("GODEBUG", "madvdontneed=0,madvdontneed=1")]
            ),
            dontneed
        );
        assert_eq!(
            advice("go", "go1.19.8", &[("GODEBUG", "harddecommit=1")]),
            ["MADV_DONTNEED", "mmap"]
        );
        assert!(advice("go", "devel +abc", &[]).is_empty());
    }

    #[test]
    fn jemallocs_advice_is_by_its_decay() {
        assert_eq!(advice("jemalloc", "5.3.0", &[]), ["MADV_DONTNEED"]);
        assert_eq!(
            advice("jemalloc", "5.1.0", &[]),
            ["MADV_DONTNEED", "MADV_FREE"]
        );
        let muzzy = [("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:5000")];
        assert_eq!(
            advice("jemalloc", "5.3.0", &muzzy),
            ["MADV_DONTNEED", "MADV_FREE"]
        );
        assert!(advice("jemalloc", "5.3.0", &[("MALLOC_CONF", "dirty_decay_ms:-1")]).is_empty());
        assert!(advice("jemalloc", "4.5.0", &[]).is_empty());
    }

    #[test]
    fn mimallocs_advice_is_by_its_options() {
        assert_eq!(advice("mimalloc", "2.0.9", &[]), ["MADV_DONTNEED"]);
        assert_eq!(advice("mimalloc", "2.1.7", &[]), ["MADV_DONTNEED"]);
        assert_eq!(
            advice("mimalloc", "3.1.5", &[("MIMALLOC_PURGE_DECOMMITS", "0")]),
            ["MADV_FREE"]
        );
        assert!(advice("mimalloc", "2.1.7", &[("MIMALLOC_PURGE_DELAY", "-1")]).is_empty());
    }

    #[test]
    fn the_jvms_call_is_by_its_collector() {
        assert_eq!(advice("jvm", "17.0.15", &[]), ["mmap"]);
        assert_eq!(
            advice("jvm", "1.8.0_412", &[("-XX:UseZGC", "true")]),
            ["fallocate"]
        );
        assert_eq!(
            advice("jvm", "21", &[("JAVA_TOOL_OPTIONS", "-Xmx1g -XX:+UseZGC")]),
            ["fallocate"]
        );
    }

    #[test]
    fn of_an_unknown_version_only_what_holds_of_all_is_expected() {
        assert!(expected("go", None, &Settings::new()).is_empty());
        assert!(expected("jemalloc", None, &Settings::new()).is_empty());
        assert_eq!(expected("glibc", None, &Settings::new()).len(), 3);
        assert!(expected("nothing", None, &Settings::new()).is_empty());
    }
}
