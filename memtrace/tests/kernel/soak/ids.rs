//! What of eBPF a process holds, and what is loaded.

use std::{collections::BTreeSet, fs, path::Path};

/// `enum bpf_cmd` of `include/uapi/linux/bpf.h`.
const BPF_PROG_GET_NEXT_ID: u32 = 11;
const BPF_MAP_GET_NEXT_ID: u32 = 12;
const BPF_LINK_GET_NEXT_ID: u32 = 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Program,
    Map,
    Link,
}

/// Programs, maps and links by their ids, which the kernel does not use again soon.
pub type Ids = BTreeSet<(Kind, u32)>;

/// What a process has descriptors of.
pub fn held_by(pid: u32) -> Ids {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| id_in(&entry.path()))
        .collect()
}

fn id_in(fdinfo: &Path) -> Option<(Kind, u32)> {
    let text = fs::read_to_string(fdinfo).ok()?;
    // A link names its program too, so it is looked for first.
    [
        (Kind::Link, "link_id:"),
        (Kind::Program, "prog_id:"),
        (Kind::Map, "map_id:"),
    ]
    .into_iter()
    .find_map(|(kind, name)| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some((kind, value.trim().parse().ok()?))
    })
}

/// What is loaded on this host, by whomever.
pub fn loaded() -> Ids {
    [
        (Kind::Program, BPF_PROG_GET_NEXT_ID),
        (Kind::Map, BPF_MAP_GET_NEXT_ID),
        (Kind::Link, BPF_LINK_GET_NEXT_ID),
    ]
    .into_iter()
    .flat_map(|(kind, command)| {
        let next = move |id: &u32| next_id(command, *id);
        std::iter::successors(next(&0), next).map(move |id| (kind, id))
    })
    .collect()
}

fn next_id(command: u32, after: u32) -> Option<u32> {
    /// The part of `union bpf_attr` that these commands take.
    #[repr(C)]
    struct Attr {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attr = Attr {
        start_id: after,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: a pointer to this command's part of the union, with its size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<Attr>()) };
    if result == 0 {
        return Some(attr.next_id);
    }
    let error = std::io::Error::last_os_error();
    assert_eq!(
        error.raw_os_error(),
        Some(libc::ENOENT),
        "what is loaded cannot be listed: {error}"
    );
    None
}
