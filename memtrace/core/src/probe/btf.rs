//! Looking up structures in the kernel's BTF.
//!
//! aya reads BTF too, but keeps its types to itself; what memtrace asks is small: where is this member of this structure,
//! and of what type is it. The format: <https://docs.kernel.org/bpf/btf.html>.

use std::path::Path;

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Most members that are looked at to find one, those of anonymous structures included.
const MAX_MEMBERS: u32 = 1 << 16;

/// Why BTF could not be read, or does not have what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}; memtrace needs a kernel with CONFIG_DEBUG_INFO_BTF=y")]
    Read {
        /// The file.
        path: String,
        /// What reading it said.
        source: std::io::Error,
    },
    /// The bytes are not BTF, or are cut.
    #[error("malformed BTF at byte {offset}: {what}")]
    Malformed {
        /// Byte offset from the beginning.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// No such type.
    #[error("the kernel's BTF has no {kind} {name}")]
    NoType {
        /// "struct" or the like.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No such member.
    #[error("the kernel's BTF has no member {member} in struct {name}")]
    NoMember {
        /// The structure.
        name: String,
        /// The member.
        member: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Pointer,
    Array { element: u32, length: u32 },
    Composite,
    Enum,
    Alias,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Type {
    /// Offset of its name among the strings.
    name: u32,
    kind: Kind,
    /// Size in bytes, or the type that this one stands for.
    size_or_type: u32,
    /// Byte offset of what follows the type's header.
    rest: usize,
    /// Members, enumerators or the like.
    count: usize,
    /// Bit-field flag of a composite.
    flag: bool,
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset in bytes from the beginning of the outermost structure.
    pub offset: u32,
    /// BTF id of its type.
    pub type_id: u32,
}

/// The shape of a type, as far as memtrace tells shapes apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A structure or union with this name ("" for an anonymous one) and size in bytes.
    Struct {
        /// Name.
        name: String,
        /// Bytes.
        size: u32,
    },
    /// An array.
    Array {
        /// BTF id of the elements.
        element: u32,
        /// Number of elements.
        length: u32,
    },
    /// An integer or enumeration of this many bytes.
    Scalar {
        /// Bytes.
        size: u32,
    },
    /// A pointer.
    Pointer,
    /// Anything else.
    Other,
}

/// What programs are attached to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A typedef: `btf_trace_` and a tracepoint's name.
    Typedef,
    /// A function.
    Function,
}

impl Named {
    /// `BTF_KIND_TYPEDEF`, `BTF_KIND_FUNC`.
    const fn kind(self) -> u32 {
        match self {
            Self::Typedef => 8,
            Self::Function => 12,
        }
    }
}

/// `BTF_KIND_FWD`: the smallest type that there is, and one that nothing is attached to.
const PLACEHOLDER: u32 = 7;

/// Bytes of a header.
const HEADER: u32 = 24;

/// A parsed BTF blob: the bytes, and where in them each type is. A kernel has 100,000 types and more, and memtrace asks for a few
/// dozen once, so a type is read when it is asked for, and names are compared where they are.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Where each type begins, in bytes, from id 1 on.
    types: Vec<u32>,
    /// Ids of the structures and unions that have a name and members.
    structs: Vec<u32>,
    /// Ids of the enumerations.
    enums: Vec<u32>,
}

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// Where the kernel has none, or it is malformed.
    pub fn from_kernel() -> Result<Self, BtfError> {
        Self::from_file(Path::new(VMLINUX))
    }

    /// Reads BTF from a file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is malformed.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(data)
    }

    /// Parses a BTF blob.
    ///
    /// # Errors
    ///
    /// Where it is malformed.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let bad = |offset, what| BtfError::Malformed { offset, what };
        if u16_at(&data, 0) != Some(0xeb9f) {
            return Err(bad(0, "no little-endian BTF magic"));
        }
        let field = |at| {
            u32_at(&data, at)
                .map(|value| value as usize)
                .ok_or(bad(at, "header cut"))
        };
        let header = field(4)?;
        let (type_at, type_len) = (field(8)?, field(12)?);
        let (string_at, string_len) = (field(16)?, field(20)?);
        let range = |at: usize, len: usize| {
            let start = header.checked_add(at)?;
            let end = start.checked_add(len)?;
            (end <= data.len()).then_some(start..end)
        };
        let types = range(type_at, type_len).ok_or(bad(8, "type section beyond the end"))?;
        let strings = range(string_at, string_len).ok_or(bad(16, "strings beyond the end"))?;
        let mut btf = Self {
            data,
            strings,
            types: Vec::new(),
            structs: Vec::new(),
            enums: Vec::new(),
        };
        let mut at = types.start;
        while at < types.end {
            let (ty, next) = btf
                .parse_type(at)
                .ok_or(bad(at, "type cut, or of an unknown kind"))?;
            if next > types.end {
                return Err(bad(at, "type beyond its section"));
            }
            let start = u32::try_from(at).map_err(|_| bad(at, "types beyond 4 GiB"))?;
            btf.types.push(start);
            let id = btf.types.len() as u32;
            match ty.kind {
                Kind::Composite if ty.count > 0 && btf.has_a_name(&ty) => btf.structs.push(id),
                Kind::Enum => btf.enums.push(id),
                _ => {}
            }
            at = next;
        }
        Ok(btf)
    }

    /// The type with this id; `None` for `void`, which is 0.
    fn type_of(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        self.parse_type(at as usize).map(|(ty, _)| ty)
    }

    fn ids(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.types.len() as u32
    }

    fn parse_type(&self, at: usize) -> Option<(Type, usize)> {
        let name = u32_at(&self.data, at)?;
        let info = u32_at(&self.data, at + 4)?;
        let size_or_type = u32_at(&self.data, at + 8)?;
        let rest = at + 12;
        let count = (info & 0xffff) as usize;
        let (kind, extra) = match (info >> 24) & 0x1f {
            1 => (Kind::Int, 4),
            2 => (Kind::Pointer, 0),
            3 => (
                Kind::Array {
                    element: u32_at(&self.data, rest)?,
                    length: u32_at(&self.data, rest + 8)?,
                },
                12,
            ),
            4 | 5 => (Kind::Composite, count * 12),
            6 => (Kind::Enum, count * 8),
            // Typedef, volatile, const, restrict, type tag.
            8..=11 | 18 => (Kind::Alias, 0),
            // Forward, function.
            7 | 12 => (Kind::Other, 0),
            // Function prototype.
            13 => (Kind::Other, count * 8),
            // Variable.
            14 => (Kind::Other, 4),
            // Data section.
            15 => (Kind::Other, count * 12),
            // Float.
            16 => (Kind::Other, 0),
            // Declaration tag.
            17 => (Kind::Other, 4),
            // 64-bit enumeration.
            19 => (Kind::Other, count * 12),
            _ => return None,
        };
        let ty = Type {
            name,
            kind,
            size_or_type,
            rest,
            count,
            flag: info >> 31 != 0,
        };
        Some((ty, rest.checked_add(extra)?))
    }

    fn strings_from(&self, offset: u32) -> Option<&[u8]> {
        let section = self.data.get(self.strings.clone())?;
        section.get(offset as usize..)
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.strings_from(offset)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    fn has_a_name(&self, ty: &Type) -> bool {
        self.strings_from(ty.name)
            .and_then(|rest| rest.first())
            .is_some_and(|&byte| byte != 0)
    }

    /// Whether the string at `offset` is this one.
    fn is_named(&self, offset: u32, wanted: &str) -> bool {
        self.strings_from(offset)
            .and_then(|rest| rest.strip_prefix(wanted.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..32 {
            let ty = self.type_of(id)?;
            if ty.kind != Kind::Alias {
                return Some(ty);
            }
            id = ty.size_or_type;
        }
        None
    }

    /// The shape of a type, behind typedefs and qualifiers.
    #[must_use]
    pub fn shape(&self, id: u32) -> Shape {
        let Some(ty) = self.resolve(id) else {
            return Shape::Other;
        };
        match ty.kind {
            Kind::Int | Kind::Enum => Shape::Scalar {
                size: ty.size_or_type,
            },
            Kind::Pointer => Shape::Pointer,
            Kind::Array { element, length } => Shape::Array { element, length },
            Kind::Composite => Shape::Struct {
                name: self.string(ty.name).unwrap_or_default().to_owned(),
                size: ty.size_or_type,
            },
            Kind::Alias | Kind::Other => Shape::Other,
        }
    }

    /// BTF id of a structure or union that has members.
    #[must_use]
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        self.structs.iter().copied().find(|&id| {
            self.type_of(id)
                .is_some_and(|ty| self.is_named(ty.name, name))
        })
    }

    /// Whether there is a structure or union of this name.
    #[must_use]
    pub fn has_struct(&self, name: &str) -> bool {
        self.struct_id(name).is_some()
    }

    /// BTF id of a function or typedef.
    #[must_use]
    pub fn id(&self, named: Named, name: &str) -> Option<u32> {
        self.ids().find(|&id| {
            self.raw_kind(id) == Some(named.kind())
                && self
                    .type_of(id)
                    .is_some_and(|ty| self.is_named(ty.name, name))
        })
    }

    /// Offset of a variable in a section of the kernel, such as `.data..percpu`, in bytes.
    #[must_use]
    pub fn variable_offset(&self, section: &str, name: &str) -> Option<u32> {
        const SECTION: u32 = 15;
        self.ids()
            .filter(|&id| self.raw_kind(id) == Some(SECTION))
            .filter_map(|id| self.type_of(id))
            .filter(|ty| self.is_named(ty.name, section))
            // Entries: the variable's id, its offset, its size.
            .flat_map(|ty| (0..ty.count).map(move |index| ty.rest + index * 12))
            .find(|&at| {
                u32_at(&self.data, at)
                    .and_then(|id| self.type_of(id))
                    .is_some_and(|variable| self.is_named(variable.name, name))
            })
            .and_then(|at| u32_at(&self.data, at + 4))
    }

    fn raw_kind(&self, id: u32) -> Option<u32> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        u32_at(&self.data, at as usize + 4).map(|info| info >> 24 & 0x1f)
    }

    /// Whether there is a function or typedef of this name, such as `btf_trace_rss_stat` or `__x64_sys_madvise`.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.ids()
            .filter_map(|id| self.type_of(id))
            .any(|ty| ty.name != 0 && self.is_named(ty.name, name))
    }

    /// Finds a member of a structure, looking into anonymous structures and unions within it.
    ///
    /// # Errors
    ///
    /// Where there is no such structure, or it has no such member, or the member is a bit field.
    pub fn member(&self, name: &str, member: &str) -> Result<Member, BtfError> {
        let id = self.struct_id(name).ok_or_else(|| BtfError::NoType {
            kind: "struct",
            name: name.to_owned(),
        })?;
        self.member_of(id, member, 0, &mut 0)
            .ok_or_else(|| BtfError::NoMember {
                name: name.to_owned(),
                member: member.to_owned(),
            })
    }

    fn member_of(&self, id: u32, wanted: &str, depth: u32, looked: &mut u32) -> Option<Member> {
        let ty = self.resolve(id)?;
        if ty.kind != Kind::Composite || depth > 8 {
            return None;
        }
        for index in 0..ty.count {
            // A malformed structure that contains itself many times is a tree without a practical end.
            *looked += 1;
            if *looked > MAX_MEMBERS {
                return None;
            }
            let at = ty.rest + index * 12;
            let name = self.string(u32_at(&self.data, at)?)?;
            let type_id = u32_at(&self.data, at + 4)?;
            let raw = u32_at(&self.data, at + 8)?;
            let (bits, bitfield) = if ty.flag {
                (raw & 0x00ff_ffff, raw >> 24)
            } else {
                (raw, 0)
            };
            let offset = bits / 8;
            if name == wanted {
                return (bitfield == 0 && bits % 8 == 0).then_some(Member { offset, type_id });
            }
            if name.is_empty()
                && let Some(inner) = self.member_of(type_id, wanted, depth + 1, looked)
            {
                return Some(Member {
                    offset: offset.checked_add(inner.offset)?,
                    type_id: inner.type_id,
                });
            }
        }
        None
    }

    /// The value of an enumerator, in whatever enumeration it is.
    #[must_use]
    pub fn enumerator(&self, wanted: &str) -> Option<i32> {
        self.enums
            .iter()
            .filter_map(|&id| self.type_of(id))
            .flat_map(|ty| (0..ty.count).map(move |index| ty.rest + index * 8))
            .find(|&at| u32_at(&self.data, at).is_some_and(|name| self.is_named(name, wanted)))
            .and_then(|at| u32_at(&self.data, at + 4))
            .map(|value| value as i32)
    }

    /// The same BTF with nothing but what is asked for, as far as it is there: the types before and in between are placeholders,
    /// so that each keeps its id. For whoever reads all types to find the id of one.
    #[must_use]
    pub fn only(&self, wanted: &[(Named, &str)]) -> Vec<u8> {
        let mut left = wanted.to_vec();
        let mut found = Vec::new();
        for (id, &at) in self.ids().zip(&self.types) {
            if left.is_empty() {
                break;
            }
            let info = u32_at(&self.data, at as usize + 4).unwrap_or(0);
            let kind = (info >> 24) & 0x1f;
            if kind != Named::Typedef.kind() && kind != Named::Function.kind() {
                continue;
            }
            let Some(name) = u32_at(&self.data, at as usize) else {
                continue;
            };
            let is_it =
                |&(named, text): &(Named, &str)| named.kind() == kind && self.is_named(name, text);
            if let Some(&(_, text)) = left.iter().find(|wanted| is_it(wanted)) {
                found.push((id, kind, text));
                left.retain(|wanted| !is_it(wanted));
            }
        }
        blob(&found)
    }
}

