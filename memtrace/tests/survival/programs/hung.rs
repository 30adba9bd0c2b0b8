//! A file system that stops answering, as an NFS server that is down: FUSE, in a mount namespace of its own.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{Program, answer};

/// How this program goes on after its mount is there.
pub const COVERED: &str = "covered";
pub const BEHIND_A_LINK: &str = "behind-a-link";

/// `include/uapi/linux/fuse.h`.
mod op {
    pub const GETATTR: u32 = 3;
    pub const INIT: u32 = 26;
}

/// A target that a file system which does not answer can be met through. Once this is dropped, the file system is gone.
pub struct Hung {
    _server: Program,
    pub target: u32,
}

impl Hung {
    /// Starts one of the ways in the folder, which must be everybody's.
    pub fn start(way: &str, folder: &Path) -> Self {
        let mut server = Program::own(&["__hung", way, folder.to_str().unwrap()]);
        let target = server.answer().parse().unwrap();
        Self {
            _server: server,
            target,
        }
    }
}

/// Serves the file system until it is killed. Prints the target's id.
#[expect(
    clippy::zombie_processes,
    reason = "the target ends with its group, after the one who serves"
)]
pub fn main(way: &str, folder: &Path) -> ! {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        device.as_raw_fd()
    );
    let point = folder.join("mnt");
    std::fs::create_dir(&point).unwrap();
    let cover = |at: &Path| {
        let flags = MsFlags::empty();
        mount(
            Some("hung"),
            at,
            Some("fuse.hung"),
            flags,
            Some(options.as_str()),
        )
        .unwrap();
    };
    match way {
        COVERED => {
            // It has started before its /etc stops answering.
            let mut target = Command::new("sleep");
            let target = target.arg("1000").stdout(Stdio::null()).spawn().unwrap();
            cover(Path::new("/etc"));
            answer(target.id());
        }
        BEHIND_A_LINK => {
            cover(&point);
            let etc = folder.join("etc");
            std::fs::create_dir(&etc).unwrap();
            std::os::unix::fs::symlink(point.join("file"), etc.join("ld.so.preload")).unwrap();
            // Nobody special: in namespaces of its own, everybody may mount.
            let script = format!("mount --bind {} /etc && exec sleep 1000", etc.display());
            let mut target = Command::new("unshare");
            target.args(["-Urm", "sh", "-c", &script]);
            target.uid(1234).gid(1234);
            let target = target.stdout(Stdio::null()).spawn().unwrap();
            answer(target.id());
        }
        _ => unreachable!("{way}"),
    }
    serve(device)
}

/// Answers what a mount needs, and nothing else.
fn serve(mut device: File) -> ! {
    let mut request = vec![0; 1 << 17];
    loop {
        let Ok(length) = device.read(&mut request) else {
            std::process::exit(0);
        };
        assert!(length >= 40);
        let number = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let unique: [u8; 8] = request[8..16].try_into().unwrap();
        let words: Vec<u32> = match number(4) {
            // Version 7.31; reads of 4 KiB.
            op::INIT => [vec![7, 31, 0, 0, 12 | 10 << 16, 65536, 1, 256], vec![0; 8]].concat(),
            op::GETATTR => [vec![1, 0, 0, 0], ROOT.to_vec()].concat(),
            _ => continue,
        };
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut reply = (16 + bytes.len() as u32).to_le_bytes().to_vec();
        reply.extend([0; 4]);
        reply.extend(unique);
        reply.extend(bytes);
        let _ = device.write(&reply);
    }
}

/// `struct fuse_attr` of the root, an empty folder.
const ROOT: [u32; 22] = [
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 1, 0, 0, 0, 4096, 0,
];
