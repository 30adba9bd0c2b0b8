//! `/proc/PID/cgroup`, `/proc/self/mountinfo`, and the files of a memory cgroup.
//!
//! Names of cgroups and of mounts are chosen by whoever may make them, so paths stay bytes. Formats:
//! <https://man7.org/linux/man-pages/man7/cgroups.7.html>,
//! <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>.

use super::{number, words};
use crate::model::CgroupFigures;

/// Which of the two kinds of cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each set of controllers.
    V1,
    /// One hierarchy for all.
    V2,
}

/// The cgroups of a process that have to do with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Its path in the v1 hierarchy that has the memory controller. Where there is one, v2 does not have that controller.
    pub memory: Option<&'a [u8]>,
    /// Its path in v2's hierarchy.
    pub unified: Option<&'a [u8]>,
}

/// Parses `/proc/PID/cgroup`. Lines of another form are left out.
#[must_use]
pub fn membership(bytes: &[u8]) -> Membership<'_> {
    let mut found = Membership::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        // The path may hold colons.
        let mut parts = line.splitn(3, |&byte| byte == b':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !path.starts_with(b"/") {
            continue;
        }
        if id == b"0" && controllers.is_empty() {
            found.unified = Some(path);
        } else if has(controllers, b"memory") {
            found.memory = Some(path);
        }
    }
    found
}

/// Whether a list such as `cpu,memory` has an element.
fn has(list: &[u8], element: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|one| one == element)
}

/// A line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Major and minor number of the filesystem's device.
    pub device: (u32, u32),
    /// What of the filesystem is mounted.
    pub root: Vec<u8>,
    /// Where.
    pub point: Vec<u8>,
    /// The filesystem's type.
    pub kind: &'a [u8],
    /// Options of the mount.
    pub mount_options: &'a [u8],
    /// The filesystem's own options.
    pub options: &'a [u8],
}

/// Parses a line of `mountinfo`, without its end; `None` where it is something else.
#[must_use]
pub fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut words = line.split(|&byte| byte == b' ');
    // Its number, and that of the mount below.
    number::<u64>(words.next()?)?;
    number::<u64>(words.next()?)?;
    let device = words.next()?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
    let root = unescaped(words.next()?);
    let point = unescaped(words.next()?);
    let mount_options = words.next()?;
    // Any number of optional fields.
    words.find(|&word| word == b"-")?;
    let kind = words.next()?;
    let _source = words.next()?;
    let options = words.next()?;
    if !root.starts_with(b"/") || !point.starts_with(b"/") {
        return None;
    }
    Some(Mount {
        device,
        root,
        point,
        kind,
        mount_options,
        options,
    })
}

impl Mount<'_> {
    /// Whether it is the hierarchy of cgroups that this version's memory controller would be in.
    #[must_use]
    pub fn is_memory_hierarchy(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.kind == b"cgroup" && has(self.options, b"memory"),
            Version::V2 => self.kind == b"cgroup2",
        }
    }
}

/// Space, tab, line end and backslash stand in octal: `\040`.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, behind)) = rest.split_first() {
        match octal(rest) {
            Some(escaped) => {
                out.push(escaped);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
}

fn octal(bytes: &[u8]) -> Option<u8> {
    let &[b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = bytes else {
        return None;
    };
    Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
}

/// Where a cgroup is below a mount whose root is `root`: the names on the way; `None` where it is outside. Both paths are
/// relative to the cgroup namespace of whoever reads them: what is outside of that begins with `/..`.
#[must_use]
pub fn below<'a>(root: &[u8], path: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut names = names(path);
    for name in self::names(root) {
        if names.next()? != name {
            return None;
        }
    }
    let rest: Vec<_> = names.collect();
    (!rest.iter().any(|&name| name == b".." || name == b".")).then_some(rest)
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

/// A file that holds one number.
#[must_use]
pub fn single(bytes: &[u8]) -> Option<u64> {
    number(bytes.strip_suffix(b"\n").unwrap_or(bytes))
}

/// A limit: `Some(None)` is none. In v1 it is the largest number of whole pages that fits a signed number, whatever the page's
/// size is; in v2 the word `max`.
#[must_use]
pub fn limit(bytes: &[u8]) -> Option<Option<u64>> {
    /// Larger than any page that the kernel reckons in.
    const LARGEST_PAGE: u64 = 1 << 20;
    if bytes.trim_ascii_end() == b"max" {
        return Some(None);
    }
    let bytes = single(bytes)?;
    Some((bytes <= i64::MAX as u64 - LARGEST_PAGE).then_some(bytes))
}

/// The number behind a key, in a file of lines `key number`.
#[must_use]
pub fn keyed(bytes: &[u8], key: &[u8]) -> Option<u64> {
    pairs(bytes).find(|(found, _)| *found == key)?.1
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = (&[u8], Option<u64>)> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut words = words(line);
        Some((words.next()?, words.next().and_then(number)))
    })
}

