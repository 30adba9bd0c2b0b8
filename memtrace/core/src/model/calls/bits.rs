//! Names of flags, by the kernel: `include/uapi/asm-generic/mman-common.h`, `mman.h`, `include/uapi/linux/mman.h`. The same on x86-64 and
//! arm64, but for `MAP_32BIT`, which is x86's alone.

/// A name, the bits that it is about, and what these are where it stands.
pub type Names = &'static [(&'static str, u32, u32)];

/// `PROT_*`.
pub const PROTECTION: Names = &[
    ("PROT_NONE", 0xffff_ffff, 0),
    ("PROT_READ", 1, 1),
    ("PROT_WRITE", 2, 2),
    ("PROT_EXEC", 4, 4),
    ("PROT_GROWSDOWN", 0x0100_0000, 0x0100_0000),
    ("PROT_GROWSUP", 0x0200_0000, 0x0200_0000),
];

/// Flags of `mmap`.
pub const MMAP_FLAGS: Names = &[
    ("MAP_SHARED", 0xf, 1),
    ("MAP_PRIVATE", 0xf, 2),
    ("MAP_SHARED_VALIDATE", 0xf, 3),
    ("MAP_DROPPABLE", 0xf, 8),
    ("MAP_FIXED", 0x10, 0x10),
    ("MAP_ANONYMOUS", 0x20, 0x20),
    ("MAP_32BIT", 0x40, 0x40),
    ("MAP_GROWSDOWN", 0x100, 0x100),
    ("MAP_DENYWRITE", 0x800, 0x800),
    ("MAP_EXECUTABLE", 0x1000, 0x1000),
    ("MAP_LOCKED", 0x2000, 0x2000),
    ("MAP_NORESERVE", 0x4000, 0x4000),
    ("MAP_POPULATE", 0x8000, 0x8000),
    ("MAP_NONBLOCK", 0x1_0000, 0x1_0000),
    ("MAP_STACK", 0x2_0000, 0x2_0000),
    ("MAP_HUGETLB", 0x4_0000, 0x4_0000),
    ("MAP_SYNC", 0x8_0000, 0x8_0000),
    ("MAP_FIXED_NOREPLACE", 0x10_0000, 0x10_0000),
];

/// Flags of `mremap`.
pub const MREMAP_FLAGS: Names = &[
    ("MREMAP_MAYMOVE", 1, 1),
    ("MREMAP_FIXED", 2, 2),
    ("MREMAP_DONTUNMAP", 4, 4),
];
