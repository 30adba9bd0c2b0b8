//! Reading `/proc/PID/smaps`, once at the end.
//!
//! Dear: it walks the page tables as `smaps_rollup` does, and takes the same time for that, and on top of it the kernel writes some 740
//! bytes for each mapping. Measured on 6.18: 4 µs for each, so 0.25 s for 60,000, which is about as many as a process may have
//! (`vm.max_map_count`). It lets go of the memory's lock after each few mappings, so that the process waits for one of them at most.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, OFlags, memfd_create};

use crate::proc::{Groups, Mappings, ProcDir, cgroup::mount};

/// What is read at once; the kernel fills a part of it.
const BLOCK: usize = 64 << 10;
/// The kernel writes a path of at most a page, each byte of it as four characters.
const LONGEST_LINE: usize = 512 << 10;
/// A list of mounts is read up to here.
const MOST_MOUNTS: u64 = 8 << 20;

/// Why the mappings of a process are not known.
#[derive(Debug, thiserror::Error)]
pub enum MappingsError {
    /// The kernel does not let this user open `smaps`.
    #[error(
        "smaps of another user's process, or of one that protects itself, needs CAP_SYS_PTRACE, or root"
    )]
    Refused,
    /// It cannot be opened.
    #[error("smaps cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It cannot be read.
    #[error("smaps cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A line is not as the kernels that are known write it.
    #[error("smaps has a form that this memtrace does not know")]
    Form,
    /// It is empty: the process has ended.
    #[error("the process has no memory any more")]
    NoMemory,
}

/// `smaps` of a process, opened while memtrace may open it.
#[derive(Debug)]
pub struct MappingsFile {
    file: File,
    shmem_devices: BTreeSet<(u32, u32)>,
}

impl MappingsFile {
    /// Opens `smaps`. It shows the memory of this moment's program, also after an exec.
    ///
    /// # Errors
    ///
    /// [`MappingsError::Refused`] or [`MappingsError::Open`].
    pub fn open(dir: &ProcDir) -> Result<Self, MappingsError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = dir
            .open_relative_flags("smaps", flags)
            .map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => MappingsError::Refused,
                _ => MappingsError::Open(error),
            })?;
        Ok(Self {
            file,
            shmem_devices: shmem_devices(dir),
        })
    }

    /// Reads it. `go`: whether it is a Go program, so that its heap gets a name.
    ///
    /// # Errors
    ///
    /// [`MappingsError::NoMemory`] if the process has ended, [`MappingsError::Form`] if the file is not of a form that this memtrace knows,
    /// or [`MappingsError::Read`].
    pub fn read(&mut self, go: bool) -> Result<(Mappings, Duration), MappingsError> {
        let begun = Instant::now();
        self.file.rewind().map_err(MappingsError::Read)?;
        let mut groups = Groups::new(go, self.shmem_devices.clone());
        let mut bytes = vec![0; BLOCK];
        let mut filled = 0;
        loop {
            if filled == bytes.len() {
                if filled >= LONGEST_LINE {
                    return Err(MappingsError::Form);
                }
                bytes.resize(filled * 2, 0);
            }
            let room = bytes.get_mut(filled..).unwrap_or_default();
            let more = match self.file.read(room) {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(MappingsError::Read(error)),
            };
            if more == 0 {
                break;
            }
            filled += more;
            let mut rest = bytes.get(..filled).unwrap_or_default();
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let (line, behind) = rest.split_at(end);
                groups.line(line).ok_or(MappingsError::Form)?;
                rest = behind.get(1..).unwrap_or_default();
            }
            let left = rest.len();
            bytes.copy_within(filled - left..filled, 0);
            filled = left;
        }
        let mappings = groups
            .finish()
            .filter(|_| filled == 0)
            .ok_or(MappingsError::Form)?;
        if mappings.mappings == 0 {
            return Err(MappingsError::NoMemory);
        }
        Ok((mappings, begun.elapsed()))
    }
}

/// The mappings of a process now. `go`: whether it is a Go program.
///
/// # Errors
///
/// Any [`MappingsError`].
pub fn mappings(dir: &ProcDir, go: bool) -> Result<Mappings, MappingsError> {
    Ok(MappingsFile::open(dir)?.read(go)?.0)
}

/// The devices whose files are shared memory: the one inside the kernel, found by making such a file, and each tmpfs that the process
/// sees mounted. What else there is, names tell.
fn shmem_devices(dir: &ProcDir) -> BTreeSet<(u32, u32)> {
    let mut devices = BTreeSet::new();
    if let Ok(own) = memfd_create(c"memtrace", MemfdFlags::CLOEXEC)
        && let Ok(metadata) = File::from(own).metadata()
    {
        let device = metadata.dev();
        devices.insert((libc::major(device), libc::minor(device)));
    }
    let mut mountinfo = Vec::new();
    if let Ok(file) = dir.open_relative_flags("mountinfo", OFlags::RDONLY | OFlags::CLOEXEC) {
        let _ = file.take(MOST_MOUNTS).read_to_end(&mut mountinfo);
    }
    for mount in mountinfo.split(|&byte| byte == b'\n').filter_map(mount) {
        if mount.kind == b"tmpfs" {
            devices.insert(mount.device);
        }
    }
    devices
}