/// What `memory.stat` has. Of v1 the figures with those of cgroups below (`total_*`).
#[must_use]
pub fn memory_stat(version: Version, bytes: &[u8]) -> CgroupFigures {
    let mut figures = CgroupFigures::default();
    for (key, value) in pairs(bytes) {
        let figure = match (version, key) {
            (Version::V1, b"total_rss") | (Version::V2, b"anon") => &mut figures.anon_bytes,
            (Version::V1, b"total_cache") | (Version::V2, b"file") => &mut figures.file_bytes,
            (Version::V1, b"total_shmem") | (Version::V2, b"shmem") => &mut figures.shmem_bytes,
            (Version::V1, b"total_inactive_file") | (Version::V2, b"inactive_file") => {
                &mut figures.inactive_file_bytes
            }
            (Version::V1, b"total_swap") => &mut figures.swap_bytes,
            // Since 5.18.
            (Version::V2, b"kernel") => &mut figures.kernel_bytes,
            (Version::V2, b"pglazyfree") => &mut figures.pglazyfree,
            (Version::V2, b"pglazyfreed") => &mut figures.pglazyfreed,
            _ => continue,
        };
        *figure = value;
    }
    figures
}

/// The working set as cAdvisor, and by it Kubernetes, reckons it: usage less inactive file pages, at least 0
/// (`setMemoryStats` in cAdvisor's `container/libcontainer/handler.go`).
#[must_use]
pub const fn working_set(usage: u64, inactive_file: u64) -> u64 {
    usage.saturating_sub(inactive_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_cgroup_is_found_in_each_kind_of_host() {
        let hybrid = b"9:name=systemd:/\n4:cpu,memory:/a:b/c d\n1:cpuset:/x\n0::/\n";
        assert_eq!(
            membership(hybrid),
            Membership {
                memory: Some(b"/a:b/c d"),
                unified: Some(b"/")
            }
        );
        let unified = membership(b"0::/user.slice/x (deleted)\n");
        assert_eq!(unified.memory, None);
        assert_eq!(unified.unified, Some(&b"/user.slice/x (deleted)"[..]));
        // A name is no controller, and a line without a path is no line.
        for none in [
            &b""[..],
            b"3:name=memory:/\n",
            b"4:memory\n",
            b"4:memory:relative\n",
            b"4:memory_:/\n",
            b"\xff\n",
        ] {
            assert_eq!(membership(none), Membership::default(), "{none:?}");
        }
        let mut long = b"4:memory:/".to_vec();
        long.resize(128 << 10, b'\x1b');
        assert_eq!(
            membership(&long).memory.map(<[u8]>::len),
            Some((128 << 10) - 9)
        );
    }

    #[test]
    fn a_mount_has_any_number_of_optional_fields_and_escaped_paths() {
        let line = br"35 31 0:32 /kube\040pods/\134x /sys/fs/cgroup/mem\012ory rw,relatime shared:9 master:1 - cgroup none rw,memory";
        let found = mount(line).unwrap();
        assert_eq!(found.device, (0, 32));
        assert_eq!(found.root, b"/kube pods/\\x");
        assert_eq!(found.point, b"/sys/fs/cgroup/mem\nory");
        assert!(found.is_memory_hierarchy(Version::V1));
        assert!(!found.is_memory_hierarchy(Version::V2));
        let v2 = mount(b"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate").unwrap();
        assert!(v2.is_memory_hierarchy(Version::V2));
        let cpu = mount(b"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu").unwrap();
        assert!(!cpu.is_memory_hierarchy(Version::V1));
        for wrong in [
            &b""[..],
            b"35 31 0:32 / /x rw cgroup none rw",
            b"35 31 0:32 / x rw - cgroup none rw",
            b"35 31 032 / /x rw - cgroup none rw",
            b"35 31 0:99999999999 / /x rw - cgroup none rw",
            b"x 31 0:32 / /x rw - cgroup none rw",
        ] {
            assert_eq!(mount(wrong), None, "{wrong:?}");
        }
        // What is no escape stays.
        assert_eq!(unescaped(br"\400\0\04x\\040"), br"\400\0\04x\ ");
    }

    #[test]
    fn a_cgroup_is_below_a_mount_or_outside() {
        let here = |root: &[u8], path: &[u8]| {
            below(root, path)
                .map(|names| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>())
        };
        let some = |names: &[&[u8]]| Some(names.iter().map(|name| name.to_vec()).collect());
        assert_eq!(here(b"/", b"/a/b"), some(&[b"a", b"b"]));
        assert_eq!(here(b"/a", b"/a/b"), some(&[b"b"]));
        assert_eq!(here(b"/a", b"/a"), some(&[]));
        assert_eq!(here(b"/", b"/"), some(&[]));
        // A name is no prefix of another.
        assert_eq!(here(b"/a", b"/ab"), None);
        assert_eq!(here(b"/a/b", b"/a"), None);
        // Namespaces: a sibling's cgroup, seen from one's own root, and from a mount that begins higher.
        assert_eq!(here(b"/", b"/../x"), None);
        assert_eq!(here(b"/..", b"/../x"), some(&[b"x"]));
        assert_eq!(here(b"/..", b"/x"), None);
        assert_eq!(here(b"/..", b"/../../x"), None);
    }

    #[test]
    fn no_limit_is_the_largest_number_or_a_word() {
        assert_eq!(limit(b"max\n"), Some(None));
        assert_eq!(limit(b"9223372036854771712\n"), Some(None));
        // Pages of 64 KiB.
        assert_eq!(limit(b"9223372036854710272\n"), Some(None));
        assert_eq!(limit(b"18446744073709551615\n"), Some(None));
        assert_eq!(limit(b"0\n"), Some(Some(0)));
        assert_eq!(limit(b"1048576\n"), Some(Some(1 << 20)));
        for wrong in [
            &b""[..],
            b"\n",
            b"-1\n",
            b"maximum\n",
            b"18446744073709551616\n",
        ] {
            assert_eq!(limit(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn memory_stat_is_read_by_its_version() {
        let v1 = b"cache 1\nrss 2\ninactive_file 3\ntotal_cache 100\ntotal_rss 200\ntotal_shmem 30\ntotal_swap 4\n\
            total_inactive_file 50\nanon 7\n";
        let found = memory_stat(Version::V1, v1);
        assert_eq!(
            found,
            CgroupFigures {
                anon_bytes: Some(200),
                file_bytes: Some(100),
                shmem_bytes: Some(30),
                swap_bytes: Some(4),
                inactive_file_bytes: Some(50),
                ..CgroupFigures::default()
            }
        );
        let v2 = b"anon 1\nfile 2\nkernel 3\nshmem 4\ninactive_file 5\npglazyfree 6\npglazyfreed 7\ntotal_rss 9\n";
        let found = memory_stat(Version::V2, v2);
        assert_eq!(
            found,
            CgroupFigures {
                anon_bytes: Some(1),
                file_bytes: Some(2),
                kernel_bytes: Some(3),
                shmem_bytes: Some(4),
                inactive_file_bytes: Some(5),
                pglazyfree: Some(6),
                pglazyfreed: Some(7),
                ..CgroupFigures::default()
            }
        );
        // What is too large, or no number, is not there.
        let bad = memory_stat(
            Version::V2,
            b"anon 99999999999999999999\nfile x\nshmem\n\x1b[2J 1\nkernel -1",
        );
        assert_eq!(bad, CgroupFigures::default());
    }

    #[test]
    fn keys_are_whole_words() {
        let events = b"low 0\nhigh 1\nmax 22\noom 3\noom_kill 4\noom_group_kill 5\n";
        assert_eq!(keyed(events, b"oom_kill"), Some(4));
        assert_eq!(keyed(events, b"max"), Some(22));
        assert_eq!(keyed(events, b"oom_"), None);
    }

    #[test]
    fn the_working_set_is_never_below_0() {
        assert_eq!(working_set(10, 4), 6);
        assert_eq!(working_set(4, 10), 0);
    }
}
