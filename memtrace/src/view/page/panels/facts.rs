//! The process, and how it was captured: what can be relied on, and what cannot.

use super::{
    Block, Cell, Item, NAME, Panel, Row, TEXT, Told, column, counted, ended, entries, entry,
    heading, item, optional, room, shown, text, unknown, unsigned,
};
use crate::text::{Foreign, joined};
use crate::{
    model::{HookInfo, HookKind, Missing, Mode, RuntimeInfo, SelfStats},
    text::format::{size, span},
    timeline::Live,
};

pub(super) fn panels(told: &Told<'_>) -> Vec<Panel> {
    vec![process(told), capture(told)]
}

/// What is said while a capture goes on.
pub(super) fn live(live: &Live) -> Vec<Panel> {
    let own = &live.own;
    let mut blocks = vec![entries(
        "What memtrace itself takes",
        vec![
            entry(
                "CPU time",
                optional(own.cpu_ns, time),
                "of its process, since it started",
            ),
            entry("RSS", optional(own.rss_bytes, room), ""),
            entry("highest RSS", optional(own.rss_peak_bytes, room), ""),
            entry("ticks", counted(live.history.ticks()), "so far"),
        ],
    )];
    if !live.said.is_empty() {
        blocks.push(Block::List {
            items: live
                .said
                .iter()
                .map(|(t_ns, said)| item(span(*t_ns), shown(said, TEXT)))
                .collect(),
        });
    }
    vec![Panel {
        id: "own",
        title: "memtrace itself".to_owned(),
        blocks,
    }]
}

fn time(ns: u64) -> Cell {
    unsigned(ns, span(ns), " ns")
}

fn fact(name: &str, value: impl Into<String>) -> Row {
    Row {
        look: "",
        cells: vec![Cell::text(name), Cell::text(value)],
    }
}

fn facts(caption: &str, rows: Vec<Row>) -> Block {
    Block::Table {
        caption: caption.to_owned(),
        sortable: false,
        columns: vec![column("", false), column("", false)],
        rows,
    }
}

fn process(told: &Told<'_>) -> Panel {
    let target = told.target;
    let mut rows = vec![
        fact("process", target.pid.to_string()),
        fact("name", shown(&target.comm, NAME)),
        fact(
            "executable",
            target
                .exe
                .as_ref()
                .map_or_else(|| "could not be read".to_owned(), |exe| shown(exe, TEXT)),
        ),
        fact("arguments", shown(joined(&target.cmdline), TEXT)),
    ];
    let mut blocks = Vec::new();
    if let Some(runtime) = &target.runtime {
        about(runtime, &mut rows, &mut blocks);
    }
    blocks.insert(0, facts("The process", rows));
    Panel {
        id: "process",
        title: "The process".to_owned(),
        blocks,
    }
}

fn about(runtime: &RuntimeInfo, rows: &mut Vec<Row>, blocks: &mut Vec<Block>) {
    let with = |name: &Option<Foreign>, version: &Option<Foreign>| match (name, version) {
        (Some(name), Some(version)) => format!("{} {}", shown(name, NAME), shown(version, NAME)),
        (Some(name), None) => shown(name, NAME),
        (None, _) => "none was found".to_owned(),
    };
    rows.push(fact("runtime", with(&runtime.name, &runtime.version)));
    rows.push(fact(
        "allocator",
        with(&runtime.allocator, &runtime.allocator_version),
    ));
    for (name, value) in &runtime.settings {
        rows.push(fact(&shown(name, NAME), shown(value, TEXT)));
    }
    let mut items: Vec<Item> = runtime
        .evidence
        .iter()
        .map(|said| item("", shown(said, TEXT)))
        .collect();
    items.extend(
        runtime
            .expected
            .iter()
            .map(|expected| item("", shown(&expected.why, TEXT))),
    );
    items.extend(missing(&runtime.missing));
    if !items.is_empty() {
        blocks.push(Block::List { items });
    }
}

fn missing(missing: &[Missing]) -> impl Iterator<Item = Item> {
    missing.iter().map(|Missing { what, why }| {
        item(
            "",
            format!("not known: {}: {}", shown(what, NAME), shown(why, TEXT)),
        )
    })
}

