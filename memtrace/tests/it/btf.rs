//! The BTF parser: blobs built here, broken ones, and the running kernel's.

use std::{path::Path, process::Command};

use memtrace::probe::btf::{Btf, BtfError, Named, Shape, VMLINUX};
use proptest::{collection::vec, prelude::*};

const HEADER: usize = 24;

/// Writes BTF as `Documentation/bpf/btf.rst` describes it. Ids are handed out from 1.
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    last: u32,
}

impl Builder {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            last: 0,
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// One type: its kind (with the flag in bit 31), its size or the type that it refers to, and what follows.
    fn add(&mut self, name: &str, kind: u32, count: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.string(name);
        let info = (kind & 0x8000_0000) | (kind & 0x1f) << 24 | count;
        self.words(&[name, info, size_or_type]);
        self.words(rest);
        self.last += 1;
        self.last
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, INT, 0, size, &[size * 8])
    }

    fn alias(&mut self, kind: u32, name: &str, of: u32) -> u32 {
        self.add(name, kind, 0, of, &[])
    }

    fn array(&mut self, element: u32, length: u32) -> u32 {
        self.add("", ARRAY, 0, 0, &[element, element, length])
    }

    /// A structure or union of (name, type, offset in bits).
    fn composite(&mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut rest = Vec::new();
        for (name, ty, offset) in members {
            let name = self.string(name);
            rest.extend([name, *ty, *offset]);
        }
        self.add(name, kind, members.len() as u32, size, &rest)
    }

    fn enumeration(&mut self, name: &str, values: &[(&str, i32)]) -> u32 {
        let mut rest = Vec::new();
        for (name, value) in values {
            let name = self.string(name);
            rest.extend([name, *value as u32]);
        }
        self.add(name, ENUM, values.len() as u32, 4, &rest)
    }

    fn blob(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [HEADER as u32, 0, types, types, strings] {
            blob.extend(word.to_le_bytes());
        }
        blob.extend(&self.types);
        blob.extend(&self.strings);
        blob
    }

    #[expect(clippy::unwrap_used, reason = "a test's own blob")]
    fn parse(&self) -> Btf {
        Btf::parse(self.blob()).unwrap()
    }
}

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const SECTION: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;
/// Bit-field sizes are in the upper byte of the members' offsets.
const BITFIELDS: u32 = 1 << 31;

/// One of every kind, and after them all a structure, which is found only where all sizes before it are right.
fn every_kind() -> Builder {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let pointer = btf.alias(POINTER, "", int);
    btf.array(int, 7);
    btf.composite(STRUCT, "pair", 8, &[("a", int, 0), ("b", int, 32)]);
    btf.composite(UNION, "either", 8, &[("i", int, 0), ("p", pointer, 0)]);
    btf.enumeration("sign", &[("MINUS", -1), ("ZERO", 0), ("PLUS", 1)]);
    btf.alias(FORWARD, "elsewhere", 0);
    let typedef = btf.alias(TYPEDEF, "number_t", int);
    btf.alias(VOLATILE, "", typedef);
    btf.alias(CONST, "", typedef);
    btf.alias(RESTRICT, "", pointer);
    let (x, y) = (btf.string("x"), btf.string("y"));
    let prototype = btf.add("", PROTOTYPE, 2, int, &[x, int, y, pointer]);
    btf.alias(FUNCTION, "compute", prototype);
    let variable = btf.add("global", VARIABLE, 0, int, &[1]);
    btf.add(".data", SECTION, 2, 8, &[variable, 0, 4, variable, 4, 4]);
    btf.add("double", FLOAT, 0, 8, &[]);
    btf.add("tagged", DECL_TAG, 0, variable, &[u32::MAX]);
    btf.alias(TYPE_TAG, "user", int);
    let big = btf.string("BIG");
    btf.add("wide", ENUM64, 1, 8, &[big, 1, 1]);
    btf.composite(STRUCT, "last", 4, &[("found", typedef, 0)]);
    btf
}

