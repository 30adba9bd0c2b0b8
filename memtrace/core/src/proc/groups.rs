//! `/proc/PID/smaps`: its mappings, in groups by name.
//!
//! Line by line, since the file of a process with 65,000 mappings has 50 MB. Not all of one moment: the kernel lets go of the memory's lock
//! between two parts of it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use super::{Mapping, mapping, smaps::kib, text};
use crate::model::{MappingGroup, MappingKind};

/// The name of what is left when the largest groups are shown. Its kind is `special`, whatever it is made of.
pub const OTHERS: &str = "(others)";
/// The name of the unnamed mappings that Go has its heap in. Since 1.25 Go names them, where the kernel can keep names.
pub const GO_ARENA: &str = "(Go heap arena)";
/// How Go names its mappings (`setVMAName` in `runtime/set_vma_name_linux.go`), as the kernel shows it.
const GO_NAME: &[u8] = b"[anon: Go: ";

/// Groups that are shown by name.
const SHOWN: usize = 12;
/// Different names that are kept, all together bytes. What comes behind is part of the others, however large it is.
const MOST_NAMES: usize = 100_000;
const MOST_NAME_BYTES: usize = 16 << 20;

/// What may be Go's heap, until all mappings are known.
const MAYBE_ARENA: &[u8] = b"(Go heap arena?)";

/// Where Go up to 1.25 asks for the first piece of its heap, and as much behind it as there is before the next place that it would try
/// (`mallocinit` in `runtime/malloc.go`).
const fn fixed_arena() -> Range<u64> {
    if cfg!(target_arch = "aarch64") {
        0x40_0000_0000..0x140_0000_0000
    } else {
        0xc0_0000_0000..0x1c0_0000_0000
    }
}

/// Since 1.26 that place is random, below 2⁴⁶ on x86-64 and 2⁴⁷ on arm64. Programs, libraries and all that asks for no address are above,
/// but for programs that are not PIE, which are in the first 2 GiB. C code that asks for an address there too, as mimalloc does, cannot be
/// told apart.
const fn random_arena() -> Range<u64> {
    let bits = if cfg!(target_arch = "aarch64") {
        47
    } else {
        46
    };
    1 << 32..1 << bits
}

/// Sums over mappings, bytes but for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    mappings: u64,
    size: u64,
    rss: u64,
    anon: u64,
    lazy_free: u64,
    anon_huge: u64,
    swap: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        let Self {
            mappings,
            size,
            rss,
            anon,
            lazy_free,
            anon_huge,
            swap,
        } = other;
        for (sum, more) in [
            (&mut self.mappings, mappings),
            (&mut self.size, size),
            (&mut self.rss, rss),
            (&mut self.anon, anon),
            (&mut self.lazy_free, lazy_free),
            (&mut self.anon_huge, anon_huge),
            (&mut self.swap, swap),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// The figures of `smaps` that are needed, in the order in which they stand there.
const FIGURES: [&[u8]; 6] = [
    b"Size",
    b"Rss",
    b"Anonymous",
    b"LazyFree",
    b"AnonHugePages",
    b"Swap",
];

/// A mapping that is being read.
#[derive(Debug)]
struct Current {
    kind: MappingKind,
    name: Vec<u8>,
    figures: [Option<u64>; FIGURES.len()],
}

/// What the whole file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    /// The largest groups by RSS, all groups of Go's, and [`OTHERS`]: all mappings are in one of them.
    pub groups: Vec<MappingGroup>,
    /// How many mappings.
    pub mappings: u64,
    /// Sums in bytes, which should be those of `smaps_rollup` where the process stands still.
    pub rss: u64,
    /// Given to `MADV_FREE`, and still here.
    pub lazy_free: u64,
    /// In anonymous huge pages.
    pub anon_huge: u64,
    /// In swap.
    pub swap: u64,
}

