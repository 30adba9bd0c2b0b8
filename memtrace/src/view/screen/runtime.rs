//! What runs in the process, and its own figures.

use super::{pen::Pen, shot::Shot, state::State, text::Text};
use crate::text::format::{count, size};
use crate::text::{Foreign, joined};

/// Draws it; says how far it can be moved.
pub fn runtime(pen: &mut Pen<'_>, shot: &Shot, state: &State) -> u16 {
    let mut text = Text::new(pen.look, pen.width().saturating_sub(2));
    let target = &shot.account.target;
    text.head("process");
    text.entry("command", joined(&target.cmdline));
    text.entry(
        "executable",
        target.exe.clone().unwrap_or_else(|| "-".into()),
    );
    if let Some(runtime) = &target.runtime {
        let known = |name: &Option<Foreign>, version: &Option<Foreign>| match (name, version) {
            (Some(name), Some(version)) if version.raw().starts_with(name.raw()) => {
                version.to_string()
            }
            (Some(name), Some(version)) => format!("{name} {version}"),
            (Some(name), None) => name.to_string(),
            (None, _) => "-".to_owned(),
        };
        text.entry("runtime", known(&runtime.name, &runtime.version));
        text.entry(
            "allocator",
            known(&runtime.allocator, &runtime.allocator_version),
        );
        for (name, value) in &runtime.settings {
            let value = if value.is_empty() {
                "(empty)".into()
            } else {
                value.clone()
            };
            text.entry(name, value);
        }
        for evidence in &runtime.evidence {
            text.entry("seen by", evidence);
        }
        for expected in &runtime.expected {
            let what = expected.advice.as_ref().unwrap_or(&expected.call);
            text.entry(what, &expected.why);
        }
    } else {
        text.entry("runtime", "- (not looked at)");
    }
    if let Some(go) = shot.total.as_ref().and_then(|total| total.go) {
        text.head("Go's own figures");
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
        text.number(
            "Sys",
            &bytes(go.sys_bytes),
            "address space obtained from the kernel",
        );
        text.number(
            "HeapSys",
            &bytes(go.heap_sys_bytes),
            "of it for the heap, used or not",
        );
        text.number(
            "HeapAlloc",
            &bytes(go.heap_alloc_bytes),
            "objects, reachable or not yet swept",
        );
        text.number(
            "HeapInuse",
            &bytes(go.heap_inuse_bytes),
            "spans with at least one object",
        );
        text.number(
            "HeapIdle",
            &bytes(go.heap_idle_bytes),
            "spans without objects",
        );
        text.number(
            "HeapReleased",
            &bytes(go.heap_released_bytes),
            "of them given back, or never touched",
        );
        text.number(
            "StackInuse",
            &bytes(go.stack_inuse_bytes),
            "stacks of goroutines",
        );
        let cycles = go.num_gc.map_or_else(|| "-".to_owned(), count);
        text.number("NumGC", &cycles, "cycles of the collector");
    }
    if let Some(runtime) = &target.runtime {
        text.missing(&runtime.missing);
    }
    let mut part = pen.part(0, 1, pen.width(), pen.height().saturating_sub(1));
    text.draw(&mut part, state.scroll)
}
