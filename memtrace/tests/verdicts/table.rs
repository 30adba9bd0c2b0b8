//! What is expected of each case.

/// A situation, and what memtrace must say of it.
pub struct Expected {
    /// The case.
    pub name: &'static str,
    /// What the program does, in a line.
    pub situation: &'static str,
    /// `target.runtime.name`.
    pub runtime: Option<&'static str>,
    /// How `target.runtime.version` begins.
    pub version: &'static str,
    /// `target.runtime.allocator`.
    pub allocator: &'static str,
    /// `verdict.id`: one of these.
    pub verdicts: &'static [&'static str],
    /// Or one of these, as a first guess: with low confidence.
    pub guesses: &'static [&'static str],
}

impl Expected {
    /// The verdicts, in words.
    pub fn ids(&self) -> String {
        let guesses = self.guesses.iter().map(|id| format!("{id} (a guess)"));
        let ids = self.verdicts.iter().map(|id| (*id).to_owned());
        ids.chain(guesses).collect::<Vec<_>>().join(" or ")
    }
}

/// Every case, in the order of the page.
pub const TABLE: &[Expected] = &[
    go(
        "go1.15-free",
        "A Go 1.15 service fills 300 MiB, forgets it, and calls `debug.FreeOSMemory`",
        "go1.15",
        &["lazy-free"],
    ),
    go(
        "go1.15-madvdontneed1",
        "The same with `GODEBUG=madvdontneed=1`",
        "go1.15",
        &["released"],
    ),
    go(
        "go1.19-madvdontneed0",
        "The same with Go 1.19 and `GODEBUG=madvdontneed=0`",
        "go1.19",
        &["lazy-free"],
    ),
    go(
        "go-default",
        "The same with the newest Go, as it comes",
        "go1.",
        &["released"],
    ),
    go(
        "go-leak",
        "A Go service puts 2 MiB into a map four times a second for 16 s, and takes nothing out",
        "go1.",
        &["growing"],
    ),
    go(
        "go-thp",
        "A Go service keeps every 16th of its 64 KiB blocks and gives the rest back; then khugepaged makes huge pages of what is left",
        "go1.",
        &["thp-inflation"],
    ),
    native(
        "glibc-arenas",
        "Eight threads `malloc` 24 MiB each in blocks, and a buffer of 4 MiB; each makes one small thing that stays, and frees all the rest",
        "glibc",
        &["allocator-holds"],
    ),
    native(
        "glibc-trim",
        "The same, and then `malloc_trim(0)`",
        "glibc",
        &["released"],
    ),
    native(
        "jemalloc-dirty",
        "192 MiB by jemalloc, all of it freed, with `MALLOC_CONF=background_thread:true,dirty_decay_ms:1000`",
        "jemalloc",
        &["released"],
    ),
    native(
        "jemalloc-muzzy",
        "The same with `muzzy_decay_ms:-1`",
        "jemalloc",
        &["lazy-free"],
    ),
    native(
        "redis-purge",
        "redis-server takes 200,000 values of 1 KiB; then `FLUSHALL` and `MEMORY PURGE`",
        "jemalloc",
        &["released"],
    ),
    native(
        "tcmalloc",
        "192 MiB by gperftools' tcmalloc, all of it freed; then it works on a little",
        "gperftools",
        &["allocator-holds"],
    ),
    native(
        "tcmalloc-aggressive",
        "The same with `TCMALLOC_AGGRESSIVE_DECOMMIT=1`",
        "gperftools",
        &["released"],
    ),
    // Version 2.0 gives a segment back when it comes to use that segment again, and there is no need to.
    native(
        "mimalloc",
        "192 MiB by mimalloc, all of it freed; then it works on a little",
        "mimalloc",
        &["allocator-holds"],
    ),
    native(
        "mimalloc-decommit",
        "The same with `MIMALLOC_DECOMMIT_DELAY=0` (`MIMALLOC_PURGE_DELAY` since 2.1)",
        "mimalloc",
        &["released"],
    ),
    runtime(
        "python-growing",
        "A Python service puts 6 MiB of dictionaries into a dictionary four times a second",
        "python",
        "3.",
        &["growing"],
    ),
    runtime(
        "python-idle",
        "A Python service that answers, and keeps nothing",
        "python",
        "3.",
        &["idle"],
    ),
    runtime(
        "node-growing",
        "A Node service puts 6 MiB of arrays into an array four times a second",
        "node",
        "",
        &["growing"],
    ),
    runtime(
        "node-idle",
        "A Node service that answers, and keeps nothing",
        "node",
        "",
        &["idle"],
    ),
    runtime(
        "java-growing",
        "A Java service puts 6 MiB of byte arrays into a list four times a second",
        "jvm",
        "",
        &["growing"],
    ),
    runtime(
        "java-idle",
        "A Java service that answers, and keeps nothing",
        "jvm",
        "",
        &["idle"],
    ),
    native(
        "file-mapped",
        "A program maps a file of 256 MiB, and reads all of it",
        "glibc",
        &["file-mapped"],
    ),
    native(
        "shmem",
        "A program fills 192 MiB of shared memory",
        "glibc",
        &["shmem"],
    ),
    native(
        "swapped",
        "A program holds 200 MiB; then its cgroup's limit is set to 64 MiB, and there is swap",
        "glibc",
        &["swapped"],
    ),
    native(
        "reclaimed",
        "A program gives 100 MiB to `MADV_FREE`, and maps a file of 48 MiB; its cgroup's limit is 160 MiB, and it takes 120 MiB more",
        "glibc",
        &["reclaimed-under-pressure"],
    ),
    native(
        "churn",
        "A program takes a buffer of 40 MiB for each request, and frees it: `malloc` maps it, and unmaps it, every time",
        "glibc",
        &["churn"],
    ),
    native(
        "startup",
        "From the first instruction: a program maps 128 MiB with `MAP_POPULATE`, fills a cache of 32 MiB, and waits",
        "glibc",
        &["startup"],
    ),
    // Of three ticks nobody can say whether it goes on: that it grows may be said, if it is said to be a guess.
    Expected {
        guesses: &["growing"],
        ..native(
            "short",
            "A capture of one second, of a program that has just begun to grow",
            "glibc",
            &["inconclusive"],
        )
    },
    go(
        "go1.15-free-as-java",
        "`go1.15-free` in a file named `java`, started as `/usr/bin/java -jar app.jar`",
        "go1.15",
        &["lazy-free"],
    ),
    native(
        "glibc-arenas-as-node",
        "`glibc-arenas` in a file named `node`, started as `node server.js`",
        "glibc",
        &["allocator-holds"],
    ),
    native(
        "jemalloc-muzzy-as-python3",
        "`jemalloc-muzzy` in a file named `python3`, started as `python3`",
        "jemalloc",
        &["lazy-free"],
    ),
    runtime(
        "node-growing-as-redis-server",
        "`node-growing` in a file named `redis-server`, started as `redis-server *:6379`",
        "node",
        "",
        &["growing"],
    ),
];

const fn go(
    name: &'static str,
    situation: &'static str,
    version: &'static str,
    verdicts: &'static [&'static str],
) -> Expected {
    Expected {
        name,
        situation,
        runtime: Some("go"),
        version,
        allocator: "go",
        verdicts,
        guesses: &[],
    }
}

const fn native(
    name: &'static str,
    situation: &'static str,
    allocator: &'static str,
    verdicts: &'static [&'static str],
) -> Expected {
    Expected {
        name,
        situation,
        runtime: None,
        version: "",
        allocator,
        verdicts,
        guesses: &[],
    }
}

const fn runtime(
    name: &'static str,
    situation: &'static str,
    runtime: &'static str,
    version: &'static str,
    verdicts: &'static [&'static str],
) -> Expected {
    Expected {
        name,
        situation,
        runtime: Some(runtime),
        version,
        allocator: "glibc",
        verdicts,
        guesses: &[],
    }
}
