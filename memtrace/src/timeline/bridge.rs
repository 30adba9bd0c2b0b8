//! The bridge: RSS, put together from what the kernel counts and what the runtime says of itself.
//!
//! The kernel counts pages that are there; Go counts address space by what it is used for, whether a page of it was ever touched or
//! not. What that makes of the sum is the rest, which is named, and never spread over the parts.

use crate::{
    model::{BridgePart, Bytes4, GoFigures, MappingGroup, MappingKind},
    proc::GO_ARENA,
};

/// No address space is larger: 57 bits.
const LARGEST: u64 = 1 << 57;

/// How the kernel shows the names that Go gives its mappings since 1.25, and those among them that its heap is in.
const GO_NAME: &str = "[anon: Go: ";
const GO_HEAP: [&str; 3] = [GO_ARENA, "[anon: Go: heap]", "[anon: Go: heap reservation]"];

/// The parts of RSS, which add up to `rss_bytes` exactly; the last one is `rest`. `kinds` is what the ledger says of RSS by kind: where
/// some bytes are unexplained, these are in the rest, too. A part that could not be had is left out, its
/// bytes are in the rest, and the rest says so. Empty where `rss_bytes` or `kinds` are nothing
/// that a process can have.
///
/// Of a Go program, all that is in its heap's mappings and resident is about: spans in use, spans kept, stacks of goroutines, and what
/// was freed lazily, which Go counts as released. So with `mappings`, the rest is what of Go's figures was never touched, as a negative
/// number, and what is resident though Go counts it as released, as a positive one: huge pages bring such memory back.
#[must_use]
pub fn bridge(
    kinds: Bytes4,
    rss_bytes: i64,
    lazyfree_bytes: Option<u64>,
    go: Option<&GoFigures>,
    mappings: Option<&[MappingGroup]>,
) -> Vec<BridgePart> {
    let mut parts = Parts::default();
    let lazyfree = lazyfree_bytes.and_then(possible);
    let mut why = String::new();
    if let Some(go) = go {
        why += parts.add_go(go);
        why += parts.add_mappings(mappings);
    } else {
        parts.add_anon(kinds.anon_bytes, lazyfree);
    }
    match lazyfree {
        Some(bytes) => parts.add(
            "lazy_free",
            bytes,
            "LazyFree of smaps: given to MADV_FREE, and still resident",
        ),
        None if go.is_some() => why += "; LazyFree was not read, and is in it",
        None => {}
    }
    for (part, bytes, source) in [
        (
            "file",
            kinds.file_bytes,
            "file pages, as the kernel counts them (RssFile)",
        ),
        (
            "shmem",
            kinds.shmem_bytes,
            "shared memory and tmpfs, as the kernel counts them (RssShmem)",
        ),
    ] {
        parts.add(part, bytes, source);
    }
    parts.close(rss_bytes, &why)
}

/// A figure, where it is one that a process can have.
fn possible(bytes: u64) -> Option<i64> {
    (bytes <= LARGEST).then_some(bytes.cast_signed())
}

#[derive(Default)]
struct Parts(Vec<BridgePart>);

impl Parts {
    fn add(&mut self, part: &str, bytes: i64, source: &str) {
        self.0.push(BridgePart {
            part: part.into(),
            bytes,
            source: source.into(),
        });
    }