fn capture(told: &Told<'_>) -> Panel {
    let (host, capture) = (told.host, told.capture);
    let mode = match (capture.mode, told.summary.rss_sampling_bound_bytes) {
        (Mode::Approximate, Some(bound)) => format!("~ approximate, RSS ± {}", size(bound)),
        (Mode::Approximate, None) => "~ approximate".to_owned(),
        (Mode::Exact, _) => "exact".to_owned(),
    };
    let mut rows = vec![
        fact("mode", mode),
        fact("started", shown(&capture.started_at, NAME)),
        fact("lasted", span(capture.duration_ns)),
        fact("interval", span(capture.interval_ns)),
        fact("end", ended(capture.end)),
        fact(
            "host",
            format!(
                "Linux {} {}, {} CPUs, pages of {}",
                shown(&host.kernel, NAME),
                shown(&host.arch, NAME),
                host.cpus,
                size(host.page_size)
            ),
        ),
    ];
    if let Some(note) = &capture.mode_note {
        rows.insert(1, fact("", shown(note, TEXT)));
    }
    if let Some(children) = capture.children.filter(|children| children.forked > 0) {
        rows.push(fact(
            "children forked",
            format!("{}, not followed", children.forked),
        ));
    }
    let mut blocks = vec![facts("How it was captured", rows)];
    if capture.lost_events > 0 {
        blocks.push(text(
            "bad",
            format!(
                "incomplete: {} events were not counted",
                capture.lost_events
            ),
        ));
    }
    let losses = &capture.losses;
    blocks.push(heading("What was not counted"));
    blocks.push(entries(
        "What was not counted",
        vec![
            entry(
                "ends of epochs",
                counted(losses.ring_buffer),
                "did not fit into the ring buffer",
            ),
            entry(
                "calls",
                counted(losses.calls),
                "more threads were inside calls than there is room for",
            ),
            entry("errors of failed calls", counted(losses.errnos), ""),
            entry(
                "RSS events",
                counted(losses.counter_reads),
                "the kernel's counter could not be read",
            ),
            entry(
                "epochs",
                counted(losses.epochs),
                "merged into the one before",
            ),
            entry(
                "skipped runs",
                optional(losses.skipped_runs, counted),
                if losses.skipped_runs.is_some() {
                    "of memtrace's own programs"
                } else {
                    "of memtrace's own programs: read at the end, and kernels tell since 5.12"
                },
            ),
        ],
    ));
    blocks.push(heading("Hooks"));
    blocks.push(hooks(&capture.hooks));
    if let Some(stats) = &capture.self_stats {
        blocks.push(heading("What memtrace itself took"));
        blocks.extend(self_stats(stats));
    }
    Panel {
        id: "capture",
        title: "How it was captured".to_owned(),
        blocks,
    }
}

fn hooks(hooks: &[HookInfo]) -> Block {
    let rows = hooks.iter().map(|hook| {
        let why = hook.error.as_ref().or(hook.fallback.as_ref());
        Row {
            look: if hook.kind.is_some() { "" } else { "warn" },
            cells: vec![
                Cell::text(shown(&hook.name, NAME)),
                Cell::text(hook.kind.map_or("not hooked", HookKind::name)),
                Cell::text(why.map(|why| shown(why, TEXT)).unwrap_or_default()),
            ],
        }
    });
    Block::Table {
        caption: "Hooks, and how they are attached".to_owned(),
        sortable: false,
        columns: vec![
            column("hook", false),
            column("kind", false),
            column("why not better", false),
        ],
        rows: rows.collect(),
    }
}

fn self_stats(stats: &SelfStats) -> Vec<Block> {
    let programs = stats.programs.iter().map(|program| Row {
        look: "",
        cells: vec![
            Cell::text(shown(&program.name, NAME)),
            optional(program.runs, counted),
            optional(program.time_ns, time),
            program
                .ns_per_run
                .map_or_else(unknown, |ns| unsigned(ns, format!("{ns} ns"), " ns")),
            optional(program.skipped_runs, counted),
        ],
    });
    let programs = Block::Table {
        caption: "memtrace's programs in the kernel".to_owned(),
        sortable: true,
        columns: vec![
            column("program", false),
            column("runs", true),
            column("time", true),
            column("a run", true),
            column("skipped", true),
        ],
        rows: programs.collect(),
    };
    let process = entries(
        "memtrace's own process",
        vec![
            entry("CPU time, own code", optional(stats.cpu_user_ns, time), ""),
            entry("CPU time, kernel", optional(stats.cpu_system_ns, time), ""),
            entry("RSS", optional(stats.rss_bytes, room), ""),
            entry("highest RSS", optional(stats.rss_peak_bytes, room), ""),
        ],
    );
    vec![programs, process]
}
