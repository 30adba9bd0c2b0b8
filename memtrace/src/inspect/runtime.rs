//! What a process is, from all that can be seen of it.

use crate::text::Foreign;
use std::collections::BTreeMap;
use std::io::Read;

use super::{
    Metered, Process,
    allocator::{self, Allocator},
    code_files,
    elf::Elf,
    engine::{self, Engine},
    expect::{expected, looks_into},
    go,
    loaded::Loaded,
    settings::{Language, Settings},
};
use crate::model::{Missing, RuntimeInfo};

/// Libraries that are taken for preloaded, at most.
const MOST_PRELOADED: usize = 64;
/// Most bytes of `/etc/ld.so.preload`.
const MOST_PRELOAD: u64 = 64 << 10;

/// Finds out what the process is. What cannot be had is in `missing`, each with its reason.
///
/// Reads the executable and the libraries in part: some ms, and tens of ms for the largest programs; longer where these are not in
/// the page cache, and as long as the file system takes that they are on.
#[must_use]
pub fn inspect(process: &dyn Process) -> RuntimeInfo {
    within(&Metered::new(process))
}

/// As [`inspect`], within what is left of the process's budget.
pub(super) fn within(process: &dyn Process) -> RuntimeInfo {
    let mut info = RuntimeInfo::default();
    let files = match process.maps() {
        Ok(maps) => code_files(&maps),
        Err(why) => {
            info.missing.push(Missing::new("maps", why.to_string()));
            Vec::new()
        }
    };
    let has_maps = info.missing.is_empty();
    let mut loaded = Loaded::new(process, files);
    let mut executable = match process.executable().and_then(|file| Ok(Elf::open(file)?)) {
        Ok(elf) => Some(elf),
        Err(why) => {
            info.missing
                .push(Missing::new("executable", why.to_string()));
            None
        }
    };
    let environ = match process.environ() {
        Ok(environ) => Some(environ),
        Err(why) => {
            info.missing.push(Missing::new("environ", why.to_string()));
            None
        }
    };
    let go = match executable {
        Some(_) => go_version(process, &mut info),
        None => None,
    };
    let engine = match &go {
        Some(_) => None,
        None => engine::find(process, executable.as_mut(), &mut loaded),
    };
    let settings = settings(process, environ.as_deref(), engine.as_ref(), &mut info);
    // Not the same as being static: a PIE of Go's asks for a dynamic linker, and for no library.
    let needs_nothing = executable
        .as_mut()
        .is_some_and(|elf| elf.needed().is_empty());
    let allocator = match (&mut executable, &go) {
        (_, Some(_)) if needs_nothing => {
            info.allocator = Some("go".into());
            None
        }
        (Some(elf), _) if has_maps || elf.is_static() => {
            let preloaded = environ
                .as_deref()
                .filter(|environ| !was_written_over(environ))
                .map(|environ| preloaded(process, environ));
            Some(allocator::find(elf, &mut loaded, preloaded.as_deref()))
        }
        _ => Some(Allocator {
            missing: Some("the executable or maps could not be read".to_owned()),
            ..Allocator::default()
        }),
    };
    if let Some(version) = go {
        info.name = Some("go".into());
        info.version = Some(version.into());
        info.evidence
            .push("the executable holds Go's build information".into());
    }
    if let Some(engine) = engine {
        take_engine(engine, &mut info);
    }
    if let Some(allocator) = allocator {
        take_allocator(allocator, &mut info);
    }
    info.settings = settings
        .values
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    info.missing.extend(settings.missing);
    expect(&settings.values, &settings.cut, &mut info);
    info
}

