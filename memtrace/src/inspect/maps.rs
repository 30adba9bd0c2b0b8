//! The files that a process has mapped as code.

use std::collections::HashSet;

use crate::proc;

/// More code files than are kept. A browser has some hundreds.
const MOST: usize = 4096;

/// What the kernel appends to the path of a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// A file that is mapped as code: the executable or a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// Its path, as `/proc/PID/maps` shows it: a line feed is `\012` there, and it may end with ` (deleted)`. Any bytes.
    pub path: Vec<u8>,
    /// Device, as `/proc/PID/maps` shows it.
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
    /// First address of one of its mappings.
    pub start: u64,
    /// The address behind that mapping's last.
    pub end: u64,
}

impl MappedFile {
    /// The last part of its path, without what the kernel has appended.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let path = self.path.strip_suffix(DELETED).unwrap_or(&self.path);
        path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
    }

    /// The folder that it is in.
    #[must_use]
    pub fn folder(&self) -> &[u8] {
        let end = self.path.iter().rposition(|&byte| byte == b'/');
        self.path.get(..end.unwrap_or(0)).unwrap_or_default()
    }
}

/// The files of which a part may be executed, in the order of their addresses, each once. Data that is mapped is left out.
#[must_use]
pub fn code_files(maps: &[u8]) -> Vec<MappedFile> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for line in maps.split(|&byte| byte == b'\n') {
        // Most lines of a large process are anonymous memory, or not code: they need no more than this look.
        if !line.contains(&b'/') {
            continue;
        }
        let Some(mapping) = proc::mapping(line) else {
            continue;
        };
        let [_, _, b'x', _] = mapping.access else {
            continue;
        };
        if mapping.inode == 0 || !mapping.name.starts_with(b"/") || files.len() >= MOST {
            continue;
        }
        if seen.insert((mapping.device, mapping.inode, mapping.name)) {
            files.push(MappedFile {
                path: mapping.name.to_vec(),
                device: mapping.device,
                inode: mapping.inode,
                start: mapping.start,
                end: mapping.end,
            });
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
5590a2a4a000-5590a2a4c000 r--p 00000000 fe:00 523 /usr/bin/cat
5590a2a4c000-5590a2a50000 r-xp 00002000 fe:00 523 /usr/bin/cat
5590a2a50000-5590a2a52000 rw-p 00006000 fe:00 523 /usr/bin/cat
5590a3f5e000-5590a3f7f000 rw-p 00000000 00:00 0 [heap]
7f1d4e000000-7f1d4e021000 r--s 00000000 fe:00 99 /data/big
7f1d4e7b1000-7f1d4e8d9000 r-xp 00026000 fe:00 71 /usr/lib/libc.so.6 (deleted)
7f1d4e8d9000-7f1d4e8da000 r-xp 00000000 fe:00 72 /tmp/a\\012b/lib\xff.so
7f1d4e9d9000-7f1d4e9da000 r-xp 00000000 fe:00 71 /usr/lib/libc.so.6 (deleted)
7ffd1c7e5000-7ffd1c7e7000 r-xp 00000000 00:00 0 [vdso]
";

    #[test]
    fn code_files_are_listed_once_and_data_is_not() {
        let files = code_files(MAPS);
        let names: Vec<_> = files.iter().map(MappedFile::name).collect();
        assert_eq!(names, [&b"cat"[..], b"libc.so.6", b"lib\xff.so"]);
        assert_eq!(files[1].inode, 71);
        assert_eq!(files[1].device, (0xfe, 0));
        assert_eq!(files[0].start, 0x5590_a2a4_c000);
        assert_eq!(files[2].folder(), b"/tmp/a\\012b");
    }
}
