//! Files that another machine or another program keeps.

use super::code_files;
use crate::proc::cgroup::mount;

/// File systems (`fstype` of `/proc/PID/mountinfo`) that ask another machine, or a program, for what they hold. Where it does not
/// answer, whoever reads waits without end, in a way that no signal but SIGKILL ends. FUSE is named apart, since it goes by many
/// names.
const SERVED: [&[u8]; 14] = [
    b"9p",
    b"afs",
    b"beegfs",
    b"ceph",
    b"cifs",
    b"coda",
    b"gfs2",
    b"gpfs",
    b"lustre",
    b"nfs",
    b"nfs4",
    b"ocfs2",
    b"smb3",
    b"virtiofs",
];

/// Whether a look at a process's files may take without end: one that it has mapped as code, or its root, is on a file system that
/// another machine or a program serves. By `/proc/PID/maps` and `/proc/PID/mountinfo`, which ask no file system.
#[must_use]
pub fn is_served(maps: &[u8], mountinfo: &[u8]) -> bool {
    let files = code_files(maps);
    let mut mounts = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(mount)
        .filter(|mount| SERVED.contains(&mount.kind) || mount.kind.starts_with(b"fuse"));
    mounts.any(|mount| mount.point == b"/" || files.iter().any(|file| file.device == mount.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
5590a2a4c000-5590a2a50000 r-xp 00002000 00:31 523 /srv/app
7f1d4e000000-7f1d4e021000 r--s 00000000 00:32 99 /data/big
7f1d4e7b1000-7f1d4e8d9000 r-xp 00026000 fe:00 71 /usr/lib/libc.so.6
";

    fn mounts(root: &str, app: &str, data: &str) -> Vec<u8> {
        format!(
            "22 1 254:0 / / rw,relatime shared:1 - {root} /dev/vda rw\n\
             40 22 0:49 / /srv rw - {app} server:/srv rw\n\
             41 22 0:50 / /data rw - {data} server:/data rw\n"
        )
        .into_bytes()
    }

    #[test]
    fn code_from_elsewhere_may_be_waited_for_and_data_is_not_read() {
        assert!(!is_served(MAPS, &mounts("ext4", "xfs", "ext4")));
        for served in ["nfs4", "cifs", "fuse", "fuse.sshfs", "fuseblk"] {
            assert!(is_served(MAPS, &mounts("ext4", served, "ext4")), "{served}");
            assert!(!is_served(MAPS, &mounts("ext4", "xfs", served)), "{served}");
        }
    }

    #[test]
    fn the_root_is_read_by_name() {
        assert!(is_served(b"", &mounts("nfs", "xfs", "ext4")));
        assert!(!is_served(b"", &mounts("overlay", "nfs", "ext4")));
        assert!(!is_served(MAPS, b"nonsense\n"));
    }
}