    /// Adds what Go says, and returns what is to be said of the rest.
    fn add_go(&mut self, go: &GoFigures) -> &'static str {
        let figure = |bytes: Option<u64>| bytes.and_then(possible);
        let in_use = figure(go.heap_inuse_bytes);
        let idle = figure(go.heap_idle_bytes)
            .zip(figure(go.heap_released_bytes))
            .map(|(idle, released)| idle - released)
            // Read while the program runs: they need not be of one moment.
            .filter(|kept| *kept >= 0);
        let stacks = figure(go.stack_inuse_bytes);
        for (part, bytes, source) in [
            (
                "go_heap_in_use",
                in_use,
                "Go's HeapInuse: spans with objects, touched or not",
            ),
            (
                "go_heap_idle",
                idle,
                "Go's HeapIdle less HeapReleased: spans without objects that Go keeps",
            ),
            (
                "go_stacks",
                stacks,
                "Go's StackInuse: stacks of goroutines, touched or not",
            ),
        ] {
            if let Some(bytes) = bytes {
                self.add(part, bytes, source);
            }
        }
        if in_use.is_some() && idle.is_some() && stacks.is_some() {
            ": below 0, memory that Go counts and never touched; above 0, memory that is resident though Go counts it as released"
        } else {
            ": not all of Go's figures could be read, and what they would tell is in it"
        }
    }

    /// Adds what is anonymous beside Go's heap, and returns what is to be said of the rest.
    fn add_mappings(&mut self, mappings: Option<&[MappingGroup]>) -> &'static str {
        let Some(mappings) = mappings else {
            return "; mappings were not read, so Go's own bookkeeping, threads' stacks and C's memory are in it";
        };
        // Else the heap is among the others, or what is called so is not all of it.
        if !mappings.iter().any(is_go_heap) {
            return "; Go's heap was not found among the mappings, so Go's own bookkeeping, threads' stacks and C's memory are in it";
        }
        let (mut own, mut other) = (None, 0_u64);
        for group in mappings.iter().filter(|group| !is_go_heap(group)) {
            let bytes = group.anon_bytes.saturating_sub(group.lazyfree_bytes);
            if is_go(group) {
                own = Some(own.unwrap_or(0_u64).saturating_add(bytes));
            } else {
                other = other.saturating_add(bytes);
            }
        }
        if let Some(bytes) = own.and_then(possible) {
            self.add(
                "go_other",
                bytes,
                "mappings that Go has named, beside its heap: its own bookkeeping",
            );
        }
        if let Some(bytes) = possible(other) {
            self.add(
                "other_anon",
                bytes,
                if own.is_some() {
                    "anonymous pages of all other mappings: variables, threads' stacks, C's memory"
                } else {
                    "anonymous pages of all mappings beside Go's heap: Go's own bookkeeping, variables, threads' stacks, C's memory"
                },
            );
        }
        ""
    }

    fn add_anon(&mut self, anon: i64, lazyfree: Option<i64>) {
        match lazyfree {
            Some(lazy) => self.add(
                "anon",
                // Not of one moment.
                anon.saturating_sub(lazy).max(0),
                "anonymous pages, as the kernel counts them (RssAnon), less LazyFree",
            ),
            None => self.add(
                "anon",
                anon,
                "anonymous pages, as the kernel counts them (RssAnon); LazyFree was not read, and is in it",
            ),
        }
    }

    fn close(mut self, rss: i64, why: &str) -> Vec<BridgePart> {
        let sum: i128 = self.0.iter().map(|part| i128::from(part.bytes)).sum();
        let Ok(rest) = i64::try_from(i128::from(rss) - sum) else {
            return Vec::new();
        };
        self.add("rest", rest, &format!("RSS less all other parts{why}"));
        self.0
    }
}

fn is_go(group: &MappingGroup) -> bool {
    group.kind == MappingKind::Anon && group.name.raw().starts_with(GO_NAME)
}