/// Asks everything that can be asked. What the answers are does not matter here.
fn ask_everything(btf: &Btf) {
    for name in ["pair", "either", "last", "self", "", "a", "sign", "no such"] {
        for member in ["a", "b", "found", "", "no such"] {
            let _ = btf.member(name, member);
        }
        let _ = (
            btf.has_struct(name),
            btf.has_name(name),
            btf.enumerator(name),
        );
    }
    let reduced = btf.only(&[(Named::Typedef, "number_t"), (Named::Function, "compute")]);
    assert!(Btf::parse(reduced).is_ok());
    for id in (0..64).chain([u32::MAX, u32::MAX - 1, 1 << 31]) {
        let _ = btf.shape(id);
    }
}

#[test]
fn every_kind_is_stepped_over_by_its_own_size() {
    let btf = every_kind().parse();
    let found = btf.member("last", "found").unwrap();
    assert_eq!(found.offset, 0);
    assert_eq!(btf.shape(found.type_id), Shape::Scalar { size: 4 });
    for name in [
        "number_t",
        "compute",
        "global",
        ".data",
        "double",
        "wide",
        "sign",
        "elsewhere",
    ] {
        assert!(btf.has_name(name), "{name}");
        assert!(!btf.has_struct(name), "{name}");
    }
    assert!(btf.has_struct("pair") && btf.has_struct("either"));
    assert!(!btf.has_name("no such"));
}

#[test]
fn a_member_is_found_behind_nested_anonymous_structures_and_unions() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let innermost = btf.composite(STRUCT, "", 8, &[("x", int, 0), ("deep", int, 32)]);
    let union = btf.composite(UNION, "", 8, &[("other", int, 0), ("", innermost, 0)]);
    // Anonymous members are also reached through qualifiers.
    let qualified = btf.alias(CONST, "", union);
    let named = btf.composite(STRUCT, "", 4, &[("hidden", int, 0)]);
    btf.composite(
        STRUCT,
        "outer",
        24,
        &[("first", int, 0), ("", qualified, 64), ("sub", named, 128)],
    );
    let btf = btf.parse();
    let offset = |member| btf.member("outer", member).map(|found| found.offset).ok();
    assert_eq!(offset("first"), Some(0));
    assert_eq!(offset("other"), Some(8));
    assert_eq!(offset("x"), Some(8));
    assert_eq!(offset("deep"), Some(12));
    assert_eq!(offset("sub"), Some(16));
    assert_eq!(
        offset("hidden"),
        None,
        "it is a member of `sub`, not of `outer`"
    );
}

#[test]
fn a_structure_without_members_gives_way_to_the_one_with_them() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    btf.composite(STRUCT, "twice", 0, &[]);
    btf.composite(STRUCT, "twice", 8, &[("a", int, 32)]);
    assert_eq!(btf.parse().member("twice", "a").unwrap().offset, 4);
}

#[test]
fn shapes_are_those_behind_typedefs_and_qualifiers() {
    let mut btf = Builder::new();
    let int = btf.int("long", 8);
    let pair = btf.composite(STRUCT, "pair", 16, &[("a", int, 0)]);
    let mut chain = pair;
    for kind in [TYPEDEF, CONST, VOLATILE, RESTRICT, TYPE_TAG, TYPEDEF] {
        chain = btf.alias(kind, "alias", chain);
    }
    let array = btf.array(chain, 4);
    let pointer = btf.alias(POINTER, "", chain);
    let choice = btf.enumeration("choice", &[]);
    let unnamed = btf.composite(UNION, "", 8, &[("a", int, 0)]);
    let function = btf.alias(FUNCTION, "f", 0);
    let btf = btf.parse();
    let structure = |name: &str, size| Shape::Struct {
        name: name.to_owned(),
        size,
    };
    assert_eq!(btf.shape(chain), structure("pair", 16));
    assert_eq!(
        btf.shape(array),
        Shape::Array {
            element: chain,
            length: 4
        }
    );
    assert_eq!(btf.shape(pointer), Shape::Pointer);
    assert_eq!(btf.shape(choice), Shape::Scalar { size: 4 });
    assert_eq!(btf.shape(unnamed), structure("", 8));
    assert_eq!(btf.shape(function), Shape::Other);
    assert_eq!(btf.shape(0), Shape::Other, "void");
    assert_eq!(btf.shape(1000), Shape::Other, "no such type");
}

