//! What RSS is made of, what was given back, the mappings, and the cgroup.

use super::{
    Block, Cell, NAME, Panel, Row, TEXT, Told, bytes, column, counted, entries, entry, item,
    optional, room, shown, text,
};
use crate::{
    model::{BridgePart, CgroupFigures, CgroupInfo, End, MappingGroup, Missing},
    view::holdings::{kind_name, part_name},
};

pub(super) fn panels(told: &Told<'_>) -> Vec<Panel> {
    let ended = matches!(told.capture.end, End::TargetExited | End::Exec);
    let summary = told.summary;
    let mut panels = Vec::new();
    if !summary.bridge.is_empty() && !ended {
        panels.push(Panel {
            id: "bridge",
            title: "What RSS is made of".to_owned(),
            blocks: vec![entries(
                "Parts of RSS, which add up to it",
                bridge(&summary.bridge, summary.rss_end_bytes),
            )],
        });
    }
    if let Some(returned) = &summary.returned {
        let rows = [
            (
                "given back",
                returned.released_bytes,
                "RSS that fell at the program's own calls",
            ),
            (
                "lazily freed",
                returned
                    .lazily_freed_bytes
                    .and_then(|bytes| i64::try_from(bytes).ok()),
                "asked for with MADV_FREE; the same bytes may be in it more than once",
            ),
            (
                "discarded",
                returned.discarded_bytes,
                "lazily freed, and taken back by the kernel",
            ),
            (
                "taken again",
                returned.reacquired_bytes,
                "RSS that rose again below its highest",
            ),
        ];
        let rows = rows
            .into_iter()
            .map(|(name, value, note)| entry(name, optional(value, bytes), note));
        panels.push(Panel {
            id: "returned",
            title: "What was given back".to_owned(),
            blocks: vec![entries(
                "What was given back, and what became of it",
                rows.collect(),
            )],
        });
    }
    panels.extend(mappings(told));
    panels.extend(cgroup(told));
    panels
}

fn bridge(parts: &[BridgePart], rss: i64) -> Vec<Row> {
    let mut rows: Vec<Row> = parts
        .iter()
        .map(|part| {
            let (name, _) = part_name(part.part.raw());
            let value = if part.part == "rest" {
                super::moved(part.bytes)
            } else {
                bytes(part.bytes)
            };
            entry(&shown(name, NAME), value, &shown(&part.source, TEXT))
        })
        .collect();
    let mut sum = entry("RSS", bytes(rss), "");
    sum.look = "sum";
    rows.push(sum);
    rows
}

fn mappings(told: &Told<'_>) -> Option<Panel> {
    let block = match (&told.summary.mappings, &told.summary.mappings_missing) {
        (Some(groups), _) if groups.is_empty() => return None,
        (Some(groups), _) => table(groups),
        (None, Some(why)) => text("note", shown(why, TEXT)),
        (None, None) => return None,
    };
    Some(Panel {
        id: "mappings",
        title: "Largest mappings".to_owned(),
        blocks: vec![block],
    })
}

fn table(groups: &[MappingGroup]) -> Block {
    let mut columns = vec![
        column("kind", false),
        column("name", false),
        column("mappings", true),
    ];
    for name in ["size", "RSS", "anon", "LazyFree", "huge", "swap"] {
        columns.push(column(name, true));
    }
    let rows = groups.iter().map(|group| {
        let mut cells = vec![
            Cell::text(kind_name(group.kind)),
            Cell::text(shown(&group.name, TEXT)),
            counted(group.mappings),
        ];
        cells.extend(
            [
                group.size_bytes,
                group.rss_bytes,
                group.anon_bytes,
                group.lazyfree_bytes,
                group.anon_huge_bytes,
                group.swap_bytes,
            ]
            .map(room),
        );
        Row { look: "", cells }
    });
    Block::Table {
        caption: "Groups of mappings, by resident bytes".to_owned(),
        sortable: true,
        columns,
        rows: rows.collect(),
    }
}