/// Takes the lines of `smaps`.
#[derive(Debug)]
pub struct Groups {
    go: bool,
    shmem_devices: BTreeSet<(u32, u32)>,
    groups: HashMap<(MappingKind, Vec<u8>), Sums>,
    name_bytes: usize,
    overflow: Sums,
    current: Option<Current>,
    total: Sums,
    /// Whether a mapping begins where Go up to 1.25 puts its heap.
    has_fixed_arena: bool,
}

impl Groups {
    /// `go`: whether it is a Go program's. `shmem_devices`: those whose files are shared memory, beside what names tell.
    #[must_use]
    pub fn new(go: bool, shmem_devices: BTreeSet<(u32, u32)>) -> Self {
        Self {
            go,
            shmem_devices,
            groups: HashMap::new(),
            name_bytes: 0,
            overflow: Sums::default(),
            current: None,
            total: Sums::default(),
            has_fixed_arena: false,
        }
    }

    /// Takes a line, without its end; `None` where it is not of such a file.
    #[must_use]
    pub fn line(&mut self, line: &[u8]) -> Option<()> {
        if let Some(head) = mapping(line) {
            self.close()?;
            self.has_fixed_arena |= head.start == fixed_arena().start;
            self.current = Some(Current {
                kind: self.kind(&head),
                name: self.name(&head).to_vec(),
                figures: [None; FIGURES.len()],
            });
            return Some(());
        }
        let current = self.current.as_mut()?;
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (key, value) = line.split_at(colon);
        if let Some(index) = FIGURES.iter().position(|figure| *figure == key) {
            let value = value.get(1..).unwrap_or_default();
            *current.figures.get_mut(index)? = Some(kib(value)?);
        }
        Some(())
    }

    /// All mappings; `None` where the last one lacks a figure.
    #[must_use]
    pub fn finish(mut self) -> Option<Mappings> {
        self.close()?;
        if let Some(sums) = self
            .groups
            .remove(&(MappingKind::Anon, MAYBE_ARENA.to_vec()))
        {
            let name: &[u8] = if self.has_fixed_arena {
                b""
            } else {
                GO_ARENA.as_bytes()
            };
            let key = (MappingKind::Anon, name.to_vec());
            self.groups.entry(key).or_default().add(&sums);
        }
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        // The largest first; names only make the order certain.
        groups.sort_by(|(key, sums), (other_key, other)| {
            other.rss.cmp(&sums.rss).then_with(|| key.cmp(other_key))
        });
        let mut others = self.overflow;
        let mut shown = Vec::new();
        let mut room = SHOWN;
        for ((kind, name), sums) in groups {
            let is_gos = self.go && (name.starts_with(GO_NAME) || name == GO_ARENA.as_bytes());
            if is_gos || room > 0 {
                room -= usize::from(!is_gos);
                shown.push(group(kind, text(&name), &sums));
            } else {
                others.add(&sums);
            }
        }
        if others.mappings > 0 {
            shown.push(group(MappingKind::Special, OTHERS.to_owned(), &others));
        }
        Some(Mappings {
            groups: shown,
            mappings: self.total.mappings,
            rss: self.total.rss,
            lazy_free: self.total.lazy_free,
            anon_huge: self.total.anon_huge,
            swap: self.total.swap,
        })
    }

    fn close(&mut self) -> Option<()> {
        let Some(Current {
            kind,
            name,
            figures,
        }) = self.current.take()
        else {
            return Some(());
        };
        let [size, rss, anon, lazy_free, anon_huge, swap] = figures;
        let sums = Sums {
            mappings: 1,
            size: size?,
            rss: rss?,
            anon: anon?,
            lazy_free: lazy_free?,
            anon_huge: anon_huge?,
            swap: swap?,
        };
        self.total.add(&sums);
        let key = (kind, name);
        if let Some(group) = self.groups.get_mut(&key) {
            group.add(&sums);
            return Some(());
        }
        let bytes = self.name_bytes.saturating_add(key.1.len());
        if self.groups.len() < MOST_NAMES && bytes <= MOST_NAME_BYTES {
            self.name_bytes = bytes;
            self.groups.insert(key, sums);
        } else {
            self.overflow.add(&sums);
        }
        Some(())
    }

