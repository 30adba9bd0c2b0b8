//! Giving up what is not needed any more.
//!
//! Which capabilities reading still needs differs by kernel, by target and by user, so it is tried, each without and with: bpf(2)
//! refuses every command without `CAP_BPF` before about 5.19 where `kernel.unprivileged_bpf_disabled` is set, and only the
//! creating ones since.

use std::{fs, io, thread, time::Duration};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
        set_no_new_privs,
    },
};

use super::names;
use crate::privilege::Invoker;

/// How long threads that have ended may take to be gone: 5 s.
const TRIES: u32 = 5000;
const PAUSE: Duration = Duration::from_millis(1);

/// Why privileges could not be given up. memtrace does not go on with them.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The kernel did not take them back.
    #[error("cannot give up {what}, which memtrace does not need any more: {reason}")]
    Refused {
        /// What.
        what: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// Another thread of memtrace was left out.
    #[error("thread {thread} of memtrace still has {capabilities}; please report this")]
    Left {
        /// Its id.
        thread: String,
        /// Names of the capabilities.
        capabilities: String,
    },
}

/// Something that memtrace will still do, and which may need a capability.
pub struct Trial<'a> {
    /// What may be needed for it, what allows least first.
    pub candidates: &'a [CapabilitySet],
    /// Does it, or tries whether it could be done.
    pub works: &'a mut dyn FnMut() -> bool,
}

/// Becomes `invoker`, where there is one and the kernel allows it, and gives up every capability but those that a trial fails
/// without and works with; also for every program that this process could ever execute. Returns what is kept. `start` is called in
/// between, when nothing is left but what is kept and what a process that looks at the target's files needs: it forks that one.
///
/// # Errors
///
/// Where something could not be given up.
pub fn drop_privileges(
    invoker: Option<&Invoker>,
    trials: &mut [Trial<'_>],
    start: &mut dyn FnMut(),
) -> Result<CapabilitySet, DropError> {
    narrow()?;
    if let Some(invoker) = invoker {
        become_process(invoker)?;
    }
    // The kernel does so by itself where the user id has changed: nobody but root may look into this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| refused("its memory to debuggers", error))?;
    let permitted = rustix::thread::capabilities(None)
        .map_err(|error| refused("capabilities", error))?
        .permitted;
    let mut kept = CapabilitySet::empty();
    for trial in trials {
        kept |= needed(permitted, kept, trial)?;
    }
    let looking = kept | permitted & for_looking(kept);
    set(looking, looking)?;
    start();
    set(kept, kept)?;
    verify(kept)?;
    Ok(kept)
}

/// Returns what a process needs beside `kept` that looks at the target's files and does nothing else: the very files that are mapped, also
/// those that were removed or replaced since, and the files of a user whom memtrace may look at with `CAP_SYS_PTRACE`, which is worth more.
fn for_looking(kept: CapabilitySet) -> CapabilitySet {
    if kept.contains(CapabilitySet::SYS_PTRACE) {
        CapabilitySet::CHECKPOINT_RESTORE | CapabilitySet::DAC_READ_SEARCH
    } else {
        CapabilitySet::CHECKPOINT_RESTORE
    }
}

/// What `trial` needs of `permitted` beside `kept`: nothing where it works without, or not even with.
fn needed(
    permitted: CapabilitySet,
    kept: CapabilitySet,
    trial: &mut Trial<'_>,
) -> Result<CapabilitySet, DropError> {
    set(permitted, kept)?;
    if (trial.works)() {
        return Ok(CapabilitySet::empty());
    }
    for &candidate in trial.candidates {
        if !permitted.contains(candidate) {
            continue;
        }
        set(permitted, kept | candidate)?;
        if (trial.works)() {
            return Ok(candidate);
        }
    }
    Ok(CapabilitySet::empty())
}

/// Nothing that this process could execute gets more than it has.
fn narrow() -> Result<(), DropError> {
    set_no_new_privs(true).map_err(|error| refused("new privileges by execve", error))?;
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(refused("ambient capabilities", error)),
    }
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Beyond the last one that this kernel has.
            Err(Errno::INVAL) => break,
            // Without CAP_SETPCAP. No program could make use of it: no_new_privs is set.
            Err(Errno::PERM) => break,
            Err(error) => return Err(refused("the bounding set", error)),
        }
    }
    Ok(())
}