fn cgroup(told: &Told<'_>) -> Option<Panel> {
    let (title, blocks) = match (&told.summary.cgroup, &told.summary.cgroup_missing) {
        (Some(info), _) => (
            format!("cgroup v{} {}", info.version, shown(&info.path, NAME)),
            figures(info),
        ),
        (None, Some(why)) => ("cgroup".to_owned(), vec![text("note", shown(why, TEXT))]),
        (None, None) => return None,
    };
    Some(Panel {
        id: "cgroup",
        title,
        blocks,
    })
}

type Figure = (
    &'static str,
    fn(&CgroupFigures) -> Option<u64>,
    &'static str,
    bool,
);

const FIGURES: &[Figure] = &[
    ("usage", |figures| figures.usage_bytes, "", true),
    (
        "working set",
        |figures| figures.working_set_bytes,
        "usage less inactive file: as Kubernetes reckons",
        true,
    ),
    (
        "anonymous",
        |figures| figures.anon_bytes,
        "tmpfs left out",
        true,
    ),
    (
        "page cache",
        |figures| figures.file_bytes,
        "with tmpfs",
        true,
    ),
    (
        "shared memory",
        |figures| figures.shmem_bytes,
        "tmpfs too",
        true,
    ),
    (
        "inactive file",
        |figures| figures.inactive_file_bytes,
        "goes first; lazily freed pages are in it",
        true,
    ),
    ("kernel memory", |figures| figures.kernel_bytes, "", true),
    ("swap", |figures| figures.swap_bytes, "", true),
    (
        "pglazyfree",
        |figures| figures.pglazyfree,
        "pages lazily freed since the cgroup was made",
        false,
    ),
    (
        "pglazyfreed",
        |figures| figures.pglazyfreed,
        "those of them that the kernel took",
        false,
    ),
    (
        "OOM kills",
        |figures| figures.oom_kills,
        "since the cgroup was made",
        false,
    ),
    (
        "limit met",
        |figures| figures.limit_hits,
        "so many times since the cgroup was made",
        false,
    ),
];

fn figures(info: &CgroupInfo) -> Vec<Block> {
    let cell = |figures: Option<&CgroupFigures>, figure: &Figure| {
        optional(
            figures.and_then(figure.1),
            if figure.3 { room } else { counted },
        )
    };
    let mut rows = vec![];
    for (name, value, whose) in [
        ("limit", info.limit_bytes, info.limit_path.as_ref()),
        ("memory.high", info.high_bytes, None),
    ] {
        if let Some(value) = value {
            let whose = whose.map_or_else(String::new, |path| format!("of {}", shown(path, NAME)));
            rows.push(Row {
                look: "",
                cells: vec![
                    Cell::text(name),
                    Cell::default(),
                    room(value),
                    Cell::text(whose),
                ],
            });
        }
    }
    for figure in FIGURES {
        let known = |figures: Option<&CgroupFigures>| figures.and_then(figure.1).is_some();
        if known(info.start.as_ref()) || known(info.end.as_ref()) {
            rows.push(Row {
                look: "",
                cells: vec![
                    Cell::text(figure.0),
                    cell(info.start.as_ref(), figure),
                    cell(info.end.as_ref(), figure),
                    Cell::text(figure.2),
                ],
            });
        }
    }
    let mut blocks = vec![Block::Table {
        caption: "The memory cgroup at the start and at the end".to_owned(),
        sortable: false,
        columns: vec![
            column("", false),
            column("start", true),
            column("end", true),
            column("", false),
        ],
        rows,
    }];
    let processes = match (info.limit_bytes, info.processes) {
        (None, _) => Some("no limit".to_owned()),
        (_, None) => None,
        (_, Some(1)) => Some("this process alone is in it".to_owned()),
        (_, Some(processes)) => Some(format!("{} processes are in it", counted(processes).hint)),
    };
    blocks.extend(processes.map(|said| text("note", said)));
    if !info.missing.is_empty() {
        let missing = info.missing.iter();
        blocks.push(Block::List {
            items: missing
                .map(|Missing { what, why }| {
                    item("", format!("{}: {}", shown(what, NAME), shown(why, TEXT)))
                })
                .collect(),
        });
    }
    blocks
}