#[test]
fn a_bit_field_has_no_offset_that_could_be_used() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let members = [
        ("whole", int, 32),
        ("bits", int, 3 << 24 | 64),
        ("odd", int, 67),
    ];
    btf.composite(STRUCT | BITFIELDS, "flags", 12, &members);
    // Without the flag the upper byte belongs to the offset.
    btf.composite(
        STRUCT,
        "plain",
        1 << 22,
        &[("far", int, 1 << 24), ("odd", int, 4)],
    );
    let btf = btf.parse();
    assert_eq!(btf.member("flags", "whole").unwrap().offset, 4);
    assert!(btf.member("flags", "bits").is_err());
    assert!(btf.member("flags", "odd").is_err());
    assert_eq!(btf.member("plain", "far").unwrap().offset, 1 << 21);
    assert!(btf.member("plain", "odd").is_err());
}

#[test]
fn enumerators_keep_their_sign() {
    let btf = every_kind().parse();
    assert_eq!(btf.enumerator("MINUS"), Some(-1));
    assert_eq!(btf.enumerator("ZERO"), Some(0));
    assert_eq!(btf.enumerator("PLUS"), Some(1));
    assert_eq!(btf.enumerator("sign"), None, "the enumeration, not a value");
    // 64 bits do not fit; nothing that memtrace asks for is one.
    assert_eq!(btf.enumerator("BIG"), None);
}

#[test]
fn what_is_missing_is_named() {
    let btf = every_kind().parse();
    assert!(matches!(
        btf.member("nothing", "a"),
        Err(BtfError::NoType { name, .. }) if name == "nothing"
    ));
    assert!(matches!(
        btf.member("pair", "c"),
        Err(BtfError::NoMember { name, member }) if name == "pair" && member == "c"
    ));
}

#[test]
fn typedefs_in_a_circle_end() {
    let mut btf = Builder::new();
    let (first, second, own) = (1, 2, 3);
    btf.alias(TYPEDEF, "first", second);
    btf.alias(CONST, "second", first);
    btf.alias(TYPEDEF, "own", own);
    btf.composite(
        STRUCT,
        "holder",
        8,
        &[("", first, 0), ("", own, 0), ("a", own, 32)],
    );
    let btf = btf.parse();
    for id in [first, second, own] {
        assert_eq!(btf.shape(id), Shape::Other);
    }
    assert_eq!(btf.member("holder", "a").unwrap().offset, 4);
}

#[test]
fn structures_that_contain_themselves_end() {
    let mut btf = Builder::new();
    let (own, one, other) = (1, 2, 3);
    btf.composite(STRUCT, "self", 8, &[("", own, 8), ("a", own, 32)]);
    btf.composite(STRUCT, "one", 8, &[("", other, 0)]);
    btf.composite(UNION, "other", 8, &[("", one, 0)]);
    let btf = btf.parse();
    assert!(btf.member("self", "no such").is_err());
    assert!(btf.member("one", "no such").is_err());
}

/// A structure of `width` anonymous members, each of which is the structure itself, is a tree of `width` to the power of
/// the depth: it must not be walked.
#[test]
fn structures_that_contain_themselves_often_end_soon() {
    let mut btf = Builder::new();
    btf.composite(STRUCT, "self", 8, &[("", 1, 0); 64]);
    let btf = btf.parse();
    let begin = std::time::Instant::now();
    assert!(btf.member("self", "no such").is_err());
    assert!(begin.elapsed().as_secs() < 5);
}

#[test]
fn offsets_that_do_not_add_up_to_32_bits_are_refused_or_kept() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let inner = btf.composite(STRUCT, "", 8, &[("a", int, u32::MAX - 7)]);
    let outer = btf.composite(STRUCT, "", 8, &[("", inner, u32::MAX - 7)]);
    btf.composite(STRUCT, "far", 8, &[("", outer, u32::MAX - 7)]);
    assert_eq!(
        btf.parse().member("far", "a").unwrap().offset,
        3 * (u32::MAX / 8)
    );
}

