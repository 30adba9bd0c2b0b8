//! Facts about this host that the kernel side or the reader of a capture needs.

use std::{fs, path::Path};

use super::ProbeError;

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`: the inode of the initial PID namespace.
pub const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A PID namespace, as the kernel's programs know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidNamespace {
    /// Device of its file, in the kernel's own encoding.
    pub dev: u64,
    /// Inode of its file.
    pub ino: u64,
}

impl PidNamespace {
    /// The one that this process is in; `None` for the initial one, and where it cannot be told.
    #[must_use]
    pub fn own() -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let file = fs::metadata("/proc/self/ns/pid").ok()?;
        (file.ino() != INITIAL_PID_NAMESPACE).then(|| Self {
            // `MKDEV`: 12 bits of major above 20 bits of minor.
            dev: (u64::from(libc::major(file.dev())) << 20) | u64::from(libc::minor(file.dev())),
            ino: file.ino(),
        })
    }
}

/// The host, as a capture shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Kernel release, as `uname -r` says.
    pub kernel: String,
    /// Architecture, as `uname -m` says.
    pub arch: String,
    /// Bytes of a page.
    pub page_size: u64,
    /// CPUs that are online.
    pub online_cpus: u32,
    /// CPUs that the kernel has per-CPU memory for.
    pub possible_cpus: u32,
    /// Bit k: an anonymous fault may bring 2^k pages. Bit 0 is always set.
    pub anon_orders: u32,
}

impl Host {
    /// Reads the host's facts.
    ///
    /// # Errors
    ///
    /// Where the number of CPUs cannot be read.
    pub fn read() -> Result<Self, ProbeError> {
        let possible_cpus = aya::util::nr_cpus().map_err(|(what, error)| ProbeError::Host {
            what: "/sys/devices/system/cpu/possible",
            reason: format!("{what}: {error}"),
        })? as u32;
        let uname = rustix::system::uname();
        let page_size = rustix::param::page_size() as u64;
        Ok(Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            page_size,
            online_cpus: aya::util::online_cpus().map_or(possible_cpus, |cpus| cpus.len() as u32),
            possible_cpus,
            anon_orders: anon_orders(Path::new(THP), page_size),
        })
    }
}

/// `percpu_counter_batch` in pages: the most by which one CPU's part of a counter can differ from 0.
///
/// `compute_batch_value` in `lib/percpu_counter.c`.
#[must_use]
pub const fn batch_pages(online_cpus: u32) -> u32 {
    if online_cpus > 16 {
        2 * online_cpus
    } else {
        32
    }
}

/// The orders of anonymous folios that a fault may bring, from the THP settings in `dir`.
fn anon_orders(dir: &Path, page_size: u64) -> u32 {
    let chosen = |path: &Path| -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    };
    let global = chosen(&dir.join("enabled")).is_some_and(|choice| choice != "never");
    let mut orders = 1u32;
    if global
        && let Ok(size) = fs::read_to_string(dir.join("hpage_pmd_size"))
        && let Ok(bytes) = size.trim().parse::<u64>()
    {
        orders |= order_bit(bytes, page_size);
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(kib) = name
            .to_str()
            .and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB"))
            .and_then(|kib| kib.parse::<u64>().ok())
        else {
            continue;
        };
        let on = match chosen(&entry.path().join("enabled")).as_deref() {
            Some("never") | None => false,
            Some("inherit") => global,
            Some(_) => true,
        };
        if on {
            orders |= order_bit(kib << 10, page_size);
        }
    }
    orders
}

fn order_bit(bytes: u64, page_size: u64) -> u32 {
    let pages = bytes / page_size.max(1);
    if pages.is_power_of_two() && pages.trailing_zeros() < 32 {
        1 << pages.trailing_zeros()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn huge_pages_count_where_they_are_not_switched_off() {
        let dir = settings(&[
            ("enabled", "always [madvise] never\n"),
            ("hpage_pmd_size", "2097152\n"),
            ("hugepages-64kB/enabled", "[always] inherit madvise never\n"),
            (
                "hugepages-128kB/enabled",
                "always inherit madvise [never]\n",
            ),
            (
                "hugepages-2048kB/enabled",
                "always [inherit] madvise never\n",
            ),
        ]);
        assert_eq!(anon_orders(dir.path(), 4096), 1 | 1 << 4 | 1 << 9);
    }

    #[test]
    fn inherit_follows_the_global_setting() {
        let dir = settings(&[
            ("enabled", "always madvise [never]\n"),
            ("hpage_pmd_size", "2097152\n"),
            (
                "hugepages-2048kB/enabled",
                "always [inherit] madvise never\n",
            ),
        ]);
        assert_eq!(anon_orders(dir.path(), 4096), 1);
    }

    #[test]
    fn a_kernel_without_huge_pages_has_single_pages() {
        assert_eq!(anon_orders(Path::new("/nonexistent"), 4096), 1);
    }

    #[test]
    fn the_batch_grows_with_the_cpus() {
        assert_eq!(batch_pages(2), 32);
        assert_eq!(batch_pages(16), 32);
        assert_eq!(batch_pages(64), 128);
    }
}