/// What the runtime does, and what the allocator does behind it, where that is another one.
fn expect(settings: &BTreeMap<String, String>, cut: &[String], info: &mut RuntimeInfo) {
    let allocator = info
        .allocator
        .clone()
        .filter(|_| info.allocator != info.name);
    for (by, version) in [
        (info.name.clone(), info.version.clone()),
        (allocator, info.allocator_version.clone()),
    ] {
        let Some(by) = by else {
            continue;
        };
        let looks_into = looks_into(by.raw());
        if let Some(name) = cut.iter().find(|name| looks_into.contains(&name.as_str())) {
            info.missing.push(Missing::new(
                "expected",
                format!("{name} is too long to be kept, and may say how {by} gives memory back"),
            ));
            continue;
        }
        let releases = expected(by.raw(), version.as_ref().map(Foreign::raw), settings);
        if releases.is_empty() {
            info.missing.push(Missing::new(
                "expected",
                format!(
                    "how {by} {} gives memory back with these settings is not known, or it does not",
                    version.clone().unwrap_or_else(|| "of an unknown version".into())
                ),
            ));
        }
        info.expected.extend(releases);
    }
}

fn go_version(process: &dyn Process, info: &mut RuntimeInfo) -> Option<String> {
    match go::version(process) {
        Ok(version) => version,
        Err(why) => {
            info.missing
                .push(Missing::new("runtime.version", why.to_string()));
            None
        }
    }
}

fn settings(
    process: &dyn Process,
    environ: Option<&[u8]>,
    engine: Option<&Engine>,
    info: &mut RuntimeInfo,
) -> Settings {
    let mut settings = Settings::default();
    if let Some(environ) = environ {
        settings.environment(environ);
    }
    let language = match engine.map(|engine| engine.name) {
        Some("jvm") => Language::Java,
        Some("node") => Language::Node,
        _ => return settings,
    };
    match process.arguments() {
        Ok(cmdline) => settings.arguments(&cmdline, language),
        Err(why) => info.missing.push(Missing::new("cmdline", why.to_string())),
    }
    settings
}

fn take_engine(engine: Engine, info: &mut RuntimeInfo) {
    info.name = Some(engine.name.into());
    info.evidence
        .extend(engine.evidence.into_iter().map(Foreign::from));
    match engine.version {
        Ok(version) => info.version = Some(version.into()),
        Err(why) => info
            .missing
            .push(Missing::new("runtime.version", why.to_string())),
    }
}

fn take_allocator(allocator: Allocator, info: &mut RuntimeInfo) {
    let Allocator {
        kind,
        version,
        version_missing,
        missing,
        evidence,
    } = allocator;
    info.allocator = kind.map(|kind| kind.name().into());
    info.allocator_version = version.map(Into::into);
    info.evidence
        .extend(evidence.into_iter().map(Foreign::from));
    for (what, why) in [
        ("runtime.allocator", missing),
        ("runtime.allocator_version", version_missing),
    ] {
        if let Some(why) = why {
            info.missing.push(Missing::new(what, why));
        }
    }
}

/// Whether nothing of an environment is left.
fn was_written_over(environ: &[u8]) -> bool {
    !environ.is_empty() && !environ.contains(&b'=')
}

/// The libraries that the dynamic linker was told to load first: ld.so(8). Whether they were loaded is seen in `maps`.
fn preloaded(process: &dyn Process, environ: &[u8]) -> Vec<Vec<u8>> {
    let variable = environ
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(b"LD_PRELOAD="))
        .unwrap_or_default();
    let mut file = Vec::new();
    if let Ok(image) = process.file(b"/etc/ld.so.preload") {
        // What cannot be read of it is not known, and what was loaded is mapped.
        let _read = image.take(MOST_PRELOAD).read_to_end(&mut file);
    }
    let separates = |byte: &u8| matches!(byte, b' ' | b':');
    let separates_in_file = |byte: &u8| separates(byte) || matches!(byte, b'\t' | b'\n');
    variable
        .split(separates)
        .chain(file.split(separates_in_file))
        .filter(|name| !name.is_empty())
        .take(MOST_PRELOADED)
        .map(<[u8]>::to_vec)
        .collect()
}
