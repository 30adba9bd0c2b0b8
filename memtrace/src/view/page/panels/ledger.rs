//! The ledger: every row, and what they add up to.

use super::{
    Block, Cell, NAME, Panel, Row, Told, bytes, cause_name, column, counted, entries, entry, moved,
    number, optional, room, shown, text, unknown, unsigned,
};
use crate::{
    model::{Bytes4, CauseRow, End, Mode},
    text::format::{change, size, span},
    view::table::{add, compared, moved as sum_of, net, short_time},
};

/// Rows of failed calls that are shown.
const FAILED: usize = 32;

pub(super) fn panel(told: &Told<'_>) -> Panel {
    let exact = told.capture.mode == Mode::Exact;
    let mut blocks = vec![causes(&told.summary.causes, exact)];
    blocks.push(entries(
        "From RSS at the start to RSS at the end",
        balance(told, exact),
    ));
    let failed: Vec<Row> = told
        .summary
        .causes
        .iter()
        .flat_map(|row| {
            let name = name(row);
            row.errnos
                .iter()
                .map(move |errno| entry(&name, counted(errno.calls), &shown(&errno.errno, NAME)))
        })
        .take(FAILED)
        .collect();
    if !failed.is_empty() {
        blocks.push(super::heading("Failed calls"));
        blocks.push(entries("Failed calls by error", failed));
    }
    if !exact {
        blocks.insert(
            0,
            text(
                "warn",
                "approximate: RSS is sampled, and there is no ledger of bytes by cause",
            ),
        );
    }
    Panel {
        id: "ledger",
        title: "Why RSS changed".to_owned(),
        blocks,
    }
}

fn name(row: &CauseRow) -> String {
    cause_name(row.cause, row.advice.as_ref(), row.task.as_ref(), NAME)
}

fn causes(rows: &[CauseRow], exact: bool) -> Block {
    let mut columns = vec![
        column("cause", false),
        column("calls", true),
        column("failed", true),
        column("requested", true),
    ];
    if exact {
        for name in ["RSS", "anon", "file", "shmem", "swap"] {
            columns.push(column(name, true));
        }
    }
    columns.push(column("time", true));
    let mut sum = Bytes4::default();
    let mut shown: Vec<Row> = rows
        .iter()
        .map(|row| {
            if let Some(pages) = &row.by_kind {
                add(&mut sum, pages);
            }
            let mut cells = vec![
                Cell::text(name(row)),
                optional(row.calls, counted),
                optional(row.failed_calls, counted),
                requested(row),
            ];
            if exact {
                cells.push(optional(row.rss_delta_bytes, moved));
                cells.extend(pages(row.by_kind.as_ref()));
            }
            cells.push(optional(row.time_ns, |ns| {
                unsigned(ns, short_time(ns), " ns")
            }));
            Row { look: "", cells }
        })
        .collect();
    if exact {
        let mut cells = vec![
            Cell::text("sum"),
            Cell::default(),
            Cell::default(),
            Cell::default(),
        ];
        cells.push(moved(sum.rss_bytes()));
        cells.extend(pages(Some(&sum)));
        cells.push(Cell::default());
        shown.push(Row { look: "sum", cells });
    }
    Block::Table {
        caption: "Causes of RSS change".to_owned(),
        sortable: true,
        columns,
        rows: shown,
    }
}

fn pages(pages: Option<&Bytes4>) -> Vec<Cell> {
    match pages {
        Some(pages) => [
            pages.anon_bytes,
            pages.file_bytes,
            pages.shmem_bytes,
            pages.swap_bytes,
        ]
        .map(moved)
        .to_vec(),
        None => (0..4).map(|_| unknown()).collect(),
    }
}

fn requested(row: &CauseRow) -> Cell {
    match (row.requested_bytes, row.shrunk_bytes) {
        (Some(requested), Some(shrunk)) if shrunk > 0 => moved(net(requested, shrunk)),
        (requested, _) => optional(requested, room),
    }
}

fn balance(told: &Told<'_>, exact: bool) -> Vec<Row> {
    let summary = told.summary;
    let sampled = match summary.rss_sampling_bound_bytes {
        _ if exact => String::new(),
        Some(bound) => format!("sampled, ± {}", size(bound)),
        None => "sampled".to_owned(),
    };
    let note = if summary.rss_start_settled == Some(false) {
        "busy: some pages off, made up for by the causes"
    } else {
        &sampled
    };
    let mut rows = vec![entry(
        "RSS at the start",
        bytes(summary.rss_start_bytes),
        note,
    )];
    if exact {
        rows.push(entry("moved by the causes", moved(sum_of(summary)), ""));
        rows.push(unexplained(told));
    }
    let ended = matches!(told.capture.end, End::TargetExited | End::Exec);
    let note = if ended { "" } else { &sampled };
    let last = if told.capture.end == End::Interrupted {
        "RSS at the last tick"
    } else {
        "RSS at the end"
    };
    rows.push(entry(last, bytes(summary.rss_end_bytes), note));
    rows.push(entry(
        "highest RSS seen",
        bytes(summary.rss_highest_seen_bytes),
        "at a tick; in between it may have been more",
    ));
    match (summary.lazyfree_bytes, told.seen) {
        (Some(lazy), _) if !ended => {
            rows.push(entry(
                "LazyFree",
                room(lazy),
                "freed by the program, kept until it is needed",
            ));
            rows.push(entry(
                "RSS - LazyFree",
                bytes(summary.rss_end_bytes.saturating_sub_unsigned(lazy)),
                "what the program still holds",
            ));
        }
        (_, Some((t_ns, rss, lazy))) => rows.push(entry(
            "LazyFree last seen",
            room(lazy),
            &format!("{} after the start, of {} RSS", span(t_ns), bytes(rss).text),
        )),
        _ => {
            let why = summary.lazyfree_missing.as_ref();
            let why = why.map_or_else(|| "not known".to_owned(), |why| shown(why, NAME));
            rows.push(entry("LazyFree", unknown(), &why));
        }
    }
    if let (Some(user), Some(kernel)) = (summary.faults.user, summary.faults.kernel) {
        rows.push(entry(
            "page faults",
            counted(user.saturating_add(kernel)),
            &format!(
                "{} in user code, {} in the kernel",
                counted(user).hint,
                counted(kernel).hint
            ),
        ));
    }
    rows
}

fn unexplained(told: &Told<'_>) -> Row {
    let summary = told.summary;
    let (cell, look, note) = match (summary.unexplained_bytes, summary.unexplained_bound_bytes) {
        (Some(bytes), Some(0)) => (
            bytes,
            if bytes == 0 { "good" } else { "bad" },
            format!("compared with {}", compared(summary)),
        ),
        (Some(bytes), bound) => (
            bytes,
            "",
            format!(
                "± {}: busy while compared with {}",
                size(bound.unwrap_or(0)),
                compared(summary)
            ),
        ),
        (None, _) => {
            return entry(
                "unexplained",
                unknown(),
                "there was nothing to compare with",
            );
        }
    };
    let shown = if cell == 0 {
        "0 B".to_owned()
    } else {
        change(cell)
    };
    Row {
        look,
        ..entry("unexplained", number(shown, cell, " bytes"), &note)
    }
}