    fn name<'a>(&self, head: &Mapping<'a>) -> &'a [u8] {
        if self.go && is_unnamed(head) {
            if fixed_arena().contains(&head.start) {
                return GO_ARENA.as_bytes();
            }
            if random_arena().contains(&head.start) {
                return MAYBE_ARENA;
            }
        }
        head.name
    }

    fn kind(&self, head: &Mapping<'_>) -> MappingKind {
        if is_unnamed(head) {
            return MappingKind::Anon;
        }
        if let Some(kind) = bracketed(head.name) {
            return kind;
        }
        // A private mapping of this device is anonymous memory, and so are huge pages of hugetlbfs without a file.
        if (head.name == b"/dev/zero" && !head.is_shared())
            || head.name.starts_with(b"/anon_hugepage")
        {
            return MappingKind::Anon;
        }
        // In a container `/dev` is a tmpfs, and what is mapped of it is a device's memory.
        let on_tmpfs = self.shmem_devices.contains(&head.device)
            && (!head.name.starts_with(b"/dev/") || head.name.ends_with(b" (deleted)"));
        if on_tmpfs || is_shmem(head.name) {
            return MappingKind::Shmem;
        }
        if head.name.starts_with(b"/") {
            return MappingKind::File;
        }
        // `anon_inode:…`, `socket:…`: memory of the kernel's.
        MappingKind::Special
    }
}

fn is_unnamed(head: &Mapping<'_>) -> bool {
    head.name.is_empty() && head.inode == 0
}

/// Names of the kernel's own are in brackets; a file's path begins with `/`.
fn bracketed(name: &[u8]) -> Option<MappingKind> {
    let inner = name.strip_prefix(b"[")?;
    Some(if inner == b"heap]" {
        MappingKind::Heap
    } else if inner == b"stack]" || inner.starts_with(b"stack:") {
        MappingKind::Stack
    } else if inner.starts_with(b"anon:") {
        MappingKind::Anon
    } else if inner.starts_with(b"anon_shmem:") {
        MappingKind::Shmem
    } else {
        MappingKind::Special
    })
}

/// Names by which the kernel and the C library call shared memory: `memfd_create`, System V, `MAP_SHARED | MAP_ANONYMOUS`,
/// `shm_open`.
fn is_shmem(name: &[u8]) -> bool {
    name.starts_with(b"/memfd:")
        || name.starts_with(b"/SYSV")
        || name.starts_with(b"/dev/shm/")
        || name == b"/dev/zero (deleted)"
}

