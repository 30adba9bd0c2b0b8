//! Settings that bear on memory, from the environment and the command line.
//!
//! An environment holds secrets. What leaves this file are names that are known to bear on memory, and of lists of options only the
//! options that do.

use std::collections::BTreeMap;

use crate::model::Missing;

/// Longest value that is kept, in bytes.
const LONGEST: usize = 1024;
/// Most settings that are kept.
const MOST: usize = 64;
/// Longest name of one of a family's settings.
const LONGEST_NAME: usize = 64;
/// Most arguments that are looked at.
const MOST_ARGUMENTS: usize = 4096;

/// Names that are taken as they are.
const NAMES: [&str; 17] = [
    "GODEBUG",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "JE_MALLOC_CONF",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_ARENA_TEST",
    "MALLOC_CONF",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
    "PYTHONDEVMODE",
    "PYTHONMALLOC",
    "_RJEM_MALLOC_CONF",
    "MALLOC_PERTURB_",
];

/// Beginnings of names, of which all are about memory.
const FAMILIES: [&str; 8] = [
    "COMPlus_GC",
    "COMPlus_gc",
    "DOTNET_GC",
    "DOTNET_gc",
    "MIMALLOC_",
    "RUBY_GC_",
    "RUBY_HEAP_",
    "TCMALLOC_",
];

/// Variables that hold options of the JVM, and one with options of Node.
const OPTIONS: [(&str, Language); 4] = [
    ("JAVA_TOOL_OPTIONS", Language::Java),
    ("JDK_JAVA_OPTIONS", Language::Java),
    ("_JAVA_OPTIONS", Language::Java),
    ("NODE_OPTIONS", Language::Node),
];

/// Options of the JVM behind `-XX:`.
const JAVA: [&str; 41] = [
    "AlwaysPreTouch",
    "CompressedClassSpaceSize",
    "G1HeapRegionSize",
    "G1PeriodicGCInterval",
    "G1PeriodicGCInvokesConcurrent",
    "G1PeriodicGCSystemLoadThreshold",
    "GCTimeRatio",
    "InitialHeapSize",
    "InitialRAMPercentage",
    "LargePageSizeInBytes",
    "MaxDirectMemorySize",
    "MaxHeapFreeRatio",
    "MaxHeapSize",
    "MaxMetaspaceSize",
    "MaxNewSize",
    "MaxRAM",
    "MaxRAMPercentage",
    "MetaspaceSize",
    "MinHeapFreeRatio",
    "MinHeapSize",
    "MinRAMPercentage",
    "NativeMemoryTracking",
    "NewSize",
    "ReservedCodeCacheSize",
    "ShenandoahGuaranteedGCInterval",
    "ShenandoahUncommit",
    "ShenandoahUncommitDelay",
    "SoftMaxHeapSize",
    "TrimNativeHeapInterval",
    "UseContainerSupport",
    "UseEpsilonGC",
    "UseG1GC",
    "UseLargePages",
    "UseParallelGC",
    "UseSerialGC",
    "UseShenandoahGC",
    "UseTransparentHugePages",
    "UseZGC",
    "ZGenerational",
    "ZUncommit",
    "ZUncommitDelay",
];

/// Options of the JVM with their value behind them.
const JAVA_SIZES: [&str; 4] = ["-Xmx", "-Xms", "-Xmn", "-Xss"];

/// Options of Node. V8 takes a `_` for a `-`.
const NODE: [&str; 9] = [
    "--expose-gc",
    "--huge-max-old-generation-size",
    "--initial-heap-size",
    "--initial-old-space-size",
    "--max-heap-size",
    "--max-old-space-size",
    "--max-semi-space-size",
    "--optimize-for-size",
    "--semi-space-growth-factor",
];

/// Options of `java` whose value is the next argument.
const JAVA_PAIRS: [&str; 13] = [
    "--add-exports",
    "--add-modules",
    "--add-opens",
    "--add-reads",
    "--class-path",
    "--module",
    "--module-path",
    "--patch-module",
    "--source",
    "--upgrade-module-path",
    "-classpath",
    "-cp",
    "-p",
];

/// Options of `node` whose value is the next argument.
const NODE_PAIRS: [&str; 6] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "-C",
    "--env-file",
];

/// Whose options these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The JVM's.
    Java,
    /// Node's, and V8's.
    Node,
}

/// What was found, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The settings, such as `GOGC`, `-Xmx`, `-XX:UseZGC` (`true` or `false`), `--max-old-space-size`.
    pub values: BTreeMap<String, String>,
    /// The names of those whose values were cut.
    pub cut: Vec<String>,
    /// What was left out, and why.
    pub missing: Vec<Missing>,
}

