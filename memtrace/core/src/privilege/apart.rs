//! Work that is done as the invoking user, with none of memtrace's privileges.

use std::{io, thread};

use rustix::{
    process::geteuid,
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use crate::privilege::Invoker;

/// Does `work` with the rights of who started memtrace, and no more: as `invoker` where there is one (root, through sudo), as
/// the present user without any capability where that is not root. Root itself has nobody behind it, and keeps its rights.
///
/// The kernel keeps credentials per thread. A thread that ends afterwards has nothing to restore, so nothing can fail to be
/// restored.
///
/// # Errors
///
/// Where the thread cannot be made, or cannot become that user.
pub fn as_invoker<T: Send>(
    invoker: Option<&Invoker>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    if invoker.is_none() && geteuid().is_root() {
        return Ok(work());
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("invoker".into())
            .spawn_scoped(scope, || {
                if let Some(invoker) = invoker {
                    become_thread(invoker)?;
                }
                set_capabilities(None, NOTHING)?;
                Ok(work())
            })?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread for it ended early")))
    })
}

const NOTHING: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Makes this thread alone the user's; the C library's functions would change all of them. Allocates nothing, so that it can be
/// called between fork and exec.
///
/// # Errors
///
/// If the kernel refuses it.
pub fn become_thread(invoker: &Invoker) -> rustix::io::Result<()> {
    let Invoker { uid, gid, .. } = *invoker;
    set_thread_groups(&invoker.groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::process::{Gid, Uid};

    use super::*;

    /// `Uid:`, `Groups:` and `CapPrm:` of the calling thread.
    fn own(key: &str) -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line[key.len()..]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_work_has_the_invokers_rights_and_the_rest_keeps_its_own() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let before = (own("Uid:"), own("Groups:"), own("CapEff:"));
        let invoker = Invoker {
            uid: Uid::from_raw(65_534),
            gid: Gid::from_raw(65_533),
            groups: vec![Gid::from_raw(65_533), Gid::from_raw(1000)],
            account: None,
        };
        let seen = as_invoker(Some(&invoker), || {
            (own("Uid:"), own("Gid:"), own("Groups:"), own("CapPrm:"))
        })
        .unwrap();
        assert_eq!(seen.0, "65534 65534 65534 65534");
        assert_eq!(seen.1, "65533 65533 65533 65533");
        assert_eq!(seen.2, "1000 65533");
        assert_eq!(seen.3, "0000000000000000");
        assert_eq!((own("Uid:"), own("Groups:"), own("CapEff:")), before);
    }

    #[test]
    fn without_an_invoker_it_is_the_present_user() {
        let uid = own("Uid:");
        assert_eq!(as_invoker(None, || own("Uid:")).unwrap(), uid);
    }
}