fn group(kind: MappingKind, name: String, sums: &Sums) -> MappingGroup {
    MappingGroup {
        kind,
        name: name.into(),
        mappings: sums.mappings,
        size_bytes: sums.size,
        rss_bytes: sums.rss,
        anon_bytes: sums.anon,
        lazyfree_bytes: sums.lazy_free,
        anon_huge_bytes: sums.anon_huge,
        swap_bytes: sums.swap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mapping's part of the file: its head, and `rss`, `anon` and `lazy` in KiB.
    fn entry(head: &str, rss: u64, anon: u64, lazy: u64) -> String {
        format!(
            "{head}\nSize:                 {} kB\nKernelPageSize:        4 kB\nRss:                  {rss} kB\n\
             Pss:                   0 kB\nAnonymous:             {anon} kB\nLazyFree:              {lazy} kB\n\
             AnonHugePages:         2 kB\nSwap:                  3 kB\nSwapPss:               0 kB\nVmFlags: rd wr \n",
            rss + 4
        )
    }

    fn take(text: &[u8], go: bool) -> Option<Mappings> {
        let mut groups = Groups::new(go, BTreeSet::from([(0, 0x99)]));
        for line in text
            .strip_suffix(b"\n")
            .unwrap_or(text)
            .split(|&byte| byte == b'\n')
        {
            groups.line(line)?;
        }
        groups.finish()
    }

    fn kind_of(head: &str) -> (MappingKind, String) {
        let found = take(entry(head, 8, 4, 0).as_bytes(), false).unwrap();
        (found.groups[0].kind, found.groups[0].name.to_string())
    }

    #[test]
    fn mappings_of_a_kind_and_name_are_one_group() {
        let text = [
            entry("1000-2000 r--p 00000000 08:02 12    /lib/a b", 8, 0, 0),
            entry("2000-3000 rw-p 00000000 08:02 12    /lib/a b", 16, 12, 4),
            entry("3000-4000 rw-p 00000000 00:00 0 ", 100, 100, 50),
        ]
        .concat();
        let found = take(text.as_bytes(), false).unwrap();
        assert_eq!(found.mappings, 3);
        assert_eq!((found.rss, found.lazy_free), (124 << 10, 54 << 10));
        assert_eq!((found.anon_huge, found.swap), (6 << 10, 9 << 10));
        let [anon, file] = &found.groups[..] else {
            panic!("{found:?}")
        };
        assert_eq!((anon.kind, anon.name.raw()), (MappingKind::Anon, ""));
        let expected = MappingGroup {
            kind: MappingKind::File,
            name: "/lib/a b".into(),
            mappings: 2,
            size_bytes: 32 << 10,
            rss_bytes: 24 << 10,
            anon_bytes: 12 << 10,
            lazyfree_bytes: 4 << 10,
            anon_huge_bytes: 4 << 10,
            swap_bytes: 6 << 10,
        };
        assert_eq!(*file, expected);
    }

    #[test]
    fn kinds_are_told_by_name_and_device() {
        use MappingKind::{Anon, File, Heap, Shmem, Special, Stack};
        for (rest, kind) in [
            ("rw-p 0 00:00 0 [heap]", Heap),
            ("rw-p 0 00:00 0 [stack]", Stack),
            ("rw-p 0 00:00 0 ", Anon),
            ("rw-p 0 00:00 0 [anon: Go: heap]", Anon),
            ("rw-p 0 00:05 7 /dev/zero", Anon),
            ("rw-p 0 00:99 7 /dev/zero", Anon),
            ("rw-s 0 00:99 7 /dev/dri/card0", File),
            ("rw-p 0 00:0f 7 /anon_hugepage (deleted)", Anon),
            ("rw-s 0 00:01 7 [anon_shmem:x]", Shmem),
            ("rw-s 0 00:01 7 /dev/zero (deleted)", Shmem),
            ("rw-s 0 00:01 7 /memfd:x (deleted)", Shmem),
            ("rw-s 0 00:01 7 /SYSV00000000 (deleted)", Shmem),
            ("rw-s 0 00:1b 7 /dev/shm/x", Shmem),
            ("rw-p 0 00:99 7 /tmp/on a tmpfs", Shmem),
            ("rw-p 0 08:02 7 /tmp/[heap]", File),
            ("rw-p 0 08:02 7 /dev/shmem", File),
            ("r-xp 0 00:00 0 [vdso]", Special),
            ("rw-s 0 00:0e 7 anon_inode:[io_uring]", Special),
        ] {
            assert_eq!(kind_of(&format!("1000-2000 {rest}")).0, kind, "{rest}");
        }
    }

    #[test]
    fn gos_arena_is_named_where_it_is_go() {
        let text = [
            entry("c000000000-c000400000 rw-p 00000000 00:00 0 ", 100, 100, 0),
            entry("c000400000-c004000000 ---p 00000000 00:00 0 ", 0, 0, 0),
            entry("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ", 4, 4, 0),
        ]
        .concat();
        let go = take(text.as_bytes(), true).unwrap();
        assert_eq!(
            (go.groups[0].name.raw(), go.groups[0].mappings),
            (GO_ARENA, 2)
        );
        assert_eq!(go.groups[1].name, "");
        // Since 1.26 it is anywhere in the lower part.
        let random = text.replace("c00", "23c00");
        let random = take(random.as_bytes(), true).unwrap();
        assert_eq!(random.groups, go.groups);
        // Where it is at its old place, what is elsewhere is another's.
        let both = text.clone() + &entry("20000000000-20000001000 rw-p 00000000 00:00 0 ", 4, 4, 0);
        let both = take(both.as_bytes(), true).unwrap();
        assert_eq!(both.groups[0], go.groups[0]);
        assert_eq!(both.groups[1].mappings, 2);
        let other = take(text.as_bytes(), false).unwrap();
        assert_eq!(
            (other.groups[0].name.raw(), other.groups[0].mappings),
            ("", 3)
        );
    }

    #[test]
    fn the_largest_are_shown_and_the_sums_hold() {
        let mut text = String::new();
        for number in 0..40_u64 {
            let head = format!("1000-2000 r--p 00000000 08:02 12 /lib/{number}");
            text += &entry(&head, (number * 7) % 41 * 4, 0, 0);
        }
        text += &entry(
            "1000-2000 rw-p 00000000 00:00 0 [anon: Go: gc bits]",
            0,
            0,
            0,
        );
        let found = take(text.as_bytes(), true).unwrap();
        assert_eq!(found.groups.len(), SHOWN + 2);
        let sum = |figure: fn(&MappingGroup) -> u64| found.groups.iter().map(figure).sum::<u64>();
        assert_eq!(sum(|group| group.rss_bytes), found.rss);
        assert_eq!(sum(|group| group.mappings), found.mappings);
        assert_eq!(sum(|group| group.swap_bytes), found.swap);
        let others = found.groups.last().unwrap();
        assert_eq!(
            (others.kind, others.name.raw()),
            (MappingKind::Special, OTHERS)
        );
        let least = found.groups[..SHOWN]
            .iter()
            .map(|group| group.rss_bytes)
            .min();
        // 0 to 40 without 34.
        assert_eq!(least, Some(28 * 4096));
    }

    #[test]
    fn memory_stays_bounded_whatever_the_names_are() {
        let mut groups = Groups::new(false, BTreeSet::new());
        let figures = entry("", 4, 0, 0);
        let mut line = |line: &[u8]| groups.line(line).unwrap();
        for number in 0..20_000_u32 {
            let mut head = format!("1000-2000 r--p 00000000 08:02 12 /{number}").into_bytes();
            head.resize(4096, b'\x1b');
            line(&head);
            for figure in figures.trim().lines() {
                line(figure.as_bytes());
            }
        }
        assert!(groups.name_bytes <= MOST_NAME_BYTES);
        let found = groups.finish().unwrap();
        assert_eq!(found.rss, 20_000 * 4096);
        let sum: u64 = found.groups.iter().map(|group| group.rss_bytes).sum();
        assert_eq!(sum, found.rss);
    }

    #[test]
    fn what_is_no_such_file_is_nothing() {
        let whole = entry("1000-2000 rw-p 00000000 00:00 0 ", 4, 4, 0);
        assert!(take(whole.as_bytes(), false).is_some());
        for wrong in [
            whole.replace("LazyFree", "Lazy"),
            whole.replace("Rss:                  4 kB", "Rss: 4 MB"),
            whole.replace("Rss:                  4 kB", "Rss: 18446744073709551615 kB"),
            whole.replace("Rss:                  4 kB", "Rss: -4 kB"),
            whole.replace("VmFlags:", "VmFlags"),
            whole.replacen("1000-2000", "2000-1000", 1),
            format!("Rss: 4 kB\n{whole}"),
            format!("{whole}1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\n"),
        ] {
            assert_eq!(take(wrong.as_bytes(), false), None, "{wrong}");
        }
        // Nothing is mapped: a zombie, a kernel thread.
        let mut nothing = Groups::new(false, BTreeSet::new());
        assert_eq!(nothing.line(b""), None);
        let nothing = Groups::new(false, BTreeSet::new());
        assert_eq!(nothing.finish(), Some(Mappings::default()));
    }
}
