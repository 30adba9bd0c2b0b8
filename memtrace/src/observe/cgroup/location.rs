//! Where a process's memory cgroup is to be found: pure.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt as _, path::PathBuf};

use crate::proc::cgroup::{Membership, Version, below, mount};

/// A location where the memory cgroup's directory may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The kind of hierarchy.
    pub version: Version,
    /// Where the hierarchy is mounted.
    pub point: PathBuf,
    /// The names on the way from there.
    pub names: Vec<Vec<u8>>,
    /// The process's path in the hierarchy, as the kernel says it.
    pub path: Vec<u8>,
}

impl Location {
    /// The directory that is `up` levels above the process's own.
    #[must_use]
    pub fn directory(&self, up: usize) -> PathBuf {
        let mut directory = self.point.clone();
        let depth = self.names.len().saturating_sub(up);
        for name in self.names.iter().take(depth) {
            directory.push(OsStr::from_bytes(name));
        }
        directory
    }

    /// The path in the hierarchy of what is `up` levels above.
    #[must_use]
    pub fn path(&self, up: usize) -> String {
        let mut path = self.path.as_slice();
        for _ in 0..up {
            let slash = path.iter().rposition(|&byte| byte == b'/');
            path = path.get(..slash.unwrap_or(0)).unwrap_or_default();
        }
        if path.is_empty() {
            path = b"/";
        }
        String::from_utf8_lossy(path).into_owned()
    }
}

/// Why there is no location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nowhere {
    /// The kernel has no cgroups, or none that the memory controller could be in.
    NoHierarchy,
    /// It is mounted nowhere that memtrace sees.
    NotMounted(Version),
    /// What is mounted is another part of the hierarchy.
    Outside {
        /// The process's path.
        path: String,
        /// What is mounted.
        root: String,
        /// Where.
        point: String,
    },
}

impl std::error::Error for Nowhere {}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHierarchy => {
                f.write_str("this kernel shows no cgroup with the memory controller for the process")
            }
            Self::NotMounted(Version::V1) => f.write_str(
                "the memory controller's hierarchy (cgroup v1) is mounted nowhere that memtrace sees; it is needed at any place, such as by: mount -t cgroup -o memory none DIRECTORY",
            ),
            Self::NotMounted(Version::V2) => f.write_str(
                "cgroup v2 is mounted nowhere that memtrace sees; it is needed at any place, such as by: mount -t cgroup2 none DIRECTORY",
            ),
            Self::Outside { path, root, point } => write!(
                f,
                "the process is in the cgroup {path}, and of that hierarchy memtrace sees only {root}, at {point}: run memtrace on the host, outside of the container"
            ),
        }
    }
}

/// All locations where the memory cgroup may be, by `/proc/PID/cgroup` and `/proc/self/mountinfo`; never empty.
///
/// # Errors
///
/// Where there is none.
pub fn locations(membership: &Membership<'_>, mountinfo: &[u8]) -> Result<Vec<Location>, Nowhere> {
    // A controller is in one hierarchy alone: where v1 has it, v2 does not.
    let (version, path) = match (membership.memory, membership.unified) {
        (Some(path), _) => (Version::V1, path),
        (None, Some(path)) => (Version::V2, path),
        (None, None) => return Err(Nowhere::NoHierarchy),
    };
    let mut locations = Vec::new();
    let mut nowhere = Nowhere::NotMounted(version);
    for mount in mountinfo.split(|&byte| byte == b'\n').filter_map(mount) {
        if !mount.is_memory_hierarchy(version) {
            continue;
        }
        match below(&mount.root, path) {
            Some(names) => locations.push(Location {
                version,
                point: OsStr::from_bytes(&mount.point).into(),
                names: names.into_iter().map(<[u8]>::to_vec).collect(),
                path: path.to_vec(),
            }),
            None => {
                nowhere = Nowhere::Outside {
                    path: String::from_utf8_lossy(path).into_owned(),
                    root: String::from_utf8_lossy(&mount.root).into_owned(),
                    point: String::from_utf8_lossy(&mount.point).into_owned(),
                }
            }
        }
    }
    if locations.is_empty() {
        return Err(nowhere);
    }
    Ok(locations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::cgroup::membership;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn found(cgroup: &[u8], mountinfo: &[u8]) -> Result<Vec<Location>, Nowhere> {
        locations(&membership(cgroup), mountinfo)
    }

    #[test]
    fn in_a_hybrid_host_it_is_where_the_controller_is() {
        let locations = found(b"4:memory:/a/b\n0::/other\n", HYBRID).unwrap();
        assert_eq!(locations.len(), 1);
        assert_eq!(locations[0].version, Version::V1);
        assert_eq!(
            locations[0].directory(0),
            PathBuf::from("/sys/fs/cgroup/memory/a/b")
        );
        assert_eq!(
            locations[0].directory(1),
            PathBuf::from("/sys/fs/cgroup/memory/a")
        );
        assert_eq!(
            locations[0].directory(9),
            PathBuf::from("/sys/fs/cgroup/memory")
        );
        assert_eq!(locations[0].path(1), "/a");
        assert_eq!(locations[0].path(2), "/");
        assert_eq!(locations[0].path(3), "/");
    }

    #[test]
    fn in_a_unified_host_it_is_the_one_cgroup_that_there_is() {
        let locations = found(
            b"0::/user.slice/a\n",
            b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
        )
        .unwrap();
        assert_eq!(locations[0].version, Version::V2);
        assert_eq!(
            locations[0].directory(0),
            PathBuf::from("/sys/fs/cgroup/user.slice/a")
        );
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_hierarchy() {
        // Without a namespace of cgroups, as with Docker on v1.
        let mountinfo =
            b"35 31 0:32 /docker/12ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let own = found(b"4:memory:/docker/12ab/x\n", mountinfo).unwrap();
        assert_eq!(
            own[0].directory(0),
            PathBuf::from("/sys/fs/cgroup/memory/x")
        );
        let other = found(b"4:memory:/docker/34cd\n", mountinfo).unwrap_err();
        assert!(other.to_string().contains("/docker/34cd"), "{other}");
        assert!(other.to_string().contains("/docker/12ab"), "{other}");
        // With one: the host's processes are beside it.
        let mountinfo = b"30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let host = found(b"0::/../../user.slice\n", mountinfo).unwrap_err();
        assert!(matches!(host, Nowhere::Outside { .. }), "{host:?}");
        let mountinfo = b"30 23 0:26 /../.. /mnt ro - cgroup2 cgroup rw\n";
        let host = found(b"0::/../../user.slice\n", mountinfo).unwrap();
        assert_eq!(host[0].directory(0), PathBuf::from("/mnt/user.slice"));
        assert_eq!(host[0].path(0), "/../../user.slice");
    }

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(found(b"", HYBRID), Err(Nowhere::NoHierarchy));
        assert_eq!(
            found(b"4:memory:/\n", b""),
            Err(Nowhere::NotMounted(Version::V1))
        );
        let error = found(b"0::/\n", b"\xff\n").unwrap_err().to_string();
        assert!(error.contains("mount -t cgroup2"), "{error}");
    }

    #[test]
    fn each_mount_of_the_hierarchy_is_a_place() {
        let mountinfo = [
            HYBRID,
            b"50 31 0:32 /a /run/part rw - cgroup none rw,memory\n",
        ]
        .concat();
        let locations = found(b"4:memory:/a/b\n", &mountinfo).unwrap();
        assert_eq!(locations.len(), 2);
        assert_eq!(locations[1].directory(0), PathBuf::from("/run/part/b"));
    }
}
