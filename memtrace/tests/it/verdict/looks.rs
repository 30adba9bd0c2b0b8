//! What a person sees.

use memtrace::{
    model::{Cause, MappingKind, Missing},
    view,
};

use super::scene::Scene;

fn plain(scene: &Scene, width: usize) -> String {
    let text = view::verdict(&scene.judge(), width);
    anstream::adapter::strip_str(&text).to_string()
}

fn article() -> Scene {
    Scene::flat(8, 1200)
        .go("go1.15.15")
        .expects("go", "MADV_FREE", "Go 1.12 to 1.15 use MADV_FREE")
        .called(Cause::Madvise, Some("MADV_FREE"), 3000, 1100, 0)
        .heap(|_| [90, 80, 1080, 1050, 9])
        .lazyfree(1024)
        .cgroup(2048, 1900, 1030)
}

#[test]
fn the_answer_at_80_columns() {
    let expected = "\
Not a leak: 1.00G of 1.17G RSS has been given back already

The program freed 1.00G with MADV_FREE. The kernel leaves such pages where they
are, and in RSS, until it needs memory; then it takes them at once, without
writing anything to swap. What the program still holds is 176.0M.

  LazyFree                   1.00G
  RSS                        1.17G
  RSS - LazyFree            176.0M
  LazyFree, of RSS             85%
  asked for with MADV_FREE   1.07G
  calls with MADV_FREE        3000
  Go's HeapReleased          1.03G

what to do
  - Do nothing: it is harmless. The kernel takes these pages by itself as soon
    as memory is short, before it swaps anything, and a cgroup at its limit
    takes them before it kills. Watch RSS - LazyFree instead of RSS.
  - GODEBUG=madvdontneed=1
    Where RSS itself has to fall, for an alert or an autoscaler: Go then gives
    memory back with MADV_DONTNEED. It costs a page fault for each page that is
    used again. Go 1.16 and later do so without it.

also
  - The cgroup is at 92% of its limit of 2.00G (cgroup-limit)
    The memory cgroup uses 1.86G of its limit of 2.00G (92%). 1.01G of it go
    first: inactive file pages, lazily freed memory among them, are dropped
    before anything is killed.
  - Kubernetes counts 870.0M, not the 1.86G of the cgroup's usage
    (cgroup-scaling)
    Kubernetes scales and evicts by the working set: usage less inactive file
    pages, which are 1.01G here. RSS of this process is 1.17G. Its 1.00G of
    lazily freed memory are among the inactive file pages: RSS shows them, the
    working set does not.

confidence high
  - every byte of the change of RSS has a cause
  - the kernel itself says how much is lazily freed, at the end of the capture
  - MADV_FREE is what to expect here: Go 1.12 to 1.15 use MADV_FREE; 1.07G of it
    was seen

memtrace explain lazy-free
";
    let shown = plain(&article(), 80);
    assert_eq!(shown, expected, "{shown}");
    // A capture with everything, for the fuzzer to begin with.
    if std::env::var_os("MEMTRACE_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../fuzz/seeds/verdict/article.json"
        );
        let bytes = serde_json::to_vec(&article().capture).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let long = "very/long/path/".repeat(40);
    let scene = Scene::of_kinds(30, &vec![[20, 610, 0, 0]; 31])
        .mapping(MappingKind::File, &long, 600)
        .with(|epoch| epoch.summary.mappings_missing = Some("words ".repeat(200).into()));
    for width in [80, 100] {
        for line in plain(&scene, width).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn the_styles_are_memtraces_own() {
    let mut verdict = article().judge();
    verdict.title = "\u{1b}[2J".into();
    verdict.text = "\u{202e}x\n\u{9b}y".into();
    verdict.evidence[0].what = "\u{7}".into();
    verdict.confidence.because = vec!["\u{1b}]0;x\u{7}".into()];
    verdict.suggestions[0].setting = Some("\u{1b}c".into());
    verdict.also[0].title = "\r".into();
    let text = view::verdict(&verdict, 80);
    let plain = anstream::adapter::strip_str(&text).to_string();
    assert!(plain.contains("\\u{1b}[2J"), "{plain}");
    let left: String = plain.chars().filter(|&c| c != '\n').collect();
    assert!(
        !left.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{left:?}"
    );
    assert_eq!(text.matches('\u{1b}').count() % 2, 0, "each style is ended");
}

#[test]
fn what_is_missing_for_one_reason_is_said_with_it_once() {
    let mut verdict = article().judge();
    verdict.missing = [
        ("mmap", "no tracefs"),
        ("go", "stripped"),
        ("brk", "no tracefs"),
    ]
    .map(|(what, why)| Missing::new(what, why))
    .to_vec();
    let text = view::verdict(&verdict, 80);
    let plain = anstream::adapter::strip_str(&text).to_string();
    let shown = "\nnot known\n  - mmap, brk: no tracefs\n  - go: stripped\n\n";
    assert!(plain.contains(shown), "{plain}");
}