fn become_process(invoker: &Invoker) -> Result<(), DropError> {
    let (uid, gid) = (invoker.uid.as_raw(), invoker.gid.as_raw());
    let groups: Vec<_> = invoker.groups.iter().map(|gid| gid.as_raw()).collect();
    let switched = (|| {
        set_keep_capabilities(true)?;
        // The C library's functions change all threads.
        // SAFETY: `groups` has as many elements as is said.
        done(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
        // SAFETY: a call with three numbers.
        done(unsafe { libc::setresgid(gid, gid, gid) })?;
        // SAFETY: a call with three numbers.
        done(unsafe { libc::setresuid(uid, uid, uid) })?;
        set_keep_capabilities(false)
    })();
    match switched {
        // Root without CAP_SETUID, in a container: it stays root, and has no capabilities all the same.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(refused("root's user id", error)),
    }
}

/// What a function of the C library returned.
fn done(result: libc::c_int) -> Result<(), Errno> {
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn set(permitted: CapabilitySet, effective: CapabilitySet) -> Result<(), DropError> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(|error| refused("capabilities", error))
}

/// Capabilities are per thread: none may have been left out. A thread that was joined is listed until the kernel is done with
/// it, though it runs no more, so others get the time to go.
fn verify(kept: CapabilitySet) -> Result<(), DropError> {
    let mut tries = 0;
    loop {
        match left(kept)? {
            None => return Ok(()),
            Some(_) if tries < TRIES => {}
            Some((thread, capabilities)) => {
                return Err(DropError::Left {
                    thread,
                    capabilities: names(capabilities),
                });
            }
        }
        tries += 1;
        thread::sleep(PAUSE);
    }
}

/// A thread that has more than `kept`.
fn left(kept: CapabilitySet) -> Result<Option<(String, CapabilitySet)>, DropError> {
    let read = |error: io::Error| refused("capabilities of its other threads", error);
    for task in fs::read_dir("/proc/self/task").map_err(read)? {
        let task = task.map_err(read)?;
        let status = match fs::read_to_string(task.path().join("status")) {
            Ok(status) => status,
            // It ended meanwhile.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
                continue;
            }
            Err(error) => return Err(read(error)),
        };
        let left = permitted(&status) - kept;
        if !left.is_empty() {
            return Ok(Some((
                task.file_name().to_string_lossy().into_owned(),
                left,
            )));
        }
    }
    Ok(None)
}

/// `CapPrm` of a `status`; all where it cannot be read.
fn permitted(status: &str) -> CapabilitySet {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .map_or(CapabilitySet::all(), CapabilitySet::from_bits_retain)
}

fn refused(what: &'static str, error: impl std::fmt::Display) -> DropError {
    DropError::Refused {
        what,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs in a thread of its own, whose capabilities end with it.
    fn trial(
        candidates: &[CapabilitySet],
        works: impl FnMut(CapabilitySet) -> bool,
    ) -> CapabilitySet {
        let mut works = works;
        let mut with_present = || works(super::super::effective());
        let permitted = rustix::thread::capabilities(None).unwrap().permitted;
        let mut trial = Trial {
            candidates,
            works: &mut with_present,
        };
        needed(permitted, CapabilitySet::CHOWN, &mut trial).unwrap()
    }

    #[test]
    fn a_capability_is_kept_only_where_it_makes_the_difference() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        const BPF: CapabilitySet = CapabilitySet::BPF;
        const FOWNER: CapabilitySet = CapabilitySet::FOWNER;
        let none = CapabilitySet::empty();
        thread::spawn(move || {
            assert_eq!(trial(&[BPF], |_| true), none);
            assert_eq!(trial(&[BPF], |_| false), none);
            assert_eq!(trial(&[BPF], |held| held.contains(BPF)), BPF);
            // The first that is enough, and nothing beside it.
            assert_eq!(
                trial(&[BPF, FOWNER], |held| !held.contains(BPF)
                    && held.contains(FOWNER)),
                FOWNER
            );
            assert_eq!(
                trial(&[BPF, FOWNER, BPF | FOWNER], |held| held
                    .contains(BPF | FOWNER)),
                BPF | FOWNER
            );
            // What is kept for something else is there, and not counted again.
            assert_eq!(
                trial(&[BPF], |held| held.contains(CapabilitySet::CHOWN)),
                none
            );
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_status_that_cannot_be_understood_is_not_taken_for_empty() {
        assert_eq!(
            permitted("Name:\tx\nCapPrm:\t0000000000080000\n"),
            CapabilitySet::SYS_PTRACE
        );
        assert_eq!(permitted("CapPrm:\tnonsense\n"), CapabilitySet::all());
        assert_eq!(permitted(""), CapabilitySet::all());
    }
}