/// BTF with these types, whose ids rise, and placeholders for all other ids.
fn blob(types: &[(u32, u32, &str)]) -> Vec<u8> {
    let last = types.last().map_or(0, |&(id, ..)| id);
    let mut strings = vec![0];
    let mut blob = Vec::with_capacity(HEADER as usize + last as usize * 12);
    let word = |blob: &mut Vec<u8>, word: u32| blob.extend(word.to_le_bytes());
    // Magic, version 1, no flags.
    word(&mut blob, 0x0001_eb9f);
    for field in [HEADER, 0, last * 12, last * 12, 0] {
        word(&mut blob, field);
    }
    let mut types = types.iter().peekable();
    for id in 1..=last {
        let (name, kind) = match types.next_if(|(at, ..)| *at == id) {
            Some(&(_, kind, text)) => {
                let name = strings.len() as u32;
                strings.extend(text.as_bytes());
                strings.push(0);
                (name, kind)
            }
            None => (0, PLACEHOLDER),
        };
        word(&mut blob, name);
        word(&mut blob, kind << 24);
        word(&mut blob, 0);
    }
    let length = strings.len() as u32;
    if let Some(field) = blob.get_mut(20..24) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    blob.extend(strings);
    blob
}

impl Drop for Btf {
    /// Gives the bytes back piecemeal: where glibc sees that something as large as this is freed, it takes what is as large from
    /// its heap from then on, where it copies a growing vector that it could have moved.
    fn drop(&mut self) {
        self.data.clear();
        self.data.shrink_to(1);
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
