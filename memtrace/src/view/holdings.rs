//! What RSS is made of, what was given back, and how the cgroup sees it: below the table.

use std::fmt::Write as _;

use crate::{
    model::{BridgePart, CgroupInfo, End, Epoch, MappingGroup, MappingKind},
    text::format::{BOLD, DIM, change, count, paint, sanitized, signed_size, size, tail},
};

const NAME: usize = 22;
const VALUE: usize = 9;
/// Most characters of a name that the process chose.
const TEXT: usize = 46;
/// Groups of mappings that are shown.
const GROUPS: usize = 5;

/// Lines of an epoch whose process is still there; nothing for one that has ended.
pub fn holdings(text: &mut String, epoch: &Epoch, width: usize) {
    let summary = &epoch.summary;
    if let Some(returned) = &summary.returned {
        let mut entry = |name: &str, bytes: i64, note: &str| {
            if bytes != 0 {
                line(text, name, &signed_size(bytes), note);
            }
        };
        entry(
            "given back",
            returned.released_bytes.unwrap_or(0),
            "RSS that fell at the program's own calls",
        );
        entry(
            "discarded",
            returned.discarded_bytes.unwrap_or(0),
            "lazily freed, and taken back by the kernel",
        );
        entry(
            "taken again",
            returned.reacquired_bytes.unwrap_or(0),
            "RSS that rose again below its highest",
        );
    }
    if matches!(epoch.capture.end, End::TargetExited | End::Exec) {
        return;
    }
    if let Some(bytes) = summary.anon_huge_bytes.filter(|&bytes| bytes > 0) {
        line(text, "AnonHugePages", &size(bytes), "of RSS, in huge pages");
    }
    // Without a runtime's own figures, it says what the columns have said.
    if summary
        .bridge
        .iter()
        .any(|part| part.part.raw().starts_with("go_"))
    {
        bridge(text, &summary.bridge);
    }
    if let Some(groups) = &summary.mappings {
        mappings(text, groups, width);
    }
    if let Some(info) = &summary.cgroup {
        cgroup(text, info);
    }
}

fn line(text: &mut String, name: &str, value: &str, note: &str) {
    let line = format!("{name:<NAME$}{value:>VALUE$}");
    let _ = if note.is_empty() {
        writeln!(text, "{line}")
    } else {
        writeln!(text, "{line}  {}", paint(DIM, note))
    };
}

pub(super) fn headline(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n{}", paint(BOLD, title));
}

/// What a part of RSS is called, and where it comes from in a few words: the file says so at length.
pub fn part_name(part: &str) -> (&str, &'static str) {
    match part {
        "go_heap_in_use" => ("Go heap in use", "HeapInuse: spans with objects"),
        "go_heap_idle" => ("Go heap idle, kept", "HeapIdle - HeapReleased"),
        "go_stacks" => ("Go stacks", "StackInuse"),
        "go_other" => ("Go runtime", "the runtime's own memory"),
        "lazy_free" => ("LazyFree", "given back, and still here"),
        "anon" => ("anonymous", ""),
        "other_anon" => (
            "other anonymous",
            "outside of Go's heap: the runtime's own, C code",
        ),
        "file" => ("file mappings", ""),
        "shmem" => ("shared memory", ""),
        "rest" => (
            "rest",
            "counted and never touched (-); resident beyond that (+)",
        ),
        other => (other, ""),
    }
}

fn bridge(text: &mut String, parts: &[BridgePart]) {
    headline(text, "what RSS is made of");
    for part in parts {
        let (name, note) = part_name(part.part.raw());
        let value = if part.part == "rest" {
            change(part.bytes)
        } else {
            signed_size(part.bytes)
        };
        line(text, &sanitized(name, NAME - 1), &value, note);
    }
}

/// What a kind of mapping is called.
pub const fn kind_name(kind: MappingKind) -> &'static str {
    match kind {
        MappingKind::Heap => "heap (brk)",
        MappingKind::Stack => "stack",
        MappingKind::Anon => "anonymous",
        MappingKind::File => "file",
        MappingKind::Shmem => "shared memory",
        MappingKind::Special => "special",
    }
}

fn mappings(text: &mut String, groups: &[MappingGroup], width: usize) {
    let shown = |group: &&MappingGroup| group.rss_bytes > 0;
    if !groups.iter().any(|group| shown(&group)) {
        return;
    }
    headline(text, "largest mappings");
    for group in groups.iter().filter(shown).take(GROUPS) {
        let kind = kind_name(group.kind);
        let mut note = match group.mappings {
            1 => "1 mapping".to_owned(),
            mappings => format!("{} mappings", count(mappings)),
        };
        let _ = write!(note, " of {}", size(group.size_bytes));
        let is_named =
            !group.name.is_empty() && !matches!(group.kind, MappingKind::Heap | MappingKind::Stack);
        if is_named {
            let taken = NAME + VALUE + 4 + note.len();
            let room = width.clamp(80, 160).saturating_sub(taken);
            let _ = write!(note, "  {}", tail(group.name.raw(), room));
        }
        line(text, kind, &size(group.rss_bytes), &note);
    }
}

fn cgroup(text: &mut String, info: &CgroupInfo) {
    let title = format!("cgroup v{} {:.TEXT$}", info.version, info.path);
    headline(text, &title);
    let Some(end) = &info.end else {
        for missing in &info.missing {
            let _ = writeln!(text, "{}", paint(DIM, &missing.why.shown(300)));
        }
        return;
    };
    if let Some(usage) = end.usage_bytes {
        let limit = info.limit_bytes.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("of {}", size(limit)),
        );
        let processes = match info.processes {
            None => String::new(),
            Some(1) => ", this process alone".to_owned(),
            Some(processes) => format!(", {} processes", count(processes)),
        };
        line(text, "usage", &size(usage), &format!("{limit}{processes}"));
    }
    let mut entry = |name: &str, bytes: Option<u64>, note: &str| {
        if let Some(bytes) = bytes {
            line(text, name, &size(bytes), note);
        }
    };
    entry(
        "working set",
        end.working_set_bytes,
        "usage less inactive file: as Kubernetes reckons",
    );
    entry(
        "inactive file",
        end.inactive_file_bytes,
        "goes first; lazily freed pages are in it",
    );
    if let (Some(freed), Some(gone)) = (end.pglazyfree, end.pglazyfreed) {
        let note = format!(
            "of {} pages lazily freed since the cgroup was made",
            count(freed)
        );
        line(text, "pglazyfreed", &count(gone), &note);
    }
    if let Some(kills) = end.oom_kills.filter(|&kills| kills > 0) {
        line(
            text,
            "OOM kills",
            &count(kills),
            "since the cgroup was made",
        );
    }
}