fn is_go_heap(group: &MappingGroup) -> bool {
    group.kind == MappingKind::Anon && GO_HEAP.contains(&group.name.raw())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bridge where nothing is unexplained.
    fn explained(
        kinds: Bytes4,
        lazyfree: Option<u64>,
        go: Option<&GoFigures>,
        mappings: Option<&[MappingGroup]>,
    ) -> Vec<BridgePart> {
        bridge(kinds, kinds.rss_bytes(), lazyfree, go, mappings)
    }

    fn rss(anon: i64, file: i64, shmem: i64) -> Bytes4 {
        Bytes4 {
            anon_bytes: anon,
            file_bytes: file,
            shmem_bytes: shmem,
            swap_bytes: 99,
        }
    }

    fn group(kind: MappingKind, name: &str, anon: u64, lazy: u64) -> MappingGroup {
        MappingGroup {
            kind,
            name: name.into(),
            mappings: 1,
            size_bytes: anon * 2,
            rss_bytes: anon,
            anon_bytes: anon,
            lazyfree_bytes: lazy,
            anon_huge_bytes: 0,
            swap_bytes: 0,
        }
    }

    fn go() -> GoFigures {
        GoFigures {
            heap_inuse_bytes: Some(500),
            heap_idle_bytes: Some(400),
            heap_released_bytes: Some(300),
            stack_inuse_bytes: Some(50),
            ..GoFigures::default()
        }
    }

    fn named(parts: &[BridgePart]) -> Vec<(&str, i64)> {
        parts
            .iter()
            .map(|part| (part.part.raw(), part.bytes))
            .collect()
    }

    #[test]
    fn of_a_native_program_it_is_what_the_kernel_counts() {
        let parts = explained(rss(1000, 200, 30), Some(400), None, None);
        assert_eq!(
            named(&parts),
            [
                ("anon", 600),
                ("lazy_free", 400),
                ("file", 200),
                ("shmem", 30),
                ("rest", 0)
            ]
        );
        let parts = explained(rss(1000, 200, 30), None, None, None);
        assert_eq!(
            named(&parts),
            [("anon", 1000), ("file", 200), ("shmem", 30), ("rest", 0)]
        );
        assert!(parts[0].source.raw().contains("LazyFree was not read"));
    }

    #[test]
    fn of_a_go_program_the_rest_is_what_was_never_touched() {
        let mappings = [
            group(MappingKind::Anon, GO_ARENA, 830, 200),
            group(MappingKind::Anon, "", 70, 10),
            group(MappingKind::File, "/app", 20, 0),
        ];
        // In the heap's mappings 830, of which 200 are freed lazily; Go counts 650 as kept.
        let parts = explained(rss(920, 100, 0), Some(210), Some(&go()), Some(&mappings));
        assert_eq!(
            named(&parts),
            [
                ("go_heap_in_use", 500),
                ("go_heap_idle", 100),
                ("go_stacks", 50),
                ("other_anon", 80),
                ("lazy_free", 210),
                ("file", 100),
                ("shmem", 0),
                ("rest", -20),
            ]
        );
    }

    #[test]
    fn mappings_that_go_has_named_are_its_own() {
        let mappings = [
            group(MappingKind::Anon, "[anon: Go: heap]", 830, 200),
            group(MappingKind::Anon, "[anon: Go: heap reservation]", 0, 0),
            group(MappingKind::Anon, "[anon: Go: gc bits]", 5, 0),
            group(MappingKind::Anon, "[anon: Go: page alloc]", 6, 0),
            group(MappingKind::Anon, "", 7, 0),
        ];
        let parts = explained(rss(848, 0, 0), Some(200), Some(&go()), Some(&mappings));
        assert!(named(&parts).contains(&("go_other", 11)));
        assert!(named(&parts).contains(&("other_anon", 7)));
        assert_eq!(parts.last().unwrap().bytes, -20);
    }

    #[test]
    fn what_could_not_be_had_is_in_the_rest_which_says_so() {
        let torn = GoFigures {
            heap_released_bytes: Some(401),
            stack_inuse_bytes: Some(u64::MAX),
            ..go()
        };
        let parts = explained(rss(1000, 0, 0), None, Some(&torn), None);
        assert_eq!(
            named(&parts),
            [
                ("go_heap_in_use", 500),
                ("file", 0),
                ("shmem", 0),
                ("rest", 500)
            ]
        );
        let rest = &parts.last().unwrap().source;
        for part in [
            "Go's figures",
            "mappings were not read",
            "LazyFree was not read",
        ] {
            assert!(rest.raw().contains(part), "{rest}");
        }
        // The heap is somewhere among them.
        let mappings = [group(MappingKind::Anon, "", 900, 0)];
        let parts = explained(rss(1000, 0, 0), Some(0), Some(&go()), Some(&mappings));
        assert!(!named(&parts).iter().any(|(part, _)| *part == "other_anon"));
        assert!(parts.last().unwrap().source.raw().contains("was not found"));
        // A file can be called as it likes.
        let mappings = [group(MappingKind::File, "[anon: Go: heap]", 900, 0)];
        let parts = explained(rss(1000, 0, 0), Some(0), Some(&go()), Some(&mappings));
        assert!(parts.last().unwrap().source.raw().contains("was not found"));
    }

    #[test]
    fn readings_of_two_moments_make_no_part_negative() {
        let parts = explained(rss(100, 0, 0), Some(130), None, None);
        assert_eq!(
            named(&parts),
            [
                ("anon", 0),
                ("lazy_free", 130),
                ("file", 0),
                ("shmem", 0),
                ("rest", -30)
            ]
        );
    }

    #[test]
    fn what_no_cause_explains_is_in_the_rest() {
        let parts = bridge(rss(100, 20, 3), 130, Some(40), None, None);
        assert_eq!(parts.last().unwrap().bytes, 7);
        let sum: i64 = parts.iter().map(|part| part.bytes).sum();
        assert_eq!(sum, 130);
    }

    fn figure() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![
            Just(None),
            (0..1_u64 << 40).prop_map(Some),
            any::<u64>().prop_map(Some)
        ]
    }

    prop_compose! {
        fn figures()(figures in prop::array::uniform4(figure())) -> GoFigures {
            let [heap_inuse_bytes, heap_idle_bytes, heap_released_bytes, stack_inuse_bytes] = figures;
            GoFigures {
                heap_inuse_bytes, heap_idle_bytes, heap_released_bytes, stack_inuse_bytes,
                ..GoFigures::default()
            }
        }
    }

    fn groups() -> impl Strategy<Value = Vec<MappingGroup>> {
        let name = prop::sample::select(vec![
            GO_ARENA,
            "",
            "[anon: Go: heap]",
            "[anon: Go: x]",
            "/file",
        ]);
        let number = prop_oneof![0..1_u64 << 40, any::<u64>()];
        let one = (name, number.clone(), number).prop_map(|(name, anon, lazy)| MappingGroup {
            anon_bytes: anon,
            lazyfree_bytes: lazy,
            ..group(MappingKind::Anon, name, 0, 0)
        });
        prop::collection::vec(one, 0..5)
    }

    proptest! {
        #[test]
        fn it_always_adds_up(
            kinds in prop::array::uniform3(prop_oneof![0..1_i64 << 40, any::<i64>()]),
            lazyfree in figure(),
            go in prop::option::of(figures()),
            mappings in prop::option::of(groups()),
            unexplained in prop_oneof![Just(0_i64), -1_i64 << 20..1_i64 << 20, any::<i64>()],
        ) {
            let rss = rss(kinds[0], kinds[1], kinds[2]);
            let rss_bytes = rss.rss_bytes().saturating_add(unexplained);
            let parts = bridge(rss, rss_bytes, lazyfree, go.as_ref(), mappings.as_deref());
            let sum: i128 = parts.iter().map(|part| i128::from(part.bytes)).sum();
            let real = kinds.iter().all(|bytes| (0..1 << 50).contains(bytes))
                && unexplained.unsigned_abs() <= 1 << 50;
            prop_assert!(!real || !parts.is_empty());
            if !parts.is_empty() {
                prop_assert_eq!(sum, i128::from(rss_bytes));
                prop_assert_eq!(&parts.last().unwrap().part, "rest");
            }
            if real {
                prop_assert!(parts.iter().all(|part| part.part == "rest" || part.bytes >= 0));
            }
        }
    }
}