#[test]
fn every_truncation_is_an_error() {
    let blob = every_kind().blob();
    assert!(Btf::parse(blob.clone()).is_ok());
    for length in 0..blob.len() {
        assert!(
            Btf::parse(blob[..length].to_vec()).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn types_cut_by_the_header_are_an_error_or_fewer_types() {
    let whole = every_kind();
    for length in 0..whole.types.len() {
        let mut blob = whole.blob();
        blob[12..16].copy_from_slice(&(length as u32).to_le_bytes());
        if let Ok(btf) = Btf::parse(blob) {
            ask_everything(&btf);
            assert!(!btf.has_struct("last"));
        }
    }
}

#[test]
fn strings_cut_by_the_header_are_no_names() {
    let whole = every_kind();
    for length in 0..whole.strings.len() {
        let mut blob = whole.blob();
        blob[20..24].copy_from_slice(&(length as u32).to_le_bytes());
        ask_everything(&Btf::parse(blob).unwrap());
    }
}

#[test]
fn headers_that_point_beyond_all_numbers_are_errors() {
    let words = [u32::MAX, u32::MAX - 24, 1 << 31, 0x7fff_ffff];
    for field in [4, 8, 12, 16, 20] {
        for word in words {
            let mut blob = every_kind().blob();
            blob[field..field + 4].copy_from_slice(&word.to_le_bytes());
            assert!(Btf::parse(blob).is_err(), "{word:#x} at {field}");
        }
    }
}

#[test]
fn other_byte_orders_and_other_files_are_errors() {
    for magic in [[0xeb, 0x9f], [0x7f, 0x45], [0, 0]] {
        let mut blob = every_kind().blob();
        blob[..2].copy_from_slice(&magic);
        assert!(matches!(
            Btf::parse(blob),
            Err(BtfError::Malformed { offset: 0, .. })
        ));
    }
    assert!(matches!(
        Btf::from_file(Path::new("/proc/self/no such file")),
        Err(BtfError::Read { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(btf) = Btf::parse(bytes) {
            ask_everything(&btf);
        }
    }

    /// Behind a valid header, so that the types are really looked at.
    #[test]
    fn random_types_do_no_harm(types in vec(any::<u8>(), 0..400), strings in vec(any::<u8>(), 0..40)) {
        let builder = Builder { types, strings, last: 0 };
        if let Ok(btf) = Btf::parse(builder.blob()) {
            ask_everything(&btf);
        }
    }

    #[test]
    fn mutations_do_no_harm(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut blob = every_kind().blob();
        for (at, byte) in changes {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        if let Ok(btf) = Btf::parse(blob) {
            ask_everything(&btf);
        }
    }

    /// Words, not bytes: so ids and counts become other small numbers, and types refer to each other in new ways.
    #[test]
    fn new_references_do_no_harm(
        changes in vec((any::<prop::sample::Index>(), 0..24u32), 1..20),
    ) {
        let mut builder = every_kind();
        let words = builder.types.len() / 4;
        for (at, word) in changes {
            let at = at.index(words) * 4;
            builder.types[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if let Ok(btf) = Btf::parse(builder.blob()) {
            ask_everything(&btf);
        }
    }
}

/// Ids are the places in the list of types: what a type is named there, and of which kind it is.
#[expect(clippy::unwrap_used, reason = "a test's own reader")]
fn listed(blob: &[u8]) -> Vec<(String, u32)> {
    let word = |at: usize| u32::from_le_bytes(blob[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4), word(8)), (0x0001_eb9f, 24, 0));
    assert_eq!(word(12), word(16), "the strings follow the types");
    let strings = HEADER + word(16) as usize;
    assert_eq!(blob.len(), strings + word(20) as usize);
    (0..word(12) as usize / 12)
        .map(|index| HEADER + index * 12)
        .map(|at| {
            let name = &blob[strings + word(at) as usize..];
            let length = name.iter().position(|&byte| byte == 0).unwrap();
            let name = String::from_utf8(name[..length].to_vec()).unwrap();
            (name, word(at + 4) >> 24)
        })
        .collect()
}

#[test]
fn what_is_left_of_btf_keeps_its_ids() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    btf.composite(STRUCT, "madvise", 4, &[("a", int, 0)]);
    let typedef = btf.alias(TYPEDEF, "btf_trace_rss_stat", int);
    let proto = btf.add("", PROTOTYPE, 1, 0, &[0, int]);
    let function = btf.alias(FUNCTION, "madvise", proto);
    btf.alias(TYPEDEF, "madvise", int);
    // The first one of a name counts.
    btf.alias(FUNCTION, "madvise", proto);
    btf.alias(FUNCTION, "nobody asks for it", proto);
    let btf = btf.parse();
    let wanted = [
        (Named::Function, "madvise"),
        (Named::Function, "no such"),
        (Named::Typedef, "btf_trace_rss_stat"),
        // Asked for twice.
        (Named::Function, "madvise"),
        (Named::Function, ""),
    ];
    let blob = btf.only(&wanted);
    let mut expected = vec![(String::new(), FORWARD); function as usize];
    expected[typedef as usize - 1] = ("btf_trace_rss_stat".to_owned(), TYPEDEF);
    expected[function as usize - 1] = ("madvise".to_owned(), FUNCTION);
    assert_eq!(listed(&blob), expected);
    let reduced = Btf::parse(blob).unwrap();
    assert!(reduced.has_name("madvise") && !reduced.has_struct("madvise"));
    assert_eq!(reduced.shape(typedef), Shape::Other);
    // Of nothing, nothing is left.
    let nothing = btf.only(&[]);
    assert_eq!(listed(&nothing), []);
    assert!(!Btf::parse(nothing).unwrap().has_name("madvise"));
}

/// The running kernel's BTF, or a word on why there is none.
#[expect(clippy::unwrap_used, reason = "what the kernel shows must parse")]
fn kernel() -> Option<Btf> {
    if !Path::new(VMLINUX).exists() {
        eprintln!("SKIPPED: this kernel has no {VMLINUX}");
        return None;
    }
    Some(Btf::from_kernel().unwrap())
}

#[test]
fn the_running_kernels_rss_counters_are_found() {
    let Some(btf) = kernel() else { return };
    let member = btf.member("mm_struct", "rss_stat").unwrap();
    assert!(matches!(
        btf.shape(member.type_id),
        Shape::Array { length: 4, .. } | Shape::Struct { .. }
    ));
    assert_eq!(btf.enumerator("MM_ANONPAGES"), Some(1));
    assert!(btf.has_name("btf_trace_rss_stat"));
}

/// The members of a structure in `bpftool btf dump`: name and offset in bits, its own members only.
fn dumped(dump: &str, name: &str) -> Vec<(String, u32)> {
    let head = format!(" STRUCT '{name}' size=");
    let mut lines = dump.lines().skip_while(|line| !line.contains(&head));
    lines.next();
    lines
        .take_while(|line| line.starts_with('\t'))
        .filter(|line| !line.contains("bitfield_size"))
        .filter_map(|line| {
            let member = line.split('\'').nth(1)?;
            let bits = line.split("bits_offset=").nth(1)?;
            let bits = bits.split_whitespace().next()?.parse().ok()?;
            Some((member.to_owned(), bits))
        })
        .filter(|(member, _)| member != "(anon)")
        .collect()
}

#[test]
fn offsets_are_those_that_bpftool_shows() {
    let Some(btf) = kernel() else { return };
    let output = Command::new("bpftool")
        .args(["btf", "dump", "file", VMLINUX])
        .output();
    let dump = match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            eprintln!(
                "SKIPPED: bpftool failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            return;
        }
        Err(error) => {
            eprintln!("SKIPPED: no bpftool: {error}");
            return;
        }
    };
    let dump = String::from_utf8_lossy(&dump);
    for name in [
        "task_struct",
        "percpu_counter",
        "bpf_array",
        "pt_regs",
        "file",
        "vm_area_struct",
    ] {
        let members = dumped(&dump, name);
        assert!(!members.is_empty(), "{name} is in the dump");
        for (member, bits) in members {
            if bits % 8 == 0 {
                let found = btf.member(name, &member).map(|found| found.offset);
                assert_eq!(found.ok(), Some(bits / 8), "{name}.{member}");
            }
        }
    }
}
