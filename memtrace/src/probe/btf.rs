//! Looking up structures in the kernel's BTF.
//!
//! aya reads BTF too, but keeps its types to itself; what memtrace asks is small: where is this member of this structure,
//! and of what type is it. The format: <https://docs.kernel.org/bpf/btf.html>.

use std::{collections::HashMap, path::Path};

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
    Function,
    Variable,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Type {
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

/// A parsed BTF blob.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    types: Vec<Type>,
    structs: HashMap<String, u32>,
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
            types: vec![Type {
                name: 0,
                kind: Kind::Other,
                size_or_type: 0,
                rest: 0,
                count: 0,
                flag: false,
            }],
            structs: HashMap::new(),
        };
        let mut at = types.start;
        while at < types.end {
            let (ty, next) = btf
                .parse_type(at)
                .ok_or(bad(at, "type cut, or of an unknown kind"))?;
            if next > types.end {
                return Err(bad(at, "type beyond its section"));
            }
            let id = btf.types.len() as u32;
            if ty.kind == Kind::Composite
                && ty.count > 0
                && let Some(name) = btf.string(ty.name)
                && !name.is_empty()
            {
                let name = name.to_owned();
                btf.structs.entry(name).or_insert(id);
            }
            btf.types.push(ty);
            at = next;
        }
        Ok(btf)
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
            // Forward.
            7 => (Kind::Other, 0),
            12 => (Kind::Function, 0),
            // Function prototype.
            13 => (Kind::Other, count * 8),
            // Variable.
            14 => (Kind::Variable, 4),
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

    fn string(&self, offset: u32) -> Option<&str> {
        let section = self.data.get(self.strings.clone())?;
        let rest = section.get(offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<&Type> {
        for _ in 0..32 {
            let ty = self.types.get(id as usize)?;
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
            Kind::Alias | Kind::Function | Kind::Variable | Kind::Other => Shape::Other,
        }
    }

    /// BTF id of a structure or union.
    #[must_use]
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        self.structs.get(name).copied()
    }

    /// BTF id of a function.
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id(Kind::Function, name)
    }

    /// BTF id of a variable.
    #[must_use]
    pub fn variable_id(&self, name: &str) -> Option<u32> {
        self.id(Kind::Variable, name)
    }

    fn id(&self, kind: Kind, name: &str) -> Option<u32> {
        let mut types = self.types.iter();
        let index = types.position(|ty| ty.kind == kind && self.string(ty.name) == Some(name))?;
        u32::try_from(index).ok()
    }

    /// Whether there is a structure or union of this name.
    #[must_use]
    pub fn has_struct(&self, name: &str) -> bool {
        self.structs.contains_key(name)
    }

    /// Whether there is a function or typedef of this name, such as `btf_trace_rss_stat` or `__x64_sys_madvise`.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.types
            .iter()
            .any(|ty| ty.name != 0 && self.string(ty.name) == Some(name))
    }

    /// Finds a member of a structure, looking into anonymous structures and unions within it.
    ///
    /// # Errors
    ///
    /// Where there is no such structure, or it has no such member, or the member is a bit field.
    pub fn member(&self, name: &str, member: &str) -> Result<Member, BtfError> {
        let id = self.structs.get(name).ok_or_else(|| BtfError::NoType {
            kind: "struct",
            name: name.to_owned(),
        })?;
        self.member_of(*id, member, 0, &mut 0)
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
        self.types
            .iter()
            .filter(|ty| ty.kind == Kind::Enum)
            .flat_map(|ty| (0..ty.count).map(|index| ty.rest + index * 8))
            .find(|&at| u32_at(&self.data, at).and_then(|name| self.string(name)) == Some(wanted))
            .and_then(|at| u32_at(&self.data, at + 4))
            .map(|value| value as i32)
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