impl Settings {
    fn set(&mut self, name: &str, value: &[u8]) {
        if self.values.len() >= MOST && !self.values.contains_key(name) {
            let what = "settings";
            if !self.missing.iter().any(|missing| missing.what == what) {
                self.missing.push(Missing::new(
                    what,
                    format!("there are more than {MOST}; the rest was left out"),
                ));
            }
            return;
        }
        let length = value.len();
        let kept = value.get(..LONGEST).unwrap_or(value);
        let mut text = String::from_utf8_lossy(kept).into_owned();
        if length > LONGEST {
            text.push_str(&format!("… (cut: {length} bytes)"));
            self.cut.push(name.to_owned());
        }
        self.values.insert(name.to_owned(), text);
    }

    /// Takes those of an environment, as `/proc/PID/environ` has it. Of a name that is there twice the first counts, as with `getenv`.
    pub fn environment(&mut self, environ: &[u8]) {
        let mut any = false;
        for entry in environ.split(|&byte| byte == 0) {
            let Some(equals) = memchr::memchr(b'=', entry) else {
                continue;
            };
            any = true;
            let (name, value) = entry.split_at(equals);
            let Some(name) = known(name) else {
                continue;
            };
            let value = value.strip_prefix(b"=").unwrap_or_default();
            if self.values.contains_key(name) {
                continue;
            }
            match OPTIONS.iter().find(|(variable, _)| *variable == name) {
                Some((_, language)) => self.options_of(name, value, *language),
                None if name == "GLIBC_TUNABLES" => {
                    let malloc = |part: &&[u8]| part.starts_with(b"glibc.malloc.");
                    let parts = value.split(|&byte| byte == b':').filter(malloc);
                    self.joined(name, parts, b":");
                }
                None => self.set(name, value),
            }
        }
        if !any && !environ.is_empty() {
            self.missing.push(Missing::new(
                "environ",
                "the program has written over its environment, as those do that set a title: what it was started with is gone",
            ));
        }
    }

    fn options_of(&mut self, name: &str, value: &[u8], language: Language) {
        let words = value.split(u8::is_ascii_whitespace);
        let kept = words.filter(|word| option(word, language).is_some());
        self.joined(name, kept, b" ");
    }

    fn joined<'v>(&mut self, name: &str, parts: impl Iterator<Item = &'v [u8]>, with: &[u8]) {
        let parts: Vec<&[u8]> = parts.take(MOST).collect();
        if !parts.is_empty() {
            self.set(name, &parts.join(with));
        }
    }

    /// Takes those of a command line, as `/proc/PID/cmdline` has it: up to the program that is run, whose arguments are its own. Of an
    /// option that is there twice the last counts.
    pub fn arguments(&mut self, cmdline: &[u8], language: Language) {
        let pairs: &[&str] = match language {
            Language::Java => &JAVA_PAIRS,
            Language::Node => &NODE_PAIRS,
        };
        let arguments = cmdline.split(|&byte| byte == 0);
        let mut arguments = arguments.skip(1).take(MOST_ARGUMENTS).peekable();
        while let Some(argument) = arguments.next() {
            if argument.starts_with(b"@") && language == Language::Java {
                self.missing.push(Missing::new(
                    "settings",
                    "options that java reads from a file (@FILE) are not read",
                ));
                continue;
            }
            if !argument.starts_with(b"-") || argument == b"-jar" || argument == b"--" {
                break;
            }
            if pairs.iter().any(|pair| pair.as_bytes() == argument) {
                arguments.next();
                continue;
            }
            let Some((name, value)) = option(argument, language) else {
                continue;
            };
            let value = value.to_vec();
            // `--max-old-space-size 4096`: a number that is the option's.
            let apart = arguments
                .next_if(|next| {
                    language == Language::Node
                        && value.is_empty()
                        && name.ends_with("size")
                        && !next.is_empty()
                        && next.iter().all(u8::is_ascii_digit)
                })
                .map(<[u8]>::to_vec);
            self.set(&name, apart.as_deref().unwrap_or(&value));
        }
    }
}

/// A name that is known, and so no longer one from outside.
fn known(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let in_family = || {
        FAMILIES.iter().any(|family| name.starts_with(family))
            && name.len() <= LONGEST_NAME
            && name.bytes().all(plain)
    };
    let is_it = NAMES.contains(&name)
        || name == "GLIBC_TUNABLES"
        || OPTIONS.iter().any(|(variable, _)| *variable == name)
        || in_family();
    is_it.then_some(name)
}

/// The name and the value of an option that bears on memory.
fn option(argument: &[u8], language: Language) -> Option<(String, &[u8])> {
    match language {
        Language::Java => java(argument),
        Language::Node => node(argument),
    }
}

