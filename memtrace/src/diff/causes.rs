//! Causes side by side.

use crate::text::Foreign;
use std::collections::BTreeMap;

use super::{
    CauseDiff, Quantity, Subject, Unit,
    quantity::{Seconds, signed},
};
use crate::model::{Cause, CauseRow, Epoch, Mode};

type Key = (Cause, Option<Foreign>, Option<Foreign>);

/// What one side knows of a cause.
#[derive(Clone, Copy, Default)]
struct Known {
    calls: Option<i64>,
    requested: Option<i64>,
    moved: Option<i64>,
}

/// A row for each cause of either capture.
pub(super) fn causes(a: &Subject<'_>, b: &Subject<'_>, seconds: Option<Seconds>) -> Vec<CauseDiff> {
    let (of_a, of_b) = (rows(a.epoch()), rows(b.epoch()));
    let mut keys: Vec<&Key> = of_a.keys().chain(of_b.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| {
            let of = |rows: &BTreeMap<Key, Known>, epoch| {
                let row = rows.get(key).copied();
                row.unwrap_or_else(|| absent(epoch, key.0))
            };
            let (a, b) = (of(&of_a, a.epoch()), of(&of_b, b.epoch()));
            let (cause, advice, task) = key.clone();
            CauseDiff {
                cause,
                advice,
                task,
                calls: Quantity::grown(a.calls, b.calls, Unit::Count, seconds),
                requested_bytes: Quantity::grown(a.requested, b.requested, Unit::Bytes, seconds),
                rss_delta_bytes: Quantity::grown(a.moved, b.moved, Unit::Bytes, seconds),
            }
        })
        .collect()
}

/// Rows of one key are added up: other tasks of one name have a row each.
fn rows(epoch: &Epoch) -> BTreeMap<Key, Known> {
    let mut rows: BTreeMap<Key, Known> = BTreeMap::new();
    for row in &epoch.summary.causes {
        let key = (row.cause, row.advice.clone(), row.task.clone());
        let known = known(row);
        rows.entry(key)
            .and_modify(|sum| {
                let add = |one: Option<i64>, other: Option<i64>| one?.checked_add(other?);
                sum.calls = add(sum.calls, known.calls);
                sum.requested = add(sum.requested, known.requested);
                sum.moved = add(sum.moved, known.moved);
            })
            .or_insert(known);
    }
    rows
}

fn known(row: &CauseRow) -> Known {
    let requested = signed(row.requested_bytes).map(|requested| {
        // brk and mremap ask both ways: what they asked for in sum, as in the table.
        let shrunk = signed(row.shrunk_bytes).unwrap_or(0);
        requested.saturating_sub(shrunk)
    });
    Known {
        calls: signed(row.calls),
        requested,
        moved: row.rss_delta_bytes,
    }
}

/// A cause without a row has moved nothing, if the ledger was there to see it, and was not called, if its call was hooked.
fn absent(epoch: &Epoch, cause: Cause) -> Known {
    let hooks = &epoch.capture.hooks;
    let is_hooked = hooks
        .iter()
        .any(|hook| hook.kind.is_some() && hook.name == cause.name());
    // `exec` and `exit` are hooks too, and no calls that are counted.
    let is_call = !matches!(cause, Cause::Exec | Cause::Exit) && is_hooked;
    let calls = is_call.then_some(0);
    Known {
        calls,
        requested: calls,
        moved: (epoch.capture.mode == Mode::Exact).then_some(0),
    }
}
