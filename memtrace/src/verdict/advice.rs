//! What to do: a table of suggestions, each with the condition under which it changes something.

use super::{case::Analysis, who::Who};
use crate::model::Suggestion;

/// What the advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Freed with `MADV_FREE`, and still in RSS.
    LazilyFreed,
    /// Freed in the program, and kept by its allocator.
    Held,
    /// It grows.
    Growing,
    /// Huge pages.
    Huge,
    /// Given back and taken again.
    Churn,
}

/// A line of the table.
struct Line {
    topic: Topic,
    /// Whether it changes something for this program.
    fits: fn(&Who<'_>) -> bool,
    text: &'static str,
    setting: Option<&'static str>,
}

/// A suggestion with something to set.
const fn set(
    topic: Topic,
    fits: fn(&Who<'_>) -> bool,
    setting: &'static str,
    text: &'static str,
) -> Line {
    Line {
        topic,
        fits,
        text,
        setting: Some(setting),
    }
}

/// A suggestion in words.
const fn say(topic: Topic, fits: fn(&Who<'_>) -> bool, text: &'static str) -> Line {
    Line {
        topic,
        fits,
        text,
        setting: None,
    }
}

/// Most suggestions of an answer.
const MOST: usize = 4;

use Topic::{Churn, Growing, Held, Huge, LazilyFreed};

/// The best first, for each topic.
///
/// Sources: Go's release notes 1.12, 1.16, 1.19, 1.21, 1.22 and `runtime` package documentation; mallopt(3); jemalloc(3) and its
/// TUNING.md; gperftools' documentation of TCMalloc; google/tcmalloc's tuning guide; mimalloc's options; JEP 346 (G1, JDK 12) and
/// JEP 351 (ZGC, JDK 13); Node's and Python's command lines.
const LINES: &[Line] = &[
    say(
        LazilyFreed,
        |_| true,
        "Do nothing: it is harmless. The kernel takes these pages by itself as soon as memory is short, before it swaps anything, and \
         a cgroup at its limit takes them before it kills. Watch RSS - LazyFree instead of RSS.",
    ),
    set(
        LazilyFreed,
        |who| {
            who.go()
                .is_some_and(|go| ((1, 12, 0)..(1, 16, 0)).contains(&go))
                && !who.has("GODEBUG", "madvdontneed=1")
        },
        "GODEBUG=madvdontneed=1",
        "Where RSS itself has to fall, for an alert or an autoscaler: Go then gives memory back with MADV_DONTNEED. It costs a page \
         fault for each page that is used again. Go 1.16 and later do so without it.",
    ),
    set(
        LazilyFreed,
        |who| who.go().is_some_and(|go| go >= (1, 16, 0)) && who.has("GODEBUG", "madvdontneed=0"),
        "GODEBUG without madvdontneed=0",
        "Where RSS itself has to fall: take madvdontneed=0 out of GODEBUG. Since Go 1.16 that setting alone makes Go use MADV_FREE.",
    ),
    set(
        LazilyFreed,
        |who| who.allocator() == "jemalloc",
        "MALLOC_CONF=muzzy_decay_ms:0",
        "Where RSS itself has to fall: jemalloc then gives memory back with MADV_DONTNEED alone. A jemalloc that was built with a prefix \
         reads the variable with that prefix (JE_MALLOC_CONF, _RJEM_MALLOC_CONF).",
    ),
    set(
        LazilyFreed,
        |who| who.is_mimalloc() && !who.has("MIMALLOC_PURGE_DECOMMITS", "1"),
        "MIMALLOC_PURGE_DECOMMITS=1",
        "Where RSS itself has to fall: mimalloc then gives memory back with MADV_DONTNEED.",
    ),
    say(
        LazilyFreed,
        |who| who.name() == "dotnet",
        ".NET has no switch for it.",
    ),
    say(
        Held,
        |who| who.name() == "go",
        "debug.FreeOSMemory() gives everything that is free back now. It costs a full collection; call it after a peak, not in a loop.",
    ),
    set(
        Held,
        |who| who.go().is_some_and(|go| go >= (1, 19, 0)) && !who.is_set("GOMEMLIMIT"),
        "GOMEMLIMIT=SIZE",
        "Go then collects and gives back more as it nears SIZE. Set it somewhat below the container's limit; too low costs CPU time.",
    ),
    set(
        Held,
        |who| who.name() == "go" && !who.is_set("GOGC"),
        "GOGC=50",
        "A smaller heap for more frequent collections: the default, 100, lets the heap double before it is collected.",
    ),
    set(
        Held,
        |who| {
            who.jdk().is_some_and(|jdk| jdk >= (12, 0, 0))
                && !who.is_set("-XX:G1PeriodicGCInterval")
                && !who.is_set("-XX:+UseZGC")
                && !who.is_set("-XX:+UseParallelGC")
                && !who.is_set("-XX:+UseSerialGC")
                && !who.is_set("-XX:+UseShenandoahGC")
        },
        "-XX:G1PeriodicGCInterval=300000",
        "G1 gives heap back after a collection, and without load it does not collect. This collects every 5 minutes where nothing else did.",
    ),
    set(
        Held,
        |who| who.name() == "jvm" && !who.is_set("-Xmx") && !who.is_set("-XX:MaxRAMPercentage"),
        "-XX:MaxRAMPercentage=50",
        "Without -Xmx the heap may take a quarter of the machine's, or the container's, memory; state how much it may be.",
    ),
    say(
        Held,
        |who| who.name() == "jvm" && who.is_set("-XX:+UseZGC"),
        "ZGC gives heap back after -XX:ZUncommitDelay seconds (300 by default, from JDK 13), down to -Xms: set -Xms low.",
    ),
    set(
        Held,
        |who| who.name() == "node" && !who.is_set("--max-old-space-size"),
        "--max-old-space-size=MIB",
        "V8 collects harder as the heap nears this; it is the way to a smaller heap. Too low ends the process.",
    ),
    set(
        Held,
        |who| who.mallocs("glibc") && !who.is_set("MALLOC_ARENA_MAX"),
        "MALLOC_ARENA_MAX=2",
        "glibc gives threads arenas of their own, up to 8 per CPU, and hardly returns them. Fewer arenas keep less; threads may wait for \
         each other.",
    ),
    set(
        Held,
        |who| who.mallocs("glibc") && !who.is_set("MALLOC_TRIM_THRESHOLD_"),
        "MALLOC_TRIM_THRESHOLD_=131072",
        "Keeps glibc from raising the size of free memory that it keeps at the top of the heap, as it does by itself after large frees.",
    ),
    say(
        Held,
        |who| who.mallocs("glibc") && who.name() == "python",
        "ctypes.CDLL(\"libc.so.6\").malloc_trim(0) gives back what glibc holds free, now: call it after a peak.",
    ),
    say(
        Held,
        |who| who.mallocs("glibc") && who.name() != "python",
        "malloc_trim(0) gives back what glibc holds free, in all arenas, now: call it after a peak.",
    ),
    set(
        Held,
        |who| who.name() == "python" && !who.is_set("PYTHONMALLOC"),
        "PYTHONMALLOC=malloc",
        "Only to find out: Python then has no arenas of its own for small objects, which stay while one object in them lives. Slower.",
    ),
    set(
        Held,
        |who| who.allocator() == "jemalloc",
        "MALLOC_CONF=background_thread:true,dirty_decay_ms:1000",
        "jemalloc gives back after 10 s, but looks at the time only when the program allocates or frees. A thread of its own does it also \
         when the program is idle.",
    ),
    say(
        Held,
        |who| who.allocator() == "jemalloc",
        "A program may offer it itself: redis has MEMORY PURGE, others mallctl(\"arena.4096.purge\").",
    ),
    set(
        Held,
        |who| who.allocator() == "gperftools" && !who.is_set("TCMALLOC_AGGRESSIVE_DECOMMIT"),
        "TCMALLOC_AGGRESSIVE_DECOMMIT=1",
        "gperftools' tcmalloc then gives back at each free of whole pages. It costs a call and page faults each time. By default it \
         gives back slowly, and only while the program frees a lot (TCMALLOC_RELEASE_RATE); \
         MallocExtension::ReleaseFreeMemory() does it once.",
    ),
    say(
        Held,
        |who| who.allocator() == "tcmalloc",
        "This tcmalloc gives back in the background only if the program asks for it: MallocExtension::SetBackgroundReleaseRate(), with a \
         thread that runs ProcessBackgroundActions().",
    ),
    set(
        Held,
        |who| who.is_mimalloc() && !who.is_set("MIMALLOC_PURGE_DELAY"),
        "MIMALLOC_PURGE_DELAY=0",
        "mimalloc gives back when the program next allocates or frees after a delay; 0 does it at the free itself.",
    ),
    set(
        Held,
        |who| who.is_early_mimalloc() && !who.is_set("MIMALLOC_DECOMMIT_DELAY"),
        "MIMALLOC_DECOMMIT_DELAY=0",
        "mimalloc before 2.1 keeps freed memory for long; with this it gives back at the free itself, at the price of calls and page faults.",
    ),
    say(
        Growing,
        |who| who.name() == "go",
        "Compare two heap profiles taken some minutes apart: go tool pprof -diff_base FIRST SECOND, on /debug/pprof/heap.",
    ),
    set(
        Growing,
        |who| who.go().is_some_and(|go| go >= (1, 19, 0)) && !who.is_set("GOMEMLIMIT"),
        "GOMEMLIMIT=SIZE",
        "Makes Go collect harder near SIZE. It bounds garbage; it does not stop a leak.",
    ),
    say(
        Growing,
        |who| who.name() == "jvm",
        "Compare two of jcmd PID GC.class_histogram some minutes apart; for memory outside the heap start with \
         -XX:NativeMemoryTracking=summary and ask jcmd PID VM.native_memory.",
    ),
    set(
        Growing,
        |who| who.name() == "jvm" && !who.is_set("-Xmx") && !who.is_set("-XX:MaxRAMPercentage"),
        "-Xmx=SIZE",
        "A heap that may grow will: it has no -Xmx, so it takes up to a quarter of the memory. With one, growth of RSS beyond it is not heap.",
    ),
    set(
        Growing,
        |who| who.name() == "node",
        "--heapsnapshot-signal=SIGUSR2",
        "Writes a snapshot of the heap at each such signal: compare two in the developer tools. --max-old-space-size bounds the heap.",
    ),
    say(
        Growing,
        |who| who.name() == "python",
        "tracemalloc compares two moments by line of code; memray sees C extensions too.",
    ),
    say(
        Growing,
        |who| who.name() == "ruby",
        "ObjectSpace.trace_object_allocations and two dumps of ObjectSpace.dump_all show what is kept.",
    ),
    set(
        Growing,
        |who| who.name() == "ruby" && who.allocator() == "glibc" && !who.is_set("MALLOC_ARENA_MAX"),
        "MALLOC_ARENA_MAX=2",
        "Ruby's threads in glibc's arenas grow slowly without a leak: try this first.",
    ),
    say(
        Growing,
        |who| who.name() == "dotnet",
        "dotnet-gcdump collect, twice, and compare the two.",
    ),
    set(
        Growing,
        |who| who.name() == "dotnet",
        "DOTNET_GCHeapHardLimit=SIZE",
        "Bounds the heap (hexadecimal bytes). It makes .NET collect harder; it does not stop a leak.",
    ),
    set(
        Growing,
        |who| who.name().is_empty() && who.allocator() == "jemalloc",
        "MALLOC_CONF=prof:true,lg_prof_interval:30",
        "Heap profiles, where jemalloc was built with them; jeprof compares two.",
    ),
    set(
        Growing,
        |who| who.name().is_empty() && who.allocator() == "gperftools",
        "HEAPPROFILE=/tmp/profile",
        "gperftools' heap profiles, where libtcmalloc is the full one; pprof --base compares two.",
    ),
    say(
        Growing,
        |who| who.name().is_empty() && !matches!(who.allocator(), "jemalloc" | "gperftools"),
        "heaptrack, or bcc's memleak on the running process, name the code that allocates and does not free.",
    ),
    set(
        Huge,
        |who| who.go().is_some_and(|go| go >= (1, 21, 6)) && !who.has("GODEBUG", "disablethp=1"),
        "GODEBUG=disablethp=1",
        "Keeps huge pages away from Go's heap; it may cost CPU time.",
    ),
    say(
        Huge,
        |who| {
            who.go()
                .is_some_and(|go| ((1, 21, 0)..(1, 21, 4)).contains(&go))
        },
        "Go up to 1.21.3 asks for huge pages itself (MADV_COLLAPSE, MADV_HUGEPAGE); 1.21.4 and later do not: upgrade.",
    ),
    set(
        Huge,
        |who| who.allocator() == "jemalloc" && !who.has("MALLOC_CONF", "thp:never"),
        "MALLOC_CONF=thp:never",
        "Keeps huge pages away from jemalloc's memory.",
    ),
    set(
        Huge,
        |who| who.name() == "jvm" && who.is_set("-XX:+UseTransparentHugePages"),
        "-XX:-UseTransparentHugePages",
        "The JVM was told to ask for huge pages; this takes it back.",
    ),
    set(
        Huge,
        |_| true,
        "echo 0 > /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none",
        "khugepaged then makes huge pages only of memory that is in use already, so RSS cannot grow by it. For the whole host; the \
         default, 511, lets one used page become 512.",
    ),
    say(
        Churn,
        |_| true,
        "Look at the faults and the time first: where they are small against the process's own work, do nothing.",
    ),
    set(
        Churn,
        |who| who.name() == "go" && !who.is_set("GOGC"),
        "GOGC=200",
        "Fewer collections, and a larger heap.",
    ),
    set(
        Churn,
        |who| who.allocator() == "jemalloc",
        "MALLOC_CONF=dirty_decay_ms:30000",
        "jemalloc then keeps free memory for 30 s instead of 10 before it gives it back.",
    ),
    set(
        Churn,
        |who| who.mallocs("glibc") && !who.is_set("MALLOC_TRIM_THRESHOLD_"),
        "MALLOC_TRIM_THRESHOLD_=268435456",
        "glibc then gives back the top of the heap only where more than 256 MiB are free there.",
    ),
    set(
        Churn,
        |who| who.mallocs("glibc") && !who.is_set("MALLOC_MMAP_THRESHOLD_"),
        "MALLOC_MMAP_THRESHOLD_=268435456",
        "glibc then keeps large blocks in its heap instead of mapping and unmapping each.",
    ),
    set(
        Churn,
        |who| who.is_mimalloc() && !who.is_set("MIMALLOC_PURGE_DELAY"),
        "MIMALLOC_PURGE_DELAY=1000",
        "mimalloc then waits a second before it gives memory back.",
    ),
    set(
        Churn,
        |who| who.allocator() == "gperftools",
        "TCMALLOC_RELEASE_RATE=0.1",
        "gperftools' tcmalloc then gives back ten times more slowly.",
    ),
];

/// The suggestions that change something for this program, the best first.
#[must_use]
pub fn of(topic: Topic, analysis: &Analysis<'_>) -> Vec<Suggestion> {
    let who = Who::new(analysis.runtime());
    LINES
        .iter()
        .filter(|line| line.topic == topic && (line.fits)(&who))
        .take(MOST)
        .map(|line| Suggestion {
            text: line.text.into(),
            setting: line.setting.map(Into::into),
        })
        .collect()
}