fn java(argument: &[u8]) -> Option<(String, &[u8])> {
    if let Some(name) = JAVA_SIZES
        .iter()
        .find(|name| argument.starts_with(name.as_bytes()))
    {
        return Some(((*name).to_owned(), argument.get(name.len()..)?));
    }
    let flag = argument.strip_prefix(b"-XX:")?;
    let (name, value) = match flag {
        [b'+', name @ ..] => (name, &b"true"[..]),
        [b'-', name @ ..] => (name, &b"false"[..]),
        _ => {
            let equals = memchr::memchr(b'=', flag)?;
            let (name, value) = flag.split_at(equals);
            (name, value.get(1..)?)
        }
    };
    let known = JAVA.iter().find(|known| known.as_bytes() == name)?;
    Some((format!("-XX:{known}"), value))
}

fn node(argument: &[u8]) -> Option<(String, &[u8])> {
    let (name, value) = match memchr::memchr(b'=', argument) {
        Some(equals) => (argument.get(..equals)?, argument.get(equals + 1..)?),
        None => (argument, &b""[..]),
    };
    let name: Vec<u8> = name
        .iter()
        .map(|&byte| if byte == b'_' { b'-' } else { byte })
        .collect();
    let known = NODE.iter().find(|known| known.as_bytes() == name)?;
    Some(((*known).to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(environ: &[u8]) -> Settings {
        let mut settings = Settings::default();
        settings.environment(environ);
        settings
    }

    fn arguments(words: &[&str], language: Language) -> BTreeMap<String, String> {
        let mut settings = Settings::default();
        let line = words.iter().map(|word| format!("{word}\0"));
        settings.arguments(line.collect::<String>().as_bytes(), language);
        settings.values
    }

    #[test]
    fn only_what_bears_on_memory_is_taken() {
        let found = environment(
            b"PATH=/bin\0GODEBUG=madvdontneed=1,gctrace=1\0AWS_SECRET=x\0MIMALLOC_PURGE_DELAY=0\0MALLOC_CONF=a:b\0\
              GODEBUG=second\0GOGC\0=\0GOGCX=1\0MIMALLOC_\x1b[1m=2\0",
        );
        let names: Vec<_> = found.values.keys().map(String::as_str).collect();
        assert_eq!(names, ["GODEBUG", "MALLOC_CONF", "MIMALLOC_PURGE_DELAY"]);
        assert_eq!(found.values["GODEBUG"], "madvdontneed=1,gctrace=1");
        assert!(found.missing.is_empty());
    }

    #[test]
    fn of_lists_of_options_only_those_about_memory_are_taken() {
        let found = environment(
            b"JAVA_TOOL_OPTIONS=-Dkey.password=secret -Xmx2g -XX:OnError=evil -XX:+UseZGC\0NODE_OPTIONS=--require /secret\0\
              GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.rtld.nns=2:glibc.malloc.hugetlb=1\0",
        );
        assert_eq!(found.values["JAVA_TOOL_OPTIONS"], "-Xmx2g -XX:+UseZGC");
        assert_eq!(
            found.values["GLIBC_TUNABLES"],
            "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
        );
        assert_eq!(found.values.len(), 2);
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let mut environ = b"MALLOC_CONF=".to_vec();
        environ.resize(128 << 10, b'\xff');
        let value = &environment(&environ).values["MALLOC_CONF"];
        assert!(value.ends_with("… (cut: 131060 bytes)"), "{value}");
        assert!(value.len() < 4096);
    }

    #[test]
    fn many_settings_are_cut_and_it_is_said_once() {
        let environ: String = (0..1000)
            .map(|number| format!("TCMALLOC_{number}=1\0"))
            .collect();
        let found = environment(environ.as_bytes());
        assert_eq!(found.values.len(), MOST);
        assert_eq!(found.missing.len(), 1);
    }

    #[test]
    fn an_environment_that_was_written_over_is_missing() {
        let found = environment(b"server: worker process\0\0\0\0");
        assert_eq!(found.missing[0].what, "environ");
        assert!(environment(b"").missing.is_empty());
    }

    #[test]
    fn javas_options_end_where_the_program_begins() {
        let found = arguments(
            &[
                "java",
                "-cp",
                "-Xmx1g",
                "-Xmx2g",
                "-XX:+UseZGC",
                "-XX:-UseZGC",
                "-XX:MaxRAMPercentage=75",
                "-Dpassword=x",
                "Main",
                "-Xms1g",
            ],
            Language::Java,
        );
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("-XX:MaxRAMPercentage", "75"),
                ("-XX:UseZGC", "false"),
                ("-Xmx", "2g")
            ]
        );
        assert!(arguments(&["java", "-jar", "a.jar", "-Xmx1g"], Language::Java).is_empty());
    }

    #[test]
    fn nodes_options_have_their_value_behind_or_apart() {
        let found = arguments(
            &[
                "node",
                "--max_old_space_size=100",
                "--max-semi-space-size",
                "16",
                "-r",
                "x",
                "--inspect",
                "app.js",
                "--expose-gc",
            ],
            Language::Node,
        );
        assert_eq!(found["--max-old-space-size"], "100");
        assert_eq!(found["--max-semi-space-size"], "16");
        assert_eq!(found.len(), 2);
    }
}
